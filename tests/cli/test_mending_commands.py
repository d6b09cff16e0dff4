"""`oblix sessions remove`, `edit`, `regenerate` …"""

from __future__ import annotations

import json

import pytest
from oblix.testing import OllamaServer


@pytest.fixture
def talk(oblix, ask) -> str:
    """A session of two questions and their answers."""
    ask("One?")
    session_id = oblix("sessions", "list", "--limit", "1").stdout.split("\t")[0]
    ask("--session", session_id, "Two?")
    return session_id


def contents(oblix, session_id: str) -> list[str]:
    shown = json.loads(oblix("sessions", "view", "--json", session_id).stdout)
    return [message["content"] for message in shown["messages"]]


def test_messages_are_removed_popped_and_cut_off(oblix, talk: str) -> None:
    assert "1 message was deleted" in oblix("sessions", "pop", talk).stderr
    assert "2 messages were deleted" in oblix("sessions", "remove", talk, "1", "2").stderr
    assert contents(oblix, talk) == ["Two?"]
    assert "1 message was deleted" in oblix("sessions", "truncate", talk, "-1").stderr
    assert contents(oblix, talk) == []
    done = oblix("sessions", "remove", talk, "nobody", ok=False)
    assert (done.returncode, "no message nobody" in done.stderr) == (1, True)


def test_a_message_is_edited_and_shows_what_it_was(oblix, talk: str) -> None:
    oblix("sessions", "edit", talk, "-2", "Three?")
    oblix("sessions", "edit", talk, "3", "-", stdin="Four?")
    assert contents(oblix, talk)[2] == "Four?"
    rows = [line.split("\t") for line in oblix("sessions", "versions", talk, "3").stdout.splitlines()]
    assert [(row[0], row[3]) for row in rows] == [("1", "Three?"), ("0", "Two?")]
    assert json.loads(oblix("sessions", "versions", "--json", talk, "3").stdout)[0]["content"] == "Three?"
    oblix("sessions", "edit", talk, "3", "--restore", "0")
    assert contents(oblix, talk)[2] == "Two?"
    shown = oblix("sessions", "view", "--ids", talk).stdout
    message_id = next(line for line in shown.splitlines() if "version 3" in line).split()[-1].rstrip("]")
    oblix("sessions", "remove", talk, message_id)
    assert len(contents(oblix, talk)) == 3
    assert "an edit needs" in oblix("sessions", "edit", talk, "1", " ", ok=False).stderr


def test_a_message_is_left_out_and_sent_again(oblix, ask, talk: str) -> None:
    assert "2 messages are left out" in oblix("sessions", "exclude", talk, "1", "2").stderr
    assert "(left out of contexts: BY_REQUEST)" in oblix("sessions", "view", talk).stdout
    assert "left out message 1 (BY_REQUEST), 2 (BY_REQUEST)" in ask("--session", talk, "Three?").stderr
    assert "2 messages are sent again" in oblix("sessions", "include", talk, "1", "2", "3").stderr


def test_the_last_question_is_answered_anew(oblix, talk: str, ollama: OllamaServer) -> None:
    ollama.script("Something else.")
    done = oblix("sessions", "regenerate", talk, "--model", "ollama:llama2", "--endpoint", ollama.url)
    assert done.stdout.strip() == "Something else."
    assert contents(oblix, talk) == ["One?", "You said: One?", "Two?", "Something else."]
    assert oblix("sessions", "versions", talk, "-1").stdout.split("\t")[3].strip() == "You said: Two?"
