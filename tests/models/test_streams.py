"""Good answers of every provider, over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from oblix.testing import Answer, Cut, Dribble, HangUp, InStream, ModelServer, OpenAIServer, Wire
from support.drivers.model_requests import ask, question
from support.servers.providers import KINDS, Kind

from oblixd.models.base import Connection, Finish, Finished, ModelError, ModelErrorKind, State, TokenCounts
from oblixd.models.http.client import HttpClient
from oblixd.models.http.server import Server, ServerErrors


async def test_an_answer_with_its_counts(server: ModelServer, connection: Connection) -> None:
    server.script(Answer("Grüße aus \N{EARTH GLOBE EUROPE-AFRICA}!", reasoning="Let me see.", input_tokens=7))
    heard = await ask(connection)
    assert heard.error is None
    assert heard.finished is not None
    assert (heard.text, heard.reasoning) == ("Grüße aus \N{EARTH GLOBE EUROPE-AFRICA}!", "Let me see.")
    assert heard.finished == Finished(Finish.STOP, TokenCounts(7, 6), heard.finished.state)
    assert connection.status().state is State.READY


async def test_an_answer_in_single_bytes(server: ModelServer, connection: Connection) -> None:
    server.script(Answer("Grüße aus \N{EARTH GLOBE EUROPE-AFRICA}!", fault=Dribble()))
    assert (await ask(connection)).text == "Grüße aus \N{EARTH GLOBE EUROPE-AFRICA}!"


async def test_an_answer_that_met_its_limit(connection: Connection) -> None:
    heard = await ask(connection, question("Tell me much", max_tokens=2))
    assert (heard.text, heard.finished and heard.finished.reason) == ("You said:", Finish.LENGTH)


async def test_an_empty_answer(server: ModelServer, connection: Connection) -> None:
    server.script("")
    heard = await ask(connection)
    assert (heard.contents, heard.finished) == ([], None)
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.EMPTY


async def test_nothing_is_gathered_that_could_go_on(server: ModelServer, connection: Connection) -> None:
    """The first piece is there while the server still holds the rest back."""
    server.script(Answer("One two", tokens_per_second=0.5))
    async with aclosing(connection.stream(question())) as items:
        first = await anext(items)
    assert getattr(first, "text", "") == "One"


async def test_one_connection_serves_one_prompt_after_the_other(
    server: ModelServer, connection: Connection
) -> None:
    for _ in range(3):
        assert (await ask(connection)).error is None
    assert len({request.port for request in server.requests}) == 1


async def test_a_probe_opens_the_connection_that_the_prompt_uses(
    server: ModelServer, connection: Connection
) -> None:
    assert (await connection.probe()).state in {State.READY, State.IDLE}
    await ask(connection)
    assert len({call.port for call in server.calls}) == 1


async def test_a_kept_connection_that_the_server_gave_up_is_replaced_unseen(
    server: ModelServer, connection: Connection
) -> None:
    server.script("first", Answer(fault=HangUp()), "second")
    assert (await ask(connection)).text == "first"
    assert (await ask(connection)).text == "second"


async def test_a_long_context_arrives_whole(server: ModelServer, connection: Connection) -> None:
    text = "long\N{EURO SIGN}" * 300_000
    server.script("Indeed.")
    assert (await ask(connection, question(text))).error is None
    assert text in str(server.requests[0].body["messages"])


async def test_many_answers_at_once(server: ModelServer, connection: Connection) -> None:
    server.default = lambda asked: Answer(asked, tokens_per_second=500)
    texts = [f"answer number {number}" for number in range(32)]
    heard = await asyncio.gather(*(ask(connection, question(text)) for text in texts))
    assert [one.text for one in heard] == texts
    assert connection.running == 0


class EndsLate(InStream):
    """Says the last word, and ends the body a moment later, as servers do that flush in between."""

    after = 1

    def strike(self, wire: Wire, error: bytes) -> bool:
        wire.chunk(b'{"message":{"role":"assistant","content":""},"done":true}\n')
        wire.wait(0.02)
        wire.end()
        return False


async def test_the_end_of_the_body_is_awaited_so_that_the_connection_is_kept(
    servers: Callable[[ModelServer], ModelServer], connections: Callable[..., Connection]
) -> None:
    kind = KINDS["ollama"]
    server = servers(kind.server())
    server.script(Answer("One", fault=EndsLate()))
    connection = connections(kind.connect(kind.spec(server.url)))
    for _ in range(2):
        assert (await ask(connection)).error is None
    assert len({request.port for request in server.requests}) == 1


class LosesTheCounts(InStream):
    """Cuts the connection behind the stop reason, before the counts."""

    def __init__(self, after: int, data: bytes) -> None:
        self.after = after
        self._data = data

    def strike(self, wire: Wire, error: bytes) -> bool:
        wire.chunk(self._data)
        wire.cut(reset=False)
        return False


@pytest.mark.parametrize(
    ("name", "stop"),
    [
        ("openai", b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'),
        ("claude", b'data: {"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{}}\n\n'),
    ],
)
async def test_a_stop_reason_counts_although_the_last_frame_is_lost(
    name: str,
    stop: bytes,
    servers: Callable[[ModelServer], ModelServer],
    connections: Callable[..., Connection],
) -> None:
    kind = KINDS[name]
    server = servers(kind.server())
    server.script(Answer("Well said indeed", fault=LosesTheCounts(2, stop)))
    heard = await ask(connections(kind.connect(kind.spec(server.url))))
    assert (heard.text, heard.error) == ("Well said", None)
    assert heard.finished is not None
    assert heard.finished.reason is Finish.LENGTH


async def test_a_connection_that_is_closed_fails_its_streams(
    server: ModelServer, connection: Connection
) -> None:
    server.script(Answer("One two three", tokens_per_second=0.5))
    asking = asyncio.create_task(ask(connection))
    await asyncio.to_thread(server.wait_for_requests, 1)
    await connection.close()
    heard = await asking
    assert heard.error is not None
    assert heard.error.kind in {ModelErrorKind.UNREACHABLE, ModelErrorKind.BROKEN_STREAM}
    later = await ask(connection)
    assert later.error is not None
    assert later.error.kind is ModelErrorKind.UNREACHABLE


async def test_a_connection_that_retires_lets_its_streams_end(
    server: ModelServer, connection: Connection
) -> None:
    server.script(Answer("One two three", tokens_per_second=50))
    asking = asyncio.create_task(ask(connection))
    await asyncio.to_thread(server.wait_for_requests, 1)
    await connection.retire()
    assert (await asking).text == "One two three"


async def test_the_key_goes_to_the_server_and_nowhere_else(
    kind: Kind, servers: Callable[[ModelServer], ModelServer], connections: Callable[..., Connection]
) -> None:
    leak_mark = "sk-canary-0123456789"
    server = servers(kind.server(**({} if kind.provider == "ollama" else {"api_key": leak_mark})))
    right = connections(kind.connect(kind.spec(server.url, leak_mark)))
    assert (await ask(right)).error is None
    assert any(leak_mark in value for value in server.requests[0].headers.values())
    seen = [repr(right), repr(kind.spec(server.url, leak_mark)), str(server.requests[0].body)]
    wrong = leak_mark + "x"
    refused = await ask(connections(kind.connect(kind.spec(server.url, wrong))))
    if refused.error is not None:
        assert refused.error.kind is ModelErrorKind.UNAUTHENTICATED
        seen += [refused.error.message, repr(refused.error)]
    assert not [text for text in seen if leak_mark in text]


def test_the_test_server_repeats_a_wrong_key_in_its_error() -> None:
    """Else the test above would prove nothing for OpenAI."""
    with OpenAIServer(api_key="right") as server:
        assert b"wrong" in server.error(401, "Incorrect API key provided: wrong")


async def test_pieces_before_a_lost_connection_are_read(
    servers: Callable[[ModelServer], ModelServer],
) -> None:
    """A loop that is busy with others hears of the words and of the loss in one moment."""
    server = servers(OpenAIServer())
    server.script(Answer("One two three", fault=Cut(2)))
    base_url = server.url.removesuffix("/v1")
    http = HttpClient(Server(ServerErrors("The server", base_url), base_url))
    asked = {"model": server.models[0], "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with await http.request("POST", "/v1/chat/completions", asked) as response:
        await asyncio.to_thread(server.requests[-1].done.wait, 60)
        reads: list[bytes] = []

        async def read_on() -> None:
            while data := await response.read():
                reads.append(data)

        with pytest.raises(ModelError, match=r"lost (in the middle|before an answer came)"):
            await read_on()
    assert b"One" in b"".join(reads)
    assert b"two" in b"".join(reads)
    await http.close()
