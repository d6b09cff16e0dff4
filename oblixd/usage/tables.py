"""How usage lies in the store.

| table | key | value |
|---|---|---|
| usage | day, view, hash of what it is read by, hash of what it is told by | ConsumptionRecord |
| usage_requests | day, request id | nothing: it is counted |

Every execution is counted into each view, all in one transaction: five small records,
however many there are. The day comes first, so that what is written lies close together,
however much was before, and what is old lies at the beginning. A report reads the rows
of its days in one view, and nothing else. A day is its number in the Gregorian calendar
(4 bytes, big-endian), as the daemon's time zone had it when the execution ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from oblixd.store import offline, schema
from oblixd.store.v1 import records_pb2 as records
from oblixd.usage.entries import Group, Row, UsageEntry

TABLE_NAMES = ("usage", "usage_requests")
DAY_BYTES = 4
HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class View:
    """One order in which usage is kept."""

    prefix: bytes
    read_by: Group | None
    """What one has to name to read in it. None: nothing but days."""
    groups: tuple[Group, ...]
    """What its rows tell apart."""

    def key(self, day: int, entry: UsageEntry) -> bytes:
        """Return where an entry is counted."""
        named = b"" if self.read_by is None else hash_texts(value_of(entry, self.read_by))
        told = [value_of(entry, group) for group in self.groups]
        return day_key(day) + self.prefix + named + hash_texts(*told)

    def rows(self, day: int, name: str = "") -> bytes:
        """Return what the keys of a day's rows begin with, for what `read_by` says."""
        return day_key(day) + self.prefix + (b"" if self.read_by is None else hash_texts(name))

    def record(self, entry: UsageEntry) -> records.ConsumptionRecord:
        """Return an empty record with the names that the view tells."""
        record = records.ConsumptionRecord()
        for group in self.groups:
            setattr(record, group.value, value_of(entry, group))
        return record


BY_MODEL = View(b"m", None, (Group.MODEL,))
BY_PROGRAM = View(b"p", None, (Group.PROGRAM,))
BY_SESSION = View(b"s", None, (Group.SESSION,))
IN_SESSION = View(b"S", Group.SESSION, (Group.MODEL, Group.PROGRAM))
OF_MODEL = View(b"M", Group.MODEL, (Group.SESSION, Group.PROGRAM))
VIEWS: Sequence[View] = (BY_MODEL, BY_PROGRAM, BY_SESSION, IN_SESSION, OF_MODEL)


def value_of(entry: UsageEntry, group: Group) -> str:
    """Return what an entry is counted under."""
    return str(getattr(entry, group.value))


def day_key(day: int) -> bytes:
    """Return a day as part of a key."""
    return day.to_bytes(DAY_BYTES, "big")


def day_of(key: bytes) -> int:
    """Return the day in a key."""
    return int.from_bytes(key[:DAY_BYTES], "big")


def view_of(key: bytes) -> bytes:
    """Return the prefix of the view that a key is in."""
    return key[DAY_BYTES : DAY_BYTES + 1]


def hash_texts(*values: str) -> bytes:
    """Texts of any length as part of a key."""
    digest = blake2b(digest_size=HASH_BYTES)
    for value in values:
        content = value.encode()
        digest.update(len(content).to_bytes(4, "big") + content)
    return digest.digest()


def problems(path: Path) -> Iterator[str]:
    """Yield what is wrong with the usage in a file whose records are sound. May crash."""
    with offline.open_file(path) as file:
        if not file.tables or not schema.is_current(file):
            return
        if missing := [name for name in TABLE_NAMES if name not in file.tables]:
            yield f"the tables {', '.join(missing)} are gone"
            return
        totals = {view.prefix: Row("") for view in VIEWS}
        for key, payload in file.tables["usage"].scan(file.txn, b""):
            record = records.ConsumptionRecord.FromString(payload)
            totals[view_of(key)] = totals.get(view_of(key), Row("")).plus(record)
        if len(set(totals.values())) > 1:
            yield "usage is not the same by model, program and session"
