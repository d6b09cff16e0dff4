"""What is sent is a conversation that servers take, whatever the session holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from oblix.v1 import messages_pb2
from support.answers import both, call, call_start, claude, delta, piece, sse, stop
from support.drivers.model_requests import chat, message
from support.servers.providers import KINDS

from oblixd.models.encoding import NO_RESULT, chat_messages
from oblixd.models.providers.claude_messages import MessageDecoder
from oblixd.models.providers.completions import CompletionDecoder

SYSTEM, USER, ASSISTANT, TOOL = (
    messages_pb2.ROLE_SYSTEM,
    messages_pb2.ROLE_USER,
    messages_pb2.ROLE_ASSISTANT,
    messages_pb2.ROLE_TOOL,
)
IMAGE = messages_pb2.ImagePart(media_type="image/png", data=b"png")


def calls(*ids: str, name: str = "weather", arguments: str = "{}") -> messages_pb2.Message:
    parts = [
        messages_pb2.Part(
            tool_call=messages_pb2.ToolCallPart(call_id=one, name=name, arguments_json=arguments)
        )
        for one in ids
    ]
    return messages_pb2.Message(role=ASSISTANT, parts=parts)


def results(*ids: str) -> messages_pb2.Message:
    parts = [
        messages_pb2.Part(tool_result=messages_pb2.ToolResultPart(call_id=one, content=f"of {one}"))
        for one in ids
    ]
    return messages_pb2.Message(role=TOOL, parts=parts)


def short_messages(*messages: messages_pb2.Message) -> list[tuple[str, str]]:
    """Each message in short: its role, and its text, its calls or its results."""
    return [
        (one.role, one.text or " ".join([*(c.call_id for c in one.calls), *(r.content for r in one.results)]))
        for one in chat_messages(messages)
    ]


ASK = message(USER, "Weather?")
CONTEXTS = {
    "a result later than its call is moved up to it": (
        [ASK, calls("a"), message(USER, "Well?"), results("a")],
        [("user", "Weather?"), ("assistant", "a"), ("tool", "of a"), ("user", "Well?")],
    ),
    "results come in the order of their calls": (
        [ASK, calls("a", "b"), results("b"), results("a")],
        [("user", "Weather?"), ("assistant", "a b"), ("tool", "of a of b")],
    ),
    "a call without a result has one": (
        [ASK, calls("a", "b"), results("b"), message(USER, "Well?")],
        [("user", "Weather?"), ("assistant", "a b"), ("tool", f"{NO_RESULT} of b"), ("user", "Well?")],
    ),
    "a result without a call is said by the user": (
        [results("a"), message(USER, "Well?")],
        [("user", "of a"), ("user", "Well?")],
    ),
    "a second result of one call is said by the user": (
        [ASK, calls("a"), results("a"), results("a")],
        [("user", "Weather?"), ("assistant", "a"), ("tool", "of a"), ("user", "of a")],
    ),
    "text of blanks is left out": (
        [message(SYSTEM, "\n"), ASK, message(ASSISTANT, " \n"), message(USER, "\t"), message(USER, "Well?")],
        [("user", "Weather?"), ("user", "Well?")],
    ),
    "an answer's image is left out": (
        [
            ASK,
            messages_pb2.Message(
                role=ASSISTANT, parts=[messages_pb2.Part(text="Here:"), messages_pb2.Part(image=IMAGE)]
            ),
        ],
        [("user", "Weather?"), ("assistant", "Here:\n(An image stood here.)")],
    ),
}


@pytest.mark.parametrize(("messages", "sent"), CONTEXTS.values(), ids=CONTEXTS)
def test_a_context_is_made_valid(messages: list[messages_pb2.Message], sent: list[tuple[str, str]]) -> None:
    assert short_messages(*messages) == sent


@pytest.mark.parametrize(
    "call_id",
    ["functions.weather:0", "weather 1", "c" * 41, "", "\u00fc", "call/1", "chatcmpl-tool-" + "0" * 32],
)
def test_ids_are_written_so_that_openai_and_claude_take_them(call_id: str) -> None:
    assistant, tool = chat_messages([ASK, calls(call_id), results(call_id)])[1:]
    sent = assistant.calls[0].call_id
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", sent)
    assert tool.results[0].call_id == sent
    assert chat_messages([ASK, calls(call_id)])[1].calls[0].call_id == sent, (
        "the same each time: servers keep a cache"
    )


def test_an_id_that_is_good_stays() -> None:
    assert chat_messages([ASK, calls("toolu_01A-b")])[1].calls[0].call_id == "toolu_01A-b"


def test_an_id_that_comes_again_in_a_later_turn_is_another() -> None:
    """Kimi counts its calls anew in each answer."""
    context = chat_messages(
        [ASK, calls("call_0"), results("call_0"), ASK, calls("call_0"), results("call_0")]
    )
    sent = [[*one.calls, *one.results][0].call_id for one in context if one.calls or one.results]
    assert sent[0] == sent[1] != sent[2] == sent[3]


def test_names_and_arguments_are_such_as_servers_take() -> None:
    call_ = chat_messages([ASK, calls("a", name="functions.weather now", arguments='{"city": ')])[1].calls[0]
    assert call_.name == "functions_weather_now"
    kind = KINDS["openai"]
    body = kind.connect(kind.spec("http://127.0.0.1:1")).body(chat([ASK, calls("a", arguments='{"city": ')]))
    sent = body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == {"invalid_json": '{"city": '}


def test_system_messages_in_the_middle_reach_claude_at_its_head() -> None:
    body = body_of("claude", message(SYSTEM, "One."), ASK, message(SYSTEM, "Two."), message(USER, "Well?"))
    assert body["system"] == "One.\n\nTwo."
    assert [one["role"] for one in body["messages"]] == ["user"]


def body_of(name: str, *messages: messages_pb2.Message) -> dict[str, Any]:
    kind = KINDS[name]
    sent: dict[str, Any] = kind.connect(kind.spec("http://127.0.0.1:1")).body(chat(messages))
    return sent


def author_of(name: str, url: str = "http://127.0.0.1:1") -> str:
    kind = KINDS[name]
    author: str = kind.connect(kind.spec(url)).author
    return author


STATES = {
    "DeepSeek's reasoning": (
        [delta(reasoning_content="Hm."), delta(tool_calls=[call("weather", "{}", index=0, id="a")])],
        {"reasoning_content": "Hm."},
        {},
    ),
    "Kimi's, under another name": (
        [delta(reasoning="Hm."), delta(tool_calls=[call("weather", "{}", index=0, id="a")])],
        {"reasoning": "Hm."},
        {},
    ),
    "Gemini's signature, with the call": (
        [
            delta(
                tool_calls=[
                    call(
                        "weather",
                        "{}",
                        index=0,
                        id="a",
                        extra_content={"google": {"thought_signature": "c2ln"}},
                    )
                ]
            )
        ],
        {},
        {"extra_content": {"google": {"thought_signature": "c2ln"}}},
    ),
    "Gemini's signature, with the text": (
        [
            delta(content="Look.", extra_content={"google": {"thought_signature": "c2ln"}}),
            delta(tool_calls=[call("weather", "{}", index=0, id="a")]),
        ],
        {"extra_content": {"google": {"thought_signature": "c2ln"}}, "content": "Look."},
        {},
    ),
    "OpenRouter's details, cut in pieces": (
        [
            delta(reasoning="H", reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "H"}]),
            delta(reasoning="m.", reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "m."}]),
            delta(reasoning_details=[{"type": "reasoning.encrypted", "index": 1, "data": "abc"}]),
            delta(tool_calls=[call("weather", "{}", index=0, id="a")]),
        ],
        {
            "reasoning_details": [
                {"type": "reasoning.text", "index": 0, "text": "Hm."},
                {"type": "reasoning.encrypted", "index": 1, "data": "abc"},
            ]
        },
        {},
    ),
    "a signature that comes behind its text": (
        [
            delta(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "Hm."}]),
            delta(reasoning_details=[{"type": "reasoning.text", "index": 0, "signature": "sig"}]),
            delta(tool_calls=[call("weather", "{}", index=0, id="a")]),
        ],
        {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "Hm.", "signature": "sig"}]},
        {},
    ),
    "Copilot's": (
        [
            delta(reasoning_opaque="x", reasoning_text="Hm."),
            delta(tool_calls=[call("weather", "{}", id="a")]),
        ],
        {"reasoning_opaque": "x", "reasoning_text": "Hm."},
        {},
    ),
    "LiteLLM's": (
        [
            delta(
                tool_calls=[
                    call(
                        "weather", "{}", index=0, id="a", provider_specific_fields={"thought_signature": "s"}
                    )
                ]
            )
        ],
        {},
        {"provider_specific_fields": {"thought_signature": "s"}},
    ),
}


def record_answer(wire: bytes, author: str, decoder: Any = CompletionDecoder) -> messages_pb2.Message:
    """Record an answer as the execution does."""
    heard = both(decoder, wire)
    assert heard.finished is not None
    parts = [messages_pb2.Part(reasoning=heard.reasoning)] if heard.reasoning else []
    parts += [messages_pb2.Part(text=heard.text)] if heard.text else []
    for (name, arguments), call_id in zip(heard.calls, heard.ids, strict=True):
        made = messages_pb2.ToolCallPart(call_id=call_id, name=name, arguments_json=arguments)
        parts.append(messages_pb2.Part(tool_call=made))
    state = messages_pb2.ProviderState(author=author, json=heard.finished.state)
    return messages_pb2.Message(role=ASSISTANT, parts=parts, provider_state=state)


@pytest.mark.parametrize(("chunks", "on_answer", "on_call"), STATES.values(), ids=STATES)
def test_provider_state_goes_back_to_its_own_server_alone(
    chunks: list[dict[str, Any]], on_answer: dict[str, Any], on_call: dict[str, Any]
) -> None:
    answer = record_answer(sse(*chunks, stop("tool_calls")), author_of("custom"))
    own = body_of("custom", ASK, answer, results("a"))["messages"][1]
    assert {key: own.get(key) for key in on_answer} == on_answer
    assert {key: own["tool_calls"][0].get(key) for key in on_call} == on_call
    for other in ("openai", "claude", "ollama"):
        sent = json.dumps(body_of(other, ASK, answer, results("a"))["messages"])
        for secret in ("Hm.", "c2ln", "abc", "sig", "reasoning", "extra_content", "opaque", "provider_spec"):
            assert secret not in sent
    elsewhere = KINDS["custom"].connect(KINDS["custom"].spec("http://127.0.0.2:1"))
    assert "Hm." not in json.dumps(elsewhere.body(chat([ASK, answer, results("a")])))


def test_reasoning_goes_back_with_calls_only() -> None:
    """DeepSeek's older models refuse it in any other answer."""
    wire = sse(delta(reasoning_content="Hm."), delta(content="Four."), stop())
    answer = record_answer(wire, author_of("custom"))
    assert body_of("custom", ASK, answer, ASK)["messages"][1] == {"role": "assistant", "content": "Four."}


