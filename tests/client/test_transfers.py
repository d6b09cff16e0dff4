"""Collections of sessions in and out, through a real daemon."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from oblix import (
    ImportedSession,
    ImportReport,
    InvalidArgumentError,
    NotFoundError,
    OblixClient,
    OblixError,
)
from oblix.formats import catalog, jsonl, values
from oblix.v1 import messages_pb2, sessions_pb2
from support.data.conversation_strategies import chatgpt, conversations, lines, node, openwebui
from support.drivers.daemon import run_daemon

CHAT = {
    "title": "Of a file",
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}],
}
GPT = chatgpt([node("q", None, "user", "Why?"), node("a", "q", "assistant", "So.")])
WEBUI = openwebui([{"id": "q", "parentId": None, "role": "user", "content": "Hello"}])
SHARE = {"id": "s", "conversations": [{"from": "human", "value": "Hey"}]}


def unlike(name: str, value: dict[str, object]) -> dict[str, object]:
    """A conversation that no other test imports: what is here already is skipped."""
    return value | {"title": name, "id": name, "conversation_id": name}


def write_file(path: Path, *chats: object) -> Path:
    path.write_bytes(json.dumps(chats).encode() if path.suffix == ".json" else lines(*chats))
    return path


def outcomes(found: list[ImportedSession]) -> list[tuple[str, str, str]]:
    return [(Path(each.file).name, each.place, each.outcome) for each in found]


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def messages_of(client: OblixClient, session_id: str) -> list[tuple[str, str]]:
    session = client.load_session(session_id)
    assert session is not None
    return [(message["role"], message["content"]) for message in session["messages"]]


async def test_every_format_is_taken_in_and_told_apart(client: OblixClient, tmp_path: Path) -> None:
    write_file(tmp_path / "1.json", unlike("every 1", GPT))
    write_file(tmp_path / "2.json", unlike("every 2", WEBUI))
    write_file(tmp_path / "3.jsonl", unlike("every 3", SHARE), unlike("every 4", SHARE))
    write_file(tmp_path / "4.jsonl", unlike("every 5", CHAT))
    (tmp_path / "5.json").write_text(
        json.dumps(unlike("every 6", CHAT) | {"created_at": "2026-01-01"}, indent=2)
    )
    report = await client.import_sessions(tmp_path)
    assert [each.outcome for each in report.sessions] == ["imported"] * 6
    assert [each.title for each in report.sessions] == [f"every {n}" for n in range(1, 7)]
    assert (report.imported, report.messages) == (6, 9)
    assert messages_of(client, report.sessions[0].session_id) == [("user", "Why?"), ("assistant", "So.")]
    assert messages_of(client, report.sessions[4].session_id) == [("user", "Hi"), ("assistant", "Yo")]


async def test_refused_sessions_are_named_and_the_others_imported(
    client: OblixClient, tmp_path: Path
) -> None:
    bad = {"messages": [{"role": "alien", "content": "Hi"}]}
    long_title = unlike("t" * 1025, CHAT)
    write_file(
        tmp_path / "a.jsonl", bad, unlike("taken 1", CHAT), long_title, bad, unlike("taken 2", CHAT), bad
    )
    write_file(tmp_path / "b.json", {"a diary": "Dear diary"})
    (tmp_path / "c.json").write_bytes(json.dumps([unlike("taken 3", CHAT), CHAT]).encode()[:-5])
    report = await client.import_sessions(tmp_path)
    assert outcomes(report.sessions) == [
        ("a.jsonl", "line 1", "refused"),
        ("a.jsonl", "line 2", "imported"),
        ("a.jsonl", "line 3", "imported"),
        ("a.jsonl", "line 4", "refused"),
        ("a.jsonl", "line 5", "imported"),
        ("a.jsonl", "line 6", "refused"),
        ("b.json", "", "refused"),
        ("c.json", "conversation 1", "imported"),
        ("c.json", "", "refused"),
    ]
    reasons = [each.reason for each in report.sessions if each.outcome == "refused"]
    assert reasons == [
        *["NOTHING_READ"] * 3,
        "UNKNOWN_FORMAT",
        "UNREADABLE_FILE",
    ]
    assert all(each.detail for each in report.sessions if each.outcome == "refused")
    assert "known are deepseek, chatgpt, claude, openwebui" in report.sessions[6].detail
    assert (report.imported, report.refused) == (4, 5)


async def test_a_session_that_is_here_already_is_skipped(client: OblixClient, tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.json", unlike("skipped", GPT), unlike("skipped too", GPT))
    first = await client.import_sessions(path)
    longer = chatgpt([*GPT["mapping"].values(), node("q2", "a", "user", "And?")])
    write_file(path, unlike("skipped", GPT), unlike("skipped too", longer))
    second = await client.import_sessions(path)
    assert [each.outcome for each in second.sessions] == ["skipped", "grown"]
    assert (second.grown, second.messages, second.sessions[1].message_count) == (1, 1, 1)
    assert second.sessions[1].session_id == first.sessions[1].session_id
    assert second.sessions[0].session_id == first.sessions[0].session_id
    assert second.sessions[0].reason == "ALREADY_IMPORTED"
    third = await client.import_sessions(path, skip_existing=False)
    assert third.imported == 2


async def test_a_broken_file_in_a_zip_file_is_named_and_the_next_is_read(
    client: OblixClient, tmp_path: Path
) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations-000.json", "[{")
        archive.writestr("conversations-001.json", json.dumps([unlike("of a zip", GPT)]))
    report = await client.import_sessions(path)
    assert [(each.file, each.outcome) for each in report.sessions] == [
        (f"{path}/conversations-000.json", "refused"),
        (f"{path}/conversations-001.json", "imported"),
    ]


async def test_an_import_that_was_cut_is_started_again(home: Path, tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.jsonl", *[unlike(f"cut {n}", CHAT) for n in range(60)])
    client = OblixClient()
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:

        def kill_at_20(report: ImportReport) -> None:
            if report.imported == 20:
                daemon.kill()

        with pytest.raises(OblixError):
            await client.import_sessions(path, on_progress=kill_at_20)
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        report = await client.import_sessions(path)
        assert report.skipped >= 20
        assert report.skipped + report.imported == len(client.list_sessions(limit=100)) == 60
    await client.shutdown()


async def test_ids_can_be_kept(client: OblixClient, tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.jsonl", unlike("kept-1", CHAT), unlike("not an id", CHAT))
    report = await client.import_sessions(path, keep_ids=True, skip_existing=False)
    assert [each.session_id for each in report.sessions] == ["kept-1", ""]
    again = await client.import_sessions(path, keep_ids=True, skip_existing=False)
    assert [each.reason for each in again.sessions] == ["SESSION_EXISTS", "INVALID_SESSION_ID"]


async def test_progress_is_told_while_it_grows(client: OblixClient, tmp_path: Path) -> None:
    chats = [unlike(f"progress {n}", CHAT) for n in range(50)]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*chats)))
    seen: list[tuple[int, int]] = []
    report = await client.import_sessions(
        [str(path)], on_progress=lambda so_far: seen.append((so_far.imported, so_far.bytes_read))
    )
    assert [count for count, _ in seen] == list(range(1, 51))
    assert seen == sorted(seen)
    assert report.bytes_read == report.bytes_total == path.stat().st_size


async def test_a_message_that_no_step_can_hold_ends_no_import(client: OblixClient, tmp_path: Path) -> None:
    huge = {"messages": [{"role": "user", "content": "x" * (18 * 1024 * 1024)}]}
    path = write_file(tmp_path / "a.jsonl", huge, unlike("after the huge one", CHAT))
    report = await client.import_sessions(path)
    assert [each.outcome for each in report.sessions] == ["imported", "imported"]
    assert report.sessions[0].notes == ("messages divided, since one has at most 256 parts and 8 MiB: 2",)
    assert report.sessions[0].message_count == 3


async def test_wrong_arguments_are_refused_first(client: OblixClient, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file or directory"):
        await client.import_sessions(tmp_path / "missing")
    with pytest.raises(InvalidArgumentError, match="it has no file that ends in"):
        await client.import_sessions(tmp_path)
    with pytest.raises(InvalidArgumentError, match="format takes one of"):
        await client.import_sessions(tmp_path, "word")
    with pytest.raises(InvalidArgumentError, match="paths takes a path"):
        await client.import_sessions(3)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversations)
async def test_a_session_comes_back_as_it_was_sent(client: OblixClient, tmp_path: Path, given_) -> None:
    """Export, import, export: but for the new id, the second file is the first one."""
    session, messages = given_
    session.title = session.title[:1024]
    for message in messages:
        message.model = message.model[:1024]
    names = ("first.jsonl", "second.jsonl", "third.jsonl")
    original, exported, again = (tmp_path / name for name in names)
    original.write_text(jsonl.dump(session, messages), encoding="utf-8")
    for source, target in ((original, exported), (exported, again)):
        report = await client.import_sessions(source, skip_existing=False)
        assert [each.detail for each in report.sessions] == [""]
        assert await client.export_sessions(report.sessions[0].session_id, target) == 1
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (exported, again))
    assert first.pop("id") != second.pop("id")
    assert first == second


async def test_exports_hold_what_was_said_in_every_format(client: OblixClient, tmp_path: Path) -> None:
    path = write_file(
        tmp_path / "in.jsonl", *[unlike(f"out {n}", CHAT) | {"metadata": {"of": "out"}} for n in (1, 2)]
    )
    ids = [each.session_id for each in (await client.import_sessions(path)).sessions]
    for name in ("out.json", "out.jsonl"):
        assert await client.export_sessions(ids, tmp_path / name) == 2
        with (tmp_path / name).open("rb") as file:
            found = [catalog.detect(each.value) for each in values.values(file, name)]
        assert [format_.name for format_ in found if format_] == [name.removeprefix("out.")] * 2
    assert await client.export_sessions({"of": "out"}, tmp_path / "out.md") == 2
    assert (tmp_path / "out.md").read_text().count("\n## ") == 4
    assert (tmp_path / "out.md").stat().st_mode & 0o777 == 0o600


async def test_an_export_that_fails_leaves_the_old_file(client: OblixClient, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(NotFoundError):
        await client.export_sessions(["unknown"], path)
    with pytest.raises(InvalidArgumentError, match="can't be written"):
        await client.export_sessions([], path / "inside" / "a.jsonl")
    with pytest.raises(InvalidArgumentError, match="format takes one of claude-code, codex, html"):
        await client.export_sessions([], tmp_path / "out.doc")
    assert names_in(tmp_path) == ["out.jsonl"]
    assert path.read_text() == "old"


async def test_a_session_that_runs_is_taken_as_it_stands(client: OblixClient, tmp_path: Path) -> None:
    part = messages_pb2.Message(
        role=messages_pb2.ROLE_ASSISTANT,
        status=messages_pb2.MESSAGE_STATUS_STREAMING,
        parts=[messages_pb2.Part(text="Half")],
    )
    path = tmp_path / "in.jsonl"
    path.write_text(jsonl.dump(sessions_pb2.Session(title="half"), [part]))
    (taken,) = (await client.import_sessions(path)).sessions
    session = client.load_session(taken.session_id)
    assert session is not None
    assert session["messages"][0]["status"] == "interrupted"
