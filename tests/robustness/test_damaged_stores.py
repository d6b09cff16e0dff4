"""A hundred damaged stores, each served by a real daemon: nothing is shorter without an error, and no
sound session is out of reach.

A store is damaged as disks do it: flipped bits, torn, lost, misdirected and stale pages. A daemon
that refuses to start gets the one command that it may ask for, `oblixd salvage`. The test speaks to
the daemon by its contract only, so that it runs on earlier builds, too.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from support import scale

STORES = scale.count("DAMAGED_STORES", full=100, quick=4)
SEED = int(os.environ.get("DAMAGED_SEED", "1"))
SESSIONS = 40
MESSAGES = 40
PAGE = 4096
TREE_PAGES = (1, 2)
"""The kinds of pages that hold keys, by their flags."""
QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}
DEADLINE_S = 120.0
MOST_HURT = 8
"""Two pages have messages of so many sessions at most."""
FAILURES = (grpc.StatusCode.DATA_LOSS, grpc.StatusCode.NOT_FOUND)

Truth = dict[str, list[str]]
Stub = sessions_pb2_grpc.SessionServiceStub


@contextmanager
def daemon(home: Path) -> Iterator[Stub | None]:
    """A daemon's sessions. None: it did not start."""
    with (home / "stderr").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "oblixd"],
            env={**os.environ, "OBLIX_HOME": str(home), **QUIET},
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
    socket = home / "oblixd.sock"
    until = time.monotonic() + DEADLINE_S
    while process.poll() is None and not socket.exists() and time.monotonic() < until:
        time.sleep(0.02)  # nothing announces the socket
    try:
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            is_there = process.poll() is None
            if is_there:
                grpc.channel_ready_future(channel).result(DEADLINE_S)
            yield sessions_pb2_grpc.SessionServiceStub(channel) if is_there else None
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        socket.unlink(missing_ok=True)


def list_texts(sessions: Stub, session_id: str, *, newest_first: bool) -> list[str]:
    texts: list[str] = []
    token = ""
    while True:
        page = sessions.ListMessages(
            sessions_pb2.ListMessagesRequest(
                session_id=session_id, page_size=17, page_token=token, newest_first=newest_first
            ),
            timeout=DEADLINE_S,
        )
        texts += [message.parts[0].text for message in page.messages]
        token = page.next_page_token
        if not token or len(texts) > MESSAGES:
            return texts[::-1] if newest_first else texts


def export_texts(sessions: Stub, session_id: str) -> list[str]:
    request = sessions_pb2.ExportSessionsRequest(session_ids=[session_id])
    return [
        message.parts[0].text
        for item in sessions.ExportSessions(request, timeout=DEADLINE_S)
        for message in item.messages.messages
    ]


def verdict(sessions: Stub, session_id: str, texts: list[str]) -> str:
    """`whole`, `named` where each read that is not whole says so, `shorter`, or `down`."""
    reads: tuple[Callable[[], list[str]], ...] = (
        lambda: list_texts(sessions, session_id, newest_first=False),
        lambda: list_texts(sessions, session_id, newest_first=True),
        lambda: export_texts(sessions, session_id),
    )
    told = set()
    for read in reads:
        try:
            told.add("whole" if read() == texts else "shorter")
        except grpc.RpcError as error:
            told.add("named" if error.code() in FAILURES else "down")
    return next(word for word in ("down", "shorter", "named", "whole") if word in told)


def _is_list_short(sessions: Stub, ids: set[str]) -> bool:
    """Whether a list lacks sessions without saying so."""
    try:
        page = sessions.ListSessions(sessions_pb2.ListSessionsRequest(page_size=1000), timeout=DEADLINE_S)
    except grpc.RpcError:
        return True
    # Where the index is damaged the id may be, too; it is told that one is missing.
    return len(ids - {session.id for session in page.sessions}) > len(getattr(page, "damaged_sessions", []))


@pytest.fixture(scope="module")
def sound_store() -> Iterator[tuple[Path, Truth]]:
    """A store's file, and what is in it."""
    with tempfile.TemporaryDirectory(prefix="oblix-") as directory:
        yield _fill_store(Path(directory), random.Random(SEED))


def _fill_store(home: Path, chosen: random.Random) -> tuple[Path, Truth]:
    truth: Truth = {}
    with daemon(home) as sessions:
        assert sessions is not None
        ids = [_create(sessions, number) for number in range(SESSIONS)]
        truth = {session_id: [] for session_id in ids}
        while ids:
            session_id = chosen.choice(ids)
            count = min(MESSAGES - len(truth[session_id]), chosen.randint(1, 6))
            texts = [_text(chosen, session_id, len(truth[session_id]) + at) for at in range(count)]
            _append(sessions, session_id, texts)
            truth[session_id] += texts
            ids = [one for one in ids if len(truth[one]) < MESSAGES]
    return home / "store" / "data.mdb", truth


