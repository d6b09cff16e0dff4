"""What other programs' files say, and what is made of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from oblix import InvalidArgumentError
from oblix.formats import catalog
from oblix.formats.conversations import Conversation
from oblix.v1 import messages_pb2 as pb
from support.chats import chatgpt, node, openwebui

PICTURE = b"\x89PNG\x00"
URL = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
NAMES = {number: name.removeprefix("ROLE_").lower() for name, number in pb.Role.items()}


def read(value: Any, name: str | None = None) -> Conversation:
    """Read a value in the format that it looks like, which must be the named one."""
    format_ = catalog.detect(value)
    assert format_ is not None
    assert name in (None, format_.name)
    return format_.read(value)


def said(conversation: Conversation) -> list[tuple[str, str]]:
    return [
        (NAMES[message.role], "".join(part.text for part in message.parts))
        for message in conversation.messages
    ]


def refusal(value: Any, name: str) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        catalog.reader(name).read(value)
    return caught.value


def of_kind(kind: str, **content: Any) -> dict[str, Any]:
    return {"content": {"content_type": kind, **content}}


class TestChatGPT:
    def test_the_branch_that_was_read_last_is_taken(self) -> None:
        tree = [
            node("root", None, "system"),
            node("q", "root", "user", "Why?"),
            node("old", "q", "assistant", "Because."),
            node("new", "q", "assistant", "It depends."),
        ]
        assert said(read(chatgpt(tree), "chatgpt")) == [("user", "Why?"), ("assistant", "It depends.")]
        older = chatgpt(tree, current_node="old")
        assert said(read(older))[-1] == ("assistant", "Because.")

    def test_without_a_current_node_the_newest_leaf_is(self) -> None:
        tree = chatgpt([node("q", None, "user", "Why?"), node("a", "q", "assistant", "So.")])
        assert said(read(tree | {"current_node": None})) == said(read(tree))
        assert said(read(tree | {"mapping": {}, "current_node": None})) == []

    def test_the_header_and_the_messages_keep_their_times_and_models(self) -> None:
        tree = [
            node("q", None, "user", "Why?", create_time=1_700_000_000.25),
            node("a", "q", "assistant", "So.", metadata={"model_slug": "gpt-4o"}, create_time=None),
        ]
        conversation = read(chatgpt(tree, is_archived=True))
        session, (asked, answered) = conversation.session, conversation.messages
        assert (session.title, session.id, session.source_id) == ("A chat", "chat-1", "chatgpt:chat-1")
        assert session.archived
        assert session.create_time.ToJsonString() == "2023-11-14T22:13:20.123456Z"
        assert asked.create_time.ToJsonString() == "2023-11-14T22:13:20.250Z"
        assert answered.create_time == asked.create_time
        assert (asked.model, answered.model, answered.id) == ("", "openai:gpt-4o", "a")

    def test_what_nobody_saw_is_left_out_and_counted(self) -> None:
        hidden = {"metadata": {"is_visually_hidden_from_conversation": True}}
        tree = [
            node("s", None, "system", "You are ChatGPT", **hidden),
            node("m", "s", "system", **of_kind("model_editable_context", model_set_context="x")),
            node("q", "m", "user", "Why?"),
            node("empty", "q", "assistant", ""),
            node("a", "empty", "assistant", "So."),
        ]
        conversation = read(chatgpt(tree))
        assert said(conversation) == [("user", "Why?"), ("assistant", "So.")]
        assert conversation.notes == {"hidden messages left out": 2}

    @pytest.mark.parametrize(
        ("more", "text"),
        [
            (of_kind("code", language="python", text="print(1)"), "```python\nprint(1)\n```"),
            (of_kind("code", language="unknown", text="1"), "```\n1\n```"),
            (of_kind("execution_output", text="1"), "1"),
            (of_kind("tether_quote", title="T", url="u", text="q"), "T\nu\nq"),
            (of_kind("tether_browsing_display", result="r"), "r"),
            (of_kind("system_error", name="E", text="failed"), "failed"),
            (of_kind("of tomorrow", parts=["a", None, "b"]), "a\nb"),
            (
                of_kind(
                    "multimodal_text",
                    parts=[
                        "Look:",
                        {"content_type": "image_asset_pointer", "asset_pointer": "file-service://f"},
                        {"content_type": "audio_transcription", "text": "Hello"},
                    ],
                ),
                "Look:\n[image: file-service://f]\nHello",
            ),
        ],
        ids=lambda value: value["content"]["content_type"] if isinstance(value, dict) else "",
    )
    def test_every_kind_of_content_is_text_in_the_end(self, more: dict[str, Any], text: str) -> None:
        assert said(read(chatgpt([node("a", None, "assistant", **more)]))) == [("assistant", text)]

    def test_thoughts_are_reasoning(self) -> None:
        more = of_kind("thoughts", thoughts=[{"summary": "First", "content": "Hm."}, {"content": "So."}])
        (message,) = read(chatgpt([node("a", None, "assistant", **more)])).messages
        assert [part.reasoning for part in message.parts] == ["First\nHm.", "So."]

    def test_an_answer_that_was_cut_says_so(self) -> None:
        (message,) = read(chatgpt([node("a", None, "assistant", "Be", status="in_progress")])).messages
        assert message.status == pb.MESSAGE_STATUS_INTERRUPTED

    @pytest.mark.parametrize(
        ("tree", "reason"),
        [
            (chatgpt([node("a", "b"), node("b", "a")]), "CYCLIC_TREE"),
            (chatgpt([node("a", "a")]), "CYCLIC_TREE"),
            (chatgpt([node("a", "b"), node("b", "a")], current_node=None), "CYCLIC_TREE"),
            (chatgpt([node("a", "gone")]), "BROKEN_TREE"),
            (chatgpt([node("a", None)], current_node="gone"), "BROKEN_TREE"),
            (chatgpt([node("a", 3)]), "BROKEN_TREE"),
            (chatgpt([node("a", None, "alien", "Hi")]), "INVALID_VALUE"),
            (chatgpt([node("a", None, "user", "Hi", create_time="now")]), "INVALID_VALUE"),
            (chatgpt([node("a", None, "user", "Hi", create_time=1e300)]), "INVALID_VALUE"),
            (chatgpt([node("a", None, "user", "\ud800")]), "NOT_JSON"),
        ],
    )
    def test_a_broken_tree_is_refused_with_its_place(self, tree: dict[str, Any], reason: str) -> None:
        assert refusal(tree, "chatgpt").reason == reason


class TestOpenWebUI:
    def test_the_branch_that_was_read_last_is_taken(self) -> None:
        nodes = [
            {"id": "q", "parentId": None, "role": "user", "content": "Why?", "timestamp": 1_700_000_001},
            {"id": "x", "parentId": "q", "role": "assistant", "content": "No."},
            {"id": "a", "parentId": "q", "role": "assistant", "content": "So.", "model": "llama3:8b"},
        ]
        nodes[2]["usage"] = {"prompt_tokens": 5, "completion_tokens": 2}
        conversation = read(openwebui(nodes), "openwebui")
        assert said(conversation) == [("user", "Why?"), ("assistant", "So.")]
        answer = conversation.messages[1]
        assert (answer.model, answer.usage) == ("llama3:8b", pb.Usage(input_tokens=5, output_tokens=2))
        assert answer.create_time.ToJsonString() == "2023-11-14T22:13:21Z"
        assert conversation.session.source_id == "openwebui:webui-1"

    @pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
    def test_times_are_understood_in_any_unit(self, scale: int) -> None:
        chat = openwebui([{"id": "q", "parentId": None, "role": "user", "content": "Hi"}])
        conversation = read(chat | {"created_at": 1_700_000_000 * scale})
        assert conversation.session.create_time.ToJsonString() == "2023-11-14T22:13:20Z"
        assert conversation.messages[0].create_time == conversation.session.create_time

    def test_pictures_and_thoughts_are_parts_of_their_own(self) -> None:
        thought = '<details type="reasoning"><summary>Hm</summary>\n&gt; a\n&gt; b\n</details>\nSo.'
        nodes = [
            {"id": "q", "parentId": None, "role": "user", "content": "Look"},
            {"id": "a", "parentId": "q", "role": "assistant", "content": thought, "done": False},
        ]
        nodes[0]["files"] = [
            {"type": "image", "url": URL},
            {"type": "image", "url": "/f/1"},
            {"type": "file"},
        ]
        conversation = read(openwebui(nodes))
        question, answer = conversation.messages
        assert question.parts[1].image == pb.ImagePart(media_type="image/png", data=PICTURE)
        assert question.parts[2].text == "![picture](/f/1)"
        assert len(conversation.notes) == 2
        assert list(answer.parts) == [pb.Part(reasoning="a\nb"), pb.Part(text="So.")]
        assert answer.status == pb.MESSAGE_STATUS_INTERRUPTED

    def test_old_exports_have_a_list(self) -> None:
        chat = {"id": "1", "chat": {"title": "Old", "messages": [{"role": "user", "content": "Hi"}]}}
        conversation = read(chat, "openwebui")
        assert (said(conversation), conversation.session.title) == ([("user", "Hi")], "Old")

    def test_a_circle_is_refused(self) -> None:
        nodes = [{"id": "a", "parentId": "b", "role": "user"}, {"id": "b", "parentId": "a", "role": "user"}]
        assert refusal(openwebui(nodes), "openwebui").reason == "CYCLIC_TREE"


class TestShareGPT:
    def test_speakers_are_roles(self) -> None:
        turns = [("system", "Be brief."), ("human", "Hi"), ("gpt", "Yo"), ("tool", "1"), ("GPT", "")]
        value = {"id": 7, "conversations": [{"from": who, "value": what} for who, what in turns]}
        conversation = read(value, "sharegpt")
        roles = ["system", "user", "assistant", "tool", "assistant"]
        assert said(conversation) == list(zip(roles, [what for _, what in turns], strict=True))
        assert conversation.session.source_id == "sharegpt:7"

    def test_a_system_prompt_may_stand_beside(self) -> None:
        value = {"system": "Be brief.", "conversations": [{"from": "human", "value": "Hi"}]}
        assert said(read(value))[0] == ("system", "Be brief.")

    def test_an_unknown_speaker_is_refused(self) -> None:
        error = refusal({"conversations": [{"from": "alien", "value": "Hi"}]}, "sharegpt")
        assert error.metadata["field"] == "conversations[0].from"


class TestOpenAIStyle:
    def test_contents_are_text_or_parts(self) -> None:
        parts = [
            {"type": "text", "text": "Look:"},
            {"type": "image_url", "image_url": {"url": URL}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "input_audio", "input_audio": {}},
        ]
        messages = [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "Yo", "reasoning_content": "Hm."},
        ]
        conversation = read({"messages": messages, "title": "T", "metadata": {"a": 1}}, "jsonl")
        system, question, answer = conversation.messages
        assert system.role == pb.ROLE_SYSTEM
        assert question.parts[1].image.data == PICTURE
        assert question.parts[2].text == "![picture](https://example.com/a.png)"
        assert sum(conversation.notes.values()) == 2
        assert list(answer.parts) == [pb.Part(reasoning="Hm."), pb.Part(text="Yo")]
        assert conversation.session.metadata["a"] == 1

    def test_tool_calls_and_their_results_are_parts(self) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        messages = [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
        ]
        called, answered = read({"messages": messages}, "jsonl").messages
        assert called.parts[0].tool_call == pb.ToolCallPart(
            call_id="c1", name="add", arguments_json='{"a": 1}'
        )
        assert answered.parts[0].tool_result == pb.ToolResultPart(call_id="c1", content="2")

    def test_without_an_id_it_is_known_by_what_it_says(self) -> None:
        ids = [
            read({"messages": [{"role": "user", "content": text}]}).session.source_id
            for text in ("a", "a", "b")
        ]
        assert ids[0] == ids[1] != ids[2]
        assert all(name.startswith("jsonl:sha256:") for name in ids)

    @pytest.mark.parametrize(
        ("message", "field"),
        [
            ({"role": "alien", "content": ""}, "messages[0].role"),
            ({"role": "user", "content": 3}, "messages[0].content"),
            ({"role": "user", "content": [3]}, "messages[0].content[0]"),
            ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
            ({"role": "user", "content": "\udc00"}, "messages[0].content"),
            (
                {"role": "user", "tool_calls": [{"function": {"name": 3}}]},
                "messages[0].tool_calls[0].function.name",
            ),
            ({"role": "user", "oblix": {"status": "WELL"}}, "messages[0].oblix"),
            ("Hi", "messages[0]"),
        ],
    )
    def test_what_is_wrong_is_refused_with_its_place(self, message: Any, field: str) -> None:
        assert refusal({"messages": [message]}, "jsonl").metadata["field"] == field


def test_what_no_program_writes_is_no_format() -> None:
    for value in ({}, [], None, 3, {"messages": 3}, {"mapping": []}, {"chat": "Hi"}, {"conversations": {}}):
        assert catalog.detect(value) is None
    with pytest.raises(InvalidArgumentError, match="chatgpt, json, jsonl, openwebui, sharegpt"):
        catalog.reader("word")
    with pytest.raises(InvalidArgumentError, match="json, jsonl, markdown"):
        catalog.writer("word", ".json")
    assert catalog.writer(None, ".MD") == "markdown"
