"""Exports of chats whose form is known from public readers of them, and calls of tools in some of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from oblix.formats.agents.catalog import NOT_JSON
from oblix.formats.conversations import Conversation, Fork
from oblix.formats.reading import read_file
from oblix.v1 import messages_pb2


def read(path: Path, document: object) -> list[Conversation]:
    """Read a document that is written for it; nothing of it may be refused."""
    path.write_text(json.dumps(document))
    found = list(read_file(path, None))
    assert [each.problem for each in found] == [None] * len(found)
    return [each.conversation for each in found if each.conversation is not None]


def roles_and_texts(conversation: Conversation) -> list[tuple[int, str]]:
    return [
        (message.role, "|".join(part.text or f"({part.reasoning})" for part in message.parts))
        for message in conversation.messages
    ]


def _response(name: str, parent: str, sender: str, text: str, **more: Any) -> dict[str, Any]:
    when = {"$date": {"$numberLong": str(1767323045000 + len(name))}}
    response = {"_id": name, "message": text, "sender": sender, "create_time": when, "model": "grok-4"}
    return {"response": response | ({"parent_response_id": parent} if parent else {}) | more}


def test_grok_s_branches_thoughts_and_cited_pages(tmp_path: Path) -> None:
    page = {"url": "https://moss.example", "title": "Moss"}
    responses = [
        _response("r1", "", "human", "What grows?", file_attachments=["asset-1"]),
        _response("r2", "r1", "ASSISTANT", "Thyme.", steps=[{"text": ["a step of the program's own"]}]),
        _response(
            "r3", "r1", "ASSISTANT", "Moss.", thinking_trace="In shade?", cited_web_search_results=[page]
        ),
    ]
    about = {"id": "c1", "title": "Shade", "create_time": "2026-01-02T03:04:05.678Z"}
    (chat,) = read(
        tmp_path / "prod-grok-backend.json",
        {"conversations": [{"conversation": about, "responses": responses}], "projects": [], "tasks": []},
    )
    user, assistant = messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT
    assert roles_and_texts(chat)[0] == (user, "What grows?|[file: asset-1]")
    assert roles_and_texts(chat)[1] == (
        assistant,
        "(In shade?)|Moss.|\n\nSources:\n- [Moss](https://moss.example)",
    )
    assert chat.messages[1].model == "grok:grok-4"
    assert chat.messages[0].create_time.ToJsonString() == "2026-01-02T03:04:05.002Z"
    (other,) = chat.branches
    assert roles_and_texts(other)[1:] == [(assistant, "Thyme.")]
    assert other.fork == Fork("grok:c1", 1)
    assert not [note for note in chat.notes if "words" in note]


def test_chatbox_s_sessions_are_a_conversation_each(tmp_path: Path) -> None:
    def text(text: str, kind: str = "text") -> dict[str, str]:
        return {"type": kind, "text": text}

    sessions = [
        {
            "id": "s1",
            "name": "Shade",
            "messages": [
                {
                    "id": "1",
                    "role": "user",
                    "contentParts": [text("What grows?")],
                    "timestamp": 1767323045000,
                },
                {
                    "id": "2",
                    "role": "assistant",
                    "contentParts": [text("In shade?", "reasoning"), text("Moss.")],
                    "aiProvider": "a provider",
                },
            ],
        },
        {"id": "s2", "name": "Sun", "messages": [{"role": "user", "contentParts": [text("And in sun?")]}]},
    ]
    first, second = read(tmp_path / "chatbox.json", {"chat-sessions": sessions, "settings": {}})
    assert [words for _, words in roles_and_texts(first)] == ["What grows?", "(In shade?)|Moss."]
    assert (first.session.title, dict(first.notes)) == ("Shade", {})
    for when in (first.session.create_time, first.session.update_time):
        assert when.ToJsonString() == "2026-01-02T03:04:05Z"
    assert [words for _, words in roles_and_texts(second)] == ["And in sun?"]


def test_lm_studio_s_calls_of_tools(tmp_path: Path) -> None:
    asked = {"name": "look", "parameters": {"q": "moss"}, "toolCallRequestId": "99", "callId": 1}
    found = json.dumps([{"type": "text", "text": "It grows."}])
    blocks: list[dict[str, Any]] = [
        {"type": "toolCallRequest", "pluginIdentifier": "mcp/garden", **asked},
        {"type": "toolCallResult", "content": found, "toolCallId": 1, "toolCallRequestId": "99"},
        {"type": "text", "text": "Moss."},
    ]
    steps = [
        {"type": "contentBlock", "content": [block], "style": {"type": "default", "title": "A step of it"}}
        for block in blocks
    ]
    question = {"type": "singleStep", "role": "user", "content": [{"type": "text", "text": "What grows?"}]}
    answer = {"type": "multiStep", "role": "assistant", "steps": steps}
    messages = [{"versions": [each], "currentlySelected": 0} for each in (question, answer)]
    (chat,) = read(tmp_path / "1.conversation.json", {"name": "Shade", "messages": messages})
    call, result, text = chat.messages[1].parts
    assert (call.tool_call.name, json.loads(call.tool_call.arguments_json)) == ("look", {"q": "moss"})
    assert (result.tool_result.content, text.text) == ("It grows.", "Moss.")
    assert call.tool_call.call_id == result.tool_result.call_id == "99"
    assert not chat.notes


def test_open_webui_s_calls_of_tools(tmp_path: Path) -> None:
    escaped = '"{&quot;q&quot;: &quot;moss&quot;}"'.replace('"{', "&quot;{").replace('}"', "}&quot;")
    arguments = escaped.replace("&quot;q&quot;", "\\&quot;q\\&quot;").replace(
        "&quot;moss&quot;", "\\&quot;moss\\&quot;"
    )
    details = (
        f'<details type="tool_calls" done="true" id="c1" name="look" arguments="{arguments}" '
        'result="&quot;It grows.&quot;" files="">\n<summary>Tool Executed</summary>\n</details>\n'
    )
    said = f"Let me look.\n{details}Moss."
    messages = {
        "1": {"id": "1", "parentId": None, "role": "user", "content": "What grows?"},
        "2": {"id": "2", "parentId": "1", "role": "assistant", "content": said},
    }
    history = {"messages": messages, "currentId": "2"}
    (chat,) = read(tmp_path / "export.json", [{"id": "o1", "title": "Shade", "chat": {"history": history}}])
    before, call, result, after = chat.messages[1].parts
    assert (before.text, after.text) == ("Let me look.\n", "Moss.")
    assert (call.tool_call.name, json.loads(call.tool_call.arguments_json)) == ("look", {"q": "moss"})
    assert (result.tool_result.content, result.tool_result.call_id) == ("It grows.", "c1")
    assert not chat.notes


def test_claude_s_text_beside_the_contents_is_the_same_once_more(tmp_path: Path) -> None:
    contents = [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "t1", "name": "search", "input": {"q": "moss"}},
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "It grows."}]},
        {"type": "text", "text": "Moss."},
    ]
    placeholder = "\n```\nThis block is not supported on your current device yet.\n```\n"
    said = [
        {"uuid": "1", "sender": "human", "text": "What grows?", "content": []},
        {
            "uuid": "2",
            "sender": "assistant",
            "text": f"Let me look.{placeholder}Moss.",
            "content": contents,
        },
    ]
    (chat,) = read(tmp_path / "conversations.json", [{"uuid": "c1", "name": "Shade", "chat_messages": said}])
    assert [part.WhichOneof("kind") for part in chat.messages[1].parts] == [
        "text",
        "tool_call",
        "tool_result",
        "text",
    ]
    assert not chat.notes


def test_a_list_of_messages_with_times_is_no_log_of_gptme(tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": "What grows?", "timestamp": "2026-11-28T10:00:00.123456"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Moss."}],
            "timestamp": "2026-11-28T10:00:01",
        },
    ]
    (document,) = read(tmp_path / "one.json", said)
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in said) + '{"role": "user", "con')
    (lines,) = [each.conversation for each in read_file(path, None)]
    assert lines is not None
    for chat in (document, lines):
        assert [text for _, text in roles_and_texts(chat)] == ["What grows?", "Moss."]
    assert NOT_JSON not in document.notes
    assert lines.notes[NOT_JSON] == 1


def test_an_image_of_continue_s_is_an_image(tmp_path: Path) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
    image = {"type": "imageUrl", "imageUrl": {"url": f"data:image/png;base64,{pixel}"}}
    content = [{"type": "text", "text": "What is it?"}, image]
    (chat,) = read(tmp_path / "one.json", {"messages": [{"role": "user", "content": content}]})
    text, picture = chat.messages[0].parts
    assert (text.text, picture.image.media_type) == ("What is it?", "image/png")


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize("is_array", [True, False])
def test_a_list_of_messages_may_have_some_that_only_call_tools_or_are_empty(
    tmp_path: Path, is_array: bool
) -> None:
    said = [
        {"role": "user", "content": "What grows?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "It grows."},
        {"role": "assistant", "content": "Moss."},
        {"role": "user", "content": ""},
    ]
    path = tmp_path / "said.json"
    path.write_text(json.dumps(said) if is_array else "\n".join(map(json.dumps, said)))
    (found,) = read_file(path, None)
    assert found.conversation is not None
    kinds = [[part.WhichOneof("kind") for part in each.parts] for each in found.conversation.messages]
    assert kinds == [["text"], ["tool_call"], ["tool_result"], ["text"]]


@pytest.mark.parametrize(
    "said",
    [
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "content": None}],
        [{"role": "system", "content": None}, {"role": "assistant", "content": None, "refusal": "No."}],
        [{"role": "assistant", "content": None, "audio": {"id": "a", "transcript": "Moss."}}],
    ],
)
def test_a_list_of_messages_may_have_more_that_say_nothing_than_others(
    tmp_path: Path, said: list[dict[str, object]]
) -> None:
    path = tmp_path / "said.json"
    path.write_text(json.dumps([{"role": "user", "content": "What grows?"}, *said]))
    (found,) = read_file(path, None)
    assert found.conversation is not None
    assert found.conversation.messages[0].parts[0].text == "What grows?"
    assert len(found.conversation.messages) > 1


EMPTY = {
    "chatgpt": {"id": "e1", "title": "New chat", "mapping": {"r": {"id": "r", "message": None}}},
    "claude": {"uuid": "e2", "name": "", "chat_messages": []},
    "openwebui": {"id": "e3", "title": "New Chat", "chat": {"history": {"messages": {}}, "messages": []}},
}


@pytest.mark.parametrize("document", EMPTY.values(), ids=EMPTY)
def test_a_chat_that_was_opened_and_left_is_no_conversation(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([document]))
    (found,) = read_file(path, None)
    assert (found.problem, found.conversation) == (None, None)
