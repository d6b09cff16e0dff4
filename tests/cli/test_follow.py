"""`oblix follow`: a session as it goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from oblix.testing import Answer, OllamaServer
from oblix.testing.faults import Stall


def read_until(process: subprocess.Popen[str], words: str) -> str:
    read = ""
    while words not in read:
        letter = process.stdout.read(1)
        assert letter, read
        read += letter
    return read


def session_of(noted: str) -> str:
    return noted.split("session")[1].split(maxsplit=1)[0]


def test_it_shows_what_was_said_and_an_answer_while_it_is_written(
    ask: Callable, start: Callable, ollama: OllamaServer
) -> None:
    session_id = session_of(ask("-v", "Hello").stderr)
    following = start("follow", session_id)
    read_until(following, "## user\n\nHello\n\n## assistant\n\nYou said: Hello")
    ollama.script(Answer("one two three", fault=Stall(after=2)))
    model = ("--model", "ollama:llama2", "--endpoint", ollama.url)
    asking = start("ask", *model, "--session", session_id, "Count")
    shown = read_until(following, "one two")
    assert "## user\n\nCount\n\n## assistant\n\n" in shown
    asking.terminate()
    assert ask("--session", session_id, "Again").stdout
    assert read_until(following, "You said: Again").count("one two") == 0


def test_it_ends_with_the_session(ask: Callable, start: Callable, oblix: Callable) -> None:
    session_id = session_of(ask("-v", "Hello").stderr)
    following = start("follow", session_id)
    read_until(following, "You said: Hello")
    oblix("sessions", "delete", session_id)
    assert following.wait(60) == 0


def test_an_unknown_session_is_named(oblix: Callable) -> None:
    done = oblix("follow", "no-such-session", ok=False)
    assert (done.returncode, "there is no session no-such-session" in done.stderr) == (1, True)
