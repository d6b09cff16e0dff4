"""What is written for people, for training, and for other tools to go on with."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from oblix.formats import catalog, oblix_json
from oblix.formats.conversations import Conversation
from oblix.formats.exports import claude_code, codex, finetuning, html_page, opencode
from oblix.formats.exports.tools import TARGETS
from oblix.formats.reading import read_file
from oblix.v1 import messages_pb2
from support.data.conversation_strategies import conversations

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1)) "
    "![t](https://tracker.example/p.png) \x1b[2J </pre></details></article>"
)


def session(*messages: dict[str, Any], **fields: Any) -> Conversation:
    """A session of these messages."""
    document = {
        "id": "01a22444-2298-74e0-899e-ac627f3d2aaa",
        "title": "Plants",
        "created_at": "2026-11-28T16:00:00Z",
        "updated_at": "2026-11-28T16:01:00Z",
        "messages": [{"timestamp": f"2026-11-28T16:00:{n:02}Z", **each} for n, each in enumerate(messages)],
        "metadata": {"directory": "/garden"},
    }
    return oblix_json.read(document | fields)


TALK = session(
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Which plants?"},
    {
        "role": "assistant",
        "content": "",
        "model": "claude:opus",
        "parts": [
            {"reasoning": "The notes."},
            {"text": "I look."},
            {"tool_call": {"call_id": "c:1", "name": "read", "arguments_json": '{"file": "notes"}'}},
        ],
    },
    {"role": "tool", "content": "", "parts": [{"tool_result": {"call_id": "c:1", "content": "moss"}}]},
    {"role": "assistant", "content": "Moss.", "model": "openai:gpt"},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "Fer", "status": "interrupted"},
)


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(*given_: Conversation) -> Page:
    return Page(
        html_page.START
        + "".join(html_page.dump(each.session, each.messages) for each in given_)
        + html_page.END
    )


class TestHtml:
    def test_hostile_content_is_text_and_loads_nothing(self) -> None:
        call = {"tool_call": {"call_id": "c", "name": HOSTILE[:128], "arguments_json": HOSTILE}}
        result = {"tool_result": {"call_id": HOSTILE, "content": HOSTILE}}
        said = [
            {"role": "user", "content": HOSTILE},
            {"role": "assistant", "content": "", "model": HOSTILE, "parts": [{"reasoning": HOSTILE}, call]},
            {"role": "tool", "content": "", "parts": [result]},
        ]
        page = page_of(session(*said, title=HOSTILE))
        assert {tag for tag, _ in page.tags} <= {
            "html", "head", "meta", "title", "style", "body", "article", "h1", "p", "section", "h2", "span",
            "div", "details", "summary", "pre", "a",
        }  # fmt: skip
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
        assert all(link.startswith("https://tracker.example") for link in links)
        assert "<script>alert(1)</script>" in page.text
        assert "\x1b" not in page.text
        assert page.open == []

    def test_the_page_forbids_scripts_and_the_network(self) -> None:
        policies = [
            a["content"] for tag, a in page_of(TALK).tags if a.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]

    def test_an_export_as_markdown_has_every_message(self) -> None:
        code = "Look:\n\n```python\nprint(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
        page = page_of(TALK, session({"role": "assistant", "content": code}))
        assert [tag for tag, _ in page.tags].count("article") == 2
        assert {"table", "code", "details"} <= {tag for tag, _ in page.tags}
        for text in (
            "Which plants?",
            "The notes.",
            "moss",
            "print(1)",
            "interrupted",
            "2026-11-28 16:00 UTC",
        ):
            assert text in page.text

    def test_images_are_in_the_page_if_a_browser_shows_them_safely(self) -> None:
        parts = [{"image": {"media_type": kind, "data": "AAAA"}} for kind in ("image/png", "image/svg+xml")]
        page = page_of(session({"role": "user", "content": "", "parts": parts}))
        assert [a["src"] for tag, a in page.tags if tag == "img"] == ["data:image/png;base64,AAAA"]

    @settings(max_examples=25, deadline=None)
    @given(conversations)
    def test_any_session_is_a_whole_page(self, given_) -> None:
        page = Page(html_page.START + html_page.dump(*given_) + html_page.END)
        assert page.open == []
        assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "link", "form"}


class TestTraining:
    def test_openai_s_lines_end_with_an_answer_and_weigh_it(self) -> None:
        line = json.loads(finetuning.dump_openai(TALK.session, TALK.messages))
        assert line == {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Which plants?"},
                {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [
                        {
                            "id": "c:1",
                            "type": "function",
                            "function": {"name": "read", "arguments": '{"file": "notes"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c:1", "content": "moss"},
                {"role": "assistant", "content": "Moss."},
                {"role": "user", "content": "And?"},
                {"role": "assistant", "content": "Fer", "weight": 0},
            ]
        }

    def test_sharegpt_s_speakers_are_named(self) -> None:
        line = json.loads(finetuning.dump_sharegpt(TALK.session, TALK.messages))
        speakers = [turn["from"] for turn in line["conversations"]]
        assert speakers == ["system", "human", "gpt", "function_call", "observation", "gpt", "human", "gpt"]

    def test_without_an_answer_there_is_no_line(self) -> None:
        asked = session({"role": "user", "content": "Hello?"})
        for dump in (finetuning.dump_openai, finetuning.dump_sharegpt):
            assert dump(asked.session, asked.messages) == ""

    @settings(max_examples=25, deadline=None)
    @given(conversations)
    def test_any_session_is_one_line_or_none(self, given_) -> None:
        for dump in (finetuning.dump_openai, finetuning.dump_sharegpt):
            line = dump(*given_)
            assert line.count("\n") == bool(line)
            assert line == "" or json.loads(line)


def texts_of(messages: list[messages_pb2.Message]) -> list[str]:
    """Texts, calls and results in order."""
    found = []
    for message in messages:
        for part in message.parts:
            kind = part.WhichOneof("kind")
            if kind == "text":
                found.append(part.text)
            elif kind == "tool_call":
                found.append(f"calls {part.tool_call.name} {part.tool_call.arguments_json}")
            elif kind == "tool_result":
                found.append(f"result {part.tool_result.content}")
    return found


class TestHandover:
    @pytest.mark.parametrize("module", [codex, claude_code])
    def test_a_session_written_for_a_tool_is_read_back(self, tmp_path: Path, module: Any) -> None:
        path = tmp_path / module.file_name(TALK.session)
        path.parent.mkdir(parents=True)
        path.write_text(module.dump(TALK.session, TALK.messages))
        (found,) = read_file(path, None)
        assert found.conversation is not None
        assert texts_of(found.conversation.messages) == [
            "Which plants?",
            "I look.",
            'calls read {"file": "notes"}',
            "result moss",
            "Moss.",
            "And?",
            "Fer",
        ]
        assert found.conversation.session.metadata["directory"] == "/garden"
        assert not found.conversation.notes

    def test_opencode_s_ids_sort_and_results_stand_with_their_calls(self) -> None:
        told = json.loads(opencode.dump(TALK.session, TALK.messages))
        ids = [message["info"]["id"] for message in told["messages"]]
        assert ids == sorted(set(ids))
        tools = [part for message in told["messages"] for part in message["parts"] if part["type"] == "tool"]
        assert [(part["callID"], part["state"]["output"]) for part in tools] == [("c_1", "moss")]
        assert told["messages"][1]["info"]["parentID"] == ids[0]

    def test_a_call_without_a_result_is_told_as_text(self) -> None:
        call = {"tool_call": {"call_id": "c", "name": "read", "arguments_json": "{}"}}
        broken = session(
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "", "parts": [call]}
        )
        for module in (codex, claude_code, opencode):
            written = module.dump(broken.session, broken.messages)
            assert "[called read: {}]" in written
            assert '"tool_use"' not in written
            assert '"function_call"' not in written

    def test_each_tool_s_place_and_command_are_known(self, tmp_path: Path) -> None:
        name = TALK.session.id
        codex_path = TARGETS["codex"].path(TALK.session, tmp_path, {})
        assert codex_path == tmp_path / f".codex/sessions/2026/11/28/rollout-2026-11-28T16-00-00-{name}.jsonl"
        moved = TARGETS["claude-code"].path(TALK.session, tmp_path, {"CLAUDE_CONFIG_DIR": "/x"})
        assert moved == Path(f"/x/projects/-garden/{name}.jsonl")
        assert TARGETS["codex"].command(TALK.session, codex_path) == f"codex resume {name}"

    @settings(max_examples=25, deadline=None)
    @given(conversations)
    def test_any_session_can_be_handed_over(self, given_) -> None:
        for name in ("codex", "claude-code", "opencode"):
            written = catalog.WRITTEN[name].dump(*given_)
            for line in [written] if name == "opencode" else written.splitlines():
                assert isinstance(json.loads(line), dict)
