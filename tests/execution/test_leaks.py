"""A thousand prompts that fail or are cancelled leave nothing open."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing, suppress

import psutil
import pytest
from oblix.testing import Answer, Cut, End, Fault, Hang, OllamaServer, Refuse, Report, Stall
from support.drivers.execution import Harness, prompt
from support.drivers.waiting import eventually

from oblixd.errors import OblixdError
from oblixd.execution import retry

ROUNDS = 1000
AT_ONCE = 20
FAULTS: dict[str, Fault | None] = {
    "well": None,
    "no head": Hang(),
    "no token": Stall(0),
    "mid-stream": Stall(1),
    "cut": Cut(1),
    "reset": Cut(0, reset=True),
    "end": End(1),
    "report": Report(0),
    "refuse": Refuse(500),
    "queued": Hang(),
}
LEAVES_AT = {"no head": "started", "no token": "started", "mid-stream": "delta", "queued": "queued"}
"""The event at which the client goes away. The others stay to the end."""


async def play(harness: Harness, handle: str, what: str, session: str) -> None:
    """One prompt. The question says what becomes of it."""
    request = prompt(what, handle, session_id=session)
    with suppress(OblixdError):
        async with aclosing(harness.executions.execute(request)) as events:
            async for event in events:
                if event.WhichOneof("event") == LEAVES_AT.get(what):
                    return


async def test_nothing_is_left_after_a_thousand_prompts(
    harness: Harness, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    server.default = lambda question: Answer("One two three", fault=FAULTS[question])
    handle, session = harness.hook(server), await harness.session()
    names = [name for name in FAULTS if name != "queued"]

    async def play_some(count: int) -> None:
        for start in range(0, count, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            # Three of them share a session: while the first has its turn, the others wait and leave.
            turns = [play(harness, handle, name, session) for name in ("well", "queued", "queued")]
            others = [play(harness, handle, names[number % len(names)], "") for number in numbers[3:]]
            await asyncio.gather(*turns, *others)
            await eventually(lambda: harness.executions.running_count == 0)

    await play_some(AT_ONCE * 2)
    before = _count_leftovers()
    await play_some(ROUNDS)
    # The server's threads close their ends a moment later.
    await eventually(lambda: all(now <= then for now, then in zip(_count_leftovers(), before, strict=True)))
    assert harness.messages_of(session)[-1][1] == "One two three"


def _count_leftovers() -> tuple[int, int]:
    """Descriptors that are open, ours and the server's, and tasks that run."""
    gc.collect()
    return psutil.Process().num_fds(), len(asyncio.all_tasks())
