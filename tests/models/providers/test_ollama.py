"""What is known of a model of Ollama's: its window, what it can, and whether it is in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.testing import Answer, ModelServer, OllamaServer, Refuse
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, chat, message, question
from support.drivers.waiting import eventually

from oblixd.models.base import ChatRequest, Connection, ModelErrorKind, State, Tool
from oblixd.models.hook_spec import spec_of
from oblixd.models.options import keep_alive_seconds, wire_keep_alive
from oblixd.models.providers.ollama import OllamaConnection
from oblixd.models.providers.ollama_status import Facts, Loaded, OllamaSettings, Residence

Servers = Callable[[ModelServer], ModelServer]
Connect = Callable[..., OllamaConnection]
IMAGE = chat(
    [
        message(
            messages_pb2.ROLE_USER,
            messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"P")),
        )
    ]
)


@pytest.fixture
def server(servers: Servers) -> OllamaServer:
    server = OllamaServer(["llama2"], context_length=32_768)
    servers(server)
    return server


@pytest.fixture
def connect(server: OllamaServer, connections: Callable[[Connection], Connection]) -> Connect:
    """Connects to `server`."""

    def connect(
        settings: OllamaSettings | None = None, name: str = "llama2", **options: Any
    ) -> OllamaConnection:
        spec = spec_of("ollama", name, endpoint=server.url, options=options)
        connection = OllamaConnection(spec, settings or OllamaSettings())
        connections(connection)
        return connection

    return connect


@pytest.mark.parametrize(
    ("options", "length", "expected"),
    [
        ({}, 32_768, (8192, 8192)),
        ({}, 2048, (2048, 8192)),
        ({"num_ctx": 16_384}, 32_768, (16_384, 16_384)),
        ({"num_ctx": 65_536}, 32_768, (32_768, 65_536)),
        ({"context_window": 1024}, 32_768, (1024, 1024)),
        ({"num_ctx": 2048, "context_window": 1024}, 32_768, (1024, 2048)),
    ],
)
async def test_the_window_is_what_is_sent(
    server: OllamaServer, connect: Connect, options: dict[str, int], length: int, expected: tuple[int, int]
) -> None:
    server.context_length = length
    connection = connect(**options)
    assert connection.context_window is not None
    assert connection.context_window >= expected[0], "never unknown"
    assert (await ask(connection)).error is None
    await connection.confirm_location()
    assert (connection.context_window, server.requests[-1].body["options"]["num_ctx"]) == expected


async def test_prompts_that_differ_never_load_the_model_again(server: OllamaServer, connect: Connect) -> None:
    connection = connect(OllamaSettings(num_ctx=4096, keep_alive="90"))
    for request in (question("One"), question("Two", max_tokens=3, temperature=0.5, stop=("x",)), IMAGE):
        assert (await ask(connection, request)).error is None
    assert server.loads == [("llama2:latest", 4096)]
    chats = [one.body for one in server.requests]
    assert {body["keep_alive"] for body in chats} == {"90s"}
    assert {body["truncate"] for body in chats} == {False}


async def test_a_hosted_model_has_its_whole_context(servers: Servers, connections: Any) -> None:
    hosted = servers(OllamaServer([], remote=["gpt-oss:120b-cloud"], context_length=131_072))
    connection = connections(
        OllamaConnection(spec_of("ollama", "gpt-oss:120b-cloud", endpoint=hosted.url), OllamaSettings())
    )
    assert (await connection.probe()).state is State.READY
    assert (connection.context_window, connection.max_running) == (131_072, None)
    assert (await ask(connection)).error is None
    assert connection.status().state is State.READY


@pytest.mark.parametrize(
    ("capabilities", "features"),
    [
        (["completion", "vision", "insert"], ("json_schema", "images")),
        (["completion", "tools", "thinking"], ("json_schema", "tools", "reasoning")),
        (None, ()),
    ],
)
async def test_the_features_of_a_model_are_read(
    server: OllamaServer, connect: Connect, capabilities: list[str] | None, features: tuple[str, ...]
) -> None:
    server.capabilities = capabilities
    connection = connect()
    assert connection.features == ()
    await connection.confirm_location()
    assert connection.features == features


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (IMAGE, "can't read images"),
        (chat(IMAGE.messages[:0], tools=(Tool("time"),)), "knows no tools"),
    ],
)
async def test_unsupported_input_is_refused_before_it_is_sent(
    server: OllamaServer, connect: Connect, asked: ChatRequest, words: str
) -> None:
    server.capabilities = ["completion"]
    heard = await ask(connect(), asked)
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.REFUSED
    assert words in heard.error.message
    assert not server.requests


async def test_an_older_server_is_tried_with_everything(server: OllamaServer, connect: Connect) -> None:
    server.capabilities = None
    assert (await ask(connect(), IMAGE)).error is None


async def test_loading_is_told_apart_from_waiting(server: OllamaServer, connect: Connect) -> None:
    server.load_s = 60.0
    connection = connect()
    assert (await connection.probe()).state is State.IDLE
    asking = asyncio.create_task(ask(connection))
    await eventually(lambda: connection.status().state is State.LOADING)
    asking.cancel()
    await asyncio.wait([asking])
    assert connection.status().state is State.IDLE
    server.load_s = 0.0
    assert (await ask(connection)).error is None
    assert connection.status().state is State.READY
    assert connection.memory_bytes == 0
    assert (await connection.probe()).state is State.READY
    assert connection.memory_bytes == 1_000_000_000


async def test_it_is_idle_once_its_time_is_over(connect: Connect) -> None:
    connection = connect(keep_alive="0")
    assert (await ask(connection)).error is None
    assert connection.status().state is State.IDLE
    assert (await connection.probe()).state is State.IDLE


async def test_another_programs_context_is_told(server: OllamaServer, connect: Connect) -> None:
    other, ours = connect(num_ctx=2048), connect()
    await ask(other)
    status = await ours.probe()
    assert status.state is State.IDLE
    assert "with a context of 2,048 tokens" in status.reason
    await ask(ours)
    assert (ours.status().state, ours.status().reason) == (State.READY, "")


async def test_a_failure_before_the_first_word_leaves_no_trace(
    server: OllamaServer, connect: Connect
) -> None:
    connection = connect()
    server.script(Answer(fault=Refuse(500)))
    assert (await ask(connection)).error is not None
    assert connection.status().state is State.UNKNOWN
    assert connection.running == 0


async def test_a_prompt_that_does_not_fit_is_an_error_and_not_cut(connect: Connect) -> None:
    heard = await ask(connect(num_ctx=4), question("one two three four five"))
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.CONTEXT_OVERFLOW


async def test_a_model_that_is_not_pulled_is_told_apart(connect: Connect) -> None:
    connection = connect(name="mistral")
    status = await connection.probe()
    assert status.state is State.UNAVAILABLE
    assert "run `ollama pull mistral` or `oblix models pull ollama:mistral`" in status.reason


def test_residence_follows_the_clock() -> None:
    now = [100.0]
    residence = Residence(60.0, lambda: now[0])
    residence.asked()
    residence.spoke()
    residence.asked()
    assert residence.state is State.READY, "one speaks, one waits"
    residence.ended(spoke=True)
    residence.ended(spoke=False)
    now[0] += 59.0
    assert residence.state is State.READY
    now[0] += 1.0
    assert residence.state is State.IDLE
    residence.told(Loaded(1, None, 5.0), 8192)
    assert residence.state is State.READY
    residence.told(None, 8192)
    assert residence.state is State.IDLE


@pytest.mark.parametrize(
    ("text", "seconds", "wire"),
    [
        ("10m", 600.0, "10m"),
        ("1h30m", 5400.0, "1h30m"),
        ("600", 600.0, "600s"),
        ("0", 0.0, "0s"),
        ("-1", math.inf, "-1s"),
        ("1.5s", 1.5, "1.5s"),
    ],
)
def test_the_configured_keep_alive_is_sent(text: str, seconds: float, wire: str) -> None:
    assert (keep_alive_seconds(text), wire_keep_alive(text)) == (seconds, wire)


TEXT = st.text("tools-:T0é", max_size=12) | st.just("9999-12-31T23:59:59+00:00")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=8,
)
LOADED = st.fixed_dictionaries(
    {},
    optional={"model": st.just("llama2") | JSON, "size": JSON, "context_length": JSON, "expires_at": JSON},
)


@given(shown=st.dictionaries(st.sampled_from(["model_info", "capabilities", "remote_host"]), JSON))
def test_any_description_is_survived(shown: dict[str, Any]) -> None:
    facts = Facts.read(shown)
    assert facts.context_length is None or facts.context_length > 0


@given(running=st.fixed_dictionaries({"models": st.lists(LOADED | JSON) | JSON}))
def test_any_list_of_the_loaded_is_survived(running: dict[str, Any]) -> None:
    loaded = Loaded.read(running, "llama2")
    assert loaded is None or loaded.left_s >= 0
