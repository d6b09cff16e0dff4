"""What tools keep on a machine, as they really write it, and what is made of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oblix import InvalidArgumentError
from oblix.formats.agents import catalog, places
from oblix.formats.agents.databases import tables
from oblix.formats.agents.origin import LOCAL_TIMES, SUMMARY_NOTE
from oblix.formats.conversations import Conversation, Fork
from oblix.formats.reading import read_file
from oblix.v1 import messages_pb2
from support.data.conversation_strategies import spoil
from support.tools import FILES, SAMPLES, database, home_of_tools, read
from support.tools import short_form as form_with_results

NOTES = "Which plants do the notes name?"
NAMED = "The notes name moss and fern."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home_of_tools(tmp_path_factory.mktemp("home"))


def short_form(conversation: Conversation) -> list[str]:
    return form_with_results(conversation, has_results=False)


def test_codex_keeps_thoughts_calls_and_results_and_drops_what_the_program_says(home: Path) -> None:
    (thread,) = read(home / FILES["codex-exec.rollout.jsonl"])
    assert short_form(thread) == [
        f"u: {NOTES}",
        "a: (The notes must be read.) exec_command[call_13]",
        "t: [call_13]",
        f"a: {NAMED}",
    ]
    assert thread.messages[3].model == "fake:toy-1"
    assert thread.messages[3].usage == messages_pb2.Usage(input_tokens=20, output_tokens=7)
    assert thread.messages[0].create_time.ToJsonString() == "2026-11-28T16:22:31.454Z"
    assert thread.session.metadata["directory"] == "/garden"
    assert (thread.session.title, dict(thread.notes)) == (NOTES, {})


def test_a_codex_fork_begins_with_its_parent_s_lines(home: Path, tmp_path: Path) -> None:
    (fork,) = read(home / FILES["codex-fork.rollout.jsonl"])
    assert short_form(fork) == [
        "u: What grows in shade?",
        "a: Moss does.",
        "u: Does it survive frost?",
        "a: Yes, mostly.",
    ]
    assert fork.fork == Fork("codex:01a222f7-bf5f-74e0-aafb-b0fc160db0f4", 2)
    alone = tmp_path / "1/2/3/rollout-alone.jsonl"
    alone.parent.mkdir(parents=True)
    alone.write_bytes((SAMPLES / "codex-fork.rollout.jsonl").read_bytes())
    (without,) = read(alone)
    assert len(without.messages) == 2
    assert "the beginning, up to the fork, is in a file that is not there" in without.notes


def test_a_codex_thread_has_the_name_that_it_was_given_last(home: Path) -> None:
    path = home / FILES["codex-exec.rollout.jsonl"]
    named = [{"type": "thread_name_updated", "thread_name": name} for name in ("Beds", "Moss")]
    lines = [json.dumps({"type": "event_msg", "payload": each}) for each in named]
    path.write_text("\n".join([path.read_text().rstrip(), *lines, ""]))
    (thread,) = read(path)
    assert thread.session.title == "Moss"


def test_a_compaction_is_nobody_s_answer(home: Path) -> None:
    (thread,) = read(home / FILES["codex-forked-from.rollout.jsonl"])
    assert short_form(thread) == [
        "u: What grows in shade?",
        "a: Moss does.",
        "u: And in full sun?",
        "a: Moss does.",
        "u: Name the tallest.",
        "a: Moss does.",
    ]
    assert dict(thread.notes) == {SUMMARY_NOTE: 2}
    (session,) = read(home / ".hermes/state.db")
    assert [text for text in short_form(session) if text.startswith("u")] == [
        "u: What grows in shade?",
        *[
            f"u: Question {n} about gardens. The wall is old and the moss is thick. (and so on) "
            for n in range(1, 11)
        ],
    ]


def test_a_gemini_log_is_replayed(home: Path) -> None:
    (chat,) = read(home / FILES["gemini-tool-and-resume.jsonl"])
    call = "read_file__read_file_1795884240369_0"
    assert short_form(chat) == [
        f"u: {NOTES}",
        f"a: (Look The notes must be read.) I will read them. read_file[{call}]",
        f"t: [{call}]",
        f"a: {NAMED}",
        "u: And which is tallest?",
        "a: Moss does.",
    ]
    assert not chat.notes


def test_qwen_s_lines_follow_each_other(home: Path) -> None:
    (chat,) = read(home / FILES["qwen-continued.jsonl"])
    assert short_form(chat) == [
        f"u: {NOTES}",
        "a: (The notes must be read.) I will read them. run_shell_command[call_31]",
        "t: [call_31]",
        f"a: {NAMED}",
        "u: And which is tallest?",
        "a: Moss does.",
    ]
    assert not chat.notes


def test_pi_s_branches_are_forks(home: Path) -> None:
    (session,) = read(home / FILES["pi-tree.jsonl"])
    assert short_form(session) == ["u: What grows on rocks?", f"a: {NAMED}"]
    (other,) = session.branches
    assert short_form(other) == [
        "u: What grows in shade?",
        f"a: {NAMED}",
        "u: And which is tallest?",
        "a: Fern is.",
    ]
    assert other.fork == Fork(session.session.source_id, 0)
    assert other.session.source_id.endswith("#b4f424a1")
    assert not session.notes


def test_vibe_s_current_generation_is_read(home: Path) -> None:
    (session,) = read(home / ".vibe/logs/session/unified/eb7973c5/CURRENT")
    assert short_form(session) == [
        "u: Name something green (first).",
        f"a: {NAMED}",
        "u: Name something red (second).",
        f"a: {NAMED}",
    ]
    assert not session.notes
    assert "gardener" not in str(session.session)


def test_files_that_one_gives_to_pi_are_told_from_what_one_types(tmp_path: Path) -> None:
    typed = '<file name="/p/a.png"></file>\n<file name="/p/n.txt">\nmoss\n</file>\nWhat is <b>this</b>?'
    image = {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}
    content = [{"type": "text", "text": typed}, image]
    lines = [
        {"type": "session", "version": 3, "id": "1", "timestamp": "2026-11-29T04:47:12Z", "cwd": "/p"},
        {"type": "message", "id": "a", "parentId": None, "message": {"role": "user", "content": content}},
    ]
    path = tmp_path / "2026-11-29_1.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (session,) = read(path)
    assert [part.text for part in session.messages[0].parts] == [
        "[file: /p/n.txt]\nmoss\n\n", "What is <b>this</b>?", "",
    ]  # fmt: skip
    assert not session.notes


def test_gptme_s_times_are_instants_where_its_events_tell_the_offset(home: Path) -> None:
    path = home / FILES["gptme-undone-branch.jsonl"]
    (log,) = read(path)
    assert short_form(log) == [
        f"u: {NOTES}",
        "a: I will read them. shell[call_41]",
        "t: [call_41]",
        f"a: {NAMED}",
    ]
    assert dict(log.notes) == {LOCAL_TIMES: 1}
    message = {"role": "user", "content": NOTES, "timestamp": "2026-11-28T22:03:59.588337"}
    event = {"seq": 1, "ts": "2026-11-28T16:34:21.588+00:00", "type": "message_append"}
    event |= {"payload": {"message": message}}
    (path.parent / "events.jsonl").write_text(json.dumps(event) + "\n")
    (again,) = read(path)
    (path.parent / "events.jsonl").unlink()
    assert again.messages[0].create_time.ToJsonString() == "2026-11-28T16:33:59.588337Z"
    assert not again.notes


def test_aider_s_runs_are_conversations_and_code_is_not_taken_apart(home: Path) -> None:
    first, second = read(home / FILES["aider.md"])
    assert short_form(first)[0] == "u: Give me the climb list."
    assert short_form(first)[-1] == "a: ```python\n# total\ncount = 3\n```\n\nThat is all."
    assert short_form(second) == ["u: Which is tallest?", "a: Fern is."]
    assert "--openai-api-base" not in str([first.messages, second.messages])
    assert LOCAL_TIMES in first.notes


def test_llm_s_threads_share_rows_and_keep_their_own_times(home: Path) -> None:
    first, second, with_file, with_tool = read(home / ".config/io.datasette.llm/logs.db")
    assert short_form(first)[-1] == "a: Yes, if it drains."
    assert short_form(second)[-1] == "a: Ivy lives through frost."
    assert first.messages[0].create_time != second.messages[0].create_time
    assert with_file.messages[0].parts[1].text == "Which of these climb?"
    assert short_form(with_tool) == [
        "s: Be short.",
        "u: what time is it?",
        "a: Let me look. llm_time[call_75]",
        "t: [call_75]",
        "a: It is noon.",
    ]


def test_opencode_s_quotes_are_taken_away_and_its_undone_turns_left_out(home: Path, tmp_path: Path) -> None:
    (session,) = read(home / ".local/share/opencode/opencode.db")
    assert short_form(session) == [
        f"u: {NOTES}",
        "a: (The notes must be read.) I will read them. bash[call_21]",
        "t: [call_21]",
        f"a: {NAMED}",
    ]
    path = database(tmp_path / "undone.db", (SAMPLES / "opencode.sql").read_text())
    with closing(sqlite3.connect(path)) as connection, connection:
        revert = json.dumps({"messageID": "msg_222f88a79001za5u36Vun02F3F"})
        connection.execute("UPDATE session SET revert = ?", (revert,))
    (undone,) = read(path)
    assert short_form(undone) == short_form(session)[:3]
    assert "messages that were undone left out" in undone.notes


def test_an_opencode_fork_is_known_by_its_rows_times(tmp_path: Path) -> None:
    path = database(tmp_path / "forked.db", (SAMPLES / "opencode.sql").read_text())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            """CREATE TEMP TABLE copy AS SELECT * FROM session;
            UPDATE copy SET id = 'ses_fork', title = title || ' (fork #1)',
            time_created = time_created + 60000;
            INSERT INTO session SELECT * FROM copy;
            INSERT INTO message SELECT 'f' || id, 'ses_fork', time_created, time_updated, data FROM message;
            INSERT INTO part SELECT 'f' || id, 'f' || message_id, 'ses_fork', time_created, time_updated, data
            FROM part;"""
        )
    parent, fork = read(path)
    assert fork.fork == Fork(parent.session.source_id, 4)


def test_claude_code_s_answers_are_put_together(tmp_path: Path) -> None:
    def line(name: str, parent: str | None, kind: str, content: Any, **more: Any) -> dict[str, Any]:
        head = {"sessionId": "s", "cwd": "/garden", "timestamp": "2026-11-28T16:00:00Z", "isSidechain": False}
        message = {"role": kind, "content": content, **more.pop("message", {})}
        return head | {"uuid": name, "parentUuid": parent, "type": kind, "message": message} | more

    answer = {"message": {"id": "msg_1", "model": "claude-x"}}
    lines = [
        line("1", None, "user", "<command-name>/clear</command-name>"),
        line("2", "1", "user", NOTES),
        line("3", "2", "assistant", [{"type": "thinking", "thinking": "Hm."}], **answer),
        line(
            "4",
            "3",
            "assistant",
            [{"type": "tool_use", "id": "t", "name": "Read", "input": {"f": "a"}}],
            **answer,
        ),
        line("5", "4", "user", [{"type": "tool_result", "tool_use_id": "t", "content": "moss"}]),
        line(
            "6",
            "5",
            "assistant",
            [{"type": "text", "text": NAMED}],
            message={"id": "msg_2", "model": "claude-x"},
        ),
        line("7", "6", "user", "A summary of what was said", isCompactSummary=True),
        line("8", "2", "assistant", [{"type": "text", "text": "Look anew"}], isSidechain=True),
        {"type": "ai-title", "aiTitle": "Plants", "sessionId": "s"},
    ]
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    (session,) = read(path)
    assert short_form(session) == [f"u: {NOTES}", "a: (Hm.) Read[t]", "t: [t]", f"a: {NAMED}"]
    assert (session.session.title, session.messages[1].model) == ("Plants", "claude:claude-x")
    assert session.notes[SUMMARY_NOTE] == 1


def test_jan_s_threads_are_read(tmp_path: Path) -> None:
    (tmp_path / "thread.json").write_text(
        json.dumps({"id": "t", "title": "Plants", "created": 1_700_000_000})
    )
    lines = [
        {
            "object": "thread.message",
            "thread_id": "t",
            "id": str(number),
            "role": role,
            "content": [{"type": "text", "text": {"value": text, "annotations": []}}],
            "created_at": 1_700_000_000_000 + number,
        }
        for number, (role, text) in enumerate([("user", NOTES), ("assistant", NAMED)])
    ]
    path = tmp_path / "messages.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    (thread,) = read(path)
    assert short_form(thread) == [f"u: {NOTES}", f"a: {NAMED}"]
    assert (thread.session.title, dict(thread.notes)) == ("Plants", {})


def test_agents_sessions_are_read_branch_by_branch(tmp_path: Path) -> None:
    def item(role: str, text: str) -> str:
        return json.dumps({"id": "__fake_id__", "type": "message", "role": role, "content": text})

    rows = [item("user", "Hi"), item("assistant", "Yo"), item("assistant", "Hello")]
    script = """CREATE TABLE agent_messages (id INTEGER PRIMARY KEY, session_id, message_data, created_at);
        CREATE TABLE message_structure (
            id INTEGER PRIMARY KEY, session_id, message_id, branch_id, sequence_number);"""
    path = database(tmp_path / "agents.db", script)
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, row in enumerate(rows, 1):
            connection.execute(
                "INSERT INTO agent_messages VALUES (?, 's', ?, '2026-11-28 16:00:00')", (number, row)
            )
        for branch, number in (
            ("main", 1),
            ("main", 2),
            ("branch_from_turn_1_9", 1),
            ("branch_from_turn_1_9", 3),
        ):
            values = (number, branch, number)
            connection.execute("INSERT INTO message_structure VALUES (NULL, 's', ?, ?, ?)", values)
    main, branch = read(path)
    assert (short_form(main), short_form(branch)) == (["u: Hi", "a: Yo"], ["u: Hi", "a: Hello"])
    assert branch.fork == Fork(main.session.source_id, 1)
    assert main.messages[0].create_time.ToJsonString() == "2026-11-28T16:00:00Z"


def langgraph_file(path: Path, *, has_values: bool) -> Path:
    """A thread as LangGraph's checkpointer writes it: msgpack that names Python's classes."""

    def message(name: str, number: int, text: str) -> msgspec.msgpack.Ext:
        fields = {"content": text, "type": name.removesuffix("Message").lower(), "id": str(number)}
        inner = ["langchain_core.messages", name, fields, "model_validate_json"]
        return msgspec.msgpack.Ext(5, msgspec.msgpack.encode(inner))

    said = [message("HumanMessage", 1, NOTES), message("AIMessage", 2, NAMED)]
    script = """CREATE TABLE checkpoints (
            thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint);
        CREATE TABLE writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value);"""
    database(path, script)
    with closing(sqlite3.connect(path)) as connection, connection:
        for number in range(2):
            values = {"messages": said[: number + 1]} if has_values else {}
            value = msgspec.msgpack.encode(
                {"ts": f"2026-11-28T16:00:0{number}+00:00", "channel_values": values}
            )
            row = ("t", "", str(number), str(number - 1) if number else None, "msgpack", value)
            connection.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", row)
            written = msgspec.msgpack.encode([said[number]])
            values_ = ("t", "", str(number), "task", 0, "messages", "msgpack", written)
            connection.execute("INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values_)
    return path


@pytest.mark.parametrize("has_values", [True, False], ids=["whole lists", "single writes"])
def test_langgraph_s_threads_are_read_without_making_objects(tmp_path: Path, has_values: bool) -> None:
    (thread,) = read(langgraph_file(tmp_path / "graph.db", has_values=has_values))
    assert short_form(thread) == [f"u: {NOTES}", f"a: {NAMED}"]
    moments = [message.create_time.ToJsonString() for message in thread.messages]
    assert moments == ["2026-11-28T16:00:00Z", "2026-11-28T16:00:01Z"]
    assert bool(thread.notes) is not has_values


class TestLiveDatabases:
    def test_rows_in_the_log_are_read_while_the_tool_holds_it(self, tmp_path: Path) -> None:
        path = tmp_path / "opencode.db"
        with closing(sqlite3.connect(path)) as live:
            live.execute("PRAGMA journal_mode = WAL")
            live.executescript((SAMPLES / "opencode.sql").read_text())
            live.execute("BEGIN IMMEDIATE")
            before = path.read_bytes()
            (session,) = read(path)
            assert len(session.messages) == 4
            assert path.read_bytes() == before
            live.rollback()
            assert sorted(each.name for each in tmp_path.iterdir()) == [
                "opencode.db", "opencode.db-shm", "opencode.db-wal",
            ]  # fmt: skip

    def test_a_copy_without_its_log_says_so(self, tmp_path: Path) -> None:
        path, copy = tmp_path / "opencode.db", tmp_path / "copy.db"
        with closing(sqlite3.connect(path)) as live:
            live.execute("PRAGMA journal_mode = WAL")
            live.executescript((SAMPLES / "opencode.sql").read_text())
            copy.write_bytes(path.read_bytes())
        (found,) = read_file(copy, None)
        assert found.problem is not None
        assert "its log copy.db-wal is missing" in found.problem.message

    @pytest.mark.parametrize(
        "script",
        [
            "CREATE TABLE diary (day)",
            "CREATE VIEW session AS SELECT 1; CREATE TABLE part (session_id)",
            "CREATE TABLE part (session_id); CREATE TABLE message (id); CREATE TABLE session (id)",
        ],
    )
    def test_another_schema_is_refused(self, tmp_path: Path, script: str) -> None:
        (found,) = read_file(database(tmp_path / "a.db", script), None)
        assert found.problem is not None

    def test_a_damaged_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.db"
        path.write_bytes(tables.MAGIC + b"nonsense" * 999)
        (found,) = read_file(path, None)
        assert found.problem is not None
        assert "damaged" in found.problem.message


def test_a_kind_of_line_that_is_new_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "rollout-new.jsonl"
    lines = (SAMPLES / "codex-exec.rollout.jsonl").read_text()
    new = {"type": "event_msg", "payload": {"type": "of_tomorrow", "remark": "The person said more"}}
    path.write_text(lines + json.dumps(new) + "\n{broken\n")
    (thread,) = read(path)
    assert dict(thread.notes) == {"words under 'remark' left out": 1, catalog.NOT_JSON: 1}


@pytest.mark.parametrize(
    ("lines", "texts", "notes"),
    [
        (
            [
                {"id": "old", "timestamp": "2025-05-07T17:24:21Z", "instructions": None},
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "List files"}],
                },
                {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": "c"},
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": '{"output": "a.txt", "metadata": {}}',
                },
            ],
            ["u: List files", "a: shell[c]", "t: [c]"],
            [],
        ),
        (
            [
                {
                    "type": "session",
                    "version": 3,
                    "id": "p",
                    "timestamp": "2026-01-01T00:00:00Z",
                    "cwd": "/garden",
                },
                {
                    "type": "message",
                    "id": "a",
                    "parentId": None,
                    "message": {"role": "user", "content": "Why?"},
                },
                {"type": "of_tomorrow", "id": "b", "parentId": "a", "content": "Words of a new kind"},
                {
                    "type": "message",
                    "id": "c",
                    "parentId": "b",
                    "message": {"role": "assistant", "content": "So."},
                },
            ],
            ["u: Why?", "a: So."],
            ["words under 'content' left out"],
        ),
        (
            [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}],
            ["u: Why?", "a: So."],
            ["its format is not known: read as a list of messages"],
        ),
    ],
    ids=["codex, first form", "pi, a new kind of entry", "a message a line"],
)
def test_other_forms_of_logs_are_read(
    tmp_path: Path, lines: list[dict[str, Any]], texts: list[str], notes: list[str]
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (found,) = read_file(path, None)
    assert found.conversation is not None
    assert short_form(found.conversation) == texts
    assert list(found.conversation.notes) == notes


def test_a_log_in_which_nobody_asked_is_no_conversation(tmp_path: Path) -> None:
    path = tmp_path / "only-a-summary.jsonl"
    path.write_text(json.dumps({"type": "summary", "summary": "A title", "leafUuid": "x"}) + "\n")
    (found,) = read_file(path, None)
    assert (found.conversation, found.problem) == (None, None)


LOGS = {
    name: [json.loads(line) for line in (SAMPLES / name).read_text().splitlines()]
    for name in FILES
    if name.endswith(".jsonl")
}


@pytest.mark.parametrize("name", LOGS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_log_is_read_or_refused(name: str, data: st.DataObject) -> None:
    lines: Any = LOGS[name]
    for _ in range(data.draw(st.integers(1, 3))):
        lines = spoil(lines, data)
    first = lines[: catalog.HEAD_LINES] if isinstance(lines, list) else []
    tool = catalog.log_tool(first)
    if tool is not None:
        try:
            found = list(tool.read(lines, Path("nowhere/at/all/log.jsonl")))
        except InvalidArgumentError:
            return
        assert all(each.session.source_id for each in found)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_history_of_aider_is_read(first: str, second: str) -> None:
    text = f"# aider chat started at 2026-11-28 22:00:40\n{first}\n#### {second}\n"
    assert all(each.messages for each in catalog.read_text(text, Path("x")))


def test_everything_is_found_where_the_tools_keep_it(home: Path) -> None:
    found = {each.tool: each.conversations for each in places.search(home, {})}
    assert found == {
        "codex": 3, "gemini-cli": 1, "qwen-code": 1, "pi": 1, "gptme": 1, "aider": 2,
        "opencode": 1, "llm": 4, "hermes": 1, "mistral-vibe": 1,
    }  # fmt: skip
    moved = {each.tool for each in places.search(home / "nowhere", {"CODEX_HOME": str(home / ".codex")})}
    assert moved == {"codex"}
