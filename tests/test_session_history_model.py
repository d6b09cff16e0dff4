"""The model that the robustness tests hold a store against: it takes what may be, and names what may not."""

from __future__ import annotations

from typing import Any

import pytest
from oblix.v1 import messages_pb2
from support.machine.history import REFUSED, TOLD, UNKNOWN, Operation
from support.machine.model import Kept, Model
from support.machine.traffic import SHARED, answer_text, body, message

SESSION = SHARED[0]
ASSISTANT = messages_pb2.ROLE_ASSISTANT
COMPLETE, INTERRUPTED = messages_pb2.MESSAGE_STATUS_COMPLETE, messages_pb2.MESSAGE_STATUS_INTERRUPTED


def operation(
    number: int, kind: str, outcome: str, told: dict[str, Any] | None = None, **asked: Any
) -> Operation:
    """One that was asked and answered one after the other."""
    return Operation("c", number, kind, float(number), asked, outcome, number + 0.5, told or {})


def append(number: int, *tags: str, outcome: str = TOLD, first: int | None = None) -> Operation:
    told = {} if first is None else {"sequences": [first + place for place in range(len(tags))]}
    return operation(number, "append", outcome, told, session=SESSION, tags=list(tags))


def user_messages(*texts: str) -> dict[str, Kept]:
    """A session of users' messages, from sequence 1 on."""
    messages = [message(text) for text in texts]
    for place, one in enumerate(messages, 1):
        one.sequence = place
    return {SESSION: Kept(SESSION, SESSION, messages)}


def turn_of(text: str, status: messages_pb2.MessageStatus.ValueType) -> dict[str, Kept]:
    found = user_messages("q:1 please")
    part = messages_pb2.Part(text=text)
    answer = messages_pb2.Message(role=ASSISTANT, parts=[part], status=status, sequence=2, request_id="q:1")
    return {SESSION: Kept(SESSION, SESSION, [*found[SESSION].messages, answer])}


EDIT = {"session": SESSION, "tag": "m:a", "version": 1}
DELETE = {"session": SESSION, "tag": "m:a"}
A, B = body("m:a", 0), body("m:b", 0)


@pytest.mark.parametrize(
    ("history", "store"),
    [
        ([append(1, "m:a", first=1), append(2, "m:b", first=2)], user_messages(A, B)),
        ([append(1, "m:a", outcome=UNKNOWN)], user_messages()),
        ([append(1, "m:a", outcome=UNKNOWN)], user_messages(A)),
        ([append(1, "m:a"), operation(2, "edit", TOLD, **EDIT)], user_messages(body("m:a", 1))),
        ([append(1, "m:a"), operation(2, "edit", UNKNOWN, **EDIT)], user_messages(A)),
        ([append(1, "m:a"), operation(2, "delete message", TOLD, **DELETE)], user_messages()),
    ],
)
def test_allowed_histories_are_accepted(history: list[Operation], store: dict[str, Kept]) -> None:
    assert list(Model(history).violations(store)) == []


@pytest.mark.parametrize(
    ("history", "store", "said"),
    [
        ([append(1, "m:a")], user_messages(), "is lost"),
        ([append(1, "m:a", outcome=REFUSED)], user_messages(A), "deleted or refused"),
        ([append(1, "m:a")], user_messages(A, A), "is there twice"),
        ([append(1, "m:a")], user_messages(A, B), "nobody asked"),
        ([append(1, "m:a", first=2)], user_messages(A), "moved from 2 to 1"),
        ([append(1, "m:a"), append(2, "m:b")], user_messages(B, A), "stands before"),
        ([append(1, "m:a", "m:b", outcome=UNKNOWN)], user_messages(A), "a part of"),
        ([append(1, "m:a"), operation(2, "edit", TOLD, **EDIT)], user_messages(A), "may be {1}"),
        (
            [append(1, "m:a"), operation(2, "edit", REFUSED, **EDIT)],
            user_messages(body("m:a", 1)),
            "may be {0}",
        ),
        ([append(1, "m:a"), operation(2, "delete message", TOLD, **DELETE)], user_messages(A), "was deleted"),
        ([operation(1, "create", TOLD, session="own")], user_messages(), "session own is lost"),
        ([operation(1, "list", UNKNOWN, {"code": "INTERNAL"})], user_messages(), "INTERNAL"),
        (
            [operation(1, "copy", TOLD, sources=[SESSION], title="copy 1")],
            user_messages(),
            "is there 0 times",
        ),
    ],
)
def test_impossible_histories_are_named(history: list[Operation], store: dict[str, Kept], said: str) -> None:
    assert [line for line in Model(history).violations(store) if said in line]


def test_an_answer_is_complete_only_when_it_is_whole() -> None:
    whole = answer_text("q:1 please", 0)
    told = {"text": whole, "finish": "stop"}
    asked = {"session": SESSION, "tag": "q:1", "request": "q:1"}
    history = [operation(1, "execute", TOLD, told, **asked)]
    assert list(Model(history).violations(turn_of(whole, COMPLETE))) == []
    assert [line for line in Model(history).violations(turn_of(whole[:20], COMPLETE)) if "complete" in line]
    assert [
        line for line in Model(history).violations(turn_of(whole[:20], INTERRUPTED)) if "was told" in line
    ]
    assert [line for line in Model(history).violations(turn_of("odd", INTERRUPTED)) if "no model" in line]
    assert [
        line
        for line in Model(history).violations(user_messages("q:1 please"))
        if "answer to q:1 is lost" in line
    ]


def test_a_request_that_was_refused_and_sent_again_stands_where_that_put_it() -> None:
    asked = {"session": SESSION, "tag": "q:1", "request": "q:1"}
    told = {"text": answer_text("q:1 please", 0), "finish": "stop"}
    history = [
        operation(1, "execute", REFUSED, **asked),
        append(2, "m:a", first=1),
        operation(3, "execute again", TOLD, told, **asked),
    ]
    store = user_messages(A, "q:1 please")
    answer = messages_pb2.Message(role=ASSISTANT, status=COMPLETE, sequence=3, request_id="q:1")
    answer.parts.add(text=told["text"])
    store = {SESSION: Kept(SESSION, SESSION, [*store[SESSION].messages, answer])}
    assert list(Model(history).violations(store)) == []
