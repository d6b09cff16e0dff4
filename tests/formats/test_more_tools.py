"""What more tools keep on a machine: agents in editors, Claude Code and vibe of today, Crush and Goose.

The files of Claude Code, Cline, Continue and vibe were written by the programs; those of Visual Studio Code,
of older Cline, of Crush and of Goose are made after these programs' source code.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from oblix.formats.agents import places
from oblix.formats.agents.logs.continue_dev import NO_TIMES
from oblix.formats.agents.logs.vibe import REFUSED
from oblix.formats.agents.origin import LOCAL_TIMES, PROGRAM_NOTE, SUMMARY_NOTE
from oblix.formats.conversations import Fork
from oblix.formats.reading import read_file
from oblix.v1 import messages_pb2
from support.tools import SAMPLES, database, read, short_form

ANSWER = "苔は日陰で育つ — Moos wächst im Schatten."
NOTES = "The notes name moss and fern."
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
SHADE = "Q1 Which plants grow in shade?"


def write(path: Path, *values: object) -> Path:
    """Write a file of JSON Lines, or of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))
    return path


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    """Give a project of Claude Code: a session, a fork of it, and one that failed."""
    names = {
        "f1d0ba89-eecc-4ed3-b049-d2d07c2c32d6": "claude-code.jsonl",
        "1fddf462-2fce-4ac9-b703-a07c2f8ab81e": "claude-code-fork.jsonl",
        "d1d4a7ca-82c3-4ff1-8642-763440382e2f": "claude-code-failed.jsonl",
    }
    folder = tmp_path / ".claude/projects/-garden"
    folder.mkdir(parents=True)
    for number, (name, sample) in enumerate(names.items()):
        shutil.copyfile(SAMPLES / sample, folder / f"{name}.jsonl")
        os.utime(folder / f"{name}.jsonl", (number, number))
    return folder


def test_claude_code_s_requests_and_reminders_are_no_words(claude: Path) -> None:
    (session,) = read(claude / "f1d0ba89-eecc-4ed3-b049-d2d07c2c32d6.jsonl")
    assert short_form(session) == [f"u: {SHADE}", f"a: (Thinking of Q1.) Answer to Q1: {ANSWER}"]
    assert dict(session.notes) == {}
    assert session.session.metadata["tool_version"] == "2.1.332"


def test_a_fork_in_claude_code_names_its_session_and_what_they_share(claude: Path) -> None:
    (fork,) = read(claude / "1fddf462-2fce-4ac9-b703-a07c2f8ab81e.jsonl")
    assert [line[0] for line in short_form(fork)] == ["u", "a", "u", "a"]
    assert fork.fork == Fork("claude-code:f1d0ba89-eecc-4ed3-b049-d2d07c2c32d6", 2)


def test_a_fork_in_claude_code_is_read_after_its_parent(claude: Path) -> None:
    files = places.every_file(claude.parents[2], ["claude-code"], {})
    assert [path.stem[:8] for path in files] == ["f1d0ba89", "1fddf462", "d1d4a7ca"]


def test_an_error_that_claude_code_shows_is_a_failed_answer(claude: Path) -> None:
    (session,) = read(claude / "d1d4a7ca-82c3-4ff1-8642-763440382e2f.jsonl")
    assert short_form(session) == ["u: Q4 FAILNOW", "a: API Error: 400 The model is broken."]
    assert session.messages[1].status == messages_pb2.MESSAGE_STATUS_FAILED


def test_continue_s_results_stand_with_their_calls(tmp_path: Path) -> None:
    path = tmp_path / "8a423232-cb35-40c1-a3d2-c404f7e0c021.json"
    shutil.copyfile(SAMPLES / "continue.json", path)
    write(tmp_path / "sessions.json", [{"sessionId": path.stem, "dateCreated": "1795924191997"}])
    (session,) = read(path)
    assert short_form(session) == [
        f"u: {SHADE}",
        f"a: Answer to Q1: {ANSWER}",
        "u: Q2 USETOOL what do the notes say?",
        "a: Let me look. Bash[call_2]",
        "t: [call_2]=moss, fern",
        f"a: {NOTES}",
    ]
    assert session.session.title == SHADE
    assert session.messages[0].create_time.ToJsonString() == "2026-11-29T03:49:51.997Z"
    assert dict(session.notes) == {NO_TIMES: 1}


