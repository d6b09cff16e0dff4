"""What a local-only prompt sends where: nothing to the cloud, however late it became local-only."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from oblix.testing import ModelServer, OllamaServer, OpenAIServer
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, chat, message
from support.repository import files

from oblixd.models.base import Connection, Location, ModelErrorKind
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.custom import CustomConnection
from oblixd.models.providers.ollama import OllamaConnection
from oblixd.models.providers.openai import OpenAIConnection

Keep = Callable[[Connection], Connection]


def after(count: int) -> Callable[[], bool]:
    """A session that becomes local-only once it was looked at so many times."""
    looks = chain(repeat(False, count), repeat(True))
    return lambda: next(looks)


def secret(is_local_only: Callable[[], bool], size: int = 0) -> Any:
    return chat([message(messages_pb2.ROLE_USER, "A secret" + "!" * size)], is_local_only=is_local_only)


@pytest.fixture
def openai() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer(["mine"]) as server:
        yield server


@pytest.fixture
def cloud(openai: OpenAIServer, connections: Keep) -> Connection:
    return connections(OpenAIConnection(spec_of("openai", "gpt-4o-mini", endpoint=openai.url)))


@pytest.fixture
def local(ollama: OllamaServer, connections: Keep) -> Connection:
    return connections(OllamaConnection(spec_of("ollama", "mine", endpoint=ollama.url)))


@pytest.mark.parametrize("looks", range(2))
@pytest.mark.parametrize("is_open", [False, True], ids=["new connection", "open connection"])
async def test_a_cloud_model_gets_no_byte_whenever_it_was_said(
    openai: OpenAIServer, cloud: Connection, looks: int, is_open: bool
) -> None:
    if is_open:
        assert (await ask(cloud)).error is None
    before = len(openai.calls)
    heard = await ask(cloud, secret(after(looks)))
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.REFUSED
    assert "local-only" in heard.error.message
    assert openai.calls[before:] == []
    assert (await ask(cloud)).error is None, "the connection is not harmed"


async def test_a_long_body_is_held_back_in_its_middle(openai: OpenAIServer, cloud: Connection) -> None:
    heard = await ask(cloud, secret(after(6), size=2 << 20))
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.REFUSED
    assert openai.requests == [], "it was never whole"
    assert (await ask(cloud, secret(lambda: False, size=2 << 20))).error is None


async def test_a_name_is_asked_for_with_each_local_only_prompt(
    ollama: OllamaServer, local: Connection
) -> None:
    for _ in range(2):
        assert (await ask(local, secret(lambda: True))).error is None
    ollama.remote.add("mine:latest")
    heard = await ask(local, secret(lambda: True))
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.REFUSED
    assert len(ollama.requests) == 2
    assert (await ask(local)).error is None, "what is no secret goes there all the same"
    ollama.remote.clear()
    assert (await ask(local, secret(lambda: True))).error is None, "and it can come back"


@pytest.mark.parametrize("size", [0, 2 << 20])
@pytest.mark.parametrize("looks", range(3))
async def test_a_prompt_that_becomes_local_only_on_its_way_is_not_sent(
    ollama: OllamaServer, local: Connection, looks: int, size: int
) -> None:
    heard = await ask(local, secret(after(looks), size))
    assert heard.error is None
    assert len(ollama.requests) == 1
    assert "/api/show" in [call.path for call in ollama.calls]


@pytest.mark.parametrize("looks", range(2))
async def test_no_tokens_are_counted_in_the_cloud(
    servers: Callable[[ModelServer], ModelServer], connections: Keep, looks: int
) -> None:
    server = servers(OpenAIServer(["any"]))
    spec = spec_of("custom", "any", endpoint=server.url, location=Location.CLOUD)
    connection = CustomConnection(spec)
    connections(connection)
    # As it is once its server said that it is llama.cpp's, which this one only pretends to be.
    connection._is_learnt = connection._is_llamacpp = True
    asked = [message(messages_pb2.ROLE_USER, "A secret")]
    assert await connection.count_tokens(asked, after(looks)) is None
    assert [call.path for call in server.calls] == []
    assert await connection.count_tokens(asked, lambda: False) is None
    assert [call.path for call in server.calls if "A secret" in json.dumps(call.body)] == ["/tokenize"]


HOLDING_NO_PROMPT = {"/api/show", "/api/pull"}


def test_every_post_goes_through_the_check_of_egress() -> None:
    """`HttpClient.request` asks nobody, so what is posted by it is named here."""
    found = set()
    for path in files.sources("oblixd"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Attribute(attr="request"), [ast.Constant("POST"), where, *_]):
                    found.add(ast.literal_eval(where))
    assert found == HOLDING_NO_PROMPT
