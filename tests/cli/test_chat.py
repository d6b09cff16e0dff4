"""`oblix chat`, and what a person at a terminal sees."""

from __future__ import annotations

import json
import sys

import pytest
from oblix import Delta, Event, Queued, Rerouted, Started
from oblix.cli.output import answers
from oblix.testing import Answer, OllamaServer
from oblix.testing.faults import Stall
from support.drivers.terminal import Terminal, terminal

COMMAND = (sys.executable, "-m", "oblix")


@pytest.fixture
def chat(oblix, ollama: OllamaServer):
    command = (*COMMAND, "chat", "--local-model", "ollama:llama2", "--local-endpoint", ollama.url)
    with terminal(*command) as shown:
        shown.wait_for("> ")
        yield shown


def newest(oblix) -> dict:
    session_id = oblix("sessions", "list", "--limit", "1").stdout.split("\t")[0]
    return json.loads(oblix("sessions", "view", "--json", session_id).stdout)


def leave(chat: Terminal, keys: str = "exit\n") -> None:
    chat.type(keys)
    chat.rest()
    assert chat.process.wait(60) == 0


def test_a_conversation_goes_on_until_exit(chat: Terminal, oblix, ollama: OllamaServer) -> None:
    for word in ("First", "Second"):
        chat.type(f"{word}\n")
        assert f"You said: {word}" in chat.wait_for("> ")
    leave(chat)
    assert [m["content"] for m in newest(oblix)["messages"]][::2] == ["First", "Second"]
    assert len(ollama.requests[-1].body["messages"]) == 3


def test_a_chat_is_called_after_the_first_prompt(chat: Terminal, oblix) -> None:
    chat.type("/help\n")
    assert "exit, quit or Ctrl-D end the chat" in chat.wait_for("> ")
    for line in ("What is   up?", "And now?"):
        chat.type(f"{line}\n")
        chat.wait_for("You said")
        chat.wait_for("> ")
    leave(chat)
    assert newest(oblix)["title"] == "What is up?"
    assert len(newest(oblix)["messages"]) == 4
    oblix("chat", "--session", newest(oblix)["id"], "--no-metrics", stdin="Hello\n")
    assert newest(oblix)["title"] == "What is up?"


def test_ctrl_c_ends_the_answer_and_not_the_chat(chat: Terminal, oblix, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two three four", fault=Stall(after=2)))
    chat.type("Count\n")
    chat.wait_for("one two")
    chat.type("\x03")
    assert "[cancelled; the part above is kept in session " in chat.wait_for("> ")
    assert ollama.requests[-1].abandoned.wait(60)
    chat.type("Go on\n")
    assert "You said: Go on" in chat.wait_for("> ")
    leave(chat, "\x04")
    assert [m.get("status") for m in newest(oblix)["messages"]] == [None, "cancelled", None, None]


def test_ctrl_c_while_it_waits_says_that_nothing_is_recorded(ask, oblix, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))
    session_id = oblix("sessions", "create", "Busy").stdout.rstrip("\n")
    running = ask("--detach", "--session", session_id, "First").stdout.rstrip("\n")
    ollama.wait_for_requests(1)
    with terminal(*COMMAND, "chat", "--session", session_id) as chat:
        chat.wait_for("> ")
        chat.type("Second\n")
        chat.wait_for("[waiting: 1 before this one]")
        chat.type("\x03")
        chat.wait_for("[cancelled before its turn came; nothing is recorded]")
        leave(chat)
    oblix("cancel", running)
    view = json.loads(oblix("sessions", "view", "--json", session_id).stdout)
    assert "Second" not in [message["content"] for message in view["messages"]]


DELTA = Delta("One", "text", 0)
BEGUN = Started("r", "s", "ollama:llama2", {}, [])


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ([], "cancelled"),
        ([Queued("r", 1)], "cancelled before its turn came; nothing is recorded"),
        ([Queued("r", 1), BEGUN], "cancelled; the question is kept in session s"),
        ([BEGUN, Queued("r", 1, "ollama:llama2")], "cancelled; the question is kept in session s"),
        ([BEGUN, DELTA], "cancelled; the part above is kept in session s"),
        ([BEGUN, DELTA, Rerouted("a", "b", "R", "")], "cancelled; the question is kept in session s"),
        ([Started("r", None, "ollama:llama2", {}, []), DELTA], "cancelled"),
    ],
)
def test_what_is_said_of_a_cancelled_answer_is_true(seen: list[Event], says: str) -> None:
    recorded = answers.Recorded()
    for event in seen:
        recorded.note(event)
    assert recorded.cancelled("the part above") == says


def test_ctrl_c_at_the_prompt_drops_the_line(chat: Terminal, oblix) -> None:
    chat.type("half a thou")
    chat.wait_for("half a thou")
    # Between two keys Python does not look for signals: should it be just there, the newline wakes it up.
    chat.type("\x03\n")
    chat.wait_for("end the chat")
    chat.wait_for("> ")
    leave(chat)
    assert newest(oblix)["messages"] == []


def test_an_unknown_session_is_refused_at_the_start(oblix) -> None:
    done = oblix("chat", "--session", "nobody", stdin="Hello\n", ok=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "oblix: there is no session nobody. `oblix sessions list` shows which there are.\n"
    )


def test_an_answer_is_followed_by_one_dim_line(chat: Terminal) -> None:
    chat.type("First\n")
    shown = chat.wait_for("> ")
    assert "session" not in shown.lower()
    assert len(shown.splitlines()) == 4  # what was typed, the answer, the line, the prompt
    assert "\x1b[2m[ollama:llama2: " in chat.raw
    leave(chat)


def test_ctrl_d_leaves_the_shell_a_line_of_its_own(chat: Terminal) -> None:
    chat.type("\x04")
    assert chat.rest().endswith("\n")


def test_a_model_that_fails_ends_the_answer_and_not_the_chat(chat: Terminal, ollama: OllamaServer) -> None:
    ollama.models.clear()
    chat.type("Hello\n")
    assert "oblix: " in chat.wait_for("> ")
    leave(chat)


def test_a_table_is_for_people(oblix) -> None:
    oblix("sessions", "create", "A title \x1b]0;owned\x07 of mine", "--metadata", "test=table")
    with terminal(*COMMAND, "sessions", "list", "--filter", "test=table") as shown:
        text = shown.rest()
    assert "TITLE" in text
    assert "A title ]0;owned of mine" in text
    assert "\x1b]0" not in shown.raw


def test_an_id_is_never_folded_and_a_title_is_cut(oblix) -> None:
    title = "The very long title of a conversation about everything under the sun"
    session_id = oblix("sessions", "create", title, "--metadata", "test=cut").stdout.strip()
    listing = [*COMMAND, "sessions", "list", "--filter", "test=cut"]
    for columns, shown_title in (("80", "The very "), ("120", "The very long title of a conv"), ("40", "")):
        with terminal("env", f"COLUMNS={columns}", *listing) as shown:
            lines = shown.rest().splitlines()
        (line,) = [line for line in lines if session_id in line]
        assert shown_title in line
        assert "…" in line
        assert len(lines) == 2


def test_an_answer_cannot_take_over_the_terminal(oblix, ollama: OllamaServer) -> None:
    ollama.script("plain \x1b]0;owned\x07 text")
    command = (*COMMAND, "ask", "--model", "ollama:llama2", "--endpoint", ollama.url, "Hello")
    with terminal(*command) as shown:
        shown.rest()
    assert "plain ]0;owned text" in shown.raw
