"""What a command loads: its start is measured by tests/benchmarks/bench_start.py, and kept here."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from oblix.cli.commands.models import listing as models
from oblix.cli.commands.sessions import listing as sessions
from oblix.cli.parser import Parser
from oblix.testing import OllamaServer

SLOW = {"rich", "msgspec", "prompt_toolkit", "oblix.client", "oblix.formats", "urllib.request", "tomllib"}
"""What takes milliseconds, and what a list does without."""
SLOW_FOR_A_PROMPT = SLOW | {
    "dataclasses",
    "json",
    "oblix._async",
    "oblix._facade",
    "oblix._resources",
    "oblix._transport.streams",
    "oblix.events",
    "oblix.options",
    "shutil",
    "termios",
    "uuid",
}
"""What one prompt does without. gRPC itself loads asyncio."""
MOST_MODULES = 60
"""So many modules a prompt may load beside those of a bare call."""
BARE = "import grpc; from oblix.v1 import executions_pb2, executions_pb2_grpc, messages_pb2\n"
RUN = """
import sys
bare = set(sys.modules)
import asyncio
loops = []
asyncio.new_event_loop = lambda: loops.append(1)
from oblix.cli.app import run
assert run(sys.argv[2:]) == 0 and not loops
print(*[name for name in sys.argv[1].split() if name in sys.modules], file=sys.stderr)
print(len(set(sys.modules) - bare), file=sys.stderr)
"""


def modules_loaded_by(words: list[str], slow: set[str], before: str = "") -> tuple[str, int]:
    """What a command loads of the slow modules, and how many modules in all."""
    command = [sys.executable, "-c", before + RUN, " ".join(sorted(slow)), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, found, count = done.stderr.splitlines()
    return found, int(count)


@pytest.mark.parametrize("words", ["sessions", "sessions list --limit 5", "status", "models", "config", "ps"])
def test_a_list_loads_no_client_and_nothing_slow(oblix, daemon_home: Path, words: str) -> None:
    found, _ = modules_loaded_by(words.split(), SLOW)
    assert not found


def test_a_prompt_loads_little_more_than_its_stubs(oblix, daemon_home: Path, ollama: OllamaServer) -> None:
    table = f'[[models]]\nname = "llama2"\nprovider = "ollama"\nendpoint = "{ollama.url}"\n'
    (daemon_home / "config.toml").write_text(table)
    oblix("reload")
    found, count = modules_loaded_by(
        ["ask", "--no-session", "--no-metrics", "Hello"], SLOW_FOR_A_PROMPT, BARE
    )
    assert not found
    assert count <= MOST_MODULES


@pytest.mark.parametrize("command", [sessions, models])
def test_each_module_declares_the_subcommands_that_are_said_of_it(command) -> None:
    for module, names in command.MODULES.items():
        parser = Parser()
        importlib.import_module(module).configure(parser.add_subparsers())
        (actions,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        assert set(actions.choices) == set(names)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sessions", "lst"], "there is no 'lst' here. Did you mean list?"),
        (["sessions", "search", "--limt", "5", "heat"], "there is no option --limt. Did you mean --limit"),
        (["models", "discovr"], "there is no 'discovr' here. Did you mean discover?"),
        (["explain"], "a prompt or a session's id is missing"),
    ],
)
def test_wrong_usage_is_reported_by_the_whole_parser(oblix, words: list[str], says: str) -> None:
    done = oblix(*words, ok=False)
    assert done.returncode == 2
    assert says in done.stderr


def test_help_of_a_command_with_late_subcommands_has_all_of_them(oblix) -> None:
    shown = oblix("sessions", "--help").stdout
    for name in (name for names in sessions.MODULES.values() for name in names):
        assert f"\n    {name}" in shown
