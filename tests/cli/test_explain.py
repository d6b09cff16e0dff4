"""`oblix explain`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from oblix import OblixClient
from oblix.answers import MOST_TURNS
from oblix.testing import OllamaServer
from support.drivers.terminal import terminal


def model(ollama: OllamaServer) -> list[str]:
    return ["--model", "ollama:llama2", "--endpoint", ollama.url]


def test_a_decision_is_told_with_its_numbers_and_nothing_is_sent(oblix, ollama: OllamaServer) -> None:
    told = oblix("explain", *model(ollama), "Why is the sky blue?").stdout.splitlines()
    lines = dict(line.split(maxsplit=1) for line in told if line and "\t" not in line)
    assert lines["goes"] == "to  ollama:llama2"
    assert lines["rule"] == "PINNED"
    assert lines["policy"] == "balanced (default)"
    assert re.search(r"memory \d+(\.\d)? % \(threshold 85 %\)", lines["machine"])
    rows = [line.split("\t") for line in told if "\t" in line]
    assert [row[:4] for row in rows] == [["1", "ollama:llama2", "local", "PINNED"]]
    assert not [request for request in ollama.requests if request.path == "/api/chat"]


def test_policies_and_json(oblix, ollama: OllamaServer) -> None:
    decision = json.loads(oblix("explain", "--json", "--policy", "private", *model(ollama), "Hello").stdout)
    assert decision["model_routing"]["policy_source"] == "request"
    refused = oblix("explain", "--policy", "nothing", *model(ollama), "Hello", ok=False)
    assert refused.returncode == 1
    assert "prefer-cloud" in refused.stderr


def test_a_sessions_turns_are_told(oblix, ask) -> None:
    session_id = json.loads(ask("--json", "Hello there").stdout)["session_id"]
    (turn,) = json.loads(oblix("explain", "--json", session_id).stdout)
    assert (turn["prompt"], turn["model"]) == ("Hello there", "ollama:llama2")
    assert turn["routing_decision"]["model_routing"]["policy"] == "balanced"
    shown = oblix("explain", session_id).stdout.split("\t")
    assert shown[1:4] == ["Hello there", "ollama:llama2", "PINNED"]


def test_one_word_that_is_no_session_is_a_prompt(oblix, ollama: OllamaServer) -> None:
    assert "PINNED" in oblix("explain", *model(ollama), "Hello").stdout


def test_a_turn_that_nobody_answered_is_told_with_the_reason(oblix, ollama: OllamaServer) -> None:
    dead = ["--model", "ollama:llama2", "--endpoint", "http://127.0.0.1:1"]
    session_id = oblix("sessions", "create").stdout.strip()
    failed = oblix("ask", "--json", "--session", session_id, *dead, "Anybody?", ok=False)
    assert failed.returncode == 1
    (turn,) = json.loads(oblix("explain", "--json", session_id).stdout)
    assert (turn["prompt"], turn["model"], turn["error"]["reason"]) == ("Anybody?", None, "MODEL_UNREACHABLE")
    row = oblix("explain", session_id).stdout.split("\t")
    assert row[1:3] == ["Anybody?", "failed"]
    assert row[4].startswith("MODEL_UNREACHABLE: ")


def test_an_id_of_no_session_is_not_taken_for_a_prompt(oblix) -> None:
    done = oblix("explain", "01a20478-722c-7ed5-a194-3369302ec6b", ok=False)
    assert done.returncode == 1
    assert "there is no session 01a20478" in done.stderr


def test_contradictory_options_are_wrong_usage(oblix, ask) -> None:
    assert oblix("explain", ok=False).returncode == 2
    session_id = json.loads(ask("--json", "Hello there").stdout)["session_id"]
    refused = oblix("explain", "--policy", "private", session_id, ok=False)
    assert refused.returncode == 2
    assert "--policy" in refused.stderr


def test_no_word_is_broken_on_a_terminal(oblix, ollama: OllamaServer) -> None:
    words = ["explain", *model(ollama), "Why?"]
    whole = oblix(*words).stdout
    command = ["env", "COLUMNS=80", sys.executable, "-m", "oblix"]
    with terminal(*command, *words) as screen:
        shown = screen.rest()
    assert set(re.findall(r"[A-Za-z_]{2,}", shown)) <= set(re.findall(r"[A-Za-z_]{2,}", whole))
    assert max(map(len, shown.splitlines())) <= 80


async def test_a_long_session_shows_its_newest_turns_and_that_there_are_more(
    oblix, ollama: OllamaServer
) -> None:
    async with OblixClient() as client:
        await client.hook_model("ollama", "llama2", endpoint=ollama.url)
        session_id = await client.create_session()
        for number in range(MOST_TURNS + 1):
            await client.execute(f"number {number}", session_id=session_id, stream=False)
    shown = oblix("explain", session_id)
    prompts = [line.split("\t")[1] for line in shown.stdout.splitlines()]
    assert prompts == [f"number {number}" for number in range(1, MOST_TURNS + 1)]
    assert "there are more before them" in shown.stderr
    assert len(json.loads(oblix("explain", "--json", session_id).stdout)) == MOST_TURNS


def test_a_prompt_goes_where_ask_would_send_it(oblix, daemon_home: Path, ollama: OllamaServer) -> None:
    config = daemon_home / "config.toml"
    config.write_text('[defaults]\nmodel = "ollama:llama2"\npolicy = "private"\n')
    try:
        decision = json.loads(oblix("explain", "--json", "--endpoint", ollama.url, "Hello").stdout)
    finally:
        config.unlink()
    routing = decision["model_routing"]
    assert (routing["target"], routing["state"], routing["policy"]) == ("ollama:llama2", "PINNED", "private")


def test_a_session_is_named_as_lists_show_it(oblix, ask) -> None:
    session_id = json.loads(ask("--json", "Hello there").stdout)["session_id"]
    assert oblix("explain", session_id[:13]).stdout == oblix("explain", session_id).stdout


def test_a_session_without_a_turn_says_so(oblix) -> None:
    session_id = oblix("sessions", "create").stdout.strip()
    done = oblix("explain", session_id)
    assert (done.stdout, done.stderr) == ("", "oblix: no turn of this session has ended yet.\n")
