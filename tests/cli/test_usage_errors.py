"""Wrong usage: what is suggested, and what is never repeated."""

from __future__ import annotations

import subprocess
import sys

import pytest
from oblix.cli.table import COMMANDS, GROUPS, overview, parser_of

KEY = "sk-proj-0123456789abcdef"


@pytest.mark.parametrize(
    "words",
    [
        ["ask", "--api-key", KEY, "Hello"],
        ["ask", f"--api-key={KEY}", "Hello"],
        ["ask", "Hello", "--token", KEY],
        ["ask", "--temperature", KEY, "Hello"],
        ["ask", "--reasoning", KEY, "Hello"],
        ["sessions", KEY],
        ["models", "add", KEY],
    ],
)
def test_a_key_is_never_repeated(oblix_alone, words: list[str]) -> None:
    done = oblix_alone(*words, ok=False)
    assert done.returncode == 2
    assert KEY not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 2


def test_an_option_is_not_guessed_by_its_beginning(oblix_alone) -> None:
    done = oblix_alone("ask", "--api-key", "secret", "Hello", ok=False)
    assert "there is no option --api-key." in done.stderr
    assert "--api-key-file FILE" in done.stderr
    assert oblix_alone("ask", "--temp", "1", "Hello", ok=False).returncode == 2


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["aks", "Hello"], "Did you mean ask?"),
        (["sesions"], "Did you mean sessions?"),
        (["sessions", "lst"], "Did you mean list?"),
        (["ask", "--sesion", "x"], "Did you mean --session"),
        (["usage", "--by", "modle"], "Did you mean model?"),
    ],
)
def test_a_slip_gets_a_suggestion(oblix_alone, words: list[str], meant: str) -> None:
    done = oblix_alone(*words, ok=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert meant in done.stderr


def test_help_is_a_command_too(oblix_alone) -> None:
    assert oblix_alone("help").stdout == oblix_alone("--help").stdout == f"{overview()}\n"
    assert oblix_alone("help", "ask").stdout == oblix_alone("ask", "--help").stdout


def test_every_command_stands_under_a_heading() -> None:
    shown = overview()
    assert all(f"{group}:\n" in shown for group in GROUPS)
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert {command.group for command in COMMANDS.values()} == set(GROUPS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_parser_that_guesses_nothing(name: str) -> None:
    parser = parser_of(name)
    assert not parser.allow_abbrev
    assert parser.format_help()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sessions", "list", "--limit", "x"], "--limit: takes a whole number; given: x"),
        (["sessions", "list", "--limit", "1.5"], "--limit: takes a whole number; given: 1.5"),
        (["server", "--port", "http"], "--port: takes a whole number; given: http"),
        (["stop", "--grace", "long"], "takes a number; given: long"),
    ],
)
def test_a_word_in_place_of_a_number_is_told_in_plain_words(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser_of(words[0]).parse_args(words[1:])
    assert says in capsys.readouterr().err


def test_an_error_is_told_with_where_it_came_from(oblix) -> None:
    quiet = oblix("sessions", "view", "nobody", ok=False)
    # Not by the fixture: that takes a traceback for a defect.
    command = [sys.executable, "-m", "oblix", "--debug", "sessions", "view", "nobody"]
    loud = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (quiet.returncode, loud.returncode) == (1, 1)
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1] == quiet.stderr.splitlines()[-1]
    assert oblix("--debug", "models", "--json").stderr == ""
