"""Losses of power at two hundred moments, and eighty kills: nothing that was acknowledged is lost."""

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

from oblixd.sessions.fsck import problems

LOSSES = scale.count("POWER_LOSSES", full=200, quick=10)
KILLS = scale.count("KILLS", full=80, quick=8)
RUNS = scale.count("POWER_RUNS", full=5, quick=2)
SEED = 11
NAMES = "abcdefgh"

_TALKS = """
import asyncio, ctypes, os, sys
from pathlib import Path
from google.protobuf.struct_pb2 import Struct
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from oblixd.sessions import TABLE_NAMES, Sessions
from oblixd.store import Store

def say(text):
    return messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])

def acknowledge(text):
    if "LD_PRELOAD" in os.environ:
        ctypes.CDLL(os.environ["LD_PRELOAD"]).acknowledge(text.encode(), ctypes.c_uint64(len(text)))
    else:
        os.write(1, f"{text}\\n".encode())

async def talk(sessions, name, count):
    there, _ = sessions.list(page_size=1000, page_token="", filter=Struct())
    session = {one.title: one for one in there}.get(name) or await sessions.create(Session(title=name))
    number = session.message_count
    while count:
        text = f"{number} " + "word " * (2000 if number % 17 == 0 else number % 40)
        await sessions.append(session.id, [say(text)])
        acknowledge(f"{name} {number}")
        if number % 23 == 0:
            copy = await sessions.copy(session.id, "a copy")
            await sessions.delete(copy.id)
        number, count = number + 1, count - 1

async def main():
    store = await Store.open(Path(sys.argv[1]), TABLE_NAMES, map_size=1 << 30)
    sessions = Sessions(store)
    await sessions.recover()
    await asyncio.gather(*(talk(sessions, name, int(sys.argv[2])) for name in "@"))
    await store.close()

asyncio.run(main())
""".replace("@", NAMES)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power_loss.library(tmp_path_factory.mktemp("library"))


async def test_a_loss_of_power_loses_nothing_that_was_acknowledged(built: Path, tmp_path: Path) -> None:
    chosen, checked = random.Random(SEED), 0
    for run in range(RUNS):
        journal = tmp_path / f"journal{run}"
        power_loss.recorded(
            built, journal, ("new.mdb", "data.mdb"), _TALKS, str(tmp_path / f"store{run}"), "40"
        )
        events = power_loss.events(journal)
        begun = _first_sync(events)
        for number in range(LOSSES // RUNS):
            moment = chosen.randrange(begun, len(events) + 1)
            directory = tmp_path / f"loss{run}-{number}"
            directory.mkdir()
            (directory / "data.mdb").write_bytes(power_loss.after_loss(events, moment, chosen))
            (directory / "in-use").write_text("1\n")
            checked += await _check(directory, power_loss.acknowledged(events, moment))
    print(f"{LOSSES} losses of power: none of {checked} acknowledged messages was lost")
    assert checked


def _first_sync(events: list[power_loss.Event]) -> int:
    """From when on the file has its meta pages: a new one gets its name after that."""
    return next(at for at, event in enumerate(events) if event.kind == power_loss.SAID)


async def _check(directory: Path, acknowledged: list[str]) -> int:
    """Everything that was acknowledged is there, in order and whole. Return how much that is."""
    async with sessions_in(directory) as sessions:
        found = {session.title: session for session in all_sessions(sessions)}
        for name in NAMES:
            said = [int(line.split()[1]) for line in acknowledged if line.split()[0] == name]
            there = texts(all_messages(sessions, found[name].id)) if name in found else []
            assert [int(text.split()[0]) for text in there] == list(range(len(there)))
            assert len(there) > max(said, default=-1)
            assert len(there) == (found[name].message_count if name in found else 0)
    assert list(problems(directory / "data.mdb")) == []
    return len(acknowledged)


async def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chosen, said = random.Random(SEED), list[str]()
    directory = tmp_path / "store"
    for _ in range(KILLS):
        said += _killed(directory, chosen.uniform(0.0, 0.3))
    checked = await _check(directory, said)
    print(f"{KILLS} kills: none of {checked} acknowledged messages was lost")


def _killed(directory: Path, seconds: float) -> Iterator[str]:
    """What a child acknowledged before it was killed, so long after its first acknowledgement."""
    words = [sys.executable, "-c", _TALKS, str(directory), "100000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        assert first, "the child ended by itself"
        yield first.strip()
        time.sleep(seconds)  # the moment of the kill is what is tried, not waited for
        child.kill()
        yield from (line.strip() for line in child.stdout if line.endswith("\n"))
