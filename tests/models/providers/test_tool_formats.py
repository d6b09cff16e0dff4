"""Tools and schemas: each provider is told in its own words, or refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from oblix.testing import Answer, ModelServer, Refuse, ToolCall
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, chat, message
from support.servers.providers import KINDS, Kind

from oblixd.models.base import ChatRequest, Connection, Finish, ModelError, ModelErrorKind, Options, Tool
from oblixd.models.base import ToolChoice as Choice
from oblixd.models.encoding import NO_RESULT, chat_messages

USER, ASSISTANT, TOOL = messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT, messages_pb2.ROLE_TOOL
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NOTHING = {"type": "object", "properties": {}}
TOOLS = (Tool("weather", "Tells the weather.", json.dumps(SCHEMA)), Tool("time"))
FUNCTIONS = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "Tells the weather.", "parameters": SCHEMA},
    },
    {"type": "function", "function": {"name": "time", "parameters": NOTHING}},
]
CLAUDES = [
    {"name": "weather", "description": "Tells the weather.", "input_schema": SCHEMA},
    {"name": "time", "input_schema": NOTHING},
]
NAMES = ["ollama", "openai", "claude"]


def asking(tools: tuple[Tool, ...] = TOOLS, choice: Choice | None = None, schema: str = "") -> ChatRequest:
    return chat([message(USER, "Hi")], Options(response_schema=schema), tools=tools, tool_choice=choice)


def body(name: str, request: ChatRequest) -> dict[str, Any]:
    kind = KINDS[name]
    sent: dict[str, Any] = kind.connect(kind.spec("http://127.0.0.1:1")).body(request)
    return sent


@pytest.mark.parametrize(
    ("name", "tools"), [("ollama", FUNCTIONS), ("openai", FUNCTIONS), ("claude", CLAUDES)]
)
def test_tools_are_sent_as_they_are(name: str, tools: list[dict[str, Any]]) -> None:
    assert body(name, asking())["tools"] == tools
    assert "tool_choice" not in body(name, asking())
    assert "tools" not in body(name, asking(()))


@pytest.mark.parametrize(
    ("name", "choice", "sent"),
    [
        ("openai", Choice.AUTO, "auto"),
        ("openai", Choice.REQUIRED, "required"),
        ("openai", Choice.NONE, "none"),
        ("claude", Choice.AUTO, {"type": "auto"}),
        ("claude", Choice.REQUIRED, {"type": "any"}),
        ("claude", Choice.NONE, {"type": "none"}),
    ],
)
def test_the_choice_of_tools_has_each_providers_form(name: str, choice: Choice, sent: object) -> None:
    assert body(name, asking(choice=choice))["tool_choice"] == sent
    assert "tool_choice" not in body(name, asking((), choice)), "servers refuse it without tools"


def test_ollama_has_no_choice() -> None:
    """Not to call any is to know none; to have to call one can't be said."""
    assert "tools" not in body("ollama", asking(choice=Choice.NONE))
    assert body("ollama", asking(choice=Choice.AUTO))["tools"] == FUNCTIONS
    with pytest.raises(ModelError, match="can't make a model call a tool") as caught:
        body("ollama", asking(choice=Choice.REQUIRED))
    assert caught.value.kind is ModelErrorKind.REFUSED


@pytest.mark.parametrize(
    ("name", "key", "sent"),
    [
        ("ollama", "format", SCHEMA),
        (
            "openai",
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
        ),
        ("claude", "output_config", {"format": {"type": "json_schema", "schema": SCHEMA}}),
    ],
)
def test_a_schema_for_the_answer(name: str, key: str, sent: object) -> None:
    assert body(name, asking((), schema=json.dumps(SCHEMA)))[key] == sent
    assert key not in body(name, asking())


