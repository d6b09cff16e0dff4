"""Pulls: shared, told, stopped, gone on with; and the ways in which they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from oblix.testing import Cut, End, HangUp, ModelServer, OllamaServer, Page, Refuse, Report
from support.drivers.waiting import eventually

from oblixd.errors import InvalidArgumentError
from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.models.pulls import Progress, Pulls

SIZE = 1_000_003


@pytest.fixture
def server(servers: Callable[[ModelServer], ModelServer]) -> OllamaServer:
    server = OllamaServer([], library={"gemma": SIZE})
    servers(server)
    return server


@pytest.fixture
def pulls(server: OllamaServer) -> Pulls:
    return Pulls(server.url)


async def pull(pulls: Pulls, name: str = "gemma") -> list[Progress]:
    return [progress async for progress in pulls.pull(pulls.spec(name))]


async def test_a_pull_tells_how_far_it_is(server: OllamaServer, pulls: Pulls) -> None:
    server.pull_pause_s = 0.01
    told = await pull(pulls)
    assert told[-1] == Progress("success")
    pieces = [one for one in told if one.digest]
    assert {one.total_bytes for one in pieces} == {SIZE}
    assert [one.completed_bytes for one in pieces] == sorted(one.completed_bytes for one in pieces)
    assert server.models == ["gemma"]


async def test_several_who_want_the_same_share_one(server: OllamaServer, pulls: Pulls) -> None:
    server.pull_pause_s = 0.01
    told = await asyncio.gather(*(pull(pulls) for _ in range(5)))
    assert [one[-1].status for one in told] == ["success"] * 5
    assert len(server.calls) == 1


async def test_it_stops_with_its_last_listener_and_goes_on_later(server: OllamaServer, pulls: Pulls) -> None:
    server.pull_pause_s = 0.02
    first, second = asyncio.create_task(pull(pulls)), asyncio.create_task(pull(pulls))
    await eventually(lambda: server.library.arrived_bytes("gemma") > 0)
    first.cancel()
    await asyncio.wait([first])
    assert not server.calls[0].abandoned.is_set()
    second.cancel()
    await asyncio.wait([second])
    await asyncio.to_thread(server.calls[0].done.wait, 60)
    assert server.calls[0].abandoned.is_set()
    there = server.library.arrived_bytes("gemma")
    assert 0 < there < SIZE
    told = await pull(pulls)
    assert told[-1].status == "success"
    assert min(one.completed_bytes for one in told if one.digest) >= there


async def test_a_slow_listener_gets_the_latest_progress(server: OllamaServer, pulls: Pulls) -> None:
    server.pull_pause_s = 0.01
    async with aclosing(pulls.pull(pulls.spec("gemma"))) as telling:
        first = await anext(telling)
        await eventually(next(iter(pulls._by_model.values()))._task.done)
        told = [first.status, *[one.status async for one in telling]]
    assert (told[-1], len(told) <= 2) == ("success", True), "what came meanwhile is told as one"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Cut(after=3), ModelErrorKind.BROKEN_STREAM),
        (End(after=3), ModelErrorKind.BROKEN_STREAM),
        (Report(after=3, message="no space left on device"), ModelErrorKind.FAILED),
        (Refuse(500), ModelErrorKind.FAILED),
        (Page(), ModelErrorKind.BROKEN_STREAM),
        (HangUp(), ModelErrorKind.UNREACHABLE),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_failing_pull(
    server: OllamaServer, pulls: Pulls, fault: object, kind: ModelErrorKind
) -> None:
    server.pull_fault = fault
    both = await asyncio.gather(pull(pulls), pull(pulls), return_exceptions=True)
    assert [one.kind for one in both if isinstance(one, ModelError)] == [kind, kind]
    server.pull_fault = None
    assert (await pull(pulls))[-1].status == "success"


async def test_a_name_that_is_not_in_the_library(pulls: Pulls) -> None:
    with pytest.raises(ModelError, match="has no model gema") as caught:
        await pull(pulls, "gema")
    assert caught.value.kind is ModelErrorKind.NOT_PULLED


async def test_a_server_that_does_not_run(server: OllamaServer, pulls: Pulls) -> None:
    server.close()
    with pytest.raises(ModelError, match="ollama serve"):
        await pull(pulls)


def test_a_name_is_checked(pulls: Pulls) -> None:
    with pytest.raises(InvalidArgumentError):
        pulls.spec("")
