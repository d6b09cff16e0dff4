"""The store and the sessions alone, without gRPC, beside bare lmdb doing the same puts on the same disk."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import struct
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import lmdb
from google.protobuf.struct_pb2 import Struct
from measure import Line, median_ms, report
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import all_sessions, say, sessions_in, store_in
from support.drivers.conversations import struct as metadata

from oblixd.sessions import Sessions
from oblixd.store import Store

ROUNDS = 300
CLIENTS = 64
APPENDS = 20
SESSIONS = 10_000
SIZES = (10, 1_000, 10_000)
TEXT = "x" * 200
LABELS = {"category": "support", "priority": "high", "customer": "cust_12345"}


def main() -> int:
    """All of it, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_measure(Path(directory)))


async def _measure(directory: Path) -> int:
    async with (
        sessions_in(directory / "sessions") as sessions,
        store_in(directory / "store", Puts.TABLES) as store,
    ):
        with BareLmdb(directory / "bare") as bare:
            results = [
                report("One durable append, 200 bytes, three labels", await _one_by_one(sessions, bare)),
                report(f"{CLIENTS} clients appending at once", await _at_once(sessions, store, bare)),
            ]
        results.append(report("A session of many messages", await _sizes(sessions)))
        results.append(report(f"A list at {SESSIONS:,} sessions", await _lists(sessions)))
        return max(results)


class Puts:
    """What an append needs at least: the message, the header, and four index entries moved."""

    TABLES = ("messages", "headers", "recency", "labels")

    def __init__(self, put: Callable[..., object], delete: Callable[..., object]) -> None:
        self._put, self._delete = put, delete
        self._sequence = itertools.count()
        self._updated: dict[int, bytes] = {}

    def append(self, txn: lmdb.Transaction[bytes], number: int) -> None:
        """The puts and deletes of one append to a session, by `put(table, txn, key, value)` and `delete`."""
        key, now = struct.pack(">Q", number), struct.pack(">Q", time.time_ns())
        before = self._updated.get(number, now)
        self._updated[number] = now
        self._put("messages", txn, key + struct.pack(">Q", next(self._sequence)), TEXT.encode())
        self._put("headers", txn, key, b"x" * 80)
        self._delete("recency", txn, before + key)
        self._put("recency", txn, now + key, key)
        for label in (b"a" * 16, b"b" * 16, b"c" * 16):
            self._delete("labels", txn, label + before + key)
            self._put("labels", txn, label + now + key, key)


class BareLmdb:
    """The same puts without a store around them."""

    def __init__(self, directory: Path) -> None:
        self._environment = lmdb.open(str(directory), map_size=1 << 34, max_dbs=len(Puts.TABLES))
        tables = {name: self._environment.open_db(name.encode()) for name in Puts.TABLES}
        self._puts = Puts(
            lambda name, txn, key, value: txn.put(key, value, db=tables[name]),
            lambda name, txn, key: txn.delete(key, db=tables[name]),
        )

    def __enter__(self) -> BareLmdb:
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.close()

    def append(self, numbers: range) -> None:
        """One transaction that appends a message to each of the sessions."""
        with self._environment.begin(write=True) as txn:
            for number in numbers:
                self._puts.append(txn, number)


def _store_puts(store: Store) -> Puts:
    """The same puts in a store's tables."""
    tables = {name: store.table(name) for name in Puts.TABLES}
    return Puts(
        lambda name, txn, key, value: tables[name].put(txn, key, value),
        lambda name, txn, key: tables[name].delete(txn, key),
    )


async def _one_by_one(sessions: Sessions, bare: BareLmdb) -> list[Line]:
    session_id = await _session(sessions)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(await _timed_ms(lambda: sessions.append(session_id, [say(TEXT)])))
        theirs.append(median_ms(lambda: bare.append(range(1)), 1))
    ours_ms, theirs_ms = statistics.median(ours), statistics.median(theirs)
    return [
        Line("through the sessions", ours_ms, "ms"),
        Line("bare indexed lmdb transaction", theirs_ms, "ms"),
        Line("ratio", ours_ms / theirs_ms, "x", 2.0),
    ]