def test_continue_s_editor_extension_writes_thoughts_files_and_results_as_messages(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": '{"p": "a.py"}'}}
    history: list[Any] = [
        {
            "message": {"role": "user", "content": [{"type": "text", "text": "Rename foo"}]},
            "contextItems": [{"name": "a.py", "description": "a file", "content": "foo = 1"}],
        },
        {"message": {"role": "thinking", "content": "Where is it?", "signature": "x"}, "contextItems": []},
        {
            "message": {"role": "assistant", "content": "", "toolCalls": [call]},
            "toolCallStates": [{"toolCallId": "c1", "status": "done", "output": [{"content": "foo = 1"}]}],
            "reasoning": {"active": False, "text": "It is in a.py."},
        },
        {"message": {"role": "tool", "content": "foo = 1", "toolCallId": "c1"}, "contextItems": []},
        {"message": {"role": "assistant", "content": "Done."}, "conversationSummary": "They renamed foo."},
    ]
    document = {"sessionId": "s-1", "title": "Names", "workspaceDirectory": "file:///p", "history": history}
    (session,) = read(write(tmp_path / "s-1.json", document))
    assert short_form(session) == [
        "u: Rename foo [file: a.py]\nfoo = 1",
        "a: (Where is it?)",
        "a: (It is in a.py.) read_file[c1]",
        "t: [c1]=foo = 1",
        "a: Done.",
    ]
    assert session.session.metadata["directory"] == "/p"
    assert SUMMARY_NOTE in session.notes


def test_cline_s_tags_are_not_the_person_s(tmp_path: Path) -> None:
    (session,) = read(SAMPLES / "cline.messages.json")
    assert short_form(session) == [
        "u: Q2 USETOOL what do the notes say?",
        "a: (The notes must be read.) Let me look. run_commands[call_17]",
        "t: [call_17]=moss, fern",
        f"a: (Now I know.) {NOTES}",
    ]
    assert session.messages[3].usage == messages_pb2.Usage(input_tokens=20, output_tokens=7)
    assert dict(session.notes) == {}
    (failed,) = read(SAMPLES / "cline-failed.messages.json")
    assert failed.messages[1].status == messages_pb2.MESSAGE_STATUS_FAILED


def test_a_task_of_older_cline_tells_the_person_from_the_program(tmp_path: Path) -> None:
    folder = "# Current Working Directory (/garden) Files\nnotes.txt"
    details = f"<environment_details>\n{folder}\n</environment_details>"
    items = [
        {"role": "user", "content": [_text("<task>\nRead the notes\n</task>"), _text(details)]},
        {"role": "assistant", "content": [_text("<read_file>\n<path>notes.txt</path>\n</read_file>")]},
        {
            "role": "user",
            "content": [
                _text(
                    "[read_file for 'notes.txt'] Result:\n\nmoss, fern\n<feedback>\nAlso ferns?\n</feedback>"
                ),
                _text(details),
            ],
        },
        {"role": "assistant", "content": "Both."},
        {"role": "user", "content": [_text("[ERROR] You did not use a tool."), _text(details)]},
    ]
    path = tmp_path / "rooveterinaryinc.roo-cline/tasks/1764390000000/api_conversation_history.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(items))
    (task,) = read(path)
    assert short_form(task) == [
        "u: Read the notes",
        "a: <read_file>\n<path>notes.txt</path>\n</read_file>",
        "t: []=moss, fern Also ferns?",
        "a: Both.",
    ]
    assert task.session.source_id == "roo-code:1764390000000"
    assert task.session.metadata["directory"] == "/garden"
    assert task.session.create_time.ToJsonString() == "2025-11-29T04:20:00Z"
    assert task.notes[PROGRAM_NOTE] == 4


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_a_chat_of_visual_studio_code_is_replayed(tmp_path: Path) -> None:
    call = {
        "kind": "toolInvocationSerialized",
        "toolCallId": "c1",
        "toolId": "run_in_terminal",
        "invocationMessage": "Running a command",
        "isComplete": True,
        "toolSpecificData": {"kind": "terminal", "commandLine": {"original": "pytest"}},
        "resultDetails": {"input": "pytest", "output": [{"type": "embed", "value": "3 passed"}]},
    }
    first = {
        "requestId": "r1",
        "timestamp": 1795924191997,
        "responseTimestamp": 1795924195000,
        "message": {"text": "Run the tests", "parts": [{"kind": "text", "text": "Run the tests"}]},
        "modelId": "copilot/gpt-5",
        "response": [{"kind": "thinking", "value": "pytest, I think"}, call, {"value": "All tests "}],
    }
    session = {"version": 3, "sessionId": "9ab", "creationDate": 1795924191000, "requests": [first]}
    path = write(
        tmp_path / "workspaceStorage/x/chatSessions/9ab.jsonl",
        {"kind": 0, "v": session | {"workingDirectory": "file:///garden/a%20b"}},
        {
            "kind": 2,
            "k": ["requests", 0, "response"],
            "v": [{"value": "pass."}, {"kind": "undoStop", "id": "u"}],
        },
        {"kind": 1, "k": ["customTitle"], "v": "Tests"},
        {
            "kind": 2,
            "k": ["requests"],
            "v": [{"message": "Thanks", "response": ["Bye."], "timestamp": 1795924200000}],
        },
        {
            "kind": 2,
            "k": ["requests"],
            "i": 1,
            "v": [{"message": "Once more", "response": [{"value": "Yes."}]}],
        },
        {"kind": 3, "k": ["requests", 7]},
    )
    (chat,) = read(path)
    assert short_form(chat) == [
        "u: Run the tests",
        "a: (pytest, I think) run_in_terminal[c1]",
        "t: [c1]=3 passed",
        "a: All tests pass.",
        "u: Once more",
        "a: Yes.",
    ]
    assert (chat.session.title, chat.session.metadata["directory"]) == ("Tests", "/garden/a b")
    assert chat.messages[1].model == "copilot:gpt-5"
    assert dict(chat.notes) == {}


@pytest.fixture
def vibe(tmp_path: Path) -> Path:
    """Give a session of vibe in which tools ran."""
    for name, content in json.loads((SAMPLES / "vibe-tools.json").read_text()).items():
        write(tmp_path / name, content)
    return tmp_path / "CURRENT"


def test_vibe_s_thoughts_and_tools_stand_with_their_answers(vibe: Path) -> None:
    (session,) = read(vibe)
    first, second = (
        "effect-dc76c044-86be-5026-868b-893b9859b4e4",
        "effect-a3c4f9bf-28ba-579d-970f-9296f182f66b",
    )
    assert [line.partition("={")[0] for line in short_form(session)] == [
        "u: Q5 what do the notes say?",
        f"a: (The notes must be read.) Let me look. file_system.bash[{first}]",
        f"t: [{first}]",
        f"a: (Now I know.) {NOTES}",
        "u: Q6 what do the notes say?",
        f"a: (The notes must be read.) file_system.bash[{second}]",
        f"t: [{second}]",
        f"a: (Now I know.) {NOTES}",
    ]
    assert "moss, fern" in session.messages[2].parts[0].tool_result.content
    assert dict(session.notes) == {}


def test_vibes_journal_has_the_messages_after_its_last_snapshot(vibe: Path) -> None:
    (manifest,) = vibe.parent.glob("generations/*/manifest.json")
    kept = json.loads(manifest.read_text())
    (chunk,) = kept["projection_state"]["chunks"]
    path = vibe.parent / f"chunks/{chunk}.json"
    entries = json.loads(path.read_text())
    write(path, entries[:-2])
    records = [
        {"type": "command_reserved", "sequence": 9, "payload": {"method": "turn/start"}},
        *(
            {"type": "projection_delta", "payload": {"delta": [{"op": "append_entry", "entry": entry}]}}
            for entry in entries[-2:]
        ),
    ]
    write(vibe.parent / kept["recovery_journal_segment"]["path"], *records)
    (session,) = read(vibe)
    assert short_form(session)[-1] == f"a: (Now I know.) {NOTES}"
    assert dict(session.notes) == {}


def test_a_session_of_vibe_1_is_one_file_without_its_user_s_name(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are an agent that works in a folder."},
        {"role": "user", "content": SHADE},
        {"role": "assistant", "content": "A look.", "reasoning_content": "What grows?", "tool_calls": [call]},
        {"role": "tool", "content": "moss", "name": "bash", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Moss."},
    ]
    about = {
        "session_id": "f6531c95",
        "start_time": "2026-11-29T04:39:35.105812",
        "environment": {"working_directory": "/garden"},
        "username": "a person",
        "stats": {"steps": 2},
        "agent_config": {"active_model": "toy"},
    }
    (session,) = read(write(tmp_path / "session_1.json", {"metadata": about, "messages": messages}))
    assert short_form(session) == [
        f"u: {SHADE}",
        "a: (What grows?) A look. bash[c1]",
        "t: [c1]=moss",
        "a: Moss.",
    ]
    assert "a person" not in str(session.session)
    assert dict(session.notes) == {LOCAL_TIMES: 1}


def test_a_call_that_vibe_did_not_run_is_noted(vibe: Path) -> None:
    for path in vibe.parent.glob("chunks/*.json"):
        kept = [entry for entry in json.loads(path.read_text()) if "detail" not in entry]
        path.write_text(json.dumps(kept))
    (session,) = read(vibe)
    assert session.notes[REFUSED] == 2


def test_gptmes_own_words_are_left_out_and_thoughts_told_apart(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "2026-11-29-moss/conversation.jsonl",
        {"role": "user", "content": SHADE, "timestamp": "2026-11-29T04:04:47.742277"},
        {
            "role": "assistant",
            "content": "<think>\nWhat grows?\n</think>\n\nMoss. A <think>tag</think> stays.",
            "timestamp": "2026-11-29T04:05:28.890763",
        },
        {
            "role": "user",
            "content": "<system>No tool call detected in last message.</system>",
            "timestamp": "2026-11-29T04:05:29.160506",
        },
    )
    (log,) = read(path)
    assert short_form(log) == [f"u: {SHADE}", "a: (What grows?) Moss. A <think>tag</think> stays."]
    assert log.notes[PROGRAM_NOTE] == 1


def test_an_answer_that_begins_with_a_thought_in_tags_has_it_as_a_thought(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "<think>my own tag</think>"},
        {"role": "assistant", "content": "<think>\nOnce.\n</think>\n<thinking>Twice.</thinking>\nMoss."},
        {"role": "assistant", "content": "Say </think> or <think> as you like."},
    ]
    (found,) = read_file(write(tmp_path / "chat.jsonl", {"messages": messages}), None)
    assert found.conversation is not None
    assert short_form(found.conversation) == [
        "u: <think>my own tag</think>",
        "a: (Once.) (Twice.) Moss.",
        "a: Say </think> or <think> as you like.",
    ]
    assert not found.conversation.notes


def test_a_fork_of_codex_finds_its_parent_beside_it_by_what_is_in_the_file(tmp_path: Path) -> None:
    for name in ("codex-fork.rollout.jsonl", "codex-forked-from.rollout.jsonl"):
        shutil.copyfile(SAMPLES / name, tmp_path / name)
    write(tmp_path / "broken.jsonl", "no head")
    (fork,) = read(tmp_path / "codex-fork.rollout.jsonl")
    assert fork.fork == Fork("codex:01a222f7-bf5f-74e0-aafb-b0fc160db0f4", 2)
    assert not fork.notes


def test_older_llm_s_files_images_and_tools_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    script = (SAMPLES / "llm-older.sql").read_text() + (
        f"UPDATE attachments SET path = NULL, content = X'{base64.b64decode(PIXEL).hex()}';"
    )
    plants, tools, image = read(database(tmp_path / "logs.db", script))
    assert short_form(plants)[2:] == [
        "u: [file: /garden/notes.txt]\nmoss, fern\n\n Q2 with a file",
        f"a: Answer to Q2: {ANSWER}",
    ]
    assert short_form(tools) == [
        "u: Q3 what do the notes say?",
        "a: Let me look. bash[call_7]",
        "t: [call_7]=moss, fern",
        f"a: {NOTES}",
    ]
    assert tools.session.context["system"] == "Be short."
    assert short_form(image)[0] == "u: Q4 what is it? <image/png>"
    assert [dict(each.notes) for each in (plants, tools, image)] == [{}, {}, {}]


def _opencode(tmp_path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a session of opencode and its messages, as exports and older versions have them."""
    times = {"created": 1795926699095, "updated": 1795926719502}
    info = {"id": "ses_1", "projectID": "global", "directory": "/garden", "title": "Shade", "time": times}
    state = {"status": "completed", "input": {"command": "cat"}, "output": "moss", "title": "Read"}
    said_: list[tuple[str, str, list[dict[str, Any]]]] = [
        ("msg_1", "user", [_text('"What do the \\"notes\\" say?"\n')]),
        ("msg_2", "assistant", [
            {"type": "reasoning", "text": "A look."},
            {"type": "tool", "callID": "c1", "tool": "bash", "state": state},
        ]),
        ("msg_3", "assistant", [{"type": "step-start"}, _text("Moss.")]),
        ("msg_4", "user", [_text("Undone?")]),
    ]  # fmt: skip
    messages = [
        {
            "info": {"id": name, "role": role, "time": {"created": 1795926700000 + number}},
            "parts": [part | {"id": f"prt_{number}{place}"} for place, part in enumerate(parts)],
        }
        for number, (name, role, parts) in enumerate(said_)
    ]
    return info, messages


OPENCODE_SAID = ['u: What do the "notes" say?', "a: (A look.) bash[c1]", "t: [c1]=moss", "a: Moss."]


def test_an_export_of_opencode_is_read_without_undone_turns(tmp_path: Path) -> None:
    info, messages = _opencode(tmp_path)
    document = {"info": info | {"revert": {"messageID": "msg_4"}}, "messages": messages}
    path = tmp_path / "export.json"
    path.write_text(json.dumps(document, indent=2))
    (session,) = read(path)
    assert short_form(session) == OPENCODE_SAID
    assert session.session.source_id == "opencode:ses_1"
    assert session.notes["messages that were undone left out"] == 1
    assert session.session.create_time.ToJsonString() == "2026-11-29T04:31:39.095Z"


def test_opencode_s_older_files_are_read_until_a_database_took_them_over(tmp_path: Path) -> None:
    info, messages = _opencode(tmp_path)
    storage = tmp_path / ".local/share/opencode/storage"
    session_file = write(storage / "session/global/ses_1.json", info)
    for message in messages[:3]:
        name = message["info"]["id"]
        write(storage / f"message/ses_1/{name}.json", message["info"])
        for part in message["parts"]:
            write(storage / f"part/{name}/{part['id']}.json", part)
    assert places.every_file(tmp_path, ["opencode"], {}) == [session_file]
    (session,) = read(session_file)
    assert short_form(session) == OPENCODE_SAID
    taken_over = storage.parent / "opencode.db"
    taken_over.touch()
    assert places.every_file(tmp_path, ["opencode"], {}) == [taken_over]


def test_a_langgraph_thread_that_went_on_from_an_older_checkpoint_has_a_branch(tmp_path: Path) -> None:
    """Written by deepagents 0.7.32, which keeps differences, and a snapshot where one goes back."""
    (thread,) = read(database(tmp_path / "graph.db", (SAMPLES / "langgraph-branch.sql").read_text()))
    first = [f"u: {SHADE}", f"a: Answer to Q1: {ANSWER}"]
    assert short_form(thread) == [*first, "u: Q9 other branch", f"a: Answer to Q9: {ANSWER}"]
    (other,) = thread.branches
    assert short_form(other) == [
        *first,
        "u: Q2 USETOOL PLAIN what do the notes say?",
        "a: Let me look. bash[call_27]",
        "t: [call_27]=moss, fern",
        f"a: {NOTES}",
        "u: Q3 and?",
        f"a: Answer to Q3: {ANSWER}",
    ]
    assert other.fork == Fork(thread.session.source_id, 2)
    assert thread.messages[0].create_time == other.messages[0].create_time


CRUSH = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, parent_session_id TEXT, title TEXT NOT NULL,
  message_count INTEGER NOT NULL DEFAULT 0, updated_at INTEGER NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE messages (id TEXT PRIMARY KEY, session_id TEXT NOT NULL, role TEXT NOT NULL,
  parts BLOB NOT NULL default '[]', model TEXT, provider TEXT, created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL, finished_at INTEGER, is_summary_message INTEGER NOT NULL DEFAULT 0);
INSERT INTO sessions VALUES ('s1', NULL, 'Plants', 5, 1795924300, 1795924200);
INSERT INTO sessions VALUES ('title-s1', 's1', 'Generate a title', 1, 1795924300, 1795924200);
INSERT INTO messages VALUES ('m0', 'title-s1', 'assistant', '[{"type":"text","data":{"text":"Plants"}}]',
  'toy', 'me', 1795924201, 1, 1, 0);
"""


def test_crush_s_parts_are_read_and_its_summaries_left_out(tmp_path: Path) -> None:
    rows: list[tuple[str, str, list[tuple[str, dict[str, Any]]], int]] = [
        ("m1", "user", [("text", {"text": "What is this?"}),
                        ("binary", {"Path": "a.png", "MIMEType": "image/png", "Data": PIXEL}),
                        ("finish", {"reason": "stop", "time": 0})], 0),
        ("m2", "assistant", [("reasoning", {"thinking": "A look.", "signature": "x"}),
                             ("text", {"text": "I look."}),
                             ("tool_call", {"id": "c1", "name": "view", "input": "{}", "finished": True}),
                             ("finish", {"reason": "tool_use", "time": 1})], 0),
        ("m3", "tool", [("tool_result", {"tool_call_id": "c1", "name": "view", "content": "moss",
                                         "metadata": "{}", "is_error": False})], 0),
        ("m4", "assistant", [("text", {"text": "All of it was about moss."}),
                             ("finish", {"reason": "end_turn"})], 1),
        ("m5", "assistant", [("finish", {"reason": "error", "message": "Broken", "details": "by me"})], 0),
    ]  # fmt: skip
    script = CRUSH + "".join(
        f"INSERT INTO messages VALUES ('{name}', 's1', '{role}', '{_parts(parts)}', 'toy', 'me', "
        f"{1795924201 + number}, 1, 1, {summary});"
        for number, (name, role, parts, summary) in enumerate(rows)
    )
    (tmp_path / "garden/.crush").mkdir(parents=True)
    path = database(tmp_path / "garden/.crush/crush.db", script)
    (session,) = read(path)
    assert short_form(session) == [
        "u: What is this? <image/png>",
        "a: (A look.) I look. view[c1]",
        "t: [c1]=moss",
        "a: Broken\nby me",
    ]
    assert session.messages[3].status == messages_pb2.MESSAGE_STATUS_FAILED
    assert session.messages[1].model == "me:toy"
    assert session.session.metadata["directory"] == str(tmp_path / "garden")
    assert dict(session.notes) == {SUMMARY_NOTE: 1}
    (found,) = places.search(tmp_path, {})
    assert (found.tool, found.conversations) == ("crush", 1)


def _parts(parts: list[tuple[str, dict[str, Any]]]) -> str:
    return json.dumps([{"type": kind, "data": data} for kind, data in parts]).replace("'", "''")


GOOSE = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, name TEXT, description TEXT, session_type TEXT, working_dir TEXT,
  created_at TIMESTAMP, updated_at TIMESTAMP);
CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content_json TEXT,
  created_timestamp INTEGER, timestamp TIMESTAMP, tokens INTEGER, metadata_json TEXT);
