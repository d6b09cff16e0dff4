"""Conversations through the Python client, over gRPC, recorded durably, at a thousand to a million sessions.

    python tests/benchmarks/bench_conversations.py [LARGEST]

fills one store up to 1,000, 100,000 and LARGEST (1,000,000) sessions, in the
store's own process because that is faster, and measures at each size with a
daemon of its own. Both sides of a ratio are taken in turn, in one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import lmdb
from grpc_health.v1 import health_pb2, health_pb2_grpc
from measure import Line, anonymous_mb, median_ms, paired_ms, report
from oblix import OblixClient
from oblix.v1 import messages_pb2, sessions_pb2
from stores import BarePut
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire

from oblixd.sessions import TABLE_NAMES, Sessions
from oblixd.store import Store

SIZES = (1_000, 100_000, 1_000_000)
LONG = (10, 10_000, 100_000)
"""Messages of the sessions that are appended to."""
AT_ONCE = 64
BATCH = 2_000
MAP_SIZE = 64 << 30
TEXT = "x" * 200


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured at one size, in milliseconds."""

    newest: float
    filtered: float
    ten: float
    unlucky: float
    opened: float
    start_s: float
    memory_mb: float


def main() -> int:
    """Fill and measure, size by size."""
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else SIZES[-1]
    sizes = [*(size for size in SIZES if size < largest), largest]
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        home = Path(directory)
        os.environ["OBLIX_HOME"] = str(home)
        results: list[int] = []
        figures: dict[int, Figures] = {}
        for done, size in zip([0, *sizes], sizes, strict=False):
            took = asyncio.run(fill(home, done, size))
            print(f"filled to {size:,} sessions in {took:.0f} s")
            figures[size] = measure_store(home)
        before = disk_bytes(home)
        long = asyncio.run(fill_long(home))
        ratio = (disk_bytes(home) - before) / (sum(LONG) * len(TEXT))
        results += [report("Disk", [Line("bytes on disk / bytes of text", ratio, "x", 3)])]
        with run_daemon(home) as daemon:
            results += [report(f"Long sessions, at {sizes[-1]:,} sessions", appends(daemon, home, long))]
            results += [report(f"{AT_ONCE} clients at once", at_once(daemon))]
        results += [report(f"At {size:,} sessions", at(figures[size])) for size in sizes]
        results += [report("Growth", growth(figures[sizes[0]], figures[sizes[-1]]))]
    return max(results)


async def fill(home: Path, first: int, end: int) -> float:
    """Make sessions `first` to `end`, each with two messages. Gives the seconds that took."""
    began = time.perf_counter()
    store = await Store.open(home / "store", TABLE_NAMES, map_size=MAP_SIZE)
    sessions = Sessions(store)
    for start in range(first, end, BATCH):
        numbers = range(start, min(start + BATCH, end))
        made = await asyncio.gather(*(sessions.create(session_with_labels(number)) for number in numbers))
        await asyncio.gather(*(sessions.append(session.id, [message(), message()]) for session in made))
    await store.close()
    return time.perf_counter() - began


async def fill_long(home: Path) -> dict[int, str]:
    """Make the long sessions. Gives their ids by how many messages they have."""
    store = await Store.open(home / "store", TABLE_NAMES, map_size=MAP_SIZE)
    sessions = Sessions(store)
    ids = {}
    for count in LONG:
        session = await sessions.create(session_with_labels(0))
        for start in range(0, count, 1000):
            await sessions.append(session.id, [message()] * min(1000, count - start))
        ids[count] = session.id
    await store.close()
    return ids


def session_with_labels(number: int) -> sessions_pb2.Session:
    """A session with three labels: one of half of them, one of a hundredth, one of its own."""
    session = sessions_pb2.Session(title=f"Session {number}")
    session.metadata.update({"half": number % 2, "hundredth": number % 100, "own": number})
    return session


def message() -> messages_pb2.Message:
    """A message of 200 bytes."""
    return messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=TEXT)])


def measure_store(home: Path) -> Figures:
    """What a client sees at the size that the store has now."""
    with run_daemon(home) as daemon:
        wait_for_index(Wire(daemon.channel))
    start_s = statistics.median(spawn_s(home) for _ in range(7))
    with run_daemon(home) as daemon, contextlib.closing(Client()) as client:
        opened = sessions_pb2.ListMessagesRequest(
            session_id=client.newest(hundredth=7)[0]["id"], page_size=50, newest_first=True
        )
        wire = Wire(daemon.channel)
        return Figures(
            newest=median_ms(client.newest, 100),
            filtered=median_ms(lambda: client.newest(half=1, hundredth=7), 100),
            # As many as there are at the smallest size, so that the sizes can be compared.
            ten=median_ms(lambda: client.newest(10, half=1, hundredth=7), 100),
            # Both labels are common and never meet: the walk finds nothing to its end.
            unlucky=median_ms(lambda: client.newest(half=0, hundredth=7), 5),
            opened=median_ms(lambda: wire.sessions.ListMessages(opened), 100),
            start_s=start_s,
            memory_mb=anonymous_mb(daemon.process.pid),
        )


