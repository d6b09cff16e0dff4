"""Contexts of turns that go on with results of tools: calls and results are never parted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.v1 import executions_pb2, messages_pb2

from oblixd.execution import context
from oblixd.execution.history import HistoryMessage
from oblixd.models.base import ModelError, ModelErrorKind, Options
from oblixd.models.egress import allow_all
from oblixd.models.encoding import chat_messages
from oblixd.models.tokens import TokenCounter

QUESTION = messages_pb2.Message(
    role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="Look up every city.")]
)


async def hundred_each(messages: Sequence[messages_pb2.Message]) -> list[int]:
    """A tokeniser to which each message is a hundred tokens."""
    return [100] * len(messages)


def calls(*ids: str) -> messages_pb2.Message:
    parts = [
        messages_pb2.Part(tool_call=messages_pb2.ToolCallPart(call_id=one, name="weather")) for one in ids
    ]
    return messages_pb2.Message(role=messages_pb2.ROLE_ASSISTANT, parts=parts)


def results(*ids: str) -> messages_pb2.Message:
    parts = [
        messages_pb2.Part(tool_result=messages_pb2.ToolResultPart(call_id=one, content="snow")) for one in ids
    ]
    return messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=parts)


def text(role: messages_pb2.Role.ValueType, words: str) -> messages_pb2.Message:
    return messages_pb2.Message(role=role, parts=[messages_pb2.Part(text=words)])


def loop(steps: int) -> list[messages_pb2.Message]:
    """A question, and so many calls, each with its result."""
    return [QUESTION, *(one for step in range(steps) for one in (calls(f"c{step}"), results(f"c{step}")))]


async def build(
    history: list[messages_pb2.Message], given: messages_pb2.Message, window: int | None, **more: bool
) -> tuple[list[messages_pb2.Message], executions_pb2.ContextReport]:
    for place, message in zip(count(1), history, strict=False):
        message.sequence, message.id = place, f"m{place}"
    material = context.ContextInput(
        "",
        lambda: map(HistoryMessage, reversed(history)),
        len(history),
        [given],
        Options(max_tokens=100),
        is_local_only=allow_all,
        include_excluded=more.pop("include_excluded", False),
    )
    result = await context.build(material, window, TokenCounter(hundred_each), **more)
    return list(result.chat.messages), result.report


def shape(messages: list[messages_pb2.Message]) -> list[str]:
    """Each message in short: u, s for text, cN for a call, rN for its result."""
    return [
        " ".join(
            part.tool_call.call_id
            or part.tool_result.call_id.replace("c", "r")
            or messages_pb2.Role.Name(message.role)[5]
            for part in message.parts
        )
        for message in messages
    ]


async def test_a_loop_that_is_longer_than_the_window_keeps_its_question_and_the_newest_calls() -> None:
    messages, report = await build([*loop(5), calls("c5")], results("c5"), 801)
    assert shape(messages) == ["U", "c3", "r3", "c4", "r4", "c5", "r5"]
    assert (report.omitted_messages, report.omitted_tokens > 0) == (6, True)
    assert report.sent_tokens == 700


async def test_older_turns_go_before_steps_of_the_newest() -> None:
    older = [text(messages_pb2.ROLE_USER, "Before"), text(messages_pb2.ROLE_ASSISTANT, "Yes")]
    everything = [*older, *loop(1), calls("c1")]
    messages, _ = await build(everything, results("c1"), 1000)
    assert shape(messages) == ["U", "A", "U", "c0", "r0", "c1", "r1"]
    messages, report = await build(everything, results("c1"), 700)
    assert (shape(messages), report.omitted_messages) == (["U", "c0", "r0", "c1", "r1"], 2)
    messages, report = await build(everything, results("c1"), 550)
    assert (shape(messages), report.omitted_messages) == (["U", "c1", "r1"], 4)


async def test_where_not_even_that_fits_the_numbers_are_told() -> None:
    with pytest.raises(ModelError, match="the question, the newest calls and their results") as caught:
        await build([*loop(5), calls("c5")], results("c5"), 300)
    assert caught.value.kind is ModelErrorKind.CONTEXT_OVERFLOW
    assert caught.value.numbers == {"needed_tokens": 300, "window_tokens": 300}


async def test_parallel_calls_that_are_answered_one_by_one_stay_together() -> None:
    history = [*loop(3), calls("a", "b"), results("a")]
    messages, _ = await build(history, results("b"), 560)
    assert shape(messages) == ["U", "a b", "a", "b"]


async def test_a_result_of_an_older_call_brings_that_call() -> None:
    history = [QUESTION, calls("a"), calls("c0"), results("c0")]
    messages, _ = await build(history, results("a"), 601)
    assert shape(messages) == ["U", "a", "c0", "r0", "a"]


async def test_a_refusal_to_leave_out_counts_steps_too() -> None:
    with pytest.raises(ModelError, match="messages would be left out"):
        await build([*loop(5), calls("c5")], results("c5"), 700, refuse=True)


async def test_a_turn_is_not_cut_where_a_result_would_lose_its_call() -> None:
    history = [
        calls("a"),
        text(messages_pb2.ROLE_USER, "Meanwhile"),
        results("a"),
        text(messages_pb2.ROLE_ASSISTANT, "Snow."),
    ]
    history = [text(messages_pb2.ROLE_USER, "First"), *history]
    messages, report = await build(history, text(messages_pb2.ROLE_USER, "And now?"), 550)
    assert (shape(messages), report.omitted_messages) == (["U"], 5)


@given(
    turns=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    window=st.integers(1, 40),
    goes_on=st.booleans(),
)
async def test_no_context_holds_a_result_without_its_call(
    turns: list[int], window: int, goes_on: bool
) -> None:
    ids = (f"c{number}" for number in count())
    history: list[messages_pb2.Message] = []
    for steps in turns:
        history.append(text(messages_pb2.ROLE_USER, "Q"))
        for call_id in (next(ids) for _ in range(steps)):
            history += [calls(call_id), results(call_id)]
    last = next(ids)
    given_ = results(last) if goes_on else text(messages_pb2.ROLE_USER, "Q")
    if goes_on:
        history.append(calls(last))
    try:
        messages, report = await build(history, given_, window * 100)
    except ModelError:
        return
    known = {part.tool_call.call_id for message in messages for part in message.parts} - {""}
    told = {part.tool_result.call_id for message in messages for part in message.parts} - {""}
    assert told == known
    assert messages[0].role == messages_pb2.ROLE_USER
    assert len(messages) + report.omitted_messages == len(history) + 1
    assert chat_messages(messages)[0].role == "user"


async def test_excluded_messages_are_left_out_and_reported() -> None:
    history = [
        text(messages_pb2.ROLE_USER, "Bad"),
        text(messages_pb2.ROLE_USER, "Good"),
        text(messages_pb2.ROLE_ASSISTANT, "Yes"),
    ]
    history[0].exclusion.reason = "CONTENT_REFUSED"
    now = text(messages_pb2.ROLE_USER, "And now?")
    messages, report = await build(history, now, None)
    assert [message.parts[0].text for message in messages] == ["Good", "Yes", "And now?"]
    assert (report.excluded_messages, report.omitted_messages) == (1, 0)
    assert [(one.message_id, one.sequence, one.exclusion.reason) for one in report.excluded] == [
        ("m1", 1, "CONTENT_REFUSED")
    ]
    messages, report = await build(history, now, None, include_excluded=True)
    assert (len(messages), report.excluded_messages) == (4, 0)
