"""Losses of power at two hundred moments, and hundreds of kills: nothing acknowledged is lost or changed.

Messages, edits, deletions, answers and answers made anew: see `support.machine.scripted_talk`.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import scale
from support.drivers.conversations import all_messages, all_sessions, sessions_in, texts
from support.faults import power_loss
from support.figures import NoteFigure
from support.machine import scripted_talk

from oblixd.sessions.fsck import problems

TESTS = Path(__file__).parents[1]
LOSSES = scale.count("POWER_LOSSES", full=200, quick=10)
KILLS = scale.count("KILLS", full=500, quick=8)
RUNS = scale.count("POWER_RUNS", full=5, quick=2)
SEED = 11
OPERATIONS = "40"
"""For each conversation of a run that is recorded."""


@pytest.fixture(scope="module")
def recorder_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power_loss.library(tmp_path_factory.mktemp("library"))


async def test_a_loss_of_power_loses_nothing_that_was_acknowledged(
    recorder_library: Path, tmp_path: Path, note_figure: NoteFigure
) -> None:
    chosen, checked = random.Random(SEED), 0
    for run in range(RUNS):
        journal = tmp_path / f"journal{run}"
        words = ["-m", "support.machine.scripted_talk", str(tmp_path / f"store{run}"), OPERATIONS]
        power_loss.record(recorder_library, journal, ("new.mdb", "data.mdb"), words)
        events = power_loss.events(journal)
        begun = _first_sync(events)
        for number in range(LOSSES // RUNS):
            moment = chosen.randrange(begun, len(events) + 1)
            directory = tmp_path / f"loss{run}-{number}"
            directory.mkdir()
            (directory / "data.mdb").write_bytes(power_loss.after_loss(events, moment, chosen))
            (directory / "in-use").write_text("1\n")
            checked += await _check(directory, power_loss.acknowledged_lines(events, moment))
    print(f"{LOSSES} losses of power: none of {checked} acknowledged operations was lost")
    note_figure("simulated losses of power", LOSSES // RUNS * RUNS)
    note_figure("acknowledged operations, checked", checked)
    assert checked


def _first_sync(events: list[power_loss.Event]) -> int:
    """From when on the file has its meta pages: a new one gets its name after that."""
    return next(at for at, event in enumerate(events) if event.kind == power_loss.SAID)


async def _check(directory: Path, acknowledged: list[str]) -> int:
    """Each conversation is as its acknowledged operations left it, or one further. Return their count."""
    async with sessions_in(directory) as sessions:
        found = {session.title: session for session in all_sessions(sessions)}
        for name in scripted_talk.NAMES:
            done = [int(line.split()[1]) + 1 for line in acknowledged if line.split()[0] == name]
            there = texts(all_messages(sessions, found[name].id)) if name in found else []
            assert scripted_talk.is_right(name, max(done, default=0), there), (name, max(done, default=0))
            assert len(there) == (found[name].message_count if name in found else 0)
    assert list(problems(directory / "data.mdb")) == []
    return len(acknowledged)


async def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, note_figure: NoteFigure) -> None:
    chosen, said = random.Random(SEED), list[str]()
    directory = tmp_path / "store"
    for _ in range(KILLS):
        said += _run_until_killed(directory, chosen.uniform(0.0, 0.3))
    checked = await _check(directory, said)
    note_figure("kills of a program that writes", KILLS)
    note_figure("acknowledged operations, checked", checked)
    print(f"{KILLS} kills: none of {checked} acknowledged operations was lost")


def _run_until_killed(directory: Path, seconds: float) -> Iterator[str]:
    """What a child acknowledged before it was killed, so long after its first acknowledgement."""
    words = [sys.executable, "-m", "support.machine.scripted_talk", str(directory), "100000"]
    with subprocess.Popen(words, cwd=TESTS, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        assert first, "the child ended by itself"
        yield first.strip()
        time.sleep(seconds)  # the moment of the kill is what is tried, not waited for
        child.kill()
        yield from (line.strip() for line in child.stdout if line.endswith("\n"))
