"""Claude Code's transcripts of work with many tools and commands, made after lines that it writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from oblix.formats.agents.origin import PROGRAM_NOTE
from oblix.formats.conversations import Conversation
from support.tools import SAMPLES, read, short_form

SESSION = "5b1d6c1e-0001-4000-8000-000000000001"
Line = dict[str, Any]


def line(number: int, parent: int | None, role: str, content: object, **more: Any) -> Line:
    message: Line = {"role": role, "content": content}
    if role == "assistant":
        message |= {"id": more.pop("answer", f"msg_{number}"), "model": "claude-opus-4-5"}
    return {
        "parentUuid": None if parent is None else f"u{parent}",
        "isSidechain": False,
        "sessionId": SESSION,
        "type": role,
        "message": message,
        "uuid": f"u{number}",
        "timestamp": f"2026-11-28T10:00:{number:02d}.000Z",
        **more,
    }


def call(number: int, parent: int, name: str, answer: str = "msg_1") -> Line:
    block = {"type": "tool_use", "id": name, "name": "Read", "input": {"file_path": f"/{name}"}}
    return line(number, parent, "assistant", [block], answer=answer)


def result(number: int, parent: int, name: str) -> Line:
    block = {"type": "tool_result", "tool_use_id": name, "content": f"{name} is here."}
    return line(number, parent, "user", [block])


def transcript(tmp_path: Path, lines: Sequence[Line]) -> Path:
    path = tmp_path / f"{SESSION}.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def conversation(tmp_path: Path, *lines: Line) -> Conversation:
    (found,) = read(transcript(tmp_path, lines))
    return found


QUESTION = line(1, None, "user", "What grows in shade?")
TALK = [
    "u: What grows in shade?",
    "a: Read[t1] Read[t2] Read[t3]",
    "t: [t1]=t1 is here.",
    "t: [t2]=t2 is here.",
    "t: [t3]=t3 is here.",
    "a: Moss.",
]


@pytest.mark.parametrize(
    "parents",
    [
        # Each result at the line of its call; the answer at the last that came.
        {"t1": 2, "t2": 3, "t3": 4},
        # The calls' lines side by side.
        {"t1": 2, "t2": 3, "t3": 4, "calls": 1},
        # One behind another, as older versions write.
        {"t1": 4, "t2": 5, "t3": 6},
    ],
)
def test_all_results_of_calls_at_the_same_time_are_kept(tmp_path: Path, parents: dict[str, int]) -> None:
    beside = parents.get("calls")
    lines = [
        QUESTION,
        *(call(number, beside or number - 1, f"t{number - 1}") for number in (2, 3, 4)),
        *(result(number, parents[f"t{number - 4}"], f"t{number - 4}") for number in (5, 6, 7)),
        line(8, 7, "assistant", [{"type": "text", "text": "Moss."}]),
    ]
    found = conversation(tmp_path, *lines)
    assert short_form(found) == TALK
    assert not found.branches
    assert not found.notes


def test_results_of_which_the_first_was_followed_are_kept_too(tmp_path: Path) -> None:
    lines = [QUESTION, call(2, 1, "t1"), call(3, 2, "t2"), result(4, 3, "t2"), result(5, 2, "t1")]
    found = conversation(tmp_path, *lines, line(6, 4, "assistant", [{"type": "text", "text": "Moss."}]))
    assert short_form(found)[2:] == ["t: [t1]=t1 is here.", "t: [t2]=t2 is here.", "a: Moss."]
    assert not found.branches


def test_a_call_that_was_answered_twice_stays_a_branch(tmp_path: Path) -> None:
    lines = [QUESTION, call(2, 1, "t1"), call(3, 2, "t2"), result(4, 3, "t1"), result(5, 4, "t2")]
    again = [result(6, 4, "t2"), line(7, 6, "assistant", [{"type": "text", "text": "Moss."}])]
    found = conversation(tmp_path, *lines, *again)
    assert short_form(found)[-1] == "a: Moss."
    assert len(found.branches) == 1


def command(number: int, parent: int | None, name: str, arguments: str) -> Line:
    tags = {"message": f"{name} is running…", "name": f"/{name}", "args": arguments}
    text = "\n".join(f"<command-{tag}>{value}</command-{tag}>" for tag, value in tags.items())
    return line(number, parent, "user", text)


def test_a_command_that_the_model_answers_is_the_persons(tmp_path: Path) -> None:
    prompt = [{"type": "text", "text": "Review the following beds with care."}]
    answer = [{"type": "text", "text": "All is well."}]
    found = conversation(
        tmp_path,
        command(1, None, "review", "the moss bed"),
        line(2, 1, "user", prompt, isMeta=True),
        line(3, 2, "assistant", answer),
        command(4, 3, "compact", ""),
        line(5, 4, "user", "<local-command-stdout>Compacted</local-command-stdout>"),
    )
    assert short_form(found) == ["u: /review the moss bed", "a: All is well."]
    assert found.session.title == "/review the moss bed"
    assert found.notes == {PROGRAM_NOTE: 3}


def test_text_that_the_program_adds_to_a_persons_words_is_left_out(tmp_path: Path) -> None:
    blocks = [
        {"type": "text", "text": "<ide_opened_file>The user opened /garden/a.md.</ide_opened_file>"},
        {"type": "text", "text": "<system-reminder>The list of tasks is empty.</system-reminder>"},
        {"type": "text", "text": "What grows in shade?"},
    ]
    interrupted = [{"type": "text", "text": "[Request interrupted by user for tool use]"}]
    found = conversation(
        tmp_path,
        line(1, None, "user", blocks),
        line(2, 1, "assistant", [{"type": "text", "text": "Moss"}]),
        line(3, 2, "user", interrupted),
        line(4, 3, "user", "Go on."),
    )
    assert short_form(found) == ["u: What grows in shade?", "a: Moss", "u: Go on."]
    assert found.notes == {PROGRAM_NOTE: 3}


def test_a_log_of_qwen_code_s_older_versions_is_none_of_claude_code_s(tmp_path: Path) -> None:
    lines = [json.loads(each) for each in (SAMPLES / "qwen-continued.jsonl").read_text().splitlines()]
    for each in lines:
        each.pop("provenance", None)
    chat = conversation(tmp_path, *lines)
    assert chat.session.source_id.startswith("qwen-code:")
    (as_written,) = read(SAMPLES / "qwen-continued.jsonl")
    said = [each for each in short_form(as_written) if each.startswith("a: ")]
    assert [each for each in short_form(chat) if each.startswith("a: ")] == said


@pytest.mark.parametrize(
    "between", [{"type": "attachment", "attachment": {}}, {"type": "system", "subtype": "notice"}]
)
def test_a_command_is_the_persons_also_where_something_stands_before_what_follows(
    tmp_path: Path, between: Line
) -> None:
    found = conversation(
        tmp_path,
        command(1, None, "review", "the bed"),
        line(2, 1, "user", "", **between),
        line(3, 2, "assistant", [{"type": "text", "text": "All is well."}]),
    )
    assert short_form(found) == ["u: /review the bed", "a: All is well."]


def test_a_command_in_a_block_is_read_and_one_before_a_caveat_is_the_programs(tmp_path: Path) -> None:
    block = [{"type": "text", "text": command(1, None, "review", "the bed")["message"]["content"]}]
    caveat = "<local-command-caveat>Caveat: The messages below were made by commands.</local-command-caveat>"
    found = conversation(
        tmp_path,
        line(1, None, "user", block),
        line(2, 1, "assistant", [{"type": "text", "text": "All is well."}]),
        command(3, 2, "exit", ""),
        line(4, 3, "user", caveat, isMeta=True),
        command(5, 4, "model", ""),
        line(6, 5, "user", "<local-command-stdout>Set.</local-command-stdout>"),
        line(7, 6, "user", "Thanks."),
    )
    assert short_form(found) == ["u: /review the bed", "a: All is well.", "u: Thanks."]


def test_a_log_of_qwen_code_that_begins_with_a_line_of_the_program_is_its_own(tmp_path: Path) -> None:
    lines = [json.loads(each) for each in (SAMPLES / "qwen-continued.jsonl").read_text().splitlines()]
    first = {**lines[0], "type": "system", "subtype": "notice", "uuid": "first", "parentUuid": None}
    first = {key: value for key, value in first.items() if key not in ("provenance", "message")}
    chat = conversation(tmp_path, first, *lines)
    assert chat.session.source_id.startswith("qwen-code:")
