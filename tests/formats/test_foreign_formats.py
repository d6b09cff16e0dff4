"""What other programs' files say, and what is made of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from oblix import InvalidArgumentError
from oblix.formats import catalog, trees
from oblix.formats.conversations import Conversation, Fork
from oblix.v1 import messages_pb2
from support.data.conversation_strategies import chatgpt, node, openwebui

IMAGE = b"\x89PNG\x00"
URL = f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"
NAMES = {number: name.removeprefix("ROLE_").lower() for name, number in messages_pb2.Role.items()}


def read(value: Any, name: str | None = None) -> Conversation:
    """Read a value in the format that it looks like, which must be the named one."""
    format_ = catalog.detect(value)
    assert format_ is not None
    assert name in (None, format_.name)
    return format_.read(value)


def roles_and_texts(conversation: Conversation) -> list[tuple[str, str]]:
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
        assert roles_and_texts(read(chatgpt(tree), "chatgpt")) == [
            ("user", "Why?"),
            ("assistant", "It depends."),
        ]
        older = chatgpt(tree, current_node="old")
        assert roles_and_texts(read(older))[-1] == ("assistant", "Because.")

    def test_without_a_current_node_the_newest_leaf_is(self) -> None:
        tree = chatgpt([node("q", None, "user", "Why?"), node("a", "q", "assistant", "So.")])
        assert roles_and_texts(read(tree | {"current_node": None})) == roles_and_texts(read(tree))
        assert roles_and_texts(read(tree | {"mapping": {}, "current_node": None})) == []

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

    def test_hidden_messages_are_left_out_and_counted(self) -> None:
        hidden = {"metadata": {"is_visually_hidden_from_conversation": True}}
        tree = [
            node("s", None, "system", "You are ChatGPT", **hidden),
            node("m", "s", "system", **of_kind("model_editable_context", model_set_context="x")),
            node("q", "m", "user", "Why?"),
            node("empty", "q", "assistant", ""),
            node("a", "empty", "assistant", "So."),
        ]
        conversation = read(chatgpt(tree))
        assert roles_and_texts(conversation) == [("user", "Why?"), ("assistant", "So.")]
        assert conversation.notes == {"hidden messages left out": 2}

    @pytest.mark.parametrize(
        ("more", "text"),
        [
            (of_kind("code", language="python", text="print(1)"), "```python\nprint(1)\n```"),
            (of_kind("code", language="unknown", text="1"), "```\n1\n```"),
            (of_kind("execution_output", text="1"), "1"),
            (of_kind("tether_quote", title="T", url="u", text="q"), "T\nu\nq"),
            (of_kind("tether_browsing_display", result="r"), "r"),
            (of_kind("system_error", name="E", text="failed"), "E\nfailed"),
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
        assert roles_and_texts(read(chatgpt([node("a", None, "assistant", **more)]))) == [("assistant", text)]

    def test_thoughts_are_reasoning(self) -> None:
        more = of_kind("thoughts", thoughts=[{"summary": "First", "content": "Hm."}, {"content": "So."}])
        (message,) = read(chatgpt([node("a", None, "assistant", **more)])).messages
        assert [part.reasoning for part in message.parts] == ["First\nHm.", "So."]

    def test_an_answer_that_was_cut_says_so(self) -> None:
        (message,) = read(chatgpt([node("a", None, "assistant", "Be", status="in_progress")])).messages
        assert message.status == messages_pb2.MESSAGE_STATUS_INTERRUPTED

    @pytest.mark.parametrize(
        ("tree", "texts", "note"),
        [
            (chatgpt([node("a", "b", text="1"), node("b", "a", text="2")]), "12", trees.CIRCLE),
            (chatgpt([node("a", "a", text="1")]), "1", trees.CIRCLE),
            (chatgpt([node("a", "gone", text="1")]), "1", trees.GAP),
            (chatgpt([node("a", None, text="1")], current_node="gone"), "1", trees.GONE),
            (chatgpt([node("a", 3, text="1")]), "1", trees.GAP),
            (
                chatgpt([node("a", None, "user", "1", create_time="now")]),
                "1",
                "times that can't be read left out",
            ),
            (
                chatgpt([node("a", None, "user", "1", create_time=1e300)]),
                "1",
                "times that can't be read left out",
            ),
            (
                chatgpt([node("a", None, "user", "1 \ud800")]),
                "1 \ufffd",
                "characters that are half of a pair replaced",
            ),
        ],
    )
    def test_a_broken_tree_is_read_with_a_note(self, tree: dict[str, Any], texts: str, note: str) -> None:
        conversation = read(tree)
        assert "".join(text for _, text in roles_and_texts(conversation)) == texts
        assert note in conversation.notes

    def test_without_parents_the_order_or_the_children_tell_what_follows(self) -> None:
        tree = chatgpt([node("q", None, "user", "Why?"), node("a", None, "assistant", "So.")])
        for each in tree["mapping"].values():
            del each["parent"]
        conversation = read(tree)
        assert roles_and_texts(conversation) == [("user", "Why?"), ("assistant", "So.")]
        assert conversation.notes == {trees.ROOTLESS: 1}
        tree["mapping"]["q"]["children"] = ["a"]
        assert not read(tree).notes

    def test_other_branches_are_there_as_forks(self) -> None:
        nodes = [
            node("q", None, "user", "Why?"),
            node("old", "q", "assistant", "No."),
            node("a", "q", "assistant", "So."),
        ]
        (other,) = read(chatgpt(nodes)).branches
        assert roles_and_texts(other) == [("user", "Why?"), ("assistant", "No.")]
        assert other.fork == Fork("chatgpt:chat-1", 1)
        assert other.session.source_id == "chatgpt:chat-1#old"

    def test_a_message_that_is_odd_is_left_out_with_a_note(self) -> None:
        tree = chatgpt([node("q", None, "alien", "Hi"), node("a", "q", "assistant", "So.")])
        conversation = read(tree)
        assert roles_and_texts(conversation) == [("assistant", "So.")]
        assert conversation.notes == {"messages without an author left out": 1}


class TestOpenWebUI:
    def test_the_branch_that_was_read_last_is_taken(self) -> None:
        nodes = [
            {"id": "q", "parentId": None, "role": "user", "content": "Why?", "timestamp": 1_700_000_001},
            {"id": "x", "parentId": "q", "role": "assistant", "content": "No."},
            {"id": "a", "parentId": "q", "role": "assistant", "content": "So.", "model": "llama3:8b"},
        ]
        nodes[2]["usage"] = {"prompt_tokens": 5, "completion_tokens": 2}
        conversation = read(openwebui(nodes), "openwebui")
        assert roles_and_texts(conversation) == [("user", "Why?"), ("assistant", "So.")]
        answer = conversation.messages[1]
        assert (answer.model, answer.usage) == (
            "llama3:8b",
            messages_pb2.Usage(input_tokens=5, output_tokens=2),
        )
        assert answer.create_time.ToJsonString() == "2023-11-14T22:13:21Z"
        assert conversation.session.source_id == "openwebui:webui-1"

    @pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
    def test_times_are_understood_in_any_unit(self, scale: int) -> None:
        chat = openwebui([{"id": "q", "parentId": None, "role": "user", "content": "Hi"}])
        conversation = read(chat | {"created_at": 1_700_000_000 * scale})
        assert conversation.session.create_time.ToJsonString() == "2023-11-14T22:13:20Z"
        assert conversation.messages[0].create_time == conversation.session.create_time

    def test_images_and_thoughts_are_parts_of_their_own(self) -> None:
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
        assert question.parts[1].image == messages_pb2.ImagePart(media_type="image/png", data=IMAGE)
        assert question.parts[2].text == "![image](/f/1)"
        assert len(conversation.notes) == 2
        assert list(answer.parts) == [messages_pb2.Part(reasoning="a\nb"), messages_pb2.Part(text="So.")]
        assert answer.status == messages_pb2.MESSAGE_STATUS_INTERRUPTED

    def test_old_exports_have_a_list(self) -> None:
        chat = {"id": "1", "chat": {"title": "Old", "messages": [{"role": "user", "content": "Hi"}]}}
        conversation = read(chat, "openwebui")
        assert (roles_and_texts(conversation), conversation.session.title) == ([("user", "Hi")], "Old")

    def test_a_circle_is_cut(self) -> None:
        nodes = [{"id": "a", "parentId": "b", "role": "user", "content": "1"}]
        nodes.append({"id": "b", "parentId": "a", "role": "user", "content": "2"})
        conversation = read(openwebui(nodes), "openwebui")
        assert [text for _, text in roles_and_texts(conversation)] == ["1", "2"]
        assert trees.CIRCLE in conversation.notes


class TestShareGPT:
    def test_speakers_are_roles(self) -> None:
        turns = [("system", "Be brief."), ("human", "Hi"), ("gpt", "Yo"), ("tool", "1"), ("GPT", "?")]
        value = {"id": 7, "conversations": [{"from": who, "value": what} for who, what in turns]}
        conversation = read(value, "sharegpt")
        roles = ["system", "user", "assistant", "tool", "assistant"]
        assert roles_and_texts(conversation) == list(zip(roles, [what for _, what in turns], strict=True))
        assert conversation.session.source_id == "sharegpt:7"

    def test_a_system_prompt_may_stand_beside(self) -> None:
        value = {"system": "Be brief.", "conversations": [{"from": "human", "value": "Hi"}]}
        assert roles_and_texts(read(value))[0] == ("system", "Be brief.")

    def test_an_unknown_speaker_is_left_out_with_a_note(self) -> None:
        turns = [{"from": "alien", "value": "Hi"}, {"role": "user", "content": "Hello"}]
        conversation = read({"conversations": turns}, "sharegpt")
        assert roles_and_texts(conversation) == [("user", "Hello")]
        assert conversation.notes == {"messages of the role str 'alien' left out": 1}
        assert refusal({"conversations": turns[:1]}, "sharegpt").reason == "NOTHING_READ"

    def test_short_values_are_metadata_and_tools_are_noted(self) -> None:
        value = {
            "conversations": [{"from": "human", "value": "Hi"}],
            "label": True,
            "tools": [{"name": "add"}],
        }
        conversation = read(value, "sharegpt")
        assert conversation.session.metadata["label"] is True
        assert conversation.notes == {"definitions of tools left out": 1}


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
        assert system.role == messages_pb2.ROLE_SYSTEM
        assert question.parts[1].image.data == IMAGE
        assert question.parts[2].text == "![image](https://example.com/a.png)"
        assert sum(conversation.notes.values()) == 2
        assert list(answer.parts) == [messages_pb2.Part(reasoning="Hm."), messages_pb2.Part(text="Yo")]
        assert conversation.session.metadata["a"] == 1

    def test_tool_calls_and_their_results_are_parts(self) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        messages = [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
        ]
        called, answered = read({"messages": messages}, "jsonl").messages
        assert called.parts[0].tool_call == messages_pb2.ToolCallPart(
            call_id="c1", name="add", arguments_json='{"a": 1}'
        )
        assert answered.parts[0].tool_result == messages_pb2.ToolResultPart(call_id="c1", content="2")

    def test_without_an_id_it_is_known_by_what_it_says(self) -> None:
        ids = [
            read({"messages": [{"role": "user", "content": text}]}).session.source_id
            for text in ("a", "a", "b")
        ]
        assert ids[0] == ids[1] != ids[2]
        assert all(name.startswith("jsonl:sha256:") for name in ids)

    @pytest.mark.parametrize(
        ("message", "text", "notes"),
        [
            ({"role": "alien", "content": "Hello"}, "", 1),
            ({"role": "user", "content": 3}, "3", 0),
            ({"role": "user", "content": [3, None]}, "3", 0),
            ({"role": "user", "content": [{"type": "text"}]}, "", 0),
            ({"role": "user", "content": "\udc00"}, "\ufffd", 1),
            ({"role": "user", "oblix": {"status": "WELL"}, "content": "Hello"}, "", 1),
            ({"role": "user", "parts": ["Hello"]}, "Hello", 0),
            ({"role": "user", "text": "Hello"}, "Hello", 0),
            ({"role": "user", "message": "Hello"}, "Hello", 0),
            ({"role": "user", "content": [{"type": "of tomorrow", "said": "Hello"}]}, "Hello", 1),
            ({"role": "user", "content": "Hello", "aside": "Not said"}, "Hello", 1),
            (
                {"role": "assistant", "content": None, "audio": {"data": "AAAA", "transcript": "Hello"}},
                "Hello",
                1,
            ),
            ({"role": "assistant", "content": None, "refusal": "No."}, "No.", 0),
            ("Hello", "Hello", 1),
            (3, "", 1),
        ],
    )
    def test_an_odd_message_is_taken_or_noted(self, message: Any, text: str, notes: int) -> None:
        conversation = read({"messages": [{"role": "assistant", "content": "Yo"}, message]}, "jsonl")
        assert "".join(text for _, text in roles_and_texts(conversation)[1:]) == text
        assert sum(conversation.notes.values()) == notes

    def test_the_older_style_of_calls_is_read(self) -> None:
        messages = [
            {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}},
            {"role": "function", "name": "add", "content": "2"},
        ]
        called, answered = read({"messages": messages, "functions": []}, "jsonl").messages
        assert called.parts[0].tool_call == messages_pb2.ToolCallPart(
            call_id="call-0", name="add", arguments_json="{}"
        )
        assert answered.parts[0].tool_result == messages_pb2.ToolResultPart(call_id="call-0", content="2")

    def test_thoughts_are_taken_once(self) -> None:
        details = [{"type": "reasoning.text", "text": "easy"}]
        message = {"role": "assistant", "content": "4", "reasoning": "easy", "reasoning_details": details}
        conversation = read({"messages": [message]}, "jsonl")
        assert list(conversation.messages[0].parts) == [
            messages_pb2.Part(reasoning="easy"),
            messages_pb2.Part(text="4"),
        ]
        assert not conversation.notes

    def test_items_of_responses_are_messages(self) -> None:
        items = [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "2+2"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "easy"}]},
            {"type": "custom_tool_call", "call_id": "c", "name": "sum", "input": "2 2"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "4"},
        ]
        _, thought, called, answered = read({"messages": items}, "jsonl").messages
        assert thought.parts[0].reasoning == "easy"
        assert called.parts[0].tool_call == messages_pb2.ToolCallPart(
            call_id="c", name="sum", arguments_json="2 2"
        )
        assert answered.parts[0].tool_result == messages_pb2.ToolResultPart(call_id="c", content="4")

    def test_a_message_of_many_parts_is_divided(self) -> None:
        image = {"type": "image_url", "image_url": {"url": URL}}
        content = [{"type": "text", "text": f"{n} "} for n in range(300)] + [image] * 300
        conversation = read({"messages": [{"role": "user", "content": content}]}, "jsonl")
        assert [len(message.parts) for message in conversation.messages] == [256, 45]
        assert roles_and_texts(conversation)[0][1] == "".join(f"{n} " for n in range(300))
        large = read({"messages": [{"role": "user", "content": "x" * 20_000_000}]}, "jsonl")
        assert "".join(text for _, text in roles_and_texts(large)) == "x" * 20_000_000
        assert max(message.ByteSize() for message in large.messages) <= 8 * 2**20


def test_claude_s_export_is_read() -> None:
    messages = [
        {"uuid": "1", "sender": "human", "text": "Which?", "content": [{"type": "text", "text": "Which?"}]},
        {
            "uuid": "2",
            "sender": "assistant",
            "text": "This.",
            "created_at": "2026-02-01T09:00:05Z",
            "content": [
                {"type": "thinking", "thinking": "Hm."},
                {"type": "tool_use", "name": "look", "input": {"at": "it"}},
                {"type": "tool_result", "name": "look", "content": [{"type": "text", "text": "A thing"}]},
                {"type": "text", "text": "This.", "citations": [{"url": "https://a.example", "title": "A"}]},
            ],
        },
    ]
    messages[0]["attachments"] = [{"file_name": "a.txt", "extracted_content": "A long text."}]
    conversation = read({"uuid": "c", "name": "Knots", "chat_messages": messages}, "claude")
    question, answer = conversation.messages
    assert question.parts[1].text == "\n[file: a.txt]\nA long text."
    assert [part.WhichOneof("kind") for part in answer.parts] == [
        "reasoning",
        "tool_call",
        "tool_result",
        "text",
        "text",
    ]
    assert answer.parts[4].text == "\n\nSources:\n- [A](https://a.example)"
    assert not conversation.notes


def test_deepseek_s_fragments_are_parts() -> None:
    def fragments(*pairs: tuple[str, str]) -> dict[str, Any]:
        return {"model": "r", "fragments": [{"type": kind, "content": text} for kind, text in pairs]}

    tree = {
        "1": {"id": "1", "parent": None, "message": fragments(("REQUEST", "Why?"))},
        "2": {"id": "2", "parent": "1", "message": fragments(("THINK", "Hm."), ("RESPONSE", "So."))},
    }
    _, answer = read({"id": "d", "title": "T", "mapping": tree}, "deepseek").messages
    assert list(answer.parts) == [messages_pb2.Part(reasoning="Hm."), messages_pb2.Part(text="So.")]
    assert answer.model == "deepseek:r"


def test_librechat_s_tree_is_read_nested_or_flat() -> None:
    answer = {
        "messageId": "2",
        "parentMessageId": "1",
        "isCreatedByUser": False,
        "sender": "GPT-4",
        "text": "So.",
    }
    question = {
        "messageId": "1",
        "parentMessageId": None,
        "isCreatedByUser": True,
        "sender": "User",
        "text": "Why?",
    }
    for given in ([question, answer], [question | {"children": [answer]}]):
        conversation = read({"conversationId": "l", "title": "T", "messages": given}, "librechat")
        assert roles_and_texts(conversation) == [("user", "Why?"), ("assistant", "So.")]
        assert not conversation.notes


def test_lm_studio_s_selected_versions_are_read() -> None:
    step = {
        "type": "contentBlock",
        "content": [{"type": "text", "text": "Hm."}],
        "style": {"type": "thinking"},
    }
    last = {
        "type": "contentBlock",
        "content": [{"type": "text", "text": "So."}],
        "genInfo": {"identifier": "m"},
    }
    versions = [{"role": "user", "content": [{"type": "text", "text": word}]} for word in ("No?", "Why?")]
    chat = {
        "name": "T",
        "createdAt": 1_700_000_000_000,
        "messages": [
            {"versions": versions, "currentlySelected": 1},
            {"versions": [{"role": "assistant", "steps": [step, last]}], "currentlySelected": 0},
        ],
    }
    conversation = read(chat, "lmstudio")
    assert roles_and_texts(conversation) == [("user", "Why?"), ("assistant", "So.")]
    assert conversation.messages[1].parts[0].reasoning == "Hm."
    assert conversation.messages[1].model == "m"
    assert conversation.notes == {"other versions of messages left out": 1}


def test_big_agi_s_fragments_are_parts() -> None:
    def fragment(**part: Any) -> dict[str, Any]:
        return {"ft": "content", "part": part}

    messages = [
        {"id": "1", "role": "user", "fragments": [fragment(pt="text", text="Why?")]},
        {
            "id": "2",
            "role": "assistant",
            "fragments": [fragment(pt="ma", aText="Hm."), fragment(pt="text", text="So.")],
        },
    ]
    (chat,) = catalog.each_in({"conversations": [{"id": "b", "userTitle": "T", "messages": messages}]})
    conversation = read(chat, "bigagi")
    assert roles_and_texts(conversation) == [("user", "Why?"), ("assistant", "So.")]
    assert (conversation.session.title, conversation.messages[1].parts[0].reasoning) == ("T", "Hm.")


def test_a_rejected_answer_is_another_branch() -> None:
    conversation = read({"prompt": "Why?", "chosen": "So.", "rejected": "No.", "score": 3}, "pairs")
    assert roles_and_texts(conversation) == [("user", "Why?"), ("assistant", "So.")]
    assert roles_and_texts(conversation.branches[0]) == [("user", "Why?"), ("assistant", "No.")]
    assert conversation.session.metadata["score"] == 3
    spoken = read(
        {"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."}
    )
    assert roles_and_texts(spoken) == [("user", "Why?"), ("assistant", "So.")]


@pytest.mark.parametrize(
    ("document", "texts", "notes"),
    [
        ({"messages": ["Hi", "Yo"], "videos": ["b.mp4"]}, ["Hi", "Yo"], 3),
        ({"messages": [{"message": {"role": "user", "content": "Hi"}}]}, ["Hi"], 0),
        ({"system": "Be brief", "messages": [{"role": "user", "content": "Hi"}]}, ["Be brief", "Hi"], 0),
        ({"input": [{"role": "user", "content": "Hi"}], "output": [{"role": "assistant", "content": "Yo"}]},
         ["Hi", "Yo"], 0),
        ({"conversations": [{"from": "human", "value": "Hi"}], "chosen": {"from": "gpt", "value": "Yo"},
          "rejected": {"from": "gpt", "value": "No"}}, ["Hi", "Yo"], 0),
        ({"contents": [{"role": "user", "parts": [{"text": "Hi"}]},
                       {"role": "model", "parts": [{"text": "Yo"}]}],
          "systemInstruction": {"parts": [{"text": "Be brief"}]}}, ["Be brief", "Hi", "Yo"], 1),
    ],
)  # fmt: skip
def test_shapes_near_to_a_list_of_messages_are_read(document: Any, texts: list[str], notes: int) -> None:
    conversation = read(document)
    assert [text for _, text in roles_and_texts(conversation)] == texts
    assert sum(conversation.notes.values()) == notes


def test_results_that_are_handed_in_as_a_person_s_are_a_tool_s() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "4 degrees"}
    (message,) = read({"messages": [{"role": "user", "content": [result]}]}).messages
    assert message.role == messages_pb2.ROLE_TOOL
    assert message.parts[0].tool_result == messages_pb2.ToolResultPart(call_id="t", content="4 degrees")


def test_brackets_of_older_citations_are_links() -> None:
    about = {
        "citations": [{"start_ix": 5, "end_ix": 15, "metadata": {"title": "B", "url": "https://b.example"}}]
    }
    text = "Open.\u30101\u2020source\u3011 So.\u30102\u2020source\u3011"
    conversation = read(chatgpt([node("a", None, "assistant", text, metadata=about)]))
    assert roles_and_texts(conversation) == [("assistant", "Open. ([B](https://b.example)) So.")]
    assert conversation.notes == {"sources of citations left out": 1}


def test_an_unknown_program_s_messages_are_read_with_a_note() -> None:
    value = {"exported": {"log": [{"speaker": "human", "body": "Why?"}, {"speaker": "bot", "body": "So."}]}}
    conversation = read(value, "plain")
    assert roles_and_texts(conversation) == [("user", "Why?"), ("assistant", "So.")]
    assert conversation.notes == {"its format is not known: read as a list of messages": 1}


@pytest.mark.parametrize(
    ("references", "text"),
    [
        ([{"alt": "([B](https://b.example))"}], "Open. ([B](https://b.example)) So."),
        (
            [{"alt": "", "items": [{"title": "B", "url": "https://b.example"}]}],
            "Open. ([B](https://b.example)) So.",
        ),
        ([], "Open. So."),
    ],
)
def test_citations_are_links_or_noted(references: list[dict[str, Any]], text: str) -> None:
    mark = "\ue200cite\ue202turn0search0\ue201"
    about = {"content_references": [{"matched_text": mark, "type": "webpage"} | each for each in references]}
    conversation = read(chatgpt([node("a", None, "assistant", f"Open.{mark} So.", metadata=about)]))
    assert roles_and_texts(conversation) == [("assistant", text)]
    assert bool(conversation.notes) == (not references)


def test_shapes_that_no_program_writes_are_no_format() -> None:
    for value in ({}, [], None, 3, {"messages": 3}, {"mapping": []}, {"chat": "Hi"}, {"conversations": {}}):
        assert catalog.detect(value) is None
    with pytest.raises(InvalidArgumentError, match="bigagi, chatgpt, claude, deepseek, grok, json"):
        catalog.reader("word")
    with pytest.raises(InvalidArgumentError, match="claude-code, codex, html"):
        catalog.writer("word", ".json")
    assert catalog.writer(None, ".MD") == "markdown"