def _text(chosen: random.Random, session_id: str, number: int) -> str:
    """Few are so long that they have pages of their own."""
    words = 1500 if chosen.random() < 0.02 else chosen.choice([2, 4, 8, 16, 30])
    return f"{session_id} {number} " + "word " * words


def _create(sessions: Stub, number: int) -> str:
    session = sessions_pb2.Session(title=f"title {number}")
    session.metadata.update({"number": number, "even": number % 2 == 0})
    request = sessions_pb2.CreateSessionRequest(session=session)
    return sessions.CreateSession(request, timeout=DEADLINE_S).session.id


def _append(sessions: Stub, session_id: str, texts: list[str]) -> None:
    messages = [
        messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
        for text in texts
    ]
    request = sessions_pb2.AppendMessagesRequest(session_id=session_id, messages=messages)
    sessions.AppendMessages(request, timeout=DEADLINE_S)


def damage(content: bytes, chosen: random.Random) -> tuple[str, bytes]:
    """What a disk did to a file, and the file."""
    kind = chosen.choice(["bit", "bytes", "header", "offsets", "zeros", "misdirected", "swapped", "torn"])
    trees = [at for at in range(2, len(content) // PAGE) if content[at * PAGE + 10] in TREE_PAGES]
    page, other = chosen.sample(trees, 2)
    start, file = page * PAGE, bytearray(content)
    whole, theirs = slice(start, start + PAGE), slice(other * PAGE, (other + 1) * PAGE)
    match kind:
        case "bit":
            file[start + chosen.randrange(PAGE)] ^= 1 << chosen.randrange(8)
        case "bytes":
            at, count = start + chosen.randrange(PAGE - 64), chosen.randint(1, 64)
            file[at : at + count] = chosen.randbytes(count)
        case "header":
            file[start + chosen.randrange(16)] = chosen.randrange(256)
        case "offsets":
            file[start + 16 + chosen.randrange(64)] = chosen.randrange(256)
        case "zeros":
            file[whole] = bytes(PAGE)
        case "misdirected":
            file[whole] = content[theirs]
        case "swapped":
            file[whole], file[theirs] = content[theirs], content[whole]
        case _:
            half = PAGE // 2
            file[start + half : start + PAGE] = content[theirs][half:]
    return kind, bytes(file)


def test_no_damage_is_silent_and_none_takes_sound_sessions_down(sound_store: tuple[Path, Truth]) -> None:
    file, truth = sound_store
    content, tally = file.read_bytes(), Counter[str]()
    for number in range(STORES):
        kind, harmed = damage(content, random.Random(SEED * 1_000_003 + number))
        with tempfile.TemporaryDirectory(prefix="oblix-") as directory:
            home = Path(directory)
            (home / "store").mkdir(mode=0o700)
            (home / "store" / "data.mdb").write_bytes(harmed)
            found = _served_texts(home, truth)
        for word in found:
            tally[word] += 1
        if found & {"shorter", "down", "many"}:
            print(f"store {number} ({kind}): {sorted(found)}")
    print(f"{STORES} damaged stores, by what was seen in them: {dict(tally)}")
    assert not tally["shorter"]
    assert not tally["down"]
    assert not tally["many"]


def _served_texts(home: Path, truth: Truth) -> set[str]:
    """Everything that is seen in one store."""
    words = _read_all(home, truth)
    if words == {"refused"}:
        salvage = subprocess.run(
            [sys.executable, "-m", "oblixd", "salvage"],
            env={**os.environ, "OBLIX_HOME": str(home)},
            capture_output=True,
            check=False,
        )
        words = {"salvaged"} | _read_all(home, truth) if salvage.returncode in (0, 1) else {"down"}
    return {"down"} if "refused" in words else words


def _read_all(home: Path, truth: Truth) -> set[str]:
    with daemon(home) as sessions:
        if sessions is None:
            return {"refused"}
        seen = [verdict(sessions, session_id, texts) for session_id, texts in truth.items()]
        whole = {one for one, word in zip(truth, seen, strict=True) if word == "whole"}
        words = set(seen)
        if _is_list_short(sessions, whole):
            words.add("down")
    if len(truth) - len(whole) > MOST_HURT:
        words.add("many")
    return words