TOOL_USE = {"type": "tool_use", "name": "weather", "input": {}}


def thoughts() -> Iterator[dict[str, Any]]:
    """An answer that thinks, speaks, thinks on unseen, and calls twice."""
    yield call_start(0, type="thinking", thinking="")
    yield piece(0, type="thinking_delta", thinking="H")
    yield piece(0, type="thinking_delta", thinking="m.")
    yield piece(0, type="signature_delta", signature="sig1")
    yield call_start(1, type="text", text="Let me look.")
    yield call_start(2, type="redacted_thinking", data="ENC")
    yield call_start(3, **TOOL_USE, id="a")
    yield call_start(4, type="thinking", thinking="And", signature="sig2")
    yield call_start(5, **TOOL_USE, id="b")


def test_claudes_thinking_goes_back_unchanged_and_to_its_place() -> None:
    answer = record_answer(claude(*thoughts(), reason="tool_use"), author_of("claude"), MessageDecoder)
    assert body_of("claude", ASK, answer, results("a", "b"))["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig1"},
        {"type": "text", "text": "Let me look."},
        {"type": "redacted_thinking", "data": "ENC"},
        {**TOOL_USE, "id": "a"},
        {"type": "thinking", "thinking": "And", "signature": "sig2"},
        {**TOOL_USE, "id": "b"},
    ]


def test_thinking_without_a_signature_is_not_sent() -> None:
    wire = claude(call_start(type="thinking", thinking="Hm."), call_start(1, type="text", text="Four."))
    answer = record_answer(wire, author_of("claude"), MessageDecoder)
    assert body_of("claude", ASK, answer, ASK)["messages"][1]["content"] == [
        {"type": "text", "text": "Four."}
    ]


def test_a_state_that_is_too_large_or_broken_is_dropped() -> None:
    wire = sse(delta(content="Four.", reasoning_opaque="x" * 300_000), stop())
    heard = both(CompletionDecoder, wire)
    assert heard.finished is not None
    assert heard.finished.state == ""
    for broken in ("[1]", "{", "null", '{"calls": 3, "blocks": [1, {"block": 2}], "message": []}'):
        state = messages_pb2.ProviderState(author=author_of("custom"), json=broken)
        answer = messages_pb2.Message(
            role=ASSISTANT, parts=[messages_pb2.Part(text="Four.")], provider_state=state
        )
        assert body_of("custom", ASK, answer)["messages"][1] == {"role": "assistant", "content": "Four."}
