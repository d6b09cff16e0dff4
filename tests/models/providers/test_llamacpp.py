"""What a real llama.cpp server tells of its tokens and limits, and what others tell instead."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from oblix.testing import ModelServer, OpenAIServer
from oblix.v1 import messages_pb2
from support.drivers.model_requests import anywhere, message
from support.servers.llama_server import serving

from oblixd.models.embedded.weights import find
from oblixd.models.http.client import HttpClient
from oblixd.models.http.server import Server, ServerErrors
from oblixd.models.providers.llamacpp import Limits, Tokeniser, limits_of

TEXTS = ["Hello world", "", " x", "Grüße, 世界", "<|im_end|>", "a\n\nb" * 50]


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    with serving(find(None).path) as url:
        yield url


@pytest.fixture
async def tokeniser(llama: str) -> AsyncIterator[Tokeniser]:
    http = HttpClient(Server(ServerErrors("The endpoint", llama), llama))
    yield Tokeniser(http)
    await http.close()


def count_text(llama: str, text: str) -> int:
    """What the server counts when it is asked for nothing else."""
    answer = httpx.post(f"{llama}/tokenize", json={"content": text, "add_special": False}).json()
    return len(answer["tokens"])


def render(llama: str, messages: list[dict[str, str]]) -> str:
    """A conversation as the model reads it."""
    return httpx.post(f"{llama}/apply-template", json={"messages": messages}).json()["prompt"]


async def test_many_texts_are_counted_as_each_alone(llama: str, tokeniser: Tokeniser) -> None:
    assert await tokeniser.count(TEXTS, anywhere()) == [count_text(llama, text) for text in TEXTS]
    assert await tokeniser.count([], anywhere()) == []


async def test_a_conversation_takes_what_its_messages_were_counted_to(
    llama: str, tokeniser: Tokeniser
) -> None:
    said = [("user", "What is up?"), ("assistant", "The sky."), ("user", "And what is down?")]
    roles = {"user": messages_pb2.ROLE_USER, "assistant": messages_pb2.ROLE_ASSISTANT}
    counts = await tokeniser.count_messages([message(roles[role], text) for role, text in said], anywhere())
    assert counts is not None
    prompt = render(llama, [{"role": role, "content": text} for role, text in said])
    # The template ends with the head of the answer, which is no message yet.
    assert 0 <= count_text(llama, prompt) - sum(counts) <= 4


async def test_images_and_tools_are_counted_as_the_model_reads_them(llama: str, tokeniser: Tokeniser) -> None:
    arguments = json.dumps({"city": "Bern"})
    call = messages_pb2.Part(
        tool_call=messages_pb2.ToolCallPart(call_id="1", name="weather", arguments_json=arguments)
    )
    result = messages_pb2.Part(tool_result=messages_pb2.ToolResultPart(call_id="1", content="Sunny."))
    thought = messages_pb2.Part(reasoning="Let me see." * 100)
    bare, called, answered = (
        await tokeniser.count_messages(
            [
                message(messages_pb2.ROLE_USER, ""),
                message(messages_pb2.ROLE_ASSISTANT, call),
                message(messages_pb2.ROLE_TOOL, result),
            ],
            anywhere(),
        )
        or []
    )
    assert called - bare == count_text(llama, f"weather\n{arguments}")
    assert answered - bare == count_text(llama, "Sunny.")
    assert await tokeniser.count_messages([message(messages_pb2.ROLE_ASSISTANT, thought)], anywhere()) == [
        bare
    ]


async def test_an_image_can_not_be_counted(tokeniser: Tokeniser) -> None:
    image = messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"\x89PNG"))
    both = [message(messages_pb2.ROLE_USER, "Hello"), message(messages_pb2.ROLE_USER, image)]
    assert await tokeniser.count_messages(both, anywhere()) is None


async def test_a_server_without_one_is_asked_once(servers: Callable[[ModelServer], ModelServer]) -> None:
    server = servers(OpenAIServer())
    http = HttpClient(Server(ServerErrors("The endpoint", ""), server.url.removesuffix("/v1")))
    tokeniser = Tokeniser(http)
    assert await tokeniser.count(["a"], anywhere()) is None
    assert await tokeniser.count_messages([message(messages_pb2.ROLE_USER, "a")], anywhere()) is None
    assert [received.path for received in server.calls] == ["/tokenize"]
    await http.close()


async def test_a_server_that_is_gone_is_asked_again(servers: Callable[[ModelServer], ModelServer]) -> None:
    server = servers(OpenAIServer())
    http = HttpClient(Server(ServerErrors("The endpoint", ""), server.url.removesuffix("/v1")))
    tokeniser = Tokeniser(http)
    server.close()
    assert await tokeniser.count(["a"], anywhere()) is None
    with OpenAIServer(port=server.port) as again:
        assert await tokeniser.count(["a"], anywhere()) is None
        assert [received.path for received in again.calls] == ["/tokenize"]
        await http.close()


def test_the_limits_of_the_server_are_read(llama: str) -> None:
    assert limits_of(httpx.get(f"{llama}/props").json()) == Limits(context=2048, streams=1)
    assert limits_of({}) == Limits()
    assert limits_of({"default_generation_settings": {"n_ctx": 0}, "total_slots": True}) == Limits()
