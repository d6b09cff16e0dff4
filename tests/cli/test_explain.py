"""`oblix explain`."""

from __future__ import annotations

import json

from oblix.testing import OllamaServer


def model(ollama: OllamaServer) -> list[str]:
    return ["--model", "ollama:llama2", "--endpoint", ollama.url]


def test_a_decision_is_told_with_its_numbers_and_nothing_is_sent(oblix, ollama: OllamaServer) -> None:
    told = oblix("explain", *model(ollama), "Why is the sky blue?").stdout.splitlines()
    lines = dict(line.split(maxsplit=1) for line in told if line and "\t" not in line)
    assert lines["goes"] == "to  ollama:llama2"
    assert lines["rule"] == "PINNED"
    assert lines["policy"] == "balanced (default)"
    assert "memory_percent" in lines["machine"]
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
