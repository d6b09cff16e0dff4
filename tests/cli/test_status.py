"""`oblix status`, `stop`, `models`, `agents`, and the frame around all commands."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from oblix.cli.output import tables
from oblix.testing import Answer, OllamaServer, Stall
from support.drivers import processes

from oblixd import __version__


def test_status_tells_where_things_are_and_how_they_go(oblix, daemon_home: Path) -> None:
    lines = dict(line.split(maxsplit=1) for line in oblix("status").stdout.splitlines() if line.strip())
    assert lines["socket"] == str(daemon_home / "oblixd.sock")
    assert lines["daemon"].startswith("oblixd 0.")
    assert int(lines["sessions"]) >= 0

    told = json.loads(oblix("status", "--json").stdout)
    assert told["daemon"]["paths"]["socket"] == lines["socket"]
    assert f"process {told['daemon']['pid']}" in lines["daemon"]
    assert told["machine"]["resources"]["cpu_count"] >= 1


def test_json_has_numbers_and_lower_case_words(oblix, ask) -> None:
    ask("Hello")
    told = json.loads(oblix("status", "--json").stdout)
    assert isinstance(told["daemon"]["session_count"], int)
    assert isinstance(told["daemon"]["limits"]["message_bytes"], int)
    assert isinstance(told["machine"]["resources"]["memory_available_bytes"], int)
    assert told["machine"]["resource_state"] in {"available", "constrained", "critical", "unknown"}
    assert datetime.fromisoformat(told["daemon"]["start_time"]).tzinfo
    lines = dict(line.split(maxsplit=1) for line in oblix("status").stdout.splitlines() if line.strip())
    assert lines["running"] == "0 answers"
    assert lines["clients"].endswith(" in the last hour")


@pytest.mark.parametrize(("number", "said"), [(0, "0 answers"), (1, "1 answer"), (1200, "1,200 answers")])
def test_one_is_told_as_one(number: int, said: str) -> None:
    assert tables.count_text(number, "answer") == said


def test_the_socket_is_told_also_where_no_daemon_runs(home: Path, oblix_alone) -> None:
    assert oblix_alone("status", "--socket").stdout == f"{home}/oblixd.sock\n"
    assert not (home / "oblixd.sock").exists()


@pytest.mark.parametrize("command", ["status", "stop"])
def test_asking_after_the_daemon_starts_none(home: Path, oblix_alone, command: str) -> None:
    done = oblix_alone(command, ok=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no daemon runs" in done.stderr
    assert not processes.of(home)


@pytest.mark.parametrize("command", ["status", "stop"])
def test_a_daemon_that_nobody_can_reach_is_named(home: Path, oblix_alone, command: str) -> None:
    with (home / "oblixd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"pid 4242, version {__version__}, socket somewhere")
        lock.flush()
        done = oblix_alone(command, ok=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "(process 4242) runs and does not answer" in done.stderr
    assert "no daemon runs" in oblix_alone(command, ok=False).stderr


def test_stop_returns_once_the_daemon_has_ended(home: Path, oblix_alone) -> None:
    oblix_alone("sessions", "list")
    pid = json.loads(oblix_alone("status", "--json").stdout)["daemon"]["pid"]
    assert f"process {pid}" in oblix_alone("stop").stdout
    assert not processes.of(home)
    assert oblix_alone("status", ok=False).returncode == 1


def test_restart_ends_the_daemon_and_starts_another(home: Path, oblix_alone) -> None:
    oblix_alone("sessions", "list")
    pid = json.loads(oblix_alone("status", "--json").stdout)["daemon"]["pid"]
    said = oblix_alone("restart").stdout
    assert f"(process {pid}) has ended" in said
    new = json.loads(oblix_alone("status", "--json").stdout)["daemon"]["pid"]
    assert new != pid
    assert f"(process {new}) serves" in said


def test_a_daemon_of_another_version_is_told_with_the_command_that_mends_it(home: Path, oblix_alone) -> None:
    assert "version" not in oblix_alone("sessions", "list").stderr
    lock = home / "oblixd.lock"
    # In place: the daemon holds this very file.
    about = lock.read_text().replace("version ", "version 0.0.1-")
    with lock.open("r+") as file:
        file.write(about)
    said = oblix_alone("sessions", "list").stderr
    assert "the daemon that runs is 0.0.1-" in said
    assert "`oblix restart`" in said


def test_stop_says_what_it_waits_for(
    home: Path, start, oblix_alone, monkeypatch, ollama: OllamaServer
) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(home))
    ollama.script(Answer("one two", fault=Stall(after=1)))
    asking = start("ask", "--model", "ollama:llama2", "--endpoint", ollama.url, "Count")
    assert asking.stdout.read(3) == "one"
    done = oblix_alone("stop", "--grace", "0.5")
    assert done.stderr == "oblix: waiting for 1 running answer, at most 0.5 s.\n"
    assert asking.wait(60) == 1


def test_models_lists_what_serves_without_a_hook(home: Path, oblix_alone) -> None:
    environ = {"OBLIX_OLLAMA_MODELS": "llama2", "OBLIX_OLLAMA_ENDPOINT": "http://localhost:1"}
    rows = [line.split("\t") for line in oblix_alone("models", **environ).stdout.splitlines()]
    assert [(row[0], row[2]) for row in rows if row[0].startswith("ollama:")] == [("ollama:llama2", "local")]
    listed = json.loads(oblix_alone("models", "--json").stdout)
    assert [model["id"] for model in listed] == [row[0] for row in rows]
    (model,) = [model for model in listed if model["provider"] == "ollama"]
    assert (model["location"], model["context_window"], model["cooldown_until"]) == ("local", 8192, None)


def test_agents_lists_the_documented_thresholds_states_and_measurements(oblix_alone) -> None:
    agents = json.loads(oblix_alone("agents", "--json").stdout)
    machine, network = agents["resource_monitor"], agents["connectivity_monitor"]
    assert machine["thresholds"]["cpu_threshold"] == 80
    assert network["thresholds"]["latency_threshold"] == 200
    assert (machine["state"], network["state"]) != ("unknown", "optimal")
    assert machine["since"]
    assert 0 < machine["measured"]["memory_threshold"] < 100
    shown = oblix_alone("agents").stdout
    assert f"resource_monitor: {machine['state']} since " in shown
    threshold = max(4, os.cpu_count() or 1)
    line = rf"^resource_monitor\tload_threshold\t{threshold}\t[\d.]+\t[\d.]+$"
    assert re.search(line, shown, re.MULTILINE)


def test_agents_and_status_go_by_the_configured_default_policy(oblix_alone) -> None:
    environ = {
        "OBLIX_ROUTING_POLICIES": "tight = balanced memory_threshold=0",
        "OBLIX_ROUTING_POLICY": "tight",
    }
    machine = json.loads(oblix_alone("agents", "--json", **environ).stdout)["resource_monitor"]
    assert (machine["thresholds"]["memory_threshold"], machine["thresholds"]["cpu_threshold"]) == (0, 80)
    assert machine["state"] in {"constrained", "critical"}
    assert machine["held"]["memory_threshold"] > 0
    assert oblix_alone("agents").stdout.startswith("policy: tight\nresource_monitor: c")
    assert re.search(r"^machine +(constrained|critical):", oblix_alone("status").stdout, re.MULTILINE)


def test_fetch_only_checks_what_is_there(oblix_alone) -> None:
    done = oblix_alone("models", "fetch", "embedded")
    assert "SmolLM2-135M-Instruct" in done.stdout
    assert "Installing" not in done.stderr


@pytest.mark.parametrize("words", ["status", "agents --json", "ask --no-metrics --model ollama:llama2 Hello"])
def test_an_output_that_is_full_is_one_line(oblix, ollama: OllamaServer, words: str) -> None:
    endpoint = ["--endpoint", ollama.url] if words.startswith("ask") else []
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "oblix", *words.split(), *endpoint]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"oblix: standard output: No space left on device.\n"


def test_help_and_version_load_no_client() -> None:
    script = """
import sys
from oblix.cli.app import run
for words in (["--help"], ["--version"], ["nothing"]):
    try:
        run(words)
    except SystemExit:
        pass
sys.exit("grpc" in sys.modules or "rich" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("command", ["ask", "chat", "sessions", "models", "agents", "status", "stop"])
def test_every_command_explains_itself(oblix_alone, command: str) -> None:
    assert f"usage: oblix {command}" in oblix_alone(command, "--help").stdout
    assert f" {command} " in oblix_alone("--help").stdout


def test_no_command_shows_what_one_does_first(oblix_alone) -> None:
    done = oblix_alone()
    assert done.stdout.startswith("Oblix: talk to language models")
    assert "oblix chat" in done.stdout
