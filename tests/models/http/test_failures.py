"""Every way in which a server fails: the kind, the words, what had arrived, and nothing left open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

import pytest
from oblix.testing import (
    Answer,
    Bomb,
    Cut,
    End,
    Fault,
    Hang,
    HangUp,
    Insert,
    ModelServer,
    Page,
    Refuse,
    Repeat,
    Report,
    Stall,
)
from support.drivers.model_requests import ask
from support.faults import bad_ports
from support.servers.providers import KINDS, Kind, impatient

from oblixd.models.base import Connection, ModelErrorKind, State
from oblixd.models.http.rate_limit import LONGEST_RETRY_AFTER_S, retry_after_s
from oblixd.models.http.server import Timeouts

E = ModelErrorKind
PROVIDERS = ["ollama", "openai", "claude"]


@dataclass(frozen=True)
class Case:
    """A fault, and what has to come of it."""

    fault: Fault
    kind: ModelErrorKind
    words: str
    text: str = ""
    """What arrived before it."""

    @property
    def waits(self) -> str:
        """The limit that ends it, where the server says nothing more: only time tells."""
        if isinstance(self.fault, Repeat):
            return "content_s"
        if isinstance(self.fault, Hang | Stall):
            return "stall_s" if self.text else "first_s"
        return ""


OVERFLOW = "This model's maximum context length is 4096 tokens"
EVERYWHERE = {
    "hang": Case(Hang(), E.UNREACHABLE, "no content for 0.3 s"),
    "hang up": Case(HangUp(), E.UNREACHABLE, "connection was lost"),
    "reset": Case(HangUp(reset=True), E.UNREACHABLE, "connection was lost"),
    "stall before the first token": Case(Stall(0), E.UNREACHABLE, "no content for 0.3 s"),
    "stall": Case(Stall(2), E.STALLED, "nothing for 1 s", "One two"),
    "cut before the first token": Case(Cut(0), E.BROKEN_STREAM, "lost in the middle"),
    "cut": Case(Cut(2), E.BROKEN_STREAM, "lost in the middle", "One two"),
    "end before the first token": Case(End(0), E.BROKEN_STREAM, "without saying that it was done"),
    "end": Case(End(2), E.BROKEN_STREAM, "without saying that it was done", "One two"),
    "error first": Case(Report(0, "out of memory"), E.FAILED, "out of memory"),
    "error": Case(Report(2, "out of memory"), E.FAILED, "out of memory", "One two"),
    "web page": Case(Page(), E.BROKEN_STREAM, "web page"),
    "compressed": Case(Bomb(), E.BROKEN_STREAM, "longer than"),
    "redirect": Case(Refuse(302, "", {"Location": "http://elsewhere/"}), E.UNREACHABLE, "http://elsewhere/"),
    "400": Case(Refuse(400, "bad value for top_p"), E.REFUSED, "bad value for top_p"),
    "400 overflow": Case(Refuse(400, OVERFLOW), E.CONTEXT_OVERFLOW, "longer context"),
    "401": Case(Refuse(401), E.UNAUTHENTICATED, "key"),
    "403": Case(Refuse(403), E.UNAUTHENTICATED, "key"),
    "413": Case(Refuse(413), E.REFUSED, "413"),
    "429": Case(Refuse(429), E.RATE_LIMITED, "Wait"),
    "500": Case(Refuse(500, "llama runner exited"), E.FAILED, "llama runner exited"),
    "502": Case(Refuse(502), E.UNREACHABLE, "502"),
    "503": Case(Refuse(503, "server busy"), E.OVERLOADED, "server busy"),
    "504": Case(Refuse(504), E.UNREACHABLE, "504"),
    "529": Case(Refuse(529), E.OVERLOADED, "529"),
}
LONG = b"x" * (16 * 1024 * 1024 + 1)
NDJSON = {
    "not json": Case(Insert(b"nonsense\n", 2), E.BROKEN_STREAM, "not a JSON object", "One two"),
    "half an object": Case(Insert(b'{"message":\n', 2), E.BROKEN_STREAM, "not a JSON object", "One two"),
    "endless line": Case(Insert(LONG, 2), E.BROKEN_STREAM, "longer than", "One two"),
    "empty lines only": Case(Repeat(b"\n", 0.02), E.UNREACHABLE, "no content for"),
}
EVENTS = {
    "not json": Case(Insert(b"data: nonsense\n\n", 2), E.BROKEN_STREAM, "not a JSON object", "One two"),
    "unframed error": Case(Insert(b'{"error":{"message":"full"}}\n', 2), E.FAILED, "full", "One two"),
    "endless line": Case(Insert(b"data: " + LONG, 2), E.BROKEN_STREAM, "longer than", "One two"),
    "comments only": Case(Repeat(b": keep-alive\n\n", 0.02), E.UNREACHABLE, "no content for"),
    "comments after content": Case(Repeat(b": keep-alive\n\n", 0.02, 2), E.STALLED, "nothing for", "One two"),
}
OVERLOADED_IN_STREAM = {"error", "error first"}


def cases_of(name: str) -> dict[str, Case]:
    return {**EVERYWHERE, **(NDJSON if name == "ollama" else EVENTS)}


def prompt_cases() -> list[pytest.param]:
    return [
        pytest.param(name, title, case, id=f"{name}: {title}")
        for name in PROVIDERS
        for title, case in cases_of(name).items()
        if not case.waits
    ]


async def fails(kind: Kind, case: Case, expected: ModelErrorKind, timeouts: Timeouts) -> None:
    with kind.server() as server:
        server.script(Answer("One two three four", fault=case.fault))
        connection = kind.connect(kind.spec(server.url), timeouts=timeouts)
        heard = await ask(connection)
        assert heard.error is not None
        assert heard.error.kind is expected
        assert case.words in heard.error.message
        assert heard.text == case.text
        assert heard.error.endpoint == server.url
        assert connection.status().reason == heard.error.message
        assert connection.status().state is not State.UNAVAILABLE, "it must be tried again"
        assert len(server.requests) == 1
        await connection.close()


@pytest.mark.parametrize(("name", "title", "case"), prompt_cases())
async def test_a_failing_server(name: str, title: str, case: Case) -> None:
    overloaded = name == "claude" and title in OVERLOADED_IN_STREAM
    await fails(KINDS[name], case, E.OVERLOADED if overloaded else case.kind, Timeouts())
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_servers_that_fall_silent(name: str) -> None:
    silent = [case for case in cases_of(name).values() if case.waits]
    assert len(silent) >= 4
    await asyncio.gather(*(fails(KINDS[name], case, case.kind, impatient(case.waits)) for case in silent))


async def test_the_next_prompt_is_not_hurt(server: ModelServer, connection: Connection) -> None:
    server.script(Answer("One two", fault=Cut(1)), Answer(fault=Refuse()), "Three")
    assert (await ask(connection)).error is not None
    assert (await ask(connection)).error is not None
    assert (await ask(connection)).text == "Three"
    assert connection.status().state is State.READY


async def test_a_broken_event_that_nobody_needs_is_passed_over(
    servers: Callable[[ModelServer], ModelServer], connections: Callable[..., Connection]
) -> None:
    kind = KINDS["openai"]
    server = servers(kind.server())
    server.script(Answer("One two three", fault=Insert(b"garbage\n\nevent: odd\n\n", 2)))
    heard = await ask(connections(kind.connect(kind.spec(server.url))))
    assert (heard.text, heard.error) == ("One two three", None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("\x1f7", 7.0),
        ("0", 0.0),
        ("-1", None),
        ("1e9", None),
        ("99999999999", None),
        (str(int(LONGEST_RETRY_AFTER_S)), LONGEST_RETRY_AFTER_S),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("\N{ARABIC-INDIC DIGIT FIVE}", None),
    ],
)
def test_the_header_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header) == seconds


def test_retry_after_as_a_date() -> None:
    seconds = retry_after_s(formatdate(time.time() + 60, usegmt=True))
    assert seconds is not None
    assert 50 < seconds <= 60


async def test_retry_after_reaches_the_caller(server: ModelServer, connection: Connection) -> None:
    server.script(Answer(fault=Refuse(429, "slow down", {"Retry-After": "12"})))
    error = (await ask(connection)).error
    assert error is not None
    assert error.retry_after_s == 12.0


async def test_a_closed_port_is_unreachable(kind: Kind, connections: Callable[..., Connection]) -> None:
    with bad_ports.unheard() as port:
        url = f"http://127.0.0.1:{port}"
        connection = connections(kind.connect(kind.spec(url)))
        error = (await ask(connection)).error
    assert error is not None
    assert error.kind is E.UNREACHABLE
    assert f"isn't running at {url}" in error.message
    assert ("ollama serve" in error.message) == (kind.provider == "ollama")
    assert (await connection.probe()).state is State.UNAVAILABLE


async def test_a_connection_that_never_comes_about(
    kind: Kind, connections: Callable[..., Connection]
) -> None:
    with bad_ports.deaf() as port:
        url = f"http://127.0.0.1:{port}"
        error = (await ask(connections(kind.connect(kind.spec(url), timeouts=impatient("connect_s"))))).error
    assert error is not None
    assert error.kind is E.UNREACHABLE
    assert "no connection came about within 0.2 s" in error.message


async def test_no_such_host(connections: Callable[..., Connection]) -> None:
    kind = KINDS["ollama"]
    error = (await ask(connections(kind.connect(kind.spec("http://no-such-host.invalid"))))).error
    assert error is not None
    assert error.kind is E.UNREACHABLE
    assert "no such host" in error.message


async def test_tls_with_a_server_that_speaks_none(
    server: ModelServer, connections: Callable[..., Connection]
) -> None:
    kind = KINDS["ollama"]
    url = f"https://127.0.0.1:{server.port}"
    error = (await ask(connections(kind.connect(kind.spec(url))))).error
    assert error is not None
    assert error.kind is E.UNREACHABLE
    assert "TLS failed" in error.message


async def test_bytes_that_are_no_http_are_a_failure(connections: Callable[..., Connection]) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x16\x03\x01 SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        kind = KINDS["ollama"]
        connection = connections(kind.connect(kind.spec(f"http://127.0.0.1:{port}")))
        error = (await ask(connection)).error
    assert error is not None
    assert error.kind is E.BROKEN_STREAM
