"""Models that speak only /v1/responses: known from the server's answer or the configuration, and decoded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, message, question
from support.servers.raw_server import HEAD, playing, refusal

from oblixd.models.base import ChatRequest, Connection, ContentKind, Finish, ModelError, Options, Tool
from oblixd.models.egress import allow_all
from oblixd.models.encoding import chat_messages
from oblixd.models.hook_spec import spec_of
from oblixd.models.http.server import ServerErrors
from oblixd.models.providers.openai import OpenAIConnection
from oblixd.models.providers.responses import ResponseDecoder, response_body

PEER = ServerErrors(title="OpenAI", endpoint="http://x")
Connections = Callable[[Connection], Connection]
ONLY = json.dumps(
    {
        "error": {
            "message": "This model is only supported in v1/responses and not in v1/chat/completions.",
            "type": "invalid_request_error",
            "param": "model",
            "code": None,
        }
    }
).encode()


def event(kind: str, **values: object) -> dict[str, Any]:
    return {"type": kind, **values}


def delta(text: str, place: int = 0) -> dict[str, Any]:
    return event("response.output_text.delta", item_id="m", output_index=place, content_index=0, delta=text)


def completed_event(*output: object, **values: object) -> dict[str, Any]:
    response = {"id": "r", "object": "response", "status": "completed", "output": list(output), **values}
    return event(f"response.{response['status']}", response=response)


USAGE = {
    "input_tokens": 7,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 12,
}
MESSAGE = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello"}],
}
CALL = {
    "type": "function_call",
    "id": "f",
    "call_id": "c1",
    "name": "weather",
    "arguments": '{"city":"Bern"}',
}
BEGUN_CALL = {**CALL, "arguments": ""}
REASONING = {
    "type": "reasoning",
    "id": "rs",
    "summary": [{"type": "summary_text", "text": "Hm"}],
    "encrypted_content": "e",
}


def stream(*events: dict[str, Any], end: bytes = b"") -> bytes:
    framed = (f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
    return "".join(framed).encode() + end


class Read:
    """What a decoder made of a body."""

    def __init__(self, body: bytes) -> None:
        decoder = ResponseDecoder(PEER)
        pieces = [*decoder.pieces(body), *([] if decoder.complete else decoder.pieces(b""))]
        self.text = "".join(text for channel, text in pieces if channel is ContentKind.TEXT)
        self.reasoning = "".join(text for channel, text in pieces if channel is ContentKind.REASONING)
        self.calls: dict[tuple[str, str], str] = {}
        for channel, text in pieces:
            if not isinstance(channel, ContentKind):
                key = (channel.call_id, channel.name)
                self.calls[key] = self.calls.get(key, "") + text
        assert decoder.complete
        self.finished = decoder.finish()


HELLO = {
    "as OpenAI sends it": stream(
        event("response.created", response={"status": "in_progress"}),
        event(
            "response.output_item.added", output_index=0, item={"type": "message", "id": "m", "content": []}
        ),
        event("response.content_part.added", output_index=0, part={"type": "output_text", "text": ""}),
        delta("Hel"),
        delta("lo"),
        event("response.output_text.done", item_id="m", output_index=0, text="Hello"),
        event("response.content_part.done", output_index=0, part={"type": "output_text", "text": "Hello"}),
        event("response.output_item.done", output_index=0, item=MESSAGE),
        completed_event(MESSAGE, usage=USAGE),
    ),
    "deltas and the end": stream(delta("Hel"), delta("lo"), completed_event(usage=USAGE)),
    "no deltas": stream(
        event("response.output_text.done", output_index=0, text="Hello"), completed_event(usage=USAGE)
    ),
    "items only": stream(
        event("response.output_item.done", output_index=0, item=MESSAGE), completed_event(usage=USAGE)
    ),
    "the whole at the end": stream(completed_event(MESSAGE, usage=USAGE)),
    "one document": json.dumps(completed_event(MESSAGE, usage=USAGE)["response"]).encode(),
    "with [DONE]": stream(delta("Hello"), completed_event(MESSAGE, usage=USAGE), end=b"data: [DONE]\n\n"),
    "without indexes": stream(
        event("response.output_text.delta", item_id="m", delta="Hello"),
        event("response.output_item.done", item=MESSAGE),
        completed_event(MESSAGE, usage=USAGE),
    ),
    "pings and unknown events": stream(
        event("ping"),
        event("keepalive"),
        delta("Hello"),
        event("response.novelty.delta", delta="!"),
        completed_event(MESSAGE, usage=USAGE),
    ),
    "the old name of the end": stream(delta("Hello"), event("response.done", response={"usage": USAGE})),
}


@pytest.mark.parametrize("name", HELLO)
def test_the_text_of_a_response_is_read(name: str) -> None:
    read = Read(HELLO[name])
    assert read.text == "Hello"
    counts = read.finished.counts
    assert (counts.input_tokens, counts.output_tokens) == (7, 5)
    assert (counts.cache_read_tokens, counts.reasoning_tokens) == (3, 2)
    assert read.finished.reason is Finish.STOP


ARGUMENTS = "response.function_call_arguments"
CALLS = {
    "as OpenAI sends it": stream(
        event("response.output_item.added", output_index=1, item=BEGUN_CALL),
        event(f"{ARGUMENTS}.delta", item_id="f", output_index=1, delta='{"city":'),
        event(f"{ARGUMENTS}.delta", item_id="f", output_index=1, delta='"Bern"}'),
        event(f"{ARGUMENTS}.done", item_id="f", output_index=1, arguments='{"city":"Bern"}'),
        event("response.output_item.done", output_index=1, item=CALL),
        completed_event(MESSAGE | {"content": []}, CALL),
    ),
    "arguments at the end": stream(
        event("response.output_item.added", output_index=0, item=BEGUN_CALL),
        event(f"{ARGUMENTS}.done", item_id="f", output_index=0, arguments='{"city":"Bern"}'),
        completed_event(CALL),
    ),
    "items only": stream(
        event("response.output_item.done", output_index=0, item=CALL), completed_event(CALL)
    ),
    "the whole at the end": stream(completed_event(CALL)),
    "without indexes": stream(  # pgadmin-org/pgadmin4#9795
        event("response.output_item.added", item=BEGUN_CALL),
        event(f"{ARGUMENTS}.delta", item_id="f", delta='{"city":"Bern"}'),
        event("response.output_item.done", item=CALL),
        completed_event(CALL),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_of_a_response_are_read(name: str) -> None:
    read = Read(CALLS[name])
    assert read.calls == {("c1", "weather"): '{"city":"Bern"}'}
    assert read.finished.reason is Finish.TOOL_CALLS


def test_two_calls_at_once_stay_apart() -> None:
    other = {**CALL, "id": "g", "call_id": "c2", "arguments": '{"city":"Rome"}'}
    read = Read(
        stream(
            event("response.output_item.added", output_index=0, item=BEGUN_CALL),
            event("response.output_item.added", output_index=1, item={**other, "arguments": ""}),
            event(f"{ARGUMENTS}.delta", output_index=1, delta='{"city":'),
            event(f"{ARGUMENTS}.delta", output_index=0, delta='{"city":"Bern"}'),
            event(f"{ARGUMENTS}.delta", output_index=1, delta='"Rome"}'),
            completed_event(CALL, other),
        )
    )
    assert read.calls == {("c1", "weather"): '{"city":"Bern"}', ("c2", "weather"): '{"city":"Rome"}'}


@pytest.mark.parametrize("kind", ["reasoning_summary_text", "reasoning_text", "reasoning_summary"])
def test_reasoning_and_what_its_server_wants_back(kind: str) -> None:
    told = event(f"response.{kind}.delta", output_index=0, delta="Hm")
    for events in ([told], []):
        done = event("response.output_item.done", output_index=0, item=REASONING)
        read = Read(stream(*events, done, delta("Hello", 1), completed_event(REASONING, MESSAGE)))
        assert (read.reasoning, read.text) == ("Hm", "Hello")
        assert json.loads(read.finished.state) == {"reasoning_items": [REASONING]}


def test_a_refusal_is_text_that_was_filtered() -> None:
    read = Read(stream(event("response.refusal.delta", output_index=0, delta="No."), completed_event()))
    assert (read.text, read.finished.reason) == ("No.", Finish.CONTENT_FILTER)


@pytest.mark.parametrize(
    ("why", "finish"), [("max_output_tokens", Finish.LENGTH), ("content_filter", Finish.CONTENT_FILTER)]
)
def test_an_incomplete_response(why: str, finish: Finish) -> None:
    end = completed_event(status="incomplete", incomplete_details={"reason": why})
    assert Read(stream(delta("Hel"), end)).finished.reason is finish


@pytest.mark.parametrize(
    "end",
    [
        completed_event(status="failed", error={"code": "server_error", "message": "The model broke"}),
        event("error", code="server_error", message="The model broke"),
        event("error", error={"type": "server_error", "message": "The model broke"}),
        {"type": "", "error": {"message": "The model broke"}},
    ],
)
def test_a_failed_response_is_an_error(end: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="The model broke"):
        Read(stream(delta("Hel"), end))


@pytest.mark.parametrize("status", ["cancelled", "incomplete", "odd"])
def test_an_end_that_is_no_success(status: str) -> None:
    with pytest.raises(ModelError, match=status):
        Read(stream(delta("Hel"), event("response.completed", response={"status": status})))


def test_a_request_has_the_form_of_the_responses_api() -> None:
    call = messages_pb2.Part(
        tool_call=messages_pb2.ToolCallPart(call_id="c1", name="weather", arguments_json='{"city":"Bern"}')
    )
    result = messages_pb2.Part(tool_result=messages_pb2.ToolResultPart(call_id="c1", content="rain"))
    image = messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"x"))
    context = [
        message(messages_pb2.ROLE_SYSTEM, "Be brief"),
        message(messages_pb2.ROLE_USER, "Hi", image),
        message(messages_pb2.ROLE_ASSISTANT, "Let me see", call),
        message(messages_pb2.ROLE_TOOL, result),
    ]
    options = Options(max_tokens=9, response_schema='{"type":"object"}')
    request = ChatRequest(context, options, (Tool("weather"),), is_local_only=allow_all)
    body = response_body("m", request, chat_messages(context), PEER)
    assert body["input"] == [
        {"role": "system", "content": [{"type": "input_text", "text": "Be brief"}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Hi"},
                {"type": "input_image", "image_url": "data:image/png;base64,eA=="},
            ],
        },
        {"role": "assistant", "content": [{"type": "output_text", "text": "Let me see"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Bern"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
    ]
    assert (body["max_output_tokens"], body["store"], body["stream"]) == (9, False, True)
    assert body["text"]["format"]["schema"] == {"type": "object"}
    assert body["tools"][0]["name"] == "weather"


@pytest.mark.parametrize("options", [{"seed": 1}, {"stop": ("END",)}])
def test_options_that_the_responses_api_lacks_are_reported(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="/v1/responses know no"):
        response_body("m", question(**options), [], PEER)


def connection_to(url: str, **options: object) -> OpenAIConnection:
    return OpenAIConnection(spec_of("openai", "gpt-5-pro", endpoint=url, options=options))


async def test_the_servers_answer_decides_and_is_remembered(connections: Connections) -> None:
    hello = [HEAD, HELLO["as OpenAI sends it"]]
    async with playing(refusal(404, ONLY), hello) as server:
        connection = connections(connection_to(server.url))
        assert (await ask(connection)).text == "Hello"
        assert (await ask(connection)).text == "Hello"
        paths = [path for path, _ in server.requests]
    assert paths == ["/v1/chat/completions", "/v1/responses", "/v1/responses"]


async def test_the_configuration_decides(connections: Connections) -> None:
    async with playing([HEAD, HELLO["one document"]]) as server:
        assert (await ask(connections(connection_to(server.url, api="responses")))).text == "Hello"
        assert [path for path, _ in server.requests] == ["/v1/responses"]
    async with playing(refusal(404, ONLY)) as server:
        error = (await ask(connections(connection_to(server.url, api="completions")))).error
        assert error is not None
        assert "not for chat completions" in error.message
        assert len(server.requests) == 1


@pytest.mark.parametrize("then", [refusal(404, b"404 page not found"), refusal(404, ONLY)])
async def test_a_server_without_these_calls_is_told_as_it_first_said(
    then: list[bytes | float], connections: Connections
) -> None:
    async with playing(refusal(404, ONLY), then) as server:
        connection = connections(connection_to(server.url))
        error = (await ask(connection)).error
        assert error is not None
        assert "only supported in v1/responses" in error.message
        assert "not for chat completions" in error.message


async def test_fields_that_are_refused_there_are_changed_too(connections: Connections) -> None:
    words = (
        b'{"error":{"message":"Unsupported parameter: \'temperature\' is not supported with this model."}}'
    )
    async with playing(refusal(404, ONLY), refusal(400, words), [HEAD, HELLO["one document"]]) as server:
        heard = await ask(connections(connection_to(server.url)), question(temperature=0.3))
        assert heard.text == "Hello"
        assert "temperature" not in json.loads(server.requests[-1][1])
