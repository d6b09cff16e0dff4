"""What the benchmarks share: medians, ratios, and one way to print them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a benchmark: what was measured, and the limit it is held against."""

    what: str
    value: float
    unit: str
    limit: float | None = None
    """At most; None: shown for comparison only."""

    @property
    def within(self) -> bool:
        """Whether it holds its limit."""
        return self.limit is None or self.value <= self.limit


@contextmanager
def serve_module(*module: str) -> Iterator[str]:
    """A server in a process of its own, `python -m` these words. Gives its first line: where it listens."""
    command = [sys.executable, "-m", *module]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def median_ms(call: Callable[[], object], rounds: int) -> float:
    """The median time of a call, in milliseconds, after a warm-up of a tenth of the rounds."""
    for _ in range(rounds // 10):
        call()
    return statistics.median(timed_ms(call) for _ in range(rounds))


def paired_ms(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median time of each call, taken in turn, so that a machine that slows down slows all of them."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + rounds // 10):
        for call, own in zip(calls, times, strict=True):
            took = timed_ms(call)
            if number >= rounds // 10:
                own.append(took)
    return [statistics.median(own) for own in times]


def anonymous_mb(pid: int) -> float:
    """A process's own memory in MB, the pages of mapped files aside: `RssAnon` of proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


def timed_ms(call: Callable[[], object]) -> float:
    """How long one call takes, in milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def report(title: str, lines: Sequence[Line]) -> int:
    """Print the rows. Gives 1 where one is over its limit, so that `make bench` shows it."""
    print(title)
    for line in lines:
        limit = "" if line.limit is None else f"  (at most {line.limit:g}{'' if line.within else ': MISSED'})"
        print(f"  {line.what:<58} {line.value:9.3f} {line.unit}{limit}")
    return 0 if all(line.within for line in lines) else 1
