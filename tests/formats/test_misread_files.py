"""Words once taken for something else: thinking for answers, calls for text, names of files for words."""

from __future__ import annotations

import html
from typing import Any

import pytest
from oblix.formats import catalog
from oblix.formats.conversations import Conversation


def read(value: Any) -> Conversation:
    format_ = catalog.detect(value)
    assert format_ is not None
    return format_.read(value)


def text_of(conversation: Conversation, place: int) -> str:
    return "".join(part.text for part in conversation.messages[place].parts)


@pytest.mark.parametrize("flag", ["isThought", "thought"])
def test_a_message_that_is_marked_as_a_thought_is_no_answer(flag: str) -> None:
    chunks = [
        {"role": "user", "text": "Why?"},
        {"role": "model", "text": "Let me see.", flag: True},
        {"role": "model", "text": "So.", flag: False},
    ]
    found = read({"chunkedPrompt": {"chunks": chunks}}).messages
    assert [part.reasoning for part in found[1].parts] == ["Let me see."]
    assert [part.text for part in found[2].parts] == ["So."]


@pytest.mark.parametrize(
    ("value", "calls"),
    [
        ('{"name": "f", "arguments": {"x": 1}}', [("f", '{"x": 1}')]),
        (
            '[{"name": "f", "arguments": {}}, {"name": "g", "parameters": {"y": 2}}]',
            [("f", "{}"), ("g", '{"y": 2}')],
        ),
        ('{"x": 1}', [("function", '{"x": 1}')]),
        ("f(1)", [("function", "f(1)")]),
    ],
)
def test_a_call_that_a_data_set_writes_as_text(value: str, calls: list[tuple[str, str]]) -> None:
    turns = [{"from": "human", "value": "Q"}, {"from": "function_call", "value": value}]
    parts = read({"conversations": turns}).messages[1].parts
    assert [(part.tool_call.name, part.tool_call.arguments_json) for part in parts] == calls
    assert len({part.tool_call.call_id for part in parts}) == len(calls)


@pytest.mark.parametrize(
    ("more", "notes"), [("", []), (', "said": "Not a call, but words."', ["words under 'value' left out"])]
)
def test_a_call_that_was_written_as_text_is_not_called_left_out(more: str, notes: list[str]) -> None:
    written = f'{{"name": "weather", "arguments": {{"city": "Bern", "unit": "C"}}{more}}}'
    turns = [{"from": "human", "value": "Q"}, {"from": "function_call", "value": written}]
    assert [*read({"conversations": turns}).notes] == notes


def test_the_name_of_a_file_stands_in_a_line_of_its_own() -> None:
    said = {"sender": "human", "text": "See", "content": [{"type": "text", "text": "See"}]}
    files = {
        "files": [{"file_name": "b.pdf"}],
        "attachments": [{"file_name": "a.txt", "extracted_content": "x"}],
    }
    claude = read({"uuid": "c", "chat_messages": [said | files | {"uuid": "1"}]})
    assert text_of(claude, 0) == "See\n[file: b.pdf]\n[file: a.txt]\nx"
    blocks = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "http://x/y.png"}}]
    assert (
        text_of(read({"messages": [{"role": "user", "content": blocks}]}), 0)
        == "See\n![image](http://x/y.png)"
    )


def test_blocks_of_one_sentence_stay_together() -> None:
    blocks = [{"type": "text", "text": text} for text in ("It opened ", "in 1932", ".")]
    assert text_of(read({"messages": [{"role": "assistant", "content": blocks}]}), 0) == "It opened in 1932."


def test_a_page_that_deepseek_read_does_not_run_into_the_answer() -> None:
    fragments = [{"type": "READ_LINK", "url": "http://x"}, {"type": "RESPONSE", "content": "So."}]
    nodes = {"1": {"id": "1", "parent": None, "children": [], "message": {"fragments": fragments}}}
    assert text_of(read({"id": "d", "mapping": nodes}), 0) == "http://x\nSo."


OWN_DATA = ['[{"type": "file", "name": "a.txt"}, {"type": "dir", "name": "b"}]', "[]"]
"""What a tool gave that is not made of MCP's blocks."""


@pytest.mark.parametrize("given", OWN_DATA)
def test_a_tools_own_data_stays_as_it_was_at_lm_studio(given: str) -> None:
    blocks = [
        {"type": "toolCallRequest", "toolCallRequestId": "7", "name": "ls", "parameters": {}},
        {"type": "toolCallResult", "toolCallRequestId": "7", "content": given},
    ]
    answer = {"role": "assistant", "steps": [{"type": "contentBlock", "content": blocks}]}
    chat = {"name": "T", "messages": [{"versions": [answer], "currentlySelected": 0}]}
    assert read(chat).messages[0].parts[1].tool_result.content == given


@pytest.mark.parametrize(
    "given", [*OWN_DATA, '{"text": "sunny", "degrees": 3}', "true", '[{"title": "A", "url": "u"}]']
)
def test_a_tools_own_data_stays_as_it_was_at_open_webui(given: str) -> None:
    told = f'id="c" name="f" arguments="{{}}" result="{html.escape(given)}"'
    said = f'<details type="tool_calls" done="true" {told}>\n<summary>Done</summary>\n</details>\nSo.'
    question = {"id": "a", "parentId": None, "childrenIds": ["b"], "role": "user", "content": "Q"}
    answer = {"id": "b", "parentId": "a", "childrenIds": [], "role": "assistant", "content": said}
    history = {"currentId": "b", "messages": {"a": question, "b": answer}}
    parts = read({"id": "1", "chat": {"history": history}}).messages[1].parts
    assert parts[1].tool_result.content == given