def spawn_s(home: Path) -> float:
    """Seconds from spawn to SERVING."""
    began = time.perf_counter()
    with run_daemon(home):
        return time.perf_counter() - began


def wait_for_index(wire: Wire) -> None:
    """Returns once everything can be searched: what was filled in without the daemon is indexed once."""
    began = time.perf_counter()
    while wire.search("x").indexing:
        time.sleep(0.5)
    print(f"indexed in {time.perf_counter() - began:.0f} s")


class Client:
    """The Python client's calls that are measured."""

    def __init__(self) -> None:
        self._client = OblixClient()

    def newest(self, limit: int = 50, **labels: int) -> list[dict[str, Any]]:
        """A list."""
        return self._client.list_sessions(limit=limit, filter_metadata=labels or None)

    def append(self, session_id: str) -> None:
        """One message."""
        self._client.session_manager.save_message(session_id, TEXT)

    def copy(self, session_id: str) -> None:
        """A whole session."""
        asyncio.run(self._client.copy_session(session_id))

    def close(self) -> None:
        """Let go of the daemon."""
        asyncio.run(self._client.shutdown())


def appends(daemon: RunningDaemon, home: Path, long: Mapping[int, str]) -> list[Line]:
    """One append at each length, beside a bare gRPC call and a bare LMDB transaction of the same puts."""
    health, check = health_pb2_grpc.HealthStub(daemon.channel), health_pb2.HealthCheckRequest()
    with (
        contextlib.closing(Client()) as client,
        lmdb.open(str(home / "bare"), map_size=1 << 30, max_dbs=4) as environment,
    ):
        ours = [functools.partial(client.append, session_id) for session_id in long.values()]
        call, put, *took = paired_ms([lambda: health.Check(check), BarePut(environment), *ours], 300)
        copied = median_ms(functools.partial(client.copy, long[10_000]), 5)
    bare = call + put
    return [
        Line("bare gRPC call + bare indexed LMDB transaction", bare, "ms"),
        *(
            Line(f"append to {count:,} messages / bare", one / bare, "x", 1.5)
            for count, one in zip(long, took, strict=True)
        ),
        Line("longest / shortest", took[-1] / took[0], "x", 1.2),
        Line("copy 10,000 messages", copied, "ms", 100),
    ]


def at_once(daemon: RunningDaemon) -> list[Line]:
    """Appends a second with so many under way all the time, beside bare gRPC calls."""
    wire = Wire(daemon.channel)
    health, check = health_pb2_grpc.HealthStub(daemon.channel), health_pb2.HealthCheckRequest()
    requests = [
        sessions_pb2.AppendMessagesRequest(session_id=wire.session(), messages=[message()])
        for _ in range(AT_ONCE)
    ]

    def append(number: int) -> grpc.Future[Any]:
        return wire.sessions.AppendMessages.future(requests[number % AT_ONCE])

    bare, ours = [], []
    for _ in range(5):
        bare.append(calls_per_s(lambda _: health.Check.future(check)))
        ours.append(calls_per_s(append))
    ratio = statistics.median(one / other for one, other in zip(ours, bare, strict=True))
    return [
        Line("bare gRPC calls", statistics.median(bare), "a second"),
        Line("durable appends", statistics.median(ours), "a second"),
        Line("bare / append (at least 0.6 the other way round)", 1 / ratio, "x", 1 / 0.6),
    ]


def calls_per_s(call: Callable[[int], grpc.Future[Any]], count: int = 3_000) -> float:
    """How many a second, with `AT_ONCE` under way."""
    under_way: deque[grpc.Future[Any]] = deque()
    began = time.perf_counter()
    for number in range(count):
        if len(under_way) == AT_ONCE:
            under_way.popleft().result()
        under_way.append(call(number))
    for one in under_way:
        one.result()
    return count / (time.perf_counter() - began)


def disk_bytes(home: Path) -> int:
    """What the store's file takes on the disk; it is sparse."""
    return (home / "store" / "data.mdb").stat().st_blocks * 512


def at(figures: Figures) -> list[Line]:
    """The rows of one size."""
    return [
        Line("the 50 newest", figures.newest, "ms", 3),
        Line("50 of two keys, the rarer one in a hundred", figures.filtered, "ms", 3),
        Line("10 of them", figures.ten, "ms"),
        Line("worst case: two common keys that never meet", figures.unlucky, "ms"),
        Line("open the last 50 messages", figures.opened, "ms", 2),
        Line("spawn to SERVING", figures.start_s, "s"),
        Line("memory, the mapped file aside", figures.memory_mb, "MB", 150),
    ]


def growth(first: Figures, last: Figures) -> list[Line]:
    """From the smallest to the largest size."""
    return [
        Line("the 50 newest", last.newest / first.newest, "x", 1.5),
        Line("10 of two keys", last.ten / first.ten, "x", 1.5),
        Line("spawn to SERVING", last.start_s / first.start_s, "x", 1.2),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