async def _at_once(sessions: Sessions, store: Store, bare: BareLmdb) -> list[Line]:
    ids = [await _session(sessions) for _ in range(CLIENTS)]
    puts = _store_puts(store)

    async def with_sessions(number: int) -> None:
        for _ in range(APPENDS):
            await sessions.append(ids[number], [say(TEXT)])

    async def with_the_store(number: int) -> None:
        for _ in range(APPENDS):
            await store.write(lambda txn: puts.append(txn, number))

    times: list[list[float]] = [[], [], []]
    for _ in range(7):
        times[0].append(await _timed_ms(lambda: asyncio.gather(*map(with_sessions, range(CLIENTS)))))
        times[1].append(await _timed_ms(lambda: asyncio.gather(*map(with_the_store, range(CLIENTS)))))
        times[2].append(median_ms(lambda: bare.append(range(CLIENTS)), APPENDS) * APPENDS)
    rates = [APPENDS * CLIENTS / statistics.median(own) * 1e3 for own in times]
    return [
        Line("messages through the sessions", rates[0], "a second"),
        Line("bare puts through the store", rates[1], "a second"),
        Line(f"bare lmdb, {CLIENTS} to a transaction", rates[2], "a second"),
        Line("bare lmdb's rate / the store's", rates[2] / rates[1], "x", 2.0),
    ]


async def _sizes(sessions: Sessions) -> list[Line]:
    lines: list[Line] = []
    for size in SIZES:
        lines += await _size(sessions, size)
    return lines


async def _size(sessions: Sessions, size: int) -> list[Line]:
    session_id = await _session(sessions, size)
    appends = [await _timed_ms(lambda: sessions.append(session_id, [say(TEXT)])) for _ in range(ROUNDS)]
    opened = median_ms(
        lambda: sessions.messages(session_id, page_size=50, page_token="", newest_first=True), ROUNDS
    )
    return [
        Line(f"append at {size:,} messages", statistics.median(appends), "ms"),
        Line(f"open the last 50 of {size:,} messages", opened, "ms", 2.0),
        Line(f"copy {size:,} messages", await _timed_ms(lambda: sessions.copy(session_id, None)), "ms"),
    ]


async def _lists(sessions: Sessions) -> list[Line]:
    creations = [
        Session(title=f"{n}", metadata=metadata(kind=f"{n % 100}", even=n % 2 == 0, **{f"half{n % 2}": True}))
        for n in range(SESSIONS)
    ]
    took = await _timed_ms(lambda: asyncio.gather(*map(sessions.create, creations)))
    filters: dict[str, dict[str, object]] = {
        "the 50 newest": {},
        "two keys, the rarer matches 1 %": {"kind": "42", "even": True},
        "two keys, nothing matches both": {"kind": "42", "even": False},
    }
    lines = [Line(f"fill {SESSIONS:,} sessions", took / 1e3, "s")]
    for what, wanted in filters.items():
        lines.append(Line(what, median_ms(_lister(sessions, metadata(**wanted)), ROUNDS), "ms", 5.0))
    worst = median_ms(lambda: all_sessions(sessions, half0=True, half1=True), 20)
    lines.append(Line("worst case, in pages: two halves that never meet", worst, "ms"))
    return lines


def _lister(sessions: Sessions, wanted: Struct) -> Callable[[], object]:
    return lambda: sessions.list(page_size=50, page_token="", filter=wanted)


async def _session(sessions: Sessions, size: int = 0) -> str:
    made = await sessions.create(Session(metadata=metadata(**LABELS)))
    for begin in range(0, size, 1000):
        await sessions.append(made.id, [say(TEXT)] * min(1000, size - begin))
    return made.id


async def _timed_ms(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    raise SystemExit(main())
