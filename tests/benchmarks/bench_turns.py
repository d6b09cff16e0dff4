"""What it costs that a turn's request is found by its id and that its usage is counted, at any size."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path

from measure import Line, report
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import say, sessions_in

from oblixd.sessions import Sessions
from oblixd.sessions.storage.request_table import IdempotencyTable
from oblixd.usage import Group, Usage, UsageEntry

ROUNDS = 300
CLIENTS = 64
TURNS = 10
ROWS = 1_000_000
ROWS_AN_ENTRY = 3
"""New rows that an entry of a new session makes; its model and its program have theirs already."""
AT_ONCE = 500
KEPT_S = 400 * 86_400
TEXT = "x" * 200
ANSWER = messages_pb2.Message(parts=[messages_pb2.Part(text=TEXT)])


def main() -> int:
    """All of it, in directories of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_measure(Path(directory)))


async def _measure(directory: Path) -> int:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(sessions_in(directory / f"{n}")) for n in range(3)]
        opened[0]._db = replace(opened[0].db, requests=NoIndex(opened[0].db.tables))
        sides = [
            await Side.make(opened[0]),
            await Side.make(opened[1]),
            await Side.make(opened[2], Usage(opened[2].db.store)),
        ]
        results = [
            report("One turn: its question, its answer, 200 bytes each", await _one_by_one(sides)),
            report(f"Turns of {CLIENTS} sessions at once", await _at_once(sides)),
            report(f"Usage at {ROWS:,} rows", await _growth(opened[2], sides[2])),
        ]
    return max(results)


class NoIndex(IdempotencyTable):
    """Requests are not noted anywhere."""

    def check_new(self, *_: object) -> None: ...

    def begin(self, *_: object) -> None: ...

    def end(self, *_: object) -> None: ...


class Side:
    """Sessions in which turns are made, and the books that they are counted in."""

    def __init__(self, sessions: Sessions, ids: list[str], usage: Usage | None) -> None:
        self._sessions, self._ids, self.usage = sessions, ids, usage
        self._number = count()

    @classmethod
    async def make(cls, sessions: Sessions, usage: Usage | None = None) -> Side:
        """With as many sessions as there are clients."""
        return cls(sessions, [(await sessions.create(Session())).id for _ in range(CLIENTS)], usage)

    async def turn(self, client: int = 0) -> None:
        """One turn, from its question to the count of what it used."""
        session_id, request_id = self._ids[client], f"request {next(self._number)}"
        turn = await self._sessions.begin_turn(session_id, request_id, [say(TEXT)])
        await turn.finish(ANSWER)
        if self.usage is not None:
            await self.usage.add(entry(request_id, session_id))

    async def turns(self) -> None:
        """Every client's, all clients at once."""

        async def mine(client: int) -> None:
            for _ in range(TURNS):
                await self.turn(client)

        await asyncio.gather(*map(mine, range(CLIENTS)))


def entry(request_id: str, session_id: str) -> UsageEntry:
    """What a small answer used."""
    return UsageEntry(request_id, "openai:gpt-4o-mini", "editor", session_id, 1200, 300, 0.00036)


async def _one_by_one(sides: list[Side]) -> list[Line]:
    bare, indexed, counted = await _medians([side.turn for side in sides], ROUNDS)
    return [
        Line("without the index of requests", bare, "ms"),
        Line("with it", indexed, "ms"),
        Line("with it, and with its usage counted", counted, "ms"),
        Line("with the index / without", indexed / bare, "x", 1.15),
        Line("with index and usage / without", counted / bare, "x", 2.0),
    ]


async def _at_once(sides: list[Side]) -> list[Line]:
    bare, indexed, counted = await _medians([side.turns for side in sides], 7)
    rates = [CLIENTS * TURNS / took * 1e3 for took in (bare, indexed, counted)]
    return [
        Line("without the index of requests", rates[0], "a second"),
        Line("with it", rates[1], "a second"),
        Line("with it, and with its usage counted", rates[2], "a second"),
        Line("with the index / without, in time", indexed / bare, "x", 1.25),
    ]


async def _growth(sessions: Sessions, side: Side) -> list[Line]:
    assert side.usage is not None
    usage, number, store = side.usage, count(), sessions.db.store

    async def add() -> None:
        await usage.add(entry(f"one {next(number)}", "a session"))

    few = await _median(add)
    for begin in range(0, ROWS // ROWS_AN_ENTRY, AT_ONCE):
        before = Usage(store, clock=lambda begin=begin: time.time() - begin * KEPT_S * ROWS_AN_ENTRY / ROWS)
        await asyncio.gather(
            *(before.add(entry(f"many {n}", f"session {n}")) for n in range(begin, begin + AT_ONCE))
        )
    many = await _median(add)
    with store.read() as txn:
        rows = store.table("usage").count(txn)
    return [
        Line("rows", rows, ""),
        Line("adding at few rows", few, "ms"),
        Line("adding at all of them", many, "ms"),
        Line("growth", many / few, "x", 1.5),
        Line("report by model", await _timed_ms(usage.report), "ms", 10.0),
        Line("caps", await _timed_ms(_budgets(usage)), "ms", 1.0),
        Line(
            "report by session of 30 days", await _timed_ms(lambda: usage.report(group=Group.SESSION)), "ms"
        ),
    ]


def _budgets(usage: Usage) -> Callable[[], Awaitable[object]]:
    async def call() -> object:
        return usage.reached_budget()

    return call


async def _median(call: Callable[[], Awaitable[object]]) -> float:
    return (await _medians([call], ROUNDS))[0]


async def _medians(calls: list[Callable[[], Awaitable[object]]], rounds: int) -> list[float]:
    """The median time of each call, taken in turn, after a warm-up."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + max(rounds // 10, 1)):
        for call, own in zip(calls, times, strict=True):
            took = await _timed_ms(call)
            if number >= max(rounds // 10, 1):
                own.append(took)
    return [statistics.median(own) for own in times]


async def _timed_ms(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    raise SystemExit(main())
