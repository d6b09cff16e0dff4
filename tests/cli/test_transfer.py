"""`oblix sessions import` and `export` with files of many conversations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.data.conversation_strategies import chatgpt, lines, node
from support.drivers.terminal import terminal

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}
BAD = {"messages": [{"role": "alien", "content": ""}]}


@pytest.fixture
def take(oblix):
    """Import paths; the rows of what became of each conversation."""

    def take(*words: str, ok: bool = True) -> list[list[str]]:
        done = oblix("sessions", "import", "--again", *words, ok=ok)
        return [line.split("\t") for line in done.stdout.splitlines()]

    return take


def test_one_conversation_gives_its_id(oblix, tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([chatgpt([node("q", None, "user", "Why?")], title="One")]))
    session_id = oblix("sessions", "import", "--again", str(path)).stdout.strip()
    assert oblix("sessions", "view", session_id).stdout.startswith("One\n")


def test_many_give_a_line_each_and_totals(oblix, take, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(lines(CHAT | {"title": "Good"}, BAD, CHAT) + b"{\n")
    rows = take(str(path), ok=False)
    assert [row[0] for row in rows] == ["imported", "refused", "imported", "refused"]
    assert [row[2:4] for row in rows] == [["2", "Good"], ["0", "-"], ["2", "-"], ["0", "-"]]
    assert [row[4] for row in rows] == [f"{path}, line {number}" for number in range(1, 5)]
    assert "messages of the role str 'alien' left out" in rows[1][5]
    done = oblix("sessions", "import", "--again", str(path), ok=False)
    assert (done.returncode, done.stderr) == (1, "oblix: 2 imported (4 messages), 0 skipped, 2 refused.\n")


def test_a_session_that_is_here_already_is_skipped_and_named(oblix, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(lines(CHAT | {"id": "cli skipped"}))
    first = oblix("sessions", "import", str(path))
    again = oblix("sessions", "import", str(path))
    assert again.stdout == first.stdout
    assert again.stderr.startswith("oblix: ")
    path.write_bytes(path.read_bytes() + lines(CHAT | {"id": "cli not skipped"}))
    more = oblix("sessions", "import", str(path))
    assert more.stderr == "oblix: 1 imported (2 messages), 1 skipped, 0 refused.\n"
    assert [line.split("\t")[0] for line in more.stdout.splitlines()] == ["skipped", "imported"]


def test_a_directory_of_the_first_oblix_is_one_command(take, tmp_path: Path) -> None:
    for number in (1, 2):
        said = {"id": "1", "role": "user", "content": "Hello", "timestamp": "2024-07-15T14:30:22.123000"}
        old = {"id": f"old-{number}", "title": f"Old {number}", "created_at": "2024-07-15T14:30:22.123000"}
        (tmp_path / f"old-{number}.json").write_text(json.dumps(old | {"messages": [said]}, indent=2))
    rows = take(str(tmp_path), "--keep-id")
    assert [row[:4] for row in rows] == [["imported", f"old-{n}", "1", f"Old {n}"] for n in (1, 2)]
    assert {row[0] for row in take(str(tmp_path), "--keep-id", ok=False)} == {"refused"}


def test_the_report_can_be_json(oblix, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(lines(CHAT, BAD))
    report = json.loads(oblix("sessions", "import", "--again", "--json", str(path), ok=False).stdout)
    assert (report["imported"], report["refused"], report["messages"]) == (1, 1, 2)
    assert [session["place"] for session in report["sessions"]] == ["line 1", "line 2"]


def test_an_unknown_file_is_refused_with_what_is_known(oblix, tmp_path: Path) -> None:
    path = tmp_path / "diary.json"
    path.write_text('{"dear": "diary"}')
    done = oblix("sessions", "import", str(path), ok=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"oblix: {path} can't be imported: its format is not known")
    assert "deepseek, chatgpt, claude, openwebui" in done.stderr
    forced = oblix("sessions", "import", "--format", "chatgpt", str(path), ok=False)
    assert "mapping takes an object" in forced.stderr


def test_sessions_are_exported_together_and_come_back(oblix, take, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        lines(*[CHAT | {"title": f"Kept {n}", "metadata": {"of": "cli export"}} for n in (1, 2)])
    )
    ids = [row[1] for row in take(str(path))]
    for name, words in {"a.json": ids, "b.jsonl": ["--filter", "of=cli export"], "c.md": ids}.items():
        done = oblix("sessions", "export", *words, str(tmp_path / name))
        assert done.stderr == f"oblix: 2 sessions are in {tmp_path / name}.\n"
    assert (tmp_path / "c.md").read_text().count("# Kept") == 2
    assert sorted(row[3] for row in take(str(tmp_path / "a.json"), str(tmp_path / "b.jsonl"))) == [
        "Kept 1",
        "Kept 1",
        "Kept 2",
        "Kept 2",
    ]
    assert oblix("sessions", "export", ids[0], str(tmp_path / "one")).stderr == ""
    assert json.loads((tmp_path / "one").read_text())["title"] == "Kept 1"
    assert json.loads(oblix("sessions", "export", ids[0], "-").stdout)["title"] == "Kept 1"
    assert oblix("sessions", "export", *ids, "-", "--format", "markdown").stdout.count("# Kept") == 2


def test_a_file_that_exists_is_only_replaced_by_force(oblix, tmp_path: Path) -> None:
    session_id, path = oblix("sessions", "create", "Kept").stdout.strip(), tmp_path / "notes.md"
    path.write_text("mine")
    refused = oblix("sessions", "export", session_id, str(path), ok=False)
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    assert path.read_text() == "mine"
    oblix("sessions", "export", session_id, str(path), "--force")
    assert path.read_text().startswith("# Kept")


@pytest.mark.parametrize("words", [[], ["--all", "some-id"], ["--all", "--filter", "a=1"]])
def test_an_export_takes_one_kind_of_selection(oblix, tmp_path: Path, words: list[str]) -> None:
    done = oblix("sessions", "export", *words, str(tmp_path / "a.jsonl"), ok=False)
    assert (done.returncode, "say which sessions" in done.stderr) == (1, True)


def test_a_terminal_shows_a_table_that_no_title_takes_over(oblix, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(lines(CHAT | {"title": "a\x1b[2Jb"}, CHAT))
    with terminal(sys.executable, "-m", "oblix", "sessions", "import", "--again", str(path)) as screen:
        shown = screen.rest()
    assert "OUTCOME" in shown
    assert "a[2Jb" in shown


def test_a_session_is_handed_over_to_a_tool_once(oblix, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(CHAT | {"title": "Handed over"}))
    name = oblix("sessions", "import", str(path)).stdout.strip()
    home = {"HOME": str(tmp_path), "CODEX_HOME": str(tmp_path / "codex")}
    done = oblix("sessions", "export", name, "--to", "codex", **home)
    written = Path(done.stdout.strip())
    assert written.is_relative_to(tmp_path / "codex/sessions")
    assert done.stderr == f"oblix: go on with: codex resume {name}\n"
    assert '"text": "Yo"' in written.read_text()
    again = oblix("sessions", "export", name, "--to", "codex", ok=False, **home)
    assert "is there already" in again.stderr


def test_a_page_is_written_by_its_suffix(oblix, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(CHAT | {"title": "A <page>"}))
    name = oblix("sessions", "import", "--again", str(path)).stdout.strip()
    oblix("sessions", "export", name, str(tmp_path / "page.html"))
    assert "A &lt;page&gt;</h1>" in (tmp_path / "page.html").read_text()
