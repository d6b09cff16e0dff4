"""`oblix sessions`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from oblix import OblixClient


@pytest.fixture
def create(oblix):
    def create(*words: str) -> str:
        return oblix("sessions", "create", *words).stdout.rstrip("\n")

    return create


def test_list_gives_a_line_for_each_newest_first(oblix, create) -> None:
    ids = [create(f"Title {number}", "--metadata", "test=lines") for number in range(3)]
    lines = oblix("sessions", "list", "--filter", "test=lines").stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    assert [row[0] for row in rows] == ids[::-1]
    assert [row[2:] for row in rows] == [["0", f"Title {number}"] for number in (2, 1, 0)]
    assert len(oblix("sessions", "list", "--limit", "2", "--filter", "test=lines").stdout.splitlines()) == 2


def test_metadata_values_are_json_or_else_text(oblix, create) -> None:
    create("Typed", "--metadata", "number=7", "--metadata", "flag=true", "--metadata", "text=seven")
    (found,) = json.loads(oblix("sessions", "list", "--json", "--filter", "number=7").stdout)
    assert found["metadata"] == {"number": 7, "flag": True, "text": "seven"}
    assert oblix("sessions", "list", "--filter", 'number="7"').stdout == ""


def test_a_title_can_break_neither_line_nor_terminal(oblix, create) -> None:
    create("a\tb\nc\x1b[31md", "--metadata", "test=title")
    (line,) = oblix("sessions", "list", "--filter", "test=title").stdout.splitlines()
    assert line.split("\t")[3] == "a b c[31md"


def test_view_shows_who_said_what(oblix, ask) -> None:
    ask("Why?")
    newest = oblix("sessions", "list", "--limit", "1").stdout.split("\t")[0]
    shown = oblix("sessions", "view", newest).stdout
    assert shown.startswith("Why?\n\n[user ")
    assert shown.endswith("]\nYou said: Why?\n")


def test_a_deleted_session_is_gone(oblix, create) -> None:
    session_id = create("Short-lived")
    oblix("sessions", "delete", session_id)
    for words in (["view", session_id], ["delete", session_id]):
        done = oblix("sessions", *words, ok=False)
        assert (done.returncode, session_id in done.stderr) == (1, True)


def test_export_and_import_keep_the_conversation(oblix, ask, create, tmp_path: Path) -> None:
    session_id = create("Kept", "--metadata", "test=export")
    ask("--session", session_id, "Hello")
    path = str(tmp_path / "session.json")
    oblix("sessions", "export", session_id, path)

    imported = oblix("sessions", "import", path).stdout.rstrip("\n")
    assert imported != session_id
    views = [json.loads(oblix("sessions", "view", "--json", one).stdout) for one in (session_id, imported)]
    assert views[0]["messages"] == views[1]["messages"]
    assert views[1]["metadata"] == {"test": "export"}

    again = oblix("sessions", "import", "--keep-id", path, ok=False)
    assert (again.returncode, session_id in again.stderr) == (1, True)


@pytest.mark.parametrize("content", ["", "{", '{"messages": 3}', "[]"], ids=["empty", "cut", "wrong", "list"])
def test_a_file_that_is_no_session_is_refused(oblix, tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    before = oblix("sessions", "list").stdout
    done = oblix("sessions", "import", str(path), ok=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert oblix("sessions", "list").stdout == before


def test_a_reader_that_leaves_early_hears_no_complaint(oblix, create, start) -> None:
    create("x" * 1000)
    listing = start("sessions", "list", "--json")
    listing.stdout.close()
    assert listing.wait(60) == 141
    assert listing.stderr.read() == ""


@pytest.mark.parametrize("words", [["--filter", "x"], ["list", "--filter", "novalue"], ["view"]])
def test_wrong_usage_is_exit_code_2(oblix, words: list[str]) -> None:
    assert oblix("sessions", *words, ok=False).returncode == 2


def test_a_list_that_is_cut_says_so(oblix) -> None:
    client = OblixClient()

    async def create_many() -> None:
        await asyncio.gather(*(client.create_session(metadata={"test": "many"}) for _ in range(51)))

    asyncio.run(create_many())
    done = oblix("sessions", "list", "--filter", "test=many")
    assert len(done.stdout.splitlines()) == 50
    assert done.stderr == "oblix: 50 are shown, and there are more: --limit N shows N.\n"
    done = oblix("sessions", "list", "--filter", "test=many", "--limit", "51")
    assert (len(done.stdout.splitlines()), done.stderr) == (51, "")


def test_a_session_is_created_or_used_by_an_id_of_ones_own(oblix, create) -> None:
    assert create("Bot", "--id", "cli-bot") == "cli-bot"
    assert create("Other", "--id", "cli-bot", "--get") == "cli-bot"
    done = oblix("sessions", "create", "--id", "cli-bot", ok=False)
    assert (done.returncode, "cli-bot already" in done.stderr) == (1, True)
    assert oblix("sessions", "view", "cli-bot").stdout.startswith("Bot\n")
    oblix("sessions", "delete", "cli-bot")
    oblix("sessions", "delete", "--purge", "cli-bot")
    assert create("New", "--id", "cli-bot", "--get") == "cli-bot"


def test_view_shows_calls_results_thinking_and_images(oblix, create, tmp_path: Path) -> None:
    call = {"name": "weather", "arguments": '{"city": "Bern"}'}
    messages = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "4 degrees"},
        {"role": "assistant", "content": "Cold.", "reasoning_content": "Below five."},
    ]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    viewed = oblix(
        "sessions", "view", oblix("sessions", "import", str(tmp_path / "a.jsonl")).stdout.strip()
    ).stdout
    for line in ('(calls weather) {"city": "Bern"}', "(result) 4 degrees", "(thinks) Below five.", "Cold."):
        assert f"\n{line}\n" in viewed
