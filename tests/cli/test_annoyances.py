"""What annoyed in an hour at a terminal, and is not to come back. What a chat does is in test_chat.py."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from oblix import UnavailableError
from oblix.cli.commands.prompts import chat
from oblix.cli.output import hints
from oblix.cli.table import FIRST_STEPS, overview
from oblix.testing import Answer, OllamaServer
from oblix.testing.faults import Refuse
from support.drivers.terminal import terminal
from support.faults.gate import Gate

COMMAND = (sys.executable, "-m", "oblix")


def at_terminal(*words: str, columns: int = 80) -> tuple[str, int]:
    """Run the command on a terminal. Return what it showed, without styles, and its exit code."""
    with terminal("env", f"COLUMNS={columns}", *COMMAND, *words) as shown:
        text = shown.rest()
        return text.replace("\r\n", "\n"), shown.process.wait(60)


@pytest.fixture
def model(ollama: OllamaServer) -> list[str]:
    return ["-m", "ollama:llama2", "--endpoint", ollama.url]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "oblix chat"),
        (["help"], "Conversations:"),
        (["sesions"], "Did you mean sessions?"),
        (["--modle", "x", "Hello"], "Did you mean --model?"),
        (["--verison"], "Did you mean --version?"),
        (["hello"], '`oblix ask "hello"` asks it'),
        (["sessions", "lst"], "Did you mean list?"),
        (["ask", "--sytem", "x", "Hello"], "Did you mean --system?"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_right_one(oblix, words: list[str], says: str) -> None:
    text, code = at_terminal(*words)
    assert says in text
    assert code == (2 if "Did you mean" in says or "asks it" in says else 0)
    assert code == 0 or text.count("\n") <= 6


def test_the_first_help_fits_a_terminal() -> None:
    assert not [line for line in [*FIRST_STEPS.splitlines(), *overview().splitlines()] if len(line) > 80]


def test_a_question_of_one_word_needs_no_command(oblix, ollama: OllamaServer, daemon_home: Path) -> None:
    config = daemon_home / "config.toml"
    config.write_text(f'[[models]]\nprovider = "ollama"\nname = "llama2"\nendpoint = "{ollama.url}"\n')
    try:
        oblix("reload")
        for words in (["Why?"], ["--model=llama2", "Why?"], ["--continue", "Why?"]):
            assert "You said: Why?" in at_terminal(*words)[0]
    finally:
        config.unlink()
        oblix("reload")


@pytest.mark.parametrize(("options", "before"), [([], 0), (["-x"], 1)])
def test_something_moves_until_there_is_something_to_read(
    oblix, ollama: OllamaServer, model: list[str], options: list[str], before: int
) -> None:
    gate = Gate(after=before)
    ollama.script(Answer("```\nAt last\n```", fault=gate))
    with terminal(*COMMAND, "ask", *model, *options, "Hello") as shown:
        shown.wait_for("waiting for the model")
        gate.opened.set()
        assert re.search(r"At last\b.*llama2 · local", shown.rest(), re.DOTALL)


def test_a_failed_question_leaves_no_session(oblix, ollama: OllamaServer, model: list[str]) -> None:
    before = oblix("sessions", "list", "--all").stdout
    ollama.default = lambda _: Answer(fault=Refuse(400, "no"))
    text, code = at_terminal("ask", *model, "Hello")
    assert code == 1
    assert "session" not in text
    assert oblix("sessions", "list", "--all").stdout == before


def test_an_answer_is_followed_by_one_line(oblix, model: list[str]) -> None:
    text, _ = at_terminal("ask", *model, "Hello")
    answer, line, rest = text.split("\n")
    assert (answer, rest) == ("You said: Hello", "")
    assert line.startswith("llama2 · local · ")


@pytest.mark.parametrize("columns", [60, 62, 64])
def test_words_stay_whole_at_every_margin_and_no_line_is_empty(
    oblix, ollama: OllamaServer, model: list[str], columns: int
) -> None:
    words = ["four"] * 60
    ollama.script(" ".join(words))
    text, _ = at_terminal("ask", *model, "Hello", columns=columns)
    answer = text[: text.index("llama2")]
    assert answer.split() == words
    assert "\n\n" not in answer
    assert all(len(line) <= columns for line in answer.split("\n"))


def test_a_system_message_is_one_option(oblix, ollama: OllamaServer, model: list[str]) -> None:
    at_terminal("ask", *model, "-s", "Be short.", "Hello")
    sent = ollama.requests[-1].body["messages"]
    assert [(one["role"], one["content"]) for one in sent] == [("system", "Be short."), ("user", "Hello")]


def test_a_session_is_named_by_what_the_list_shows_of_it(oblix) -> None:
    session_id = oblix("sessions", "create", "Short names", "--metadata", "test=short").stdout.strip()
    listed = at_terminal("sessions", "list", "--filter", "test=short")[0].splitlines()[-1].split()[0]
    assert len(listed) < len(session_id)
    for name in (listed, "Short names", "short nam"):
        assert json.loads(at_terminal("sessions", "view", "--json", name)[0])["id"] == session_id


@pytest.mark.parametrize("words", [["models", "--json"], ["models", "list", "--json"]])
def test_json_is_known_before_a_subcommand_and_behind_it(oblix, words: list[str]) -> None:
    assert isinstance(json.loads(at_terminal(*words)[0]), list)


def test_a_search_without_hits_says_so(oblix) -> None:
    assert "no message or title contains xyzzy" in at_terminal("search", "xyzzy")[0]


def test_hits_fit_the_terminal(oblix) -> None:
    oblix(
        "sessions", "create", "The findable title of a conversation about all things under the sun and more"
    )
    for columns in (60, 80):
        text, _ = at_terminal("search", "findable", columns=columns)
        heads = [line for line in text.splitlines() if line[:1].strip()]
        assert heads
        assert all(len(line) <= columns for line in heads)


def test_a_local_model_is_free_and_a_short_wait_is_told(
    oblix, ollama: OllamaServer, model: list[str]
) -> None:
    at_terminal("ask", *model, "Hello")
    shown = at_terminal("usage")[0]
    assert "free" in shown
    assert "UNPRICED" not in shown
    ollama.default = lambda _: Answer(fault=Refuse(429, "slow down", headers={"Retry-After": "170"}))
    text, code = at_terminal("ask", *model, "--timeout", "20", "Again")
    assert code == 1
    assert "Wait 170 s, as it asks" in " ".join(text.split())


def test_the_small_model_says_once_what_it_is_for(oblix, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for _ in range(2):
        hints.about_model(hints.TRIAL_MODEL)
    said = capsys.readouterr().err
    assert said.count("often wrong") == 1
    assert "oblix models discover" in said
    assert max(map(len, said.splitlines())) <= 60 + len("xx")


@pytest.mark.parametrize("columns", [50, 80])
def test_the_help_of_a_chat_and_a_list_fit_a_narrow_terminal(oblix, model: list[str], columns: int) -> None:
    oblix("sessions", "create", "A title that is longer than a narrow terminal has room for, by far")
    with terminal("env", f"COLUMNS={columns}", *COMMAND, "chat", *model) as shown:
        shown.wait_for(">")
        shown.type("/help\n")
        text = shown.wait_for("//etc is a directory?")
        shown.type("/exit\n")
        shown.rest()
    lines = text.replace("\r", "").split("\n")[2:]
    assert all(len(line) <= columns for line in lines)
    listed, _ = at_terminal("sessions", "list", columns=max(columns, 54))
    assert all(len(line) <= max(columns, 54) for line in listed.splitlines())


def test_errors_are_whole_sentences(oblix) -> None:
    shown, code = at_terminal("ask", "-m", "nosuchmodel", "Hello", columns=50)
    assert code == 1
    assert "one of embedded, ollama, openai, claude, custom." in " ".join(shown.split())
    assert shown.count("\n") > 2
    assert all(len(line) <= 50 for line in shown.splitlines())


@pytest.mark.parametrize(("prompt", "is_read"), [("Explain this", False), ("Explain this:", True)])
def test_piped_input_that_is_not_read_is_told(
    oblix, ollama: OllamaServer, model: list[str], prompt: str, is_read: bool
) -> None:
    command = shlex.join([*COMMAND, "ask", *model, prompt])
    with terminal("sh", "-c", f"echo the diff | {command}") as shown:
        text = shown.rest()
    assert ("was not read" in text) is not is_read
    assert ("the diff" in ollama.requests[-1].body["messages"][-1]["content"]) is is_read


def test_a_chat_says_how_to_go_on_after_a_daemon_that_ended() -> None:
    error = UnavailableError("gone", reason="EXECUTION_INTERRUPTED", metadata={"kept_bytes": "3"})
    assert chat._error_text(error) == (
        "oblixd ended before the answer did; the part above is kept. /retry asks again."
    )
