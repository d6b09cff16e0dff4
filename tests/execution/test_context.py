"""What a model gets to read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.v1 import messages_pb2 as pb

from oblixd.errors import InvalidArgumentError
from oblixd.execution import context
from oblixd.models.base import Options

ROLES = {"u": pb.ROLE_USER, "a": pb.ROLE_ASSISTANT, "s": pb.ROLE_SYSTEM}


def said(role: str, text: str) -> pb.Message:
    return pb.Message(role=ROLES[role], parts=[pb.Part(text=text)] if text else [])


def built(history: list[pb.Message], prompt: str, window: int | None, **policy: bool):
    material = context.Material(
        "Be brief.", lambda: reversed(history), [said("u", prompt)], Options(max_tokens=10)
    )
    return context.build(material, window, **policy)


def texts(messages: list[pb.Message]) -> list[str]:
    return [message.parts[0].text for message in messages]


def test_without_a_known_window_everything_is_sent_in_order() -> None:
    chat, report = built([said("u", "one"), said("a", "two")], "three", None)
    assert texts(chat.messages) == ["Be brief.", "one", "two", "three"]
    assert (report.sent_messages, report.omitted_messages) == (4, 0)


def test_an_answer_without_content_is_not_sent() -> None:
    chat, _ = built([said("u", "one"), said("a", "")], "two", None)
    assert texts(chat.messages) == ["Be brief.", "one", "two"]


def test_the_oldest_turns_go_first_and_whole() -> None:
    turns = [said(role, f"{number}" * 30) for number in "123" for role in "ua"]
    room = 10 + sum(
        context.tokens(message) for message in [*turns[3:], said("s", "Be brief."), said("u", "now")]
    )
    chat, report = built(turns, "now", room)
    # The answer of turn 2 would fit, its question would not: a turn goes as a whole.
    assert texts(chat.messages) == ["Be brief.", "3" * 30, "3" * 30, "now"]
    assert report.omitted_messages == 4
    assert report.omitted_tokens == sum(context.tokens(message) for message in turns[:4])


def test_what_may_not_be_cut_is_refused_with_the_numbers() -> None:
    history = [said("u", "x" * 300), said("a", "y" * 300)]
    assert built(history, "now", 1000, refuse=True)[1].omitted_messages == 0
    with pytest.raises(InvalidArgumentError) as refused:
        built(history, "now", 100, refuse=True)
    everything = [said("s", "Be brief."), *history, said("u", "now")]
    assert refused.value.metadata["needed_tokens"] == str(10 + sum(map(context.tokens, everything)))
    assert refused.value.metadata["window_tokens"] == "100"


@given(
    st.lists(st.tuples(st.sampled_from("ua"), st.text(min_size=1, max_size=50)), max_size=20),
    st.integers(1, 400),
)
def test_system_and_newest_stay_and_what_is_kept_is_the_end_of_the_history(
    history: list[tuple[str, str]], window: int
) -> None:
    messages = [said(role, text) for role, text in history]
    chat, report = built(messages, "now", window)
    kept = len(chat.messages) - 2
    assert texts(chat.messages) == ["Be brief.", *texts(messages[len(messages) - kept :]), "now"]
    assert report.omitted_messages == len(messages) - kept
