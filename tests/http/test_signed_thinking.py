"""Claude's signed thinking goes to the tool and comes back to Claude as it was, streamed and at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from oblix.testing import Answer, ClaudeServer, Insert, ToolCall
from pydantic import TypeAdapter
from support.endpoint import MODEL, Served

CLAUDE = "claude:sonnet"
MODELS = """
[[models]]
name = "sonnet"
provider = "claude"
endpoint = "{url}"
key_file = "{key}"
"""
ASK = [{"role": "user", "content": "Weather?"}]
TOOL = {"name": "weather", "input_schema": {"type": "object"}}
CALL = ToolCall("weather", {"city": "Bern"}, "toolu_1")
THOUGHT = {"type": "thinking", "thinking": "Let me look.", "signature": "c2lnbmVk"}
REDACTED = {"type": "redacted_thinking", "data": "c2VjcmV0"}
HIDDEN = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":7,'
    b'"content_block":{"type":"redacted_thinking","data":"c2VjcmV0"}}\n\n'
)
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"}


@dataclass
class Desk:
    """The endpoint, and Claude behind it."""

    served: Served
    claude: ClaudeServer

    def ask(self, messages: list[dict[str, Any]], model: str = CLAUDE) -> Any:
        client = self.served.anthropic()
        with client.messages.stream(model=model, max_tokens=99, messages=messages, tools=[TOOL]) as stream:
            return stream.get_final_message()


@pytest.fixture(scope="module")
def desk(
    serving_with: Callable[[str], AbstractContextManager[Served]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    key: Path = tmp_path_factory.mktemp("key") / "key"
    key.touch(0o600)
    key.write_text("sk-ant")
    claude = ClaudeServer(["sonnet"], api_key="sk-ant")
    with claude, serving_with(MODELS.format(url=claude.url, key=key)) as served:
        yield Desk(served, claude)


def call_answer() -> Answer:
    return Answer("One moment.", reasoning="Let me look.", signature="c2lnbmVk", tool_calls=(CALL,))


def test_a_signature_is_told_before_its_block_ends_and_sent_back(desk: Desk) -> None:
    desk.claude.script(call_answer(), "Sunny.")
    done = desk.ask(ASK)
    assert [block.type for block in done.content] == ["thinking", "text", "tool_use"]
    assert done.content[0].model_dump() == THOUGHT
    answer = {"role": "assistant", "content": done.content}
    assert desk.ask([*ASK, answer, {"role": "user", "content": [RESULT]}]).content[0].text == "Sunny."
    sent = desk.claude.requests[-1].body["messages"][1]["content"]
    assert [block["type"] for block in sent] == ["thinking", "text", "tool_use"]
    assert sent[0] == THOUGHT


def test_each_event_is_one_of_the_sdk_s_and_stands_where_claude_puts_it(desk: Desk) -> None:
    desk.claude.script(
        Answer("Yes.", reasoning="Let me look.", signature="c2lnbmVk", fault=Insert(HIDDEN, 1))
    )
    body = {"model": CLAUDE, "max_tokens": 99, "messages": ASK, "stream": True}
    with desk.served.http().stream("POST", "/v1/messages", json=body) as reply:
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: ")]
    events = [TypeAdapter(RawMessageStreamEvent).validate_json(line) for line in lines]
    blocks = [event for event in events if event.type.startswith("content_block")]
    opened: int | None = None
    for event in blocks:
        if event.type == "content_block_start":
            assert opened is None
            opened = event.index
        assert event.index == opened
        if event.type == "content_block_stop":
            opened = None
    starts = [event.content_block for event in blocks if event.type == "content_block_start"]
    assert [one.type for one in starts if one.type == "redacted_thinking"] == ["redacted_thinking"]
    deltas = [event.delta.type for event in blocks if event.type == "content_block_delta"]
    assert deltas.index("signature_delta") < deltas.index("text_delta")


def test_at_once_it_is_the_same(desk: Desk) -> None:
    desk.claude.script(call_answer())
    done = desk.served.anthropic().messages.create(model=CLAUDE, max_tokens=99, messages=ASK, tools=[TOOL])
    assert [block.type for block in done.content] == ["thinking", "text", "tool_use"]
    assert done.content[0].model_dump() == THOUGHT


def test_signed_thinking_of_another_program_goes_unchanged_to_claude_alone(desk: Desk) -> None:
    called = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    content = [THOUGHT, REDACTED, {"type": "text", "text": "One moment."}, called]
    messages = [*ASK, {"role": "assistant", "content": content}, {"role": "user", "content": [RESULT]}]
    desk.claude.script("Sunny.")
    desk.ask(messages)
    assert desk.claude.requests[-1].body["messages"][1]["content"] == content
    desk.served.server.script("Sunny.")
    desk.ask(messages, MODEL)
    sent = str(desk.served.server.requests[-1].body)
    assert "Weather?" in sent
    assert not any(word in sent for word in ("c2lnbmVk", "c2VjcmV0", "Let me look."))


def test_thinking_without_a_signature_is_not_sent_to_claude(desk: Desk) -> None:
    content = [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "Yes."}]
    desk.claude.script("Sunny.")
    desk.ask([*ASK, {"role": "assistant", "content": content}, {"role": "user", "content": "And now?"}])
    assert desk.claude.requests[-1].body["messages"][1]["content"] == [{"type": "text", "text": "Yes."}]
