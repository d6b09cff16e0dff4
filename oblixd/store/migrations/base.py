"""What a migration is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oblixd.store.table import Table, Transaction

Tables = Callable[[str], Table]
"""Opens a table by its name, which makes it where it is missing."""


@dataclass(frozen=True, slots=True)
class Migration:
    """The way from one schema to the next."""

    to: int
    """The schema that it makes of the one before."""
    about: str
    """What it does, for the log."""
    step: Callable[[Transaction, Tables, bytes], bytes | None]
    """Does a part that takes less than a second.

    It is given what the step before returned, at first nothing, and returns what the
    next one has to know, or None when all is done.
    """
