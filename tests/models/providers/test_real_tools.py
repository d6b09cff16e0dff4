"""A tool call that a real model makes, at a real llama.cpp server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, chat, message
from support.servers.llama_server import serving

from oblixd.models.base import Connection, Finish, Location, Options, Tool
from oblixd.models.embedded import connection as embedded_connection
from oblixd.models.embedded.weights import find
from oblixd.models.hook_spec import spec_of
from oblixd.models.http.client import HttpClient
from oblixd.models.http.server import Server, ServerErrors
from oblixd.models.providers.custom import CustomConnection

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("weather", "Tells the weather of a city.", json.dumps(CITY)),)


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    with serving(find(None).path) as url:
        yield url


def turn(city: str) -> list[messages_pb2.Message]:
    arguments = json.dumps({"city": city})
    call = messages_pb2.ToolCallPart(call_id=city, name="weather", arguments_json=arguments)
    result = messages_pb2.ToolResultPart(call_id=city, content="Sunny.")
    return [
        message(messages_pb2.ROLE_USER, f"What is the weather in {city}?"),
        message(messages_pb2.ROLE_ASSISTANT, messages_pb2.Part(tool_call=call)),
        message(messages_pb2.ROLE_TOOL, messages_pb2.Part(tool_result=result)),
    ]


async def test_a_call_comes_in_pieces_and_fits_its_schema(
    llama: str, connections: Callable[[Connection], Connection]
) -> None:
    spec = spec_of("custom", "smollm2", endpoint=llama, location=Location.LOCAL)
    connection = connections(CustomConnection(spec))
    asked = [*turn("Rome"), *turn("Paris"), *turn("Oslo"), *turn("Bern")[:1]]
    options = Options(max_tokens=60, temperature=0.0, seed=1)
    heard = await ask(connection, chat(asked, options, tools=TOOLS))
    assert heard.error is None
    [(call, arguments)] = heard.calls.items()
    assert (call.name, json.loads(arguments)) == ("weather", {"city": "Bern"})
    assert call.call_id
    assert heard.finished is not None
    assert heard.finished.reason is Finish.TOOL_CALLS


async def test_a_template_with_a_place_for_tools_is_known(llama: str) -> None:
    http = HttpClient(Server(ServerErrors("The embedded model", ""), llama))
    assert (await embedded_connection.read(http)).features == ("json_schema", "tools")
    await http.close()