INSERT INTO sessions VALUES ('20261129_1', 'Plants', '', 'user', '/garden', '2026-11-29 04:00:00', NULL);
"""
GOOSE_SAID: list[tuple[str, list[dict[str, Any]], bool]] = [
    ("user", [_text("What do the notes say?")], True),
    ("assistant", [
        {"type": "thinking", "thinking": "A look.", "signature": "x"},
        {"type": "toolRequest", "id": "c1", "toolCall": {
            "status": "success", "value": {"name": "shell", "arguments": {"command": "cat"}}}},
    ], True),
    ("user", [{"type": "toolResponse", "id": "c1", "toolResult": {
        "status": "success", "value": {"content": [_text("moss")], "isError": False}}}], True),
    ("user", [{"type": "toolResponse", "id": "c2", "toolResult": {
        "status": "error", "error": "no such tool"}}], True),
    ("assistant", [_text("They were asked about the notes.")], False),
    ("assistant", [_text("Moss.")], True),
]  # fmt: skip
GOOSE_READ = [
    "u: What do the notes say?",
    "a: (A look.) shell[c1]",
    "t: [c1]=moss",
    "t: [c2]=no such tool",
    "a: Moss.",
]


def test_goose_s_hidden_summaries_are_left_out(tmp_path: Path) -> None:
    script = GOOSE + "".join(
        f"INSERT INTO messages VALUES ({number}, '20261129_1', '{role}', '{json.dumps(content)}', "
        f"{1795924201 + number}, NULL, NULL, '{json.dumps({'userVisible': is_visible})}');"
        for number, (role, content, is_visible) in enumerate(GOOSE_SAID)
    )
    (session,) = read(database(tmp_path / "sessions.db", script))
    assert short_form(session) == GOOSE_READ
    assert session.messages[3].parts[0].tool_result.is_error
    assert session.session.create_time.ToJsonString() == "2026-11-29T04:00:00Z"
    assert dict(session.notes) == {SUMMARY_NOTE: 1}


def test_goose_s_older_logs_are_read(tmp_path: Path) -> None:
    head = {"working_dir": "/garden", "description": "Plants", "message_count": 5, "total_tokens": 100}
    lines = [
        {"role": role, "created": 1795924201 + number, "content": content}
        for number, (role, content, is_visible) in enumerate(GOOSE_SAID)
        if is_visible
    ]
    (session,) = read(write(tmp_path / "20250804_101500.jsonl", head, *lines))
    assert short_form(session) == GOOSE_READ
    assert (session.session.title, session.session.metadata["directory"]) == ("Plants", "/garden")
