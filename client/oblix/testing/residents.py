"""Which models a test server of Ollama's has in memory, since when, and for how long."""

from __future__ import annotations

import math
import re
import threading
import time
from dataclasses import dataclass

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
        """An answer is over: from now on its time counts."""
        with self._lock:
            self._by_name[name] = Resident(name, context, time.time() + keep_s)

    def now(self) -> list[Resident]:
        """List what is in memory."""
        with self._lock:
            return [one for one in self._by_name.values() if one.until_s > time.time()]


def keep_seconds(given: object) -> float:
    """Read a `keep_alive`: seconds as a number, or a duration as text. Raises ValueError."""
    match given:
        case None:
            return USUAL_KEEP_S
        case int() | float() if not isinstance(given, bool):
            seconds = float(given)
        case str() if _DURATION.fullmatch(given):
            sign = -1 if given.startswith("-") else 1
            pairs = re.findall(r"([\d.]+)([a-z]+)", given)
            seconds = sign * math.fsum(float(number) * _UNITS[unit] for number, unit in pairs)
        case _:
            raise ValueError(f'time: invalid duration "{given}"')
    return FOREVER_S if seconds < 0 else seconds
