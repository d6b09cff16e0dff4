"""What is typed while an answer comes, and what a terminal is like afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Iterator

import pytest
from oblix.testing import Answer, OllamaServer
from support.drivers.terminal import Terminal, terminal
from support.drivers.waiting import eventually
from support.faults.gate import Gate

COMMAND = (sys.executable, "-m", "oblix")
PROMPT = ">"
LEAVE, CTRL_C, CTRL_D = "/exit\n", "\x03", "\x04"
ECHO = 3
"""Where `termios.tcgetattr` has the flags with ECHO."""


@pytest.fixture
def gate(ollama: OllamaServer) -> Iterator[Gate]:
    made = Gate()
    ollama.script(Answer("one two three four", fault=made))
    yield made
    made.opened.set()  # an answer that was cancelled still waits there, and its server for it


@pytest.fixture
def chat(oblix, ollama: OllamaServer, gate: Gate):
    with terminal(*COMMAND, "chat", "-m", "ollama:llama2", "--endpoint", ollama.url) as shown:
        shown.wait_for(PROMPT)
        shown.type("Count\n")
        shown.wait_for("two")
        yield shown


def prompts(ollama: OllamaServer) -> list[str]:
    return [one.body["messages"][-1]["content"] for one in ollama.requests if one.body.get("messages")]


def finish(chat: Terminal, keys: str = LEAVE) -> None:
    chat.wait_for(PROMPT)
    chat.type(keys)
    chat.rest()
    assert chat.process.wait(60) == 0


def test_keys_do_not_show_within_an_answer_and_wait_for_the_next_prompt(
    chat: Terminal, gate: Gate, ollama: OllamaServer
) -> None:
    chat.type("the next question")
    gate.opened.set()
    assert "question" not in chat.wait_for("tokens")
    chat.wait_for("the next question")
    chat.type("\n")
    chat.wait_for("You said: the next question")
    chat.wait_for("tokens")
    finish(chat)
    assert prompts(ollama) == ["Count", "the next question"]


def test_enter_within_an_answer_sends_what_was_typed_after_it(
    chat: Terminal, gate: Gate, ollama: OllamaServer
) -> None:
    chat.type("Go on\r")
    gate.opened.set()
    chat.wait_for("You said: Go on")
    chat.wait_for("tokens")
    finish(chat)
    assert prompts(ollama) == ["Count", "Go on"]


def test_a_paste_within_an_answer_is_one_prompt(chat: Terminal, gate: Gate, ollama: OllamaServer) -> None:
    assert chat.raw.rfind("\x1b[?2004h") > chat.raw.rfind("\x1b[?2004l"), "pastes are not marked"
    chat.type("\x1b[200~one\rtwo\rthree\x1b[201~")
    gate.opened.set()
    chat.wait_for("three")
    chat.type("\n")
    chat.wait_for("You said")
    chat.wait_for("tokens")
    finish(chat)
    assert prompts(ollama) == ["Count", "one\ntwo\nthree"]


def test_ctrl_c_ends_the_answer_and_keeps_what_was_typed(chat: Terminal, ollama: OllamaServer) -> None:
    chat.type("Something else" + CTRL_C)
    chat.wait_for("[cancelled; the part above is kept in session ")
    chat.wait_for("Something else")
    chat.type("\n")
    chat.wait_for("You said: Something else")
    chat.wait_for("tokens")
    finish(chat)
    assert prompts(ollama) == ["Count", "Something else"]


@pytest.mark.parametrize("keys", [LEAVE, CTRL_D])
def test_a_terminal_is_left_as_it_was_found(oblix, ollama: OllamaServer, keys: str) -> None:
    script = 'before=$(stty -g); "$@"; after=$(stty -g); [ "$before" = "$after" ] && echo the same'
    chat = ("sh", "-c", script, "sh", *COMMAND, "chat", "-m", "ollama:llama2", "--endpoint", ollama.url)
    with terminal(*chat) as shown:
        shown.wait_for(PROMPT)
        shown.type("Hello\n")
        shown.wait_for("tokens")
        shown.wait_for(PROMPT)
        assert not termios.tcgetattr(shown.screen)[ECHO] & termios.ECHO
        shown.type(keys)
        assert "the same" in shown.rest()
        assert shown.raw.rfind("\x1b[?2004l") > shown.raw.rfind("\x1b[?2004h"), "pastes are still marked"


ASKING = """
import select
from oblix.cli.keyboard import keyboard
print("ready", flush=True)
select.select([0], [], [])
print("answered", repr(keyboard.question("Send it? ")))
"""


def test_keys_typed_before_a_question_do_not_answer_it() -> None:
    with terminal(sys.executable, "-c", ASKING) as shown:
        shown.wait_for("ready")
        shown.type("yes\n")
        shown.wait_for("Send it? ")
        shown.type("No\n")
        shown.wait_for("answered 'no'")


def test_a_chat_that_goes_on_after_ctrl_z_shows_no_keys_within_an_answer(
    chat: Terminal, gate: Gate, ollama: OllamaServer
) -> None:
    # What a shell does: it gives the terminal its own modes, and lets the job go on.
    modes = termios.tcgetattr(chat.screen)
    modes[ECHO] |= termios.ECHO | termios.ICANON
    termios.tcsetattr(chat.screen, termios.TCSANOW, modes)
    os.killpg(os.tcgetpgrp(chat.screen), signal.SIGCONT)
    asyncio.run(eventually(lambda: not termios.tcgetattr(chat.screen)[ECHO] & termios.ECHO))
    chat.type("unseen")
    gate.opened.set()
    assert "unseen" not in chat.wait_for("tokens")
    chat.wait_for("unseen")
    chat.type("\n")
    chat.wait_for("tokens")
    finish(chat)


@pytest.mark.parametrize("keys", [CTRL_C, CTRL_D])
def test_output_after_an_unanswered_question_begins_a_line(oblix, keys: str) -> None:
    session_id = oblix("sessions", "create", "Kept").stdout.strip()
    with terminal(*COMMAND, "sessions", "delete", session_id) as shown:
        shown.wait_for("[y/N] ")
        shown.type(keys)
        assert "\n" in shown.rest().partition("oblix: ")[0]
    assert oblix("sessions", "view", session_id).returncode == 0
