"""`oblix ask --detach`, `attach`, `ps` and `cancel`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from oblix.testing import Answer, OllamaServer
from oblix.testing.faults import Stall

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def detached(ask, ollama: OllamaServer):
    """Detaches an answer that stalls after two words, and returns its id once they are there."""

    def detach(*words: str) -> str:
        ollama.script(Answer("one two three", fault=Stall(after=2)))
        request_id = ask("--detach", *words, "Count").stdout.rstrip("\n")
        ollama.wait_for_requests(1)
        return request_id

    return detach


def listed(oblix, request_id: str) -> dict:
    (found,) = [one for one in json.loads(oblix("ps", "--json").stdout) if one["request_id"] == request_id]
    return found


def test_what_is_detached_goes_on_and_is_attached_to(ask, oblix, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two three", tokens_per_second=20))
    done = ask("--detach", "Count")
    assert re.fullmatch(r"\S+\n", done.stdout)
    request_id = done.stdout.rstrip("\n")
    attached = oblix("attach", request_id)
    assert attached.stdout == "one two three\n"
    assert re.search(r"^model +ollama:llama2$", attached.stderr, re.MULTILINE)
    assert re.search(r"^session +\S+$", attached.stderr, re.MULTILINE)
    assert oblix("attach", request_id, "--offset", "4", "--no-metrics").stdout == "two three\n"
    assert json.loads(oblix("attach", "--json", request_id).stdout)["response"] == "one two three"
    assert listed(oblix, request_id)["state"] == "completed"
    session_id = json.loads(oblix("attach", "--json", request_id).stdout)["session_id"]
    assert "one two three" in oblix("sessions", "view", session_id).stdout


def test_what_runs_is_listed_and_cancelled(detached, oblix, ollama: OllamaServer) -> None:
    request_id = detached("--no-session", "--background")
    assert listed(oblix, request_id)["state"] == "running"
    (line,) = [line for line in oblix("ps").stdout.splitlines() if line.startswith(request_id)]
    assert line.split("\t")[1:3] == ["running", "ollama:llama2"]
    assert oblix("cancel", request_id).stdout == f"{request_id}\tcancelled\n"
    assert ollama.requests[-1].abandoned.wait(10)
    assert oblix("cancel", request_id).stdout == f"{request_id}\tcancelled\n"
    attached = oblix("attach", request_id)
    assert attached.stdout == "one two\n"
    assert re.search(r"^ended +cancelled$", attached.stderr, re.MULTILINE)


def test_ctrl_c_leaves_what_was_detached_running(detached, oblix, start, ollama: OllamaServer) -> None:
    request_id = detached("--no-session")
    watching = start("attach", request_id)
    seen = ""
    while not seen.endswith("one two"):
        piece = os.read(watching.stdout.fileno(), 4096).decode()
        assert piece, seen
        seen += piece
    watching.send_signal(signal.SIGINT)
    assert watching.wait(10) == 130
    assert watching.stderr.read() == "\nleft; `oblix ps` shows whether it goes on\n"
    assert listed(oblix, request_id)["state"] == "running"
    oblix("cancel", request_id)


def test_waiting_tells_the_place_and_what_for(ask, oblix, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))
    session_id = oblix("sessions", "create", "Queue").stdout.rstrip("\n")
    ids = [ask("--detach", "--session", session_id, "Hello").stdout.rstrip("\n") for _ in range(2)]
    lines = [line.split("\t") for line in oblix("ps", "--session", session_id).stdout.splitlines()]
    assert [line[0] for line in lines] == ids
    assert lines[1][1].startswith(("queued", "waits for its session, place 1"))
    for request_id in reversed(ids):
        oblix("cancel", request_id)


@pytest.mark.parametrize("command", ["attach", "cancel"])
def test_an_unknown_execution_is_one_line(oblix, command: str) -> None:
    done = oblix(command, "nobody", ok=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "nobody" in done.stderr


def test_where_no_daemon_runs_ps_says_so(oblix_alone, home) -> None:
    done = oblix_alone("ps", ok=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no daemon runs" in done.stderr


def test_a_refused_prompt_leaves_nothing_to_bring_back(oblix) -> None:
    before = oblix("sessions", "list", "--deleted").stdout
    for more in ([], ["--detach"]):
        assert oblix("ask", *more, "Nobody answers", ok=False).returncode == 1
    assert oblix("sessions", "list", "--deleted").stdout == before


def test_pictures_are_shown(ask, ollama: OllamaServer, tmp_path) -> None:
    (tmp_path / "one.png").write_bytes(PNG)
    ask("--image", str(tmp_path / "one.png"), "--image", str(tmp_path / "one.png"), "What is it?")
    assert len(ollama.requests[-1].body["messages"][-1]["images"]) == 2
    done = ask("--image", str(tmp_path / "two.png"), "What is it?", ok=False)
    assert (done.returncode, done.stderr) == (1, f"oblix: There is no file {tmp_path / 'two.png'}.\n")


def test_waiting_options_are_checked(ask) -> None:
    assert "timeout" in ask("--timeout", "0", "Hello", ok=False).stderr
    assert ask("--background", "--timeout", "60", "Hello").stdout == "You said: Hello\n"


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        ("ps", ">&-", 0),
        ("ask --model ollama:llama2 --endpoint URL Hello", "<&- >&- 2>&-", 0),
        ("attach nobody", "2>&-", 1),
    ],
)
def test_closed_streams_end_in_no_traceback(
    oblix, ollama: OllamaServer, words: str, closed: str, code: int
) -> None:
    command = [sys.executable, "-m", "oblix", *words.replace("URL", ollama.url).split()]
    shell = ["bash", "-c", f'"$@" {closed}', "bash", *command]
    done = subprocess.run(shell, check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
