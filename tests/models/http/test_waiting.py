"""How long a server is waited for: signs of life, silence, and a process that works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.drivers.model_requests import ask
from support.servers.providers import KINDS
from support.servers.raw_server import CHUNKS, HEAD, playing

from oblixd.models.base import Connection, ModelErrorKind
from oblixd.models.http.server import TIMEOUTS, Timeouts, timeouts_of
from oblixd.models.options import options_of

KIND = KINDS["custom"]
SHORT = Timeouts(connect_s=60.0, first_s=1.0, stall_s=1.0, content_s=None)
EVERY_S = 0.1
MANY = 12
"""So many signs take longer than each limit."""
LONGER_S = 1.5
Connections = Callable[[Connection], Connection]
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
SIGNS = {
    "pings": b'event: ping\ndata: {"type": "ping"}\n\n',
    "comments": b": OPENROUTER PROCESSING\n\n",
    "progress": b'data: {"choices":[],"prompt_progress":{"total":10,"processed":5}}\n\n',
    "roles": ROLE,
    "empty lines": b"\n",
    "blanks": b" \n",
}
HELLO = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'


def connection_to(url: str, timeouts: Timeouts, connections: Connections) -> Connection:
    return connections(KIND.connect(KIND.spec(url), timeouts=timeouts))


async def test_signs_of_life_are_waited_through(connections: Connections) -> None:
    async def heard_through(sign: bytes) -> str:
        signs = [sign, EVERY_S] * MANY
        async with playing([HEAD, *signs, HELLO, *signs, CHUNKS]) as server:
            heard = await ask(connection_to(server.url, SHORT, connections))
        return heard.text if heard.error is None else f"{sign!r}: {heard.error}"

    said = await asyncio.gather(*(heard_through(sign) for sign in SIGNS.values()))
    assert said == ["HelloHello"] * len(SIGNS)


async def test_silence_is_not_waited_through(connections: Connections) -> None:
    async with playing([HEAD, ROLE, 5.0, CHUNKS]) as server:
        error = (await ask(connection_to(server.url, SHORT, connections))).error
    assert error is not None
    assert error.kind is ModelErrorKind.UNREACHABLE
    assert "for 1 s" in error.message


async def test_signs_of_life_alone_are_waited_for_so_long(connections: Connections) -> None:
    timeouts = replace(SHORT, content_s=0.3)
    async with playing([HEAD, *[SIGNS["comments"], EVERY_S] * 100]) as server:
        error = (await ask(connection_to(server.url, timeouts, connections))).error
    assert error is not None
    assert "0.3 s" in error.message


async def test_the_first_token_has_a_limit_of_its_own(connections: Connections) -> None:
    timeouts = replace(SHORT, first_token_s=0.9)
    signs = [SIGNS["comments"], EVERY_S]
    async with playing([HEAD, *signs * 100], [HEAD, HELLO, *signs * MANY, CHUNKS]) as server:
        connection = connection_to(server.url, timeouts, connections)
        error = (await ask(connection)).error
        assert error is not None
        assert "0.9 s" in error.message
        assert (await ask(connection)).text == "HelloHello", "it counts for the first token only"


@pytest.mark.parametrize(
    "answer", [[LONGER_S, HEAD, CHUNKS], [HEAD, LONGER_S, CHUNKS], [HEAD, HELLO, LONGER_S, CHUNKS]]
)
async def test_a_silent_server_whose_process_works_is_waited_for(
    answer: list[bytes | float], connections: Connections
) -> None:
    asked: list[str] = []

    async def works(origin: str) -> bool:
        asked.append(origin)
        return True

    async with playing(answer) as server:
        connection = connection_to(server.url, SHORT, connections)
        connection.learn_of(works=works)  # type: ignore[attr-defined]
        heard = await ask(connection)
        assert heard.error is None
        assert heard.text.endswith("Hello")
        assert set(asked) == {server.url}


async def test_a_silent_server_whose_process_rests_is_given_up(connections: Connections) -> None:
    async def works(_origin: str) -> bool:
        await asyncio.sleep(0)
        return False

    async with playing([5.0, HEAD]) as server:
        connection = connection_to(server.url, SHORT, connections)
        connection.learn_of(works=works)  # type: ignore[attr-defined]
        assert (await ask(connection)).error is not None


async def test_a_silent_server_is_given_up_where_its_process_can_not_be_looked_at(
    connections: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    async def works(_origin: str) -> bool:
        raise PermissionError

    async with playing([60.0, HEAD]) as server:
        connection = connection_to(server.url, SHORT, connections)
        connection.learn_of(works=works)  # type: ignore[attr-defined]
        assert (await ask(connection)).error is not None
        assert server.url in caplog.text


@pytest.mark.parametrize(
    ("given", "is_here", "expected"),
    [
        ({}, False, TIMEOUTS),
        ({}, True, replace(TIMEOUTS, content_s=None)),
        ({"first_token_timeout_s": 900}, False, replace(TIMEOUTS, first_s=900, first_token_s=900)),
        ({"idle_timeout_s": 7}, True, replace(TIMEOUTS, stall_s=7, content_s=None)),
        (
            {"first_token_timeout_s": 900, "idle_timeout_s": 7},
            False,
            replace(TIMEOUTS, first_s=7, first_token_s=900, stall_s=7),
        ),
    ],
)
def test_timeouts_come_from_the_models_options(
    given: dict[str, object], is_here: bool, expected: Timeouts
) -> None:
    assert timeouts_of(options_of(given), TIMEOUTS, is_here=is_here) == expected
