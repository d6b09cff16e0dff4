"""Token counts of whole requests against the bill of real engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, chat, message
from support.servers.embedded import SHORT, Connect
from support.servers.llama_server import serving

from oblixd.models.base import ChatRequest, Connection, Location, Options, Tool
from oblixd.models.embedded.weights import find
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.custom import CustomConnection
from oblixd.models.templates import Template, measure

U, A, S, T = (
    messages_pb2.ROLE_USER,
    messages_pb2.ROLE_ASSISTANT,
    messages_pb2.ROLE_SYSTEM,
    messages_pb2.ROLE_TOOL,
)
LONG = "Es grünt so grün, wenn Spaniens Blüten blühen. " * 2
CONVERSATIONS = {
    "one question": [(U, "Say hello.")],
    "a system message": [(S, "You answer in one word, and never in two or three."), (U, "Say hello.")],
    "two turns": [(U, "Say hello."), (A, "Hello!"), (U, LONG)],
    "many turns": [(U, "Say hello."), *[(A, "Hello there!"), (U, "And again, please.")] * 5],
    "many turns with a system message": [(S, "Be brief."), (U, "Hi"), *[(A, LONG), (U, "Go on.")] * 2],
    "two questions at once": [(U, "Say hello."), (U, "Say it twice.")],
    "code and other scripts": [
        (U, "def f(x):\n    return x ** 2  # 二乗\n"),
        (A, "```py\npass\n```"),
        (U, "🙂?"),
    ],
}

BRIEF = Options(max_tokens=8, temperature=0.0, seed=1)


def tool(name: str, description: str, key: str) -> Tool:
    schema = {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}
    return Tool(name, description, json.dumps(schema))


TOOLS = (
    tool("weather", "Tells the weather of a city, in short words.", "city"),
    tool("clock", "Tells the time in a zone of the world.", "zone"),
    tool(
        "search",
        "Looks something up in an encyclopedia, and gives the first paragraph that it finds.",
        "words",
    ),
    tool("convert", "Converts an amount of money from one currency to another, by the day's rate.", "amount"),
)


async def counted_and_billed(connection: Connection, request: ChatRequest) -> tuple[int, int, int]:
    """What was counted for messages and tools, and what the server billed."""
    counted = await connection.count_request(request)
    assert counted is not None
    heard = await ask(connection, request)
    assert heard.finished is not None, heard.error
    return counted.messages, counted.tools, heard.finished.counts.input_tokens or 0


async def test_the_embedded_engine_bills_what_was_counted(connect_embedded: Connect) -> None:
    connection = connect_embedded()
    await ask(connection, SHORT)
    differences = {}
    for name, said in CONVERSATIONS.items():
        request = chat([message(role, text) for role, text in said], BRIEF)
        counted, _, bill = await counted_and_billed(connection, request)
        differences[name] = counted - bill
    assert differences == dict.fromkeys(CONVERSATIONS, 0)


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    with serving(find(None).path) as url:
        yield url


@pytest.fixture
async def custom(llama: str, connections: Callable[[Connection], Connection]) -> Connection:
    connection = connections(
        CustomConnection(spec_of("custom", "m", endpoint=llama, location=Location.LOCAL))
    )
    await connection.probe()
    return connection


async def test_a_llama_cpp_server_bills_what_was_counted(custom: Connection) -> None:
    for name in ("one question", "a system message", "two turns"):
        said = CONVERSATIONS[name]
        counted, _, bill = await counted_and_billed(custom, chat([message(*one) for one in said], BRIEF))
        assert counted == bill


@pytest.mark.parametrize("count", [1, 4])
async def test_with_tools_it_is_nearly_what_was_counted(custom: Connection, count: int) -> None:
    request = chat([message(U, "What is the weather in Bern?")], BRIEF, tools=TOOLS[:count])
    messages, tools, bill = await counted_and_billed(custom, request)
    assert abs(messages + tools - bill) <= 0.05 * bill


async def test_calls_and_their_results_are_nearly_what_was_counted(custom: Connection) -> None:
    call = messages_pb2.Part(
        tool_call=messages_pb2.ToolCallPart(call_id="c1", name="weather", arguments_json='{"city": "Bern"}')
    )
    result = messages_pb2.Part(
        tool_result=messages_pb2.ToolResultPart(call_id="c1", content="It rains, and it is rather cold.")
    )
    context = [message(U, "What is the weather in Bern?"), message(A, call), message(T, result)]
    messages, tools, bill = await counted_and_billed(custom, chat(context, BRIEF, tools=TOOLS))
    assert abs(messages + tools - bill) <= 0.05 * bill


async def test_images_are_not_counted(custom: Connection) -> None:
    image = messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"P"))
    assert await custom.count_request(chat([message(U, image)], Options())) is None


async def test_a_template_that_wants_strict_turns_is_measured_all_the_same() -> None:
    async def render(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> int | None:
        roles = [one["role"] for one in messages]
        if tools or any(one == other for one, other in pairwise(roles)):
            return None
        return 10 + sum({"system": 3, "user": 5, "assistant": 4}[role] + 1 for role in roles)

    async def count(texts: list[str]) -> list[int]:
        return [1 for _ in texts]

    assert await measure(render, count) == Template(
        user_alone=11, with_system=14, user_turn=4, assistant_turn=5
    )


async def test_nothing_is_known_of_a_server_that_shows_no_template() -> None:
    async def render(_messages: object, _tools: object) -> None:
        return None

    async def count(_texts: object) -> None:
        return None

    assert await measure(render, count) is None  # type: ignore[arg-type]
