"""Escape sequences in what a model says, a title holds or a server fails with: none reaches a terminal."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix._convert.terminal_text import Plain, json_text, printable
from oblix.testing import Answer, OllamaServer, Refuse, Report
from support.drivers.terminal import Terminal

from oblixd import redaction

from .conftest import Run

ATTACK = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\x9b2J\x1b]52;c;aGk=\x1b\\ \u202eback \x90q\x9c end"
BYTES = ("\x1b", "\x07", "\x9b", "\x90", "\x9c", "\u202e")


def terminal_orders(text: str) -> list[str]:
    return [mark for mark in BYTES if mark in text]


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_an_answer_that_is_piped_into_a_file(ask: Run, ollama: OllamaServer, flag: tuple[str, ...]) -> None:
    ollama.script(ATTACK)
    done = ask("Hi", *flag)
    assert terminal_orders(done.stdout + done.stderr) == []
    if flag:
        assert json.loads(done.stdout)["response"] == ATTACK, "a program gets it as it was"


@pytest.mark.parametrize("fault", [Refuse(400, ATTACK), Report(after=1, message=ATTACK)])
def test_a_servers_error(ask: Run, ollama: OllamaServer, fault: Refuse | Report) -> None:
    ollama.default = lambda _: Answer("one two", fault=fault)
    done = ask("Hi", ok=False)
    assert "red" in done.stderr
    assert terminal_orders(done.stdout + done.stderr) == []


def test_hostile_text_in_sessions_takes_over_no_terminal(oblix: Run) -> None:
    session = oblix("sessions", "create", ATTACK).stdout.strip()
    for words in (
        ["show", session],
        ["list"],
        ["list", "--json"],
        ["export", session, "-", "--format", "markdown"],
    ):
        shown = oblix("sessions", *words, ok=None)
        assert terminal_orders(shown.stdout + shown.stderr) == [], words


def test_on_a_terminal(daemon_home: object, oblix: Run, ollama: OllamaServer) -> None:
    ollama.default = lambda _: Answer(ATTACK)
    words = ["ask", "--model", "ollama:llama2", "--endpoint", ollama.url, "Hi", "--no-metrics"]
    terminal = Terminal([sys.executable, "-m", "oblix", *words])
    terminal.rest()
    terminal.process.wait(60)
    terminal.close()
    assert "red" in terminal.raw
    assert terminal_orders(terminal.raw) == []


@given(st.text())
def test_json_is_the_same_value_and_obeyed_by_nothing(text: str) -> None:
    written = json_text({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert printable(written) == written


@given(st.text())
def test_both_sides_clean_alike(text: str) -> None:
    assert printable(text) == redaction.printable(text)
    file = io.StringIO()
    assert Plain(file).write(text) == len(text)
    assert file.getvalue() == re.sub("[\ufdd0-\ufdd3]", "", printable(text))
