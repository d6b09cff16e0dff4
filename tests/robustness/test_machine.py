"""The machine that tries: several clients, faults at random, and the store held against a model.

The choices follow from a seed, which is printed: MACHINE_SEED=N tries the same again. The quick run always
has the same one. MACHINE_FAULTS says how many faults there are, MACHINE_ONLY which (names of functions of
`support.machine.faults`, with commas between).
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
from oblix.testing import OllamaServer
from oblix.v1 import messages_pb2, sessions_pb2
from support import scale
from support.drivers.grpc_calls import Wire
from support.faults import netlab
from support.faults.small_disk import small_disk
from support.figures import NoteFigure
from support.machine import faults, history, traffic
from support.machine.model import Kept, Model
from support.machine.watcher import Watcher

FAULTS = scale.count("MACHINE_FAULTS", full=450, quick=12)
DISK_MIB = 192
SEED = int(os.environ.get("MACHINE_SEED") or (1 if scale.QUICK else random.randrange(2**32)))


def everything(wire: Wire) -> dict[str, Kept]:
    """All sessions with all their messages."""
    kept = {}
    for session in _sessions(wire):
        messages = list(_messages(wire, session.id))
        assert len(messages) == session.message_count, session.id
        kept[session.id] = Kept(session.id, session.title, messages)
    return kept


def _sessions(wire: Wire) -> Iterator[sessions_pb2.Session]:
    request = sessions_pb2.ListSessionsRequest(page_size=500)
    while True:
        page = wire.sessions.ListSessions(request, timeout=60)
        assert not page.damaged_sessions
        yield from page.sessions
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def _messages(wire: Wire, session: str) -> Iterator[messages_pb2.Message]:
    request = sessions_pb2.ListMessagesRequest(session_id=session, page_size=1000)
    while True:
        page = wire.sessions.ListMessages(request, timeout=60)
        yield from page.messages
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def none_is_stuck(wire: Wire, url: str, kept: dict[str, Kept]) -> None:
    """Each session takes a prompt and answers it."""
    handle = wire.hook(url)
    for session in list(kept)[:40]:
        for _ in range(6):  # an answer may have a scripted fault
            try:
                list(wire.execute("q:last please", session_id=session, candidates=[handle]))
                break
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017 - the only one it may be
        else:
            raise AssertionError(f"session {session} does not answer any more")


def wait_for_watcher(watcher: Watcher, wire: Wire) -> None:
    """The watcher's copy comes to be what a list says."""
    until = time.monotonic() + faults.STUCK_S
    while (listed := {one.id: one.etag for one in _sessions(wire)}) != watcher.headers:
        if time.monotonic() > until:
            differs = {*listed.items()} ^ {*watcher.headers.items()}
            raise AssertionError(f"a watcher missed {sorted(differs)[:10]}")
        time.sleep(0.1)  # nothing announces what a watcher has taken in


@dataclass(frozen=True)
class Place:
    """Where the daemon runs."""

    url: str
    """The model's server."""
    answers: traffic.Answers | None = None
    """Its script, where it runs in this process."""
    disk: Path | None = None
    lab: netlab.Lab | None = None


@contextmanager
def a_large_disk(_: Path) -> Iterator[Place]:
    with OllamaServer(["llama2"]) as server:
        server.default = script = traffic.Answers(fault_share=0.25)
        yield Place(server.url, script)


@contextmanager
def a_disk_that_fills_up(home: Path) -> Iterator[Place]:
    with a_large_disk(home) as place, small_disk(home / "store", DISK_MIB) as disk:
        yield replace(place, disk=disk)


@contextmanager
def a_network_that_is_cut(_: Path) -> Iterator[Place]:
    """The embedded model is there, too."""
    if netlab.missing_parts():
        pytest.skip(netlab.missing_parts())
    with netlab.Lab() as lab:
        words = ["support.machine.far_server", netlab.FAR, "11434"]
        yield Place(lab.start(lab.far, "-m", *words), lab=lab)


@pytest.mark.parametrize("place_of", [a_large_disk, a_disk_that_fills_up, a_network_that_is_cut])
def test_acknowledged_writes_are_there_after_any_fault(
    home: Path,
    place_of: Callable[[Path], AbstractContextManager[Place]],
    note_figure: NoteFigure,
) -> None:
    print(f"\nMACHINE_SEED={SEED}")
    with ExitStack() as stack:
        place = stack.enter_context(place_of(home))
        scene = faults.Scene(home, place.url, SEED, place.disk, place.lab)
        stack.callback(_check_offline, scene)
        stack.callback(scene.close)
        watcher = Watcher(home)
        stack.callback(watcher.stop)
        wire = Wire(scene.daemon.channel)
        for session in traffic.SHARED:
            wire.session(id=session, title=session)
        for _ in range(FAULTS):
            faults.do_one(scene)
        kills = scene.kills
        faults.calm(scene)
        wire = Wire(scene.daemon.channel)
        kept = everything(wire)
        operations = history.operations(home)
        _tell(scene, operations, kept)
        wrong = [*Model(operations).violations(kept), *watcher.wrong]
        _note(note_figure, scene, kills, place.answers)
        told = sum(one.outcome == history.TOLD for one in operations)
        note_figure("acknowledged operations, checked", told)
        note_figure("of these lost or changed, and other contradictions", len(wrong))
        assert not wrong, "\n".join(wrong[:30])
        none_is_stuck(wire, place.url, kept)
        wait_for_watcher(watcher, wire)


def _check_offline(scene: faults.Scene) -> None:
    command = [sys.executable, "-m", "oblixd", "check"]
    done = subprocess.run(
        command, env=faults.environment_of(scene), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _note(note: NoteFigure, scene: faults.Scene, kills: int, answers: traffic.Answers | None) -> None:
    clients, disks = scene.tried["kill_client"], scene.tried["full_disk"]
    note("kills of the daemon under load", kills)
    note("kills of clients", clients)
    note("full disks", disks)
    note("other faults of the machine", sum(scene.tried.values()) - clients - disks)
    note("seconds from a start to SERVING under load, median", statistics.median(scene.starts_s))
    note("seconds from a start to SERVING under load, longest", max(scene.starts_s))
    if answers is not None:
        note("faults of the model's server", answers.faults)


def _tell(
    scene: faults.Scene,
    operations: list[history.Operation],
    kept: dict[str, Kept],
) -> None:
    outcomes = Counter(one.outcome for one in operations)
    print(f"faults: {sum(scene.tried.values())}: {dict(scene.tried)}")
    print(f"calls: {sum(outcomes.values())}: {dict(outcomes)}")
    print(f"kept: {len(kept)} sessions, {sum(len(one.messages) for one in kept.values())} messages")
    starts = scene.starts_s
    print(f"{len(starts)} starts: median {statistics.median(starts):.2f} s, longest {max(starts):.2f} s")
    print(dict(Counter((one.kind, one.outcome, one.told.get("code", "")) for one in operations)))