async def test_calls_arrive_after_the_text(server: ModelServer, connection: Connection) -> None:
    calls = (ToolCall("weather", {"city": "Z\u00fcrich", "days": 2}, "c1"), ToolCall("time", call_id="c2"))
    server.script(Answer("Let me see.", reasoning="Hm.", tool_calls=calls))
    heard = await ask(connection, asking())
    assert heard.error is None
    assert (heard.text, heard.reasoning) == ("Let me see.", "Hm.")
    assert [(call.name, json.loads(text or "{}")) for call, text in heard.calls.items()] == [
        (call.name, call.arguments) for call in calls
    ]
    if connection.provider != "ollama":
        assert [call.call_id for call in heard.calls] == ["c1", "c2"]
    assert heard.finished is not None
    assert heard.finished.reason is Finish.TOOL_CALLS


async def test_a_server_that_refuses_tools_is_quoted(server: ModelServer, connection: Connection) -> None:
    server.script(Answer(fault=Refuse(400, "this model does not support tools")))
    heard = await ask(connection, asking())
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.REFUSED
    assert "this model does not support tools" in heard.error.message


def call_message(*ids: str) -> messages_pb2.Message:
    parts = [messages_pb2.ToolCallPart(call_id=one, name="weather", arguments_json="{}") for one in ids]
    return message(ASSISTANT, *(messages_pb2.Part(tool_call=part) for part in parts))


def result(call_id: str, text: str = "Sunny.") -> messages_pb2.Message:
    return message(
        TOOL, messages_pb2.Part(tool_result=messages_pb2.ToolResultPart(call_id=call_id, content=text))
    )


CONVERSATIONS = {
    "all are answered": [call_message("c1", "c2"), result("c1"), result("c2")],
    "one is not answered": [call_message("c1", "c2"), result("c2"), message(USER, "Well?")],
    "none is answered": [call_message("c1"), message(USER, "Never mind.")],
    "the next turn calls again": [call_message("c1"), result("c1"), call_message("c2"), result("c2")],
}


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
async def test_servers_that_want_every_call_answered_take_any_conversation(
    kind: Kind, connection: Connection, server: ModelServer, conversation: list[messages_pb2.Message]
) -> None:
    heard = await ask(connection, chat([message(USER, "Weather?"), *conversation], tools=TOOLS))
    assert heard.error is None
    sent = str(server.requests[-1].body["messages"])
    answered = {part.tool_result.call_id for one in conversation for part in one.parts}
    calls = {part.tool_call.call_id for one in conversation for part in one.parts}
    assert sent.count(NO_RESULT) == len(calls - answered)
    assert sent.count("Sunny.") == len(answered - {""})


TOLD = message(TOOL, "Rain.")
BARE = {
    "the only call": ([call_message("c1"), TOLD], [("c1", "Rain.")]),
    "the first that waits": (
        [call_message("c1", "c2"), TOLD, result("c2")],
        [("c1", "Rain."), ("c2", "Sunny.")],
    ),
    "one after the other": ([call_message("c1", "c2"), TOLD, TOLD], [("c1", "Rain."), ("c2", "Rain.")]),
    "none is left": ([call_message("c1"), result("c1"), TOLD], [("c1", "Sunny.")]),
    "none was made": ([TOLD], []),
    "beside a result": (
        [call_message("c1"), message(TOOL, *result("c1").parts, "Rain.")],
        [("c1", "Sunny.")],
    ),
}


@pytest.mark.parametrize(("conversation", "results"), BARE.values(), ids=BARE)
async def test_a_tools_bare_text_finds_its_call(
    kind: Kind,
    connection: Connection,
    server: ModelServer,
    conversation: list[messages_pb2.Message],
    results: list[tuple[str, str]],
) -> None:
    request = chat([message(USER, "Weather?"), *conversation], tools=TOOLS)
    assert (await ask(connection, request)).error is None
    sent = str(server.requests[-1].body["messages"])
    assert sent.count("Rain.") == str(conversation).count("Rain."), "nothing is lost"
    told = [(one.call_id, one.content) for turn in chat_messages(request.messages) for one in turn.results]
    assert told == results
