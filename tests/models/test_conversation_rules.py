"""Conversations in the form that a server wants: known from its refusal, remembered, and told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from oblix.testing import Answer, ModelServer, OpenAIServer, Refuse
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, chat, message
from support.servers.providers import KINDS

from oblixd.models.base import Connection, ModelErrorKind
from oblixd.models.conversation_rules import NO_ANSWER, NO_REASONING, NO_SIGNATURE, OPENING, alternate
from oblixd.models.http.adaptation import Adaptations
from oblixd.models.http.refusals import Refusal

Message = dict[str, Any]


def one(role: str, content: Any = "", **more: Any) -> Message:
    return {"role": role, "content": content, **more}


def calling(*ids: str, **more: Any) -> Message:
    calls = [
        {"id": id_, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for id_ in ids
    ]
    return one("assistant", "", tool_calls=calls, **more)


def result_message(call_id: str) -> Message:
    return one("tool", "snow", tool_call_id=call_id)


U, A, S = (one(role, role) for role in ("user", "assistant", "system"))
UU, AA = one("user", "user\n\nuser"), one("assistant", "assistant\n\nassistant")

STRICT = [
    "Conversation roles must alternate user/assistant/user/assistant/...",
    "After the optional system message, conversation roles must alternate user and assistant roles.",
    'Error: Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...","type":',
    'messages: roles must alternate between "user" and "assistant", but found multiple "user" roles in a row',
    "Cannot have 2 or more assistant messages at the end of the list.",
    "After the (optional) system message(s), user and assistant roles should be alternating.",
    "Please ensure that multiturn requests alternate between user and model.",
    "Please ensure that function call turn comes immediately after a user turn.",
    "Consecutive messages of the same role are not supported",
    "The first message must use the 'user' role.",
    "Conversation must start with a user message",
    "Unexpected role 'user' after role 'user'",
]
FIRST = [
    "System message must be at the beginning.",
    "System messages are only allowed at the start of the conversation",
    "Only the first message can have the role system",
    "Unexpected role 'system' after role 'user'",
    "Multiple system messages are not supported",
    "the system message must be the first message in the list",
]
NONE = [
    "System role not supported",
    "Only user and assistant roles are supported!",
    "Developer instruction is not enabled for models/gemma-3-27b-it",
    "Unsupported role: system",
    "This model does not support system messages",
    "'system' role is not supported by this model",
]
CASES: list[tuple[str, list[Message], list[Message]]] = [
    *((words, [S, U, U, A, A, U], [S, UU, AA, U]) for words in STRICT),
    *((words, [S, U, A, S, U], [one("system", "system\n\nsystem"), U, A, U]) for words in FIRST),
    *((words, [S, U, A, U], [one("user", "system\n\nuser"), A, U]) for words in NONE),
    (STRICT[0], [S, A, U], [S, one("user", OPENING), A, U]),
    (STRICT[0], [S, U], [one("user", "system\n\nuser")]),
    ("Unexpected role 'user' after role 'tool'", [U, calling("a"), result_message("a"), U], []),
    (
        "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
        [U, calling("call_1", "abcdefgh1"), result_message("call_1"), result_message("abcdefgh1")],
        [],
    ),
    (
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        [U, A, U, calling("a"), calling("b", reasoning_content="Hm."), result_message("a")],
        [
            *(U, A, U, calling("a", reasoning_content=NO_REASONING)),
            *(calling("b", reasoning_content="Hm."), result_message("a")),
        ],
    ),
    (
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
        [U, calling("a"), result_message("a")],
        [U, calling("a", reasoning_content=NO_REASONING), result_message("a")],
    ),
    (
        "message at position 1 with role 'assistant' must not be empty",
        [U, calling("a"), result_message("a")],
        [U, {**calling("a"), "content": None}, result_message("a")],
    ),
]


def messages_after_refusal(messages: list[Message], words: str, status: int = 400) -> list[Message]:
    """The messages as they are sent again after this refusal."""
    attempt = Adaptations().of("http://x", "m").attempt()
    body = {"model": "m", "messages": messages}
    refusal = Refusal.read(status, {}, json.dumps({"error": {"message": words}}).encode())
    assert attempt.learn(refusal, body)
    changed: list[Message] = attempt.apply(body)["messages"]
    assert attempt.notes
    assert attempt.apply({"model": "m", "messages": changed})["messages"] == changed, "it stays so"
    return changed


@pytest.mark.parametrize(("words", "messages", "sent"), CASES)
def test_a_refusal_says_what_form_is_wanted(words: str, messages: list[Message], sent: list[Message]) -> None:
    for status in (400, 500):
        changed = messages_after_refusal(messages, words, status)
        if sent:
            assert changed == sent


def test_an_answer_stands_between_the_results_of_tools_and_the_user() -> None:
    messages = [U, calling("a"), result_message("a"), U]
    bridged = [U, calling("a"), result_message("a"), one("assistant", NO_ANSWER), U]
    assert messages_after_refusal(messages, "Unexpected role 'user' after role 'tool'") == bridged
    assert alternate(messages) == bridged


def test_mistrals_ids_have_nine_characters_and_results_keep_theirs() -> None:
    words = "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9."
    call, *results = messages_after_refusal(
        [calling("call_1", "abcdefgh1"), result_message("call_1"), result_message("abcdefgh1")], words
    )
    ids = [one["id"] for one in call["tool_calls"]]
    assert all(re.fullmatch(r"[a-zA-Z0-9]{9}", id_) for id_ in ids)
    assert ids[1] == "abcdefgh1"
    assert [one["tool_call_id"] for one in results] == ids


def test_calls_of_other_models_are_marked_for_google() -> None:
    signed = {"google": {"thought_signature": "mine"}}
    messages = [U, calling("a"), result_message("a"), calling("b")]
    messages[3]["tool_calls"][0]["extra_content"] = signed
    changed = messages_after_refusal(
        messages, "Function call is missing a thought_signature in functionCall parts."
    )
    assert changed[1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == NO_SIGNATURE
    assert changed[3]["tool_calls"][0]["extra_content"] == signed


def test_signatures_that_google_does_not_take_are_replaced() -> None:
    messages = [U, calling("a"), result_message("a")]
    messages[1]["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "old"}}
    changed = messages_after_refusal(
        messages, "Unable to submit request because Thought signature is not valid."
    )
    assert changed[1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == NO_SIGNATURE


@pytest.mark.parametrize(
    "words",
    [
        "property 'reasoning_content' is unsupported",
        "messages.1.assistant.reasoning_details: Extra inputs are not permitted",
        "reasoning_content should not be included in the input messages",
        "Unexpected key: extra_content is not allowed",
    ],
)
def test_parts_that_a_server_does_not_take_back_are_left_out(words: str) -> None:
    answer = calling("a", reasoning_content="Hm.", reasoning_details=[1], extra_content={})
    answer["tool_calls"][0]["extra_content"] = {"google": {}}
    assert messages_after_refusal([U, answer, result_message("a")], words) == [
        U,
        calling("a"),
        result_message("a"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`.",
        "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified.",
        "messages.1.content.0: Invalid `signature` in `thinking` block",
    ],
)
def test_claudes_thinking_goes_as_a_whole_and_for_this_request_alone(words: str) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    use = {"type": "tool_use", "id": "a", "name": "weather", "input": {}}
    adaptation = Adaptations().of("http://x", "m")
    attempt = adaptation.attempt()
    body = {"messages": [U, one("assistant", [thought, use])], "thinking": {"type": "adaptive"}}
    assert attempt.learn(Refusal.read(400, {}, json.dumps({"error": {"message": words}}).encode()), body)
    assert attempt.apply(body) == {"messages": [U, one("assistant", [use])]}
    assert adaptation.attempt().apply(body) == body


def test_tools_of_earlier_calls_are_named_where_a_server_wants_that() -> None:
    words = "Requests which have `tool_use` or `tool_result` blocks must define tools"
    refusal = Refusal.read(400, {}, json.dumps({"error": {"message": words}}).encode())
    use = {"type": "tool_use", "id": "a", "name": "weather", "input": {}}
    for answer, choice in ((one("assistant", [use]), {"type": "none"}), (calling("a"), "none")):
        body = {"messages": [U, answer]}
        attempt = Adaptations().of("http://x", "m").attempt()
        assert attempt.learn(refusal, body)
        sent = attempt.apply(body)
        assert "weather" in json.dumps(sent["tools"])
        assert sent["tool_choice"] == choice


def test_images_and_texts_are_joined() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:x"}}
    assert alternate([one("user", "Look."), one("user", [image])])[0]["content"] == [
        {"type": "text", "text": "Look."},
        image,
    ]
    images = alternate([one("user", "a", images=["x"]), one("user", "b", images=["y"])])
    assert images == [one("user", "a\n\nb", images=["x", "y"])]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "The image is too large"),
        (401, STRICT[0]),
        (429, STRICT[0]),
        (400, "Choose an alternative model"),
        (400, "Your request was flagged by the content policy"),
    ],
)
def test_other_refusals_change_nothing(status: int, words: str) -> None:
    attempt = Adaptations().of("http://x", "m").attempt()
    refusal = Refusal.read(status, {}, json.dumps({"error": {"message": words}}).encode())
    assert not attempt.learn(refusal, {"model": "m", "messages": [S, U, U]})


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_a_server_is_asked_once_more_and_then_at_once_in_its_form(
    status: int,
    servers: Callable[[ModelServer], ModelServer],
    connections: Callable[[Connection], Connection],
) -> None:
    server = servers(OpenAIServer())
    kind = KINDS["custom"]
    connection = connections(kind.connect(kind.spec(server.url)))
    two = chat([message(messages_pb2.ROLE_USER, "One"), message(messages_pb2.ROLE_USER, "Two")])
    server.script(Answer(fault=Refuse(status, STRICT[0])), "Fine.", "Fine.")
    for requests in (2, 3):
        heard = await ask(connection, two)
        assert (heard.error, heard.text) == (None, "Fine.")
        sent = [received.body for received in server.requests if received.body.get("messages")]
        assert len(sent) == requests
        assert sent[-1]["messages"] == [one("user", "One\n\nTwo")]
    assert heard.finished is not None
    assert any("strict turns" in note for note in heard.finished.adaptations)


async def test_a_server_that_refuses_the_other_form_too_is_not_asked_for_ever(
    servers: Callable[[ModelServer], ModelServer], connections: Callable[[Connection], Connection]
) -> None:
    server = servers(OpenAIServer())
    server.default = lambda _: Answer(fault=Refuse(400, STRICT[0]))
    kind = KINDS["custom"]
    connection = connections(kind.connect(kind.spec(server.url)))
    heard = await ask(
        connection, chat([message(messages_pb2.ROLE_USER, "One"), message(messages_pb2.ROLE_USER, "Two")])
    )
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.REFUSED
    assert len([received for received in server.requests if received.body.get("messages")]) == 2
