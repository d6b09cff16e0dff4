"""What a test server of Ollama's can pull, and how far it is with it.

Which models a test server of Ollama's has in memory, since when, and for how long.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

STEPS = 10
"""In so many pieces a model arrives."""


class Library:
    """Models that are not there yet, with their sizes in bytes. What has arrived of one stays."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)
        self._lock = threading.Lock()
        self._arrived = dict.fromkeys(sizes, 0)

    def has(self, name: str) -> bool:
        """Return whether it can be pulled."""
        return name in self._sizes

    def arrived_bytes(self, name: str) -> int:
        """Bytes of it that are there."""
        with self._lock:
            return self._arrived[name]

    def pull(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield what the server says while it pulls, going on where an earlier pull stopped."""
        yield {"status": "pulling manifest"}
        digest = hashlib.sha256(name.encode()).hexdigest()
        total, piece = self._sizes[name], {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}"}
        # Like the real one: nothing has arrived yet, and the field is left out.
        while (completed := self.arrived_bytes(name)) < total:
            yield {**piece, "total": total, **({"completed": completed} if completed else {})}
            self._take(name)
        yield {**piece, "total": total, "completed": total}
        yield from (
            {"status": status} for status in ("verifying sha256 digest", "writing manifest", "success")
        )

    def _take(self, name: str) -> None:
        with self._lock:
            total = self._sizes[name]
            self._arrived[name] = min(total, self._arrived[name] + -(-total // STEPS))


def line(value: Mapping[str, Any]) -> bytes:
    """Return a value as the server writes it into a stream."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


FOREVER_S = 3153600000.0
"""What Ollama itself makes of a `keep_alive` below zero: a hundred years."""
USUAL_KEEP_S = 300.0
USUAL_CONTEXT = 4096
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:ns|us|ms|s|m|h))+|[+-]?0")


@dataclass(frozen=True)
class Resident:
    """A model in memory."""

    name: str
    context: int
    until_s: float
    """On the clock of `time.time`."""


class Residents:
    """Loads and unloads as Ollama does: another context means loading again."""

    def __init__(self) -> None:
        self.loads: list[tuple[str, int]] = []
        """Every loading: the model and its context, oldest first."""
        self._lock = threading.Lock()
        self._by_name: dict[str, Resident] = {}

    def use(self, name: str, context: int, keep_s: float) -> bool:
        """Have a model in memory, and say whether it had to be loaded for that."""
        with self._lock:
            there = self._by_name.get(name)
            is_there = there is not None and there.context == context and there.until_s > time.time()
            if not is_there:
                self.loads.append((name, context))
            self._by_name[name] = Resident(name, context, time.time() + max(keep_s, 1.0))
            return not is_there

    def rest(self, name: str, context: int, keep_s: float) -> None:
        """Note that an answer is over: from now on its time counts."""
        with self._lock:
            self._by_name[name] = Resident(name, context, time.time() + keep_s)

    def now(self) -> list[Resident]:
        """List what is in memory."""
        with self._lock:
            return [one for one in self._by_name.values() if one.until_s > time.time()]


def keep_seconds(value: object) -> float:
    """Read a `keep_alive`: seconds as a number, or a duration as text. Raises ValueError."""
    match value:
        case None:
            return USUAL_KEEP_S
        case int() | float() if not isinstance(value, bool):
            seconds = float(value)
        case str() if _DURATION.fullmatch(value):
            sign = -1 if value.startswith("-") else 1
            pairs = re.findall(r"([\d.]+)([a-z]+)", value)
            seconds = sign * math.fsum(float(number) * _UNITS[unit] for number, unit in pairs)
        case _:
            raise ValueError(f'time: invalid duration "{value}"')
    return FOREVER_S if seconds < 0 else seconds
