"""What `oblix doctor` looks at: each module has checks, and each check yields what it found.

Nothing is changed and no daemon is started. A check never sends a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "note", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    """`fault`: something does not work. `warning`: it will, or it is unsafe. `note`: worth knowing."""
    code: str
    """For programs, stable: lower-case words with hyphens."""
    what: str
    """What was found, in one line."""
    remedy: str = ""
    """What to do, in one line. A command stands in backquotes."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all checks need to know."""

    environ: Mapping[str, str]
    settings: Mapping[str, object] = field(default_factory=dict)
    """The configuration's values by key. Empty where it can't be read."""


Check = Callable[[Surroundings], Iterator[Finding]]

__all__ = ["Check", "Finding", "Level", "Surroundings"]
