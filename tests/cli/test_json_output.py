"""`--json`: every command that tells facts takes it, and prints JSON then and nothing else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix.cli.table import COMMANDS, parser_of
from oblix.testing import OllamaServer
from support.drivers.waiting import eventually

ACT = """cancel; templates edit; docs remove; backup; run; acp; mcp; protos; completion; restart; stop
sessions delete; sessions archive; sessions unarchive; sessions undelete; sessions rename; sessions remove
sessions truncate; sessions pop; sessions edit; sessions exclude; sessions include; sessions export
models fetch; models add; models remove; models pull; tokens revoke; config set; config unset; config edit
config init; config import-environment; service install; service uninstall; service logs"""
"""They do something, and say at most that it is done."""
PRINT_ONE_VALUE = "templates path; config path; sessions pick"
ARE_SCREENS = "chat; top; plot"
HAVE_A_FORMAT = "metrics"
EXEMPT = {
    name.strip()
    for names in (ACT, PRINT_ONE_VALUE, ARE_SCREENS, HAVE_A_FORMAT)
    for line in names.splitlines()
    for name in line.split(";")
}


def commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, bool]]:
    """Yield each command that does something, and whether it takes --json."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not any(group.required for group in groups):
        yield name, any("--json" in one.option_strings for one in parser._actions)
    for group in groups:
        for word, child in group.choices.items():
            yield from commands(child, f"{name} {word}")


def test_every_command_that_tells_facts_takes_json() -> None:
    taken = dict(pair for name in COMMANDS for pair in commands(parser_of(name), name))
    assert {name for name, takes in taken.items() if not takes} == EXEMPT


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("status", "daemon"),
        ("usage", "rows"),
        ("agents", None),
        ("doctor", None),
        ("config", None),
        ("config get sessions.retention_days", None),
        ("config validate", "valid"),
        ("reload", "applied"),
        ("server --status", "url"),
        ("service status", "installed"),
        ("models default", "model"),
        ("models alias", None),
        ("models discover", None),
        ("sessions create Made", "id"),
        ("sessions prune --dry-run", "sessions"),
        ("tokens create someone", "token"),
        ("connect codex", "token"),
        ("connect --list", None),
        ("explain Hello", None),
        ("templates", None),
        ("docs", None),
        ("ps", None),
        ("sessions", None),
    ],
)
def test_output_with_the_option_is_json(oblix, words: str, key: str | None) -> None:
    done = oblix(*words.split(), "--json", ok=False)
    printed = json.loads(done.stdout)
    assert key is None or key in printed


def test_a_setting_that_is_not_there_is_told_with_the_nearest(oblix) -> None:
    done = oblix("config", "get", "--json", "embedded.enable", ok=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Did you mean embedded.enabled" in done.stderr


def test_a_copy_and_a_new_answer_are_json(oblix, ask, ollama: OllamaServer) -> None:
    ask("Hello")
    copy = json.loads(oblix("sessions", "fork", "@1", "--json").stdout)
    assert copy["message_count"] == 2
    model = ["--model", "ollama:llama2", "--endpoint", ollama.url]
    again = json.loads(oblix("sessions", "regenerate", copy["id"], "--json", *model).stdout)
    assert (again["response"], again["session_id"]) == ("You said: Hello", copy["id"])


def test_documents_that_are_taken_in_are_counted_as_json(oblix, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("The heat pump runs at 35 degrees.")
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    taken = json.loads(oblix("docs", "add", "--json", "--name", "counted", str(tmp_path)).stdout)
    assert (taken["name"], taken["added"], taken["passages"]) == ("counted", 1, 1)
    again = json.loads(oblix("docs", "update", "--json", "counted").stdout)
    assert (again["added"], again["unchanged"]) == (0, 1)


async def test_messages_are_followed_as_lines_of_json(oblix, ask, start) -> None:
    ask("First")
    session_id = oblix("sessions", "list", "--limit", "1").stdout.split("\t")[0]
    process = start("follow", "--json", session_id)
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    ask("--session", session_id, "Second")
    lines += [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [line["content"] for line in lines] == ["First", "You said: First", "Second", "You said: Second"]
    oblix("sessions", "delete", session_id)
    await eventually(lambda: process.poll() is not None)
