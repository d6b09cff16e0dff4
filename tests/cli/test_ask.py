"""`oblix ask`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from oblix import UnavailableError
from oblix._convert import presets
from oblix.cli import errors
from oblix.testing import Answer, OllamaServer, OpenAIServer
from oblix.testing.faults import Cut, Stall


def session_in(text: str) -> str:
    """The id that a summary names."""
    found = re.search(r"^session +(\S+)$", text, re.MULTILINE)
    assert found
    return found[1]


def test_the_answer_goes_to_output_and_the_rest_to_errors(ask, oblix) -> None:
    done = ask("-v", "Why is", "the sky blue?")
    assert done.stdout == "You said: Why is the sky blue?\n"
    assert re.search(r"^model +ollama:llama2$", done.stderr, re.MULTILINE)
    assert re.search(r"^why +\w", done.stderr, re.MULTILINE)

    kept = json.loads(oblix("sessions", "view", "--json", session_in(done.stderr)).stdout)
    assert kept["title"] == "Why is the sky blue?"
    assert [m["content"] for m in kept["messages"]] == ["Why is the sky blue?", done.stdout.rstrip("\n")]


def test_standard_input_takes_the_place_of_a_dash(ask) -> None:
    assert ask("Review", "-", "please", "--no-metrics", stdin="the diff").stdout == (
        "You said: Review the diff please\n"
    )


def test_without_words_standard_input_is_the_question(ask) -> None:
    done = ask("--no-metrics", stdin="from a pipe")
    assert (done.stdout, done.stderr) == ("You said: from a pipe\n", "")


def test_json_is_the_whole_response_and_nothing_else(ask) -> None:
    done = ask("--json", "Hello")
    response = json.loads(done.stdout)
    assert (response["response"], response["model_id"]) == ("You said: Hello", "ollama:llama2")
    assert response["routing_decision"]["model_routing"]["reason"]
    assert response["session_id"]
    assert done.stderr == ""


def test_the_length_of_an_answer_can_be_limited(ask, ollama: OllamaServer) -> None:
    ollama.script("one two three")
    done = ask("--max-tokens", "2", "--temperature", "0.5", "Count")
    assert done.stdout == "one two\n"
    assert re.fullmatch(r"llama2 · local · \d+\.\d s · 2 tokens · ended: length\n", done.stderr)
    assert ollama.requests[-1].body["options"]["temperature"] == 0.5


def test_an_answer_that_breaks_off_is_reported_on_a_line_of_its_own(ask, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two three", fault=Cut(after=2)))
    done = ask("Count", ok=False)
    assert (done.returncode, done.stdout) == (1, "one two\n")
    assert done.stderr.startswith("oblix: Ollama")
    assert "Your question and 7 bytes of the answer are kept in session " in done.stderr
    assert "Your message" not in done.stderr


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ({"session_id": "s1", "kept_bytes": "1200"}, "1,200 bytes of the answer are kept in session s1."),
        ({"session_id": "s1", "kept_bytes": "0"}, "your question is kept in session s1."),
        ({"kept_bytes": "0"}, "nothing is kept."),
    ],
)
def test_an_answer_that_the_daemons_end_cut_off_says_what_is_kept(kept: dict[str, str], says: str) -> None:
    told = errors.error_text(UnavailableError("It ended.", reason="EXECUTION_INTERRUPTED", metadata=kept))
    assert says in told
    again = "ask --session s1 ..." if "session_id" in kept else "ask ..."
    assert told.endswith(f"This request's id is used up; `oblix {again}` asks again, with a new one.")


def test_a_session_goes_on(ask, ollama: OllamaServer) -> None:
    first = session_in(ask("-v", "One").stderr)
    assert session_in(ask("-v", "--session", first, "Two").stderr) == first
    assert session_in(ask("-v", "--last", "Three").stderr) == first
    assert [m["content"] for m in ollama.requests[-1].body["messages"] if m["role"] == "user"] == [
        "One",
        "Two",
        "Three",
    ]
    assert session_in(ask("-v", "Anew").stderr) != first


def test_nothing_is_recorded_where_nobody_wants_it(ask, oblix) -> None:
    before = oblix("sessions", "list").stdout
    assert "session" not in ask("--no-session", "Hello").stderr
    assert oblix("sessions", "list").stdout == before


def test_a_model_that_is_not_there_is_named_with_the_remedy(oblix, ollama: OllamaServer) -> None:
    ollama.close()
    done = oblix("ask", "--model", "ollama:llama2", "--endpoint", ollama.url, "Hello", ok=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("oblix: ")
    assert ollama.url in done.stderr
    assert "is kept" not in done.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--session", "no-such-session", "Hello"], "no-such-session"),
        (["--session", "not an id", "Hello"], "oblix: a session's id must be 1 to 128 characters"),
        (["   "], "nothing was asked"),
        (["--policy", "none-of-them", "Hello"], "none-of-them"),
        (["Nobody answers"], "model"),
        (["--endpoint", "http://localhost:1", "Hello"], "--model"),
        (["--model", "custom:x", "Hello"], "--endpoint"),
        (["--model", "llama2", "Hello"], "there is no model llama2."),
        (["--model", "nobody:x", "Hello"], "there is no model nobody:x."),
    ],
    ids=[
        "unknown session",
        "malformed id",
        "empty prompt",
        "unknown policy",
        "no model",
        "endpoint of nothing",
        "custom model of no endpoint",
        "model that nobody has",
        "provider that nobody is",
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(oblix, words: list[str], hint: str) -> None:
    before = sessions(oblix)
    done = oblix("ask", *words, ok=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert hint in done.stderr
    assert sessions(oblix) == before


def test_a_session_that_is_there_survives_a_refusal(oblix) -> None:
    session_id = oblix("sessions", "create", "Mine").stdout.strip()
    assert oblix("ask", "--session", session_id, "Nobody answers", ok=False).returncode == 1
    assert session_id in sessions(oblix)


def sessions(oblix) -> list[str]:
    return [line.split("\t")[0] for line in oblix("sessions", "list").stdout.splitlines()]


def test_bytes_that_are_no_text_are_replaced_and_told(oblix, ollama: OllamaServer) -> None:
    script = """printf 'caf\\xe9' | "$@" 'Review:' -"""
    model = ["--model", "ollama:llama2", "--endpoint", ollama.url, "--no-metrics"]
    words = ["bash", "-c", script, "bash", sys.executable, "-m", "oblix", "ask", *model]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout == "You said: Review: caf\N{REPLACEMENT CHARACTER}\n"
    assert done.stderr == "oblix: standard input is not UTF-8: 1 bytes were replaced\n"
    title = oblix("sessions", "list", "--limit", "1").stdout.rstrip("\n").split("\t")[-1]
    assert title == "Review: caf\N{REPLACEMENT CHARACTER}"


def test_an_argument_that_is_no_text_is_named(oblix) -> None:
    done = oblix("ask", "Review", os.fsdecode(b"caf\xe9"), ok=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert r"the argument 'caf\udce9' is not UTF-8" in done.stderr


def test_wrong_usage_is_two_lines_with_the_command_whose_help_has_more(oblix) -> None:
    done = oblix("ask", "--bogus", "Hi", ok=False)
    assert done.returncode == 2
    assert done.stderr == (
        "oblix ask: there is no option --bogus.\n`oblix ask --help` shows how it is used.\n"
    )
    assert "`oblix sessions list --help`" in oblix("sessions", "list", "--bogus", ok=False).stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--last", "--new"], "--new"),
        (["--timeout", "0"], "--timeout: takes seconds, over 0 and at most 86,400; given: 0"),
        (["--timeout", "abc"], "--timeout: takes seconds"),
        (["--max-tokens", "0"], "--max-tokens: takes a whole number from 1 to 1,000,000; given: 0"),
        (["--temperature", "nan"], "--temperature: takes a number from 0 to 2; given: nan"),
    ],
)
def test_wrong_usage_is_exit_code_2(oblix, words: list[str], hint: str) -> None:
    done = oblix("ask", *words, "Hi", ok=False)
    assert done.returncode == 2
    assert hint in done.stderr


def test_a_custom_model_is_where_its_endpoint_is(oblix) -> None:
    with OpenAIServer(["mine"]) as server:
        words = ["--model", "custom:mine", "--endpoint", server.url]
        assert oblix("ask", "--local-only", *words, "Hello").stdout == "You said: Hello\n"
    assert not presets.is_here("https://models.example/v1")
    assert not presets.is_here("http://[nonsense")
    assert presets.is_here("http://[::1]:8080/v1")
    assert presets.is_here("http://localhost:8080")


def test_a_chat_takes_custom_models_from_both_sides(oblix) -> None:
    with OpenAIServer(["mine"]) as server:
        for side in ("local", "cloud"):
            words = [f"--{side}-model", "custom:mine", f"--{side}-endpoint", server.url]
            assert oblix("chat", "--no-metrics", *words, stdin="Hello\n").stdout == "You said: Hello\n"


def test_ctrl_c_frees_the_model_and_keeps_the_part(ollama: OllamaServer, oblix, start) -> None:
    ollama.script(Answer("one two three four", fault=Stall(after=2)))
    asking = start("ask", "--model", "ollama:llama2", "--endpoint", ollama.url, "Count")
    assert read_until(asking, "one two") == "one two"
    asking.send_signal(signal.SIGINT)
    assert asking.wait(60) == 130
    assert ollama.requests[-1].abandoned.wait(60)
    newest = oblix("sessions", "list", "--limit", "1").stdout.split("\t")[0]
    assert asking.stderr.read() == f"\ncancelled; what had come is kept in session {newest}\n"
    kept = json.loads(oblix("sessions", "view", "--json", newest).stdout)
    assert [(m["content"], m.get("status")) for m in kept["messages"]] == [
        ("Count", None),
        ("one two", "cancelled"),
    ]


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a process has written once it ends with the text."""
    seen = ""
    while not seen.endswith(text):
        piece = os.read(process.stdout.fileno(), 4096).decode()
        assert piece, seen
        seen += piece
    return seen
