"""What a model gets to read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.v1 import executions_pb2, messages_pb2

from oblixd.execution import context
from oblixd.execution.history import HistoryMessage
from oblixd.models.base import ChatRequest, ModelError, ModelErrorKind, Options, Tool
from oblixd.models.egress import allow_all
from oblixd.models.tokens import TokenCalibration, TokenCounter, estimate

ROLES = {"u": messages_pb2.ROLE_USER, "a": messages_pb2.ROLE_ASSISTANT, "s": messages_pb2.ROLE_SYSTEM}


def message_of(role: str, text: str) -> messages_pb2.Message:
    return messages_pb2.Message(role=ROLES[role], parts=[messages_pb2.Part(text=text)] if text else [])


async def counts_nothing(messages: Sequence[messages_pb2.Message]) -> None:
    """A server without a tokeniser."""


async def counts_words(messages: Sequence[messages_pb2.Message]) -> list[int]:
    """A server with one: a token a word."""
    return [len(message.parts[0].text.split()) for message in messages]


async def build(
    history: list[messages_pb2.Message],
    prompt: str,
    window: int | None,
    gauge: TokenCounter | None = None,
    tools: tuple[Tool, ...] = (),
    **policy: bool,
) -> tuple[ChatRequest, executions_pb2.ContextReport]:
    asked, options = [message_of("u", prompt)], Options(max_tokens=10)
    material = context.ContextInput(
        "Be brief.",
        lambda: map(HistoryMessage, reversed(history)),
        len(history),
        asked,
        options,
        tools=tools,
        is_local_only=allow_all,
    )
    result = await context.build(material, window, gauge or TokenCounter(counts_nothing), **policy)
    return result.chat, result.report


def texts(messages: list[messages_pb2.Message]) -> list[str]:
    return [message.parts[0].text for message in messages]


async def test_without_a_known_window_everything_is_sent_in_order() -> None:
    chat, report = await build([message_of("u", "one"), message_of("a", "two")], "three", None)
    assert texts(chat.messages) == ["Be brief.", "one", "two", "three"]
    assert (report.sent_messages, report.omitted_messages) == (4, 0)


async def test_an_answer_without_content_is_not_sent() -> None:
    chat, _ = await build([message_of("u", "one"), message_of("a", "")], "two", None)
    assert texts(chat.messages) == ["Be brief.", "one", "two"]


async def test_the_oldest_turns_go_first_and_whole() -> None:
    turns = [message_of(role, f"{number}" * 30) for number in "123" for role in "ua"]
    room = 10 + sum(
        estimate(message) for message in [*turns[3:], message_of("s", "Be brief."), message_of("u", "now")]
    )
    chat, report = await build(turns, "now", room)
    # The answer of turn 2 would fit, its question would not: a turn goes as a whole.
    assert texts(chat.messages) == ["Be brief.", "3" * 30, "3" * 30, "now"]
    assert report.omitted_messages == 4
    assert report.omitted_tokens == sum(estimate(message) for message in turns[:4])


async def test_a_context_that_may_omit_nothing_is_refused_with_the_numbers() -> None:
    history = [message_of("u", "x" * 300), message_of("a", "y" * 300)]
    _, report = await build(history, "now", 1000, refuse=True)
    assert report.omitted_messages == 0
    with pytest.raises(ModelError) as refused:
        await build(history, "now", 100, refuse=True)
    everything = [message_of("s", "Be brief."), *history, message_of("u", "now")]
    needed = 10 + sum(map(estimate, everything))
    assert refused.value.kind is ModelErrorKind.CONTEXT_OVERFLOW
    assert refused.value.numbers == {"needed_tokens": needed, "window_tokens": 100}


@given(
    st.lists(st.tuples(st.sampled_from("ua"), st.text(min_size=1, max_size=50)), max_size=20),
    st.integers(60, 400),
)
async def test_system_and_newest_stay_and_what_is_kept_is_the_end_of_the_history(
    history: list[tuple[str, str]], window: int
) -> None:
    messages = [message_of(role, text) for role, text in history]
    chat, report = await build(messages, "now", window)
    kept = len(chat.messages) - 2
    assert texts(chat.messages) == ["Be brief.", *texts(messages[len(messages) - kept :]), "now"]
    assert report.omitted_messages == len(messages) - kept


async def test_counts_of_the_models_server_are_exact() -> None:
    history = [
        message_of("u", "one two three four"),
        message_of("a", "five"),
        message_of("u", "six"),
        message_of("a", "seven"),
    ]
    gauge = TokenCounter(counts_words)
    # 2 for the system message, 1 for the prompt, 10 for the answer: 3 are left, and 2 are taken.
    chat, report = await build(history, "now", 24, gauge)
    assert texts(chat.messages) == ["Be brief.", "one two three four", "five", "six", "seven", "now"]
    chat, report = await build(history, "now", 15, gauge)
    assert texts(chat.messages) == ["Be brief.", "six", "seven", "now"]
    assert report.is_counted
    assert (report.sent_tokens, report.omitted_messages, report.omitted_tokens) == (5, 2, 5)


async def test_a_prompt_longer_than_the_window_is_refused_with_the_numbers() -> None:
    with pytest.raises(ModelError, match="about 202 tokens") as refused:
        await build([], "word " * 200, 150, TokenCounter(counts_words))
    assert refused.value.numbers == {"needed_tokens": 202, "window_tokens": 150}


async def test_an_estimate_refuses_only_what_surely_does_not_fit() -> None:
    prompt = "x" * 300
    needed = estimate(message_of("s", "Be brief.")) + estimate(message_of("u", prompt))
    assert (await build([], prompt, needed - 5))[1].sent_tokens == needed
    with pytest.raises(ModelError):
        await build([], prompt, needed * 3 // 4)


async def test_tools_take_room() -> None:
    history = [message_of("u", "x" * 90), message_of("a", "y" * 90)]
    tool = Tool("look", "Looks.", "{" + " " * 297 + "}")
    assert (await build(history, "now", 150))[1].omitted_messages == 0
    _, report = await build(history, "now", 200, tools=(tool,))
    assert report.omitted_messages == 2
    assert report.sent_tokens > 100


async def test_a_very_long_history_is_read_only_as_far_as_needed() -> None:
    read = 0

    def history():
        nonlocal read
        for number in range(100_000):
            read += 1
            yield HistoryMessage(message_of("au"[number % 2], "z" * 30))

    material = context.ContextInput(
        "", history, 100_000, [message_of("u", "now")], Options(max_tokens=10), is_local_only=allow_all
    )
    built_ = await context.build(material, 1000, TokenCounter(counts_nothing))
    kept = built_.report.sent_messages - 1
    assert built_.report.omitted_messages == 100_000 - kept
    assert built_.report.omitted_tokens == (100_000 - kept) * estimate(message_of("u", "z" * 30))
    assert read < 1000


def test_counts_that_a_model_reports_correct_its_estimates() -> None:
    calibration = TokenCalibration()
    assert calibration.factor("ollama:llama2") == 1.0
    calibration.learn("ollama:llama2", estimated_tokens=100, reported_tokens=150)
    calibration.learn("ollama:llama2", estimated_tokens=100, reported_tokens=120)
    assert calibration.factor("ollama:llama2") == pytest.approx(1.65)
    assert calibration.factor("ollama:other") == 1.0
    calibration.learn("ollama:mad", estimated_tokens=1, reported_tokens=10**9)
    assert calibration.factor("ollama:mad") == 3.0
