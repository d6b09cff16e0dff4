"""`oblix ask --detach`, `attach`, `ps` and `cancel`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from oblix.cli.commands.prompts import ps
from oblix.cli.options import execution_ids
from oblix.testing import Answer, OllamaServer
from oblix.testing.faults import Stall
from oblix.v1 import executions_pb2
from support.drivers.terminal import terminal

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def detach(ask, ollama: OllamaServer):
    """Detaches an answer that stalls after two words, and returns its id once they are there."""

    def detach(*words: str) -> str:
        ollama.script(Answer("one two three", fault=Stall(after=2)))
        request_id = ask("--detach", *words, "Count").stdout.rstrip("\n")
        ollama.wait_for_requests(1)
        return request_id

    return detach


def find_execution(oblix, request_id: str) -> dict:
    (found,) = [one for one in json.loads(oblix("ps", "--json").stdout) if one["request_id"] == request_id]
    return found


def test_a_detached_prompt_goes_on_and_can_be_attached_to(ask, oblix, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two three", tokens_per_second=20))
    done = ask("--detach", "Count")
    assert re.fullmatch(r"\S+\n", done.stdout)
    assert re.fullmatch(r"session  \S+\n", done.stderr)
    request_id = done.stdout.rstrip("\n")
    attached = oblix("attach", request_id)
    assert attached.stdout == "one two three\n"
    assert re.search(r"^model +ollama:llama2$", attached.stderr, re.MULTILINE)
    assert re.search(r"^session +\S+$", attached.stderr, re.MULTILINE)
    assert oblix("attach", request_id, "--offset", "4", "--no-metrics").stdout == "two three\n"
    assert json.loads(oblix("attach", "--json", request_id).stdout)["response"] == "one two three"
    assert find_execution(oblix, request_id)["state"] == "completed"
    session_id = json.loads(oblix("attach", "--json", request_id).stdout)["session_id"]
    assert "one two three" in oblix("sessions", "view", session_id).stdout


def test_running_prompts_are_listed_and_cancelled(detach, oblix, ollama: OllamaServer) -> None:
    request_id = detach("--no-session", "--background")
    assert find_execution(oblix, request_id)["state"] == "running"
    (line,) = [line for line in oblix("ps").stdout.splitlines() if line.startswith(request_id)]
    assert line.split("\t")[1:3] == ["running", "ollama:llama2"]
    assert oblix("cancel", request_id).stdout == f"{request_id}\tcancelled\n"
    assert ollama.requests[-1].abandoned.wait(60)
    assert oblix("cancel", request_id).stdout == f"{request_id}\tcancelled\n"
    attached = oblix("attach", request_id)
    assert attached.stdout == "one two\n"
    assert re.search(r"^ended +cancelled$", attached.stderr, re.MULTILINE)


def test_ctrl_c_leaves_what_was_detached_running(detach, oblix, start, ollama: OllamaServer) -> None:
    request_id = detach("--no-session")
    watching = start("attach", request_id)
    seen = ""
    while not seen.endswith("one two"):
        piece = os.read(watching.stdout.fileno(), 4096).decode()
        assert piece, seen
        seen += piece
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 130
    assert watching.stderr.read() == "\nleft; `oblix ps` shows whether it goes on\n"
    assert find_execution(oblix, request_id)["state"] == "running"
    oblix("cancel", request_id)


def test_waiting_tells_the_place_and_what_for(ask, oblix, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))
    session_id = oblix("sessions", "create", "Queue").stdout.rstrip("\n")
    ids = [ask("--detach", "--session", session_id, "Hello").stdout.rstrip("\n") for _ in range(2)]
    lines = [line.split("\t") for line in oblix("ps", "--session", session_id).stdout.splitlines()]
    assert [line[0] for line in lines] == ids
    assert lines[1][1].startswith(("queued", "waits for its session, place 1"))
    done = oblix("cancel", "nope", ids[1][:20], "nobody at all", ids[0], ok=False)
    assert done.returncode == 1
    assert done.stdout == "".join(f"{request_id}\tcancelled\n" for request_id in reversed(ids))
    assert [name in line for name, line in zip(("nope", "nobody"), done.stderr.splitlines(), strict=True)]


def test_a_person_sees_a_line_of_eighty_characters_for_each(ask, oblix, ollama: OllamaServer) -> None:
    for word in ("Older", "Newer"):
        ask(f"{word} question of many, many words that nobody could ever read on one line of a terminal")
    ollama.script(Answer("one two", fault=Stall(after=1)))
    session_id = oblix("sessions", "create", "Table").stdout.rstrip("\n")
    ids = [ask("--detach", "--session", session_id, "Hello").stdout.rstrip("\n") for _ in range(2)]
    with terminal("env", "COLUMNS=80", sys.executable, "-m", "oblix", "ps") as shown:
        heading, first, second, *ended = shown.rest().splitlines()
    assert heading.split() == ["ID", "STATE", "MODEL", "AGE", "PROGRAM", "PROMPT"]
    assert first.startswith(f"{ids[0][:8]}  ")
    assert re.match(rf"{ids[1][:8]}\s+waits 1\s", second)
    assert " done " in ended[0]
    newest = next(number for number, line in enumerate(ended) if "Newer" in line)
    assert newest < next(number for number, line in enumerate(ended) if "Older" in line)
    assert ended[newest].endswith("…")
    assert max(map(len, [heading, first, second, *ended])) <= 80
    lines = [line.split("\t") for line in oblix("ps").stdout.splitlines()]
    assert [line[0] for line in lines[:2]] == ids
    assert lines[0][-2:] == [session_id, "interactive"]
    oblix("cancel", *(request_id[:8] for request_id in ids))


def test_the_last_twenty_that_ended_are_shown() -> None:
    executions = [executions_pb2.Execution(request_id=f"{n:08}-x") for n in range(25)]
    for seconds, one in enumerate(executions):
        one.end_time.seconds = seconds
    running = executions_pb2.Execution(request_id="running")
    shown, left_out = ps.latest([*executions, running], ps.MOST_ENDED)
    assert [one.request_id for one in shown] == ["running", *(f"{n:08}-x" for n in range(24, 4, -1))]
    assert left_out == 5
    assert len(ps.latest(executions, None)[0]) == 25


def test_an_id_is_cut_where_no_other_one_begins_so(ask, oblix) -> None:
    assert execution_ids.short(["aaaabbbbcccc", "aaaabbbbcd", "1234567890", "x"]) == {
        "aaaabbbbcccc": "aaaabbbbcc",
        "aaaabbbbcd": "aaaabbbbcd",
        "1234567890": "12345678",
        "x": "x",
    }
    request_id = ask("--detach", "Hello").stdout.rstrip("\n")
    assert oblix("attach", "--no-metrics", request_id[:8]).stdout == "You said: Hello\n"
    assert oblix("attach", request_id[:7], ok=False).returncode == 1


@pytest.mark.parametrize("command", ["attach", "cancel"])
def test_an_unknown_execution_is_one_line(oblix, command: str) -> None:
    done = oblix(command, "nobody", ok=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "nobody" in done.stderr


def test_an_offset_past_the_end_names_the_option(ask, oblix) -> None:
    request_id = ask("--detach", "Hello").stdout.rstrip("\n")
    oblix("attach", request_id)
    assert oblix("attach", request_id, "--offset", "999", ok=False).stderr.startswith(
        "oblix: --offset takes 0 to "
    )
    assert oblix("attach", request_id, "--offset=-1", ok=False).stderr.startswith("oblix: --offset takes")


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
    (tmp_path / "x").write_bytes(b"no picture at all")
    done = ask("--image", str(tmp_path / "x"), "What is it?", ok=False)
    told = f"oblix: --image {tmp_path / 'x'}: is no PNG, JPEG, GIF or WebP image.\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_waiting_options_are_taken(ask) -> None:
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
    done = subprocess.run(shell, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
