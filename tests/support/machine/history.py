"""What each client asked and was told, written down as it happens.

A client writes one line before a call and one after it. A line is handed to the system at once, so it
survives the client's own `kill -9`. Times are on the monotonic clock, which all processes share.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOLD, REFUSED, UNKNOWN = "told", "refused", "unknown"
"""How a call ended: it was acknowledged, it was refused and changed nothing, or nobody knows."""


@dataclass
class Operation:
    """One call of one client."""

    client: str
    number: int
    kind: str
    asked_s: float
    asked: dict[str, Any]
    outcome: str = UNKNOWN
    told_s: float = float("inf")
    told: dict[str, Any] = field(default_factory=dict)


class Journal:
    """Written by one client process. A client that is started again goes on with a new number."""

    def __init__(self, directory: Path, client: str) -> None:
        self._file = (directory / f"history-{client}").open("ab", buffering=0)
        self._number = 0

    def ask(self, kind: str, **fields: Any) -> int:
        """Note that a call is about to be made. Return its number."""
        self._number += 1
        self._write(n=self._number, kind=kind, **fields)
        return self._number

    def end(self, number: int, outcome: str, **fields: Any) -> None:
        """Note how it ended."""
        self._write(n=number, outcome=outcome, **fields)

    def _write(self, **fields: Any) -> None:
        self._file.write(json.dumps({**fields, "t": time.monotonic()}).encode() + b"\n")


def operations(directory: Path, until_s: float = float("inf")) -> list[Operation]:
    """Everything that was asked before a moment, by client and in order; what was told later is unknown."""
    found: list[Operation] = []
    for path in sorted(directory.glob("history-*")):
        found += _of_client(path, until_s)
    return found


def _of_client(path: Path, until_s: float) -> Iterator[Operation]:
    client, known = path.name.removeprefix("history-"), dict[int, Operation]()
    for line in path.read_bytes().splitlines():
        with suppress(json.JSONDecodeError):  # the last line of one that was killed may be cut off
            entry = json.loads(line)
            number, moment_s = entry.pop("n"), entry.pop("t")
            if moment_s > until_s:
                break
            if "kind" in entry:
                known[number] = Operation(client, number, entry.pop("kind"), moment_s, entry)
            else:
                one = known[number]
                one.outcome, one.told_s, one.told = entry.pop("outcome"), moment_s, entry
    return iter(known.values())


class Acknowledged:
    """Counts the calls that were acknowledged, by all clients, as their histories grow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        """Bytes of each history that were looked at."""
        self._count = 0

    def count(self) -> int:
        """Return how many there are by now."""
        for path in self._directory.glob("history-*"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                lines, end, _ = file.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(lines) + len(end)
            self._count += lines.count(b'"outcome": "told"')
        return self._count
