"""The store's operations over gRPC, beside what their parts take by themselves."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import lmdb
from contenders import Bare, Oblix
from measure import timed_ms
from oblix.v1 import messages_pb2, sessions_pb2
from report import Table

Series = dict[tuple[str, str], list[float]]
Operation = Callable[[], Awaitable[object]]
ROUNDS = 60
AT_ONCE = 64
"""Appends under way at the same time."""
MESSAGE = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="x" * 200)])


class BarePut:
    """One message, its session's place in the order, and three labels: what an append has to write."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment = environment
        self._messages, self._order, self._labels = (environment.open_db(name) for name in (b"m", b"o", b"l"))
        self._count = 0

    def __call__(self) -> None:
        """One durable transaction."""
        old, new = (number.to_bytes(8, "big") for number in (self._count, self._count + 1))
        self._count += 1
        with self._environment.begin(write=True) as txn:
            txn.put(b"1" + new, b"x" * 280, db=self._messages)
            txn.delete(old, db=self._order)
            txn.put(new, b"1", db=self._order)
            for label in (b"a" * 16, b"b" * 16, b"c" * 16):
                txn.delete(label + old, db=self._labels)
                txn.put(label + new, b"1", db=self._labels)


@contextmanager
def bare_puts(directory: Path) -> Iterator[BarePut]:
    """Give what writes a bare transaction, on the file system of this directory."""
    with (
        TemporaryDirectory(dir=directory) as place,
        lmdb.open(place, map_size=1 << 30, max_dbs=4) as environment,
    ):
        yield BarePut(environment)


async def store_operations(side: Oblix, bare: Bare, put: BarePut, sizes: Sequence[int]) -> Series:
    """Append, open and list, in milliseconds, while the store grows. The sides take turns."""
    series: Series = defaultdict(list)
    session_id, made = await side.session(one="1", two="2", three="3"), 0
    for size in sizes:
        while made < size:
            step = min(AT_ONCE, size - made)
            await asyncio.gather(*(side.session() for _ in range(step)))
            made += step
        await _measure(series, f"{size}", await _operations(side, bare, session_id), put)
    return series


async def _measure(
    series: Series, size: str, operations: dict[str, Operation], put: Callable[[], None]
) -> None:
    for _ in range(ROUNDS):
        for name, call in operations.items():
            began = time.perf_counter()
            await call()
            series[name, size].append((time.perf_counter() - began) * 1e3)
        series["bare transaction", size].append(timed_ms(put))
    for _ in range(ROUNDS // 6):
        for name in ("append", "bare append"):
            began = time.perf_counter()
            await asyncio.gather(*(operations[name]() for _ in range(AT_ONCE)))
            series[f"{name}, at once", size].append((time.perf_counter() - began) / AT_ONCE * 1e3)


async def _operations(side: Oblix, bare: Bare, session_id: str) -> dict[str, Operation]:
    listed = sessions_pb2.ListSessionsRequest(page_size=50)
    # The bare server gives back the last 50 that it was sent.
    for session in (await side.sessions.ListSessions(listed)).sessions:
        await bare.sessions.CreateSession(sessions_pb2.CreateSessionRequest(session=session))
    append = sessions_pb2.AppendMessagesRequest(session_id=session_id, messages=[MESSAGE])
    return {
        **store_calls(side, session_id),
        "bare append": lambda: bare.sessions.AppendMessages(append),
        "bare list 50": lambda: bare.sessions.ListSessions(listed),
    }


def store_calls(side: Oblix, session_id: str) -> dict[str, Operation]:
    """Return the calls of a store that are measured, by name."""
    append = sessions_pb2.AppendMessagesRequest(session_id=session_id, messages=[MESSAGE])
    newest = sessions_pb2.ListMessagesRequest(session_id=session_id, page_size=50, newest_first=True)
    listed = sessions_pb2.ListSessionsRequest(page_size=50)
    return {
        "append": lambda: side.sessions.AppendMessages(append),
        "open the last 50": lambda: side.sessions.ListMessages(newest),
        "list 50": lambda: side.sessions.ListSessions(listed),
    }


def add_rows(table: Table, series: Series, sizes: Sequence[int]) -> None:
    """Add what was measured of each size, and the goals."""
    for size in sizes:

        def of(what: str, size: int = size) -> float:
            return statistics.median(series[what, f"{size}"])

        at = f"{size:,} sessions"
        table.add(f"append, {at}", of("append"), "ms")
        parts = of("bare append") + of("bare transaction")
        table.add(
            f"append, {at} / (bare call + bare indexed transaction)", of("append") / parts, "x", most=1.3
        )
        at_once = of("bare append, at once") / of("append, at once")
        table.add(f"{AT_ONCE} appends at once, {at}, of bare calls", at_once, "x", least=0.8)
        table.add(f"open the last 50, {at}", of("open the last 50"), "ms")
        table.add(f"list 50, {at}", of("list 50"), "ms")
        listing = of("list 50") / of("bare list 50")
        table.add(f"list 50, {at} / a bare call that returns the same", listing, "x", most=1.5)
    if len(sizes) > 1:
        growth = statistics.median(series["list 50", f"{sizes[-1]}"]) / statistics.median(
            series["list 50", f"{sizes[0]}"]
        )
        table.add(f"list 50, {sizes[-1]:,} sessions / {sizes[0]:,}", growth, "x", most=1.3)
