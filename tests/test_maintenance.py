"""`oblixd check` and `oblixd restore`, as a person runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from oblix.v1 import messages_pb2, sessions_pb2
from support.daemon import PATIENCE_S, running
from support.wire import TIMEOUT_S, Wire

from oblixd.__main__ import EXIT_ALREADY_RUNNING
from oblixd.store.inspection import DATA_FILE

QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}


def oblixd(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "oblixd", *words],
        env={**os.environ, "OBLIX_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def say(wire: Wire, session: str, text: str) -> None:
    message = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
    request = sessions_pb2.AppendMessagesRequest(session_id=session, messages=[message])
    wire.sessions.AppendMessages(request, timeout=TIMEOUT_S)


def said(wire: Wire, session: str) -> list[str]:
    return [message.parts[0].text for message in wire.messages(session)]


@pytest.fixture
def kept(home: Path, tmp_path: Path) -> tuple[str, Path]:
    """A session with two messages, of which the backup holds one. No daemon runs."""
    backup = tmp_path / "backup"
    with running(home, **QUIET) as daemon:
        wire = Wire(daemon.channel)
        session = wire.session(title="kept")
        say(wire, session, "before the backup")
        pieces = wire.sessions.BackupStore(sessions_pb2.BackupStoreRequest(), timeout=TIMEOUT_S)
        backup.write_bytes(b"".join(piece.data for piece in pieces))
        say(wire, session, "after the backup")
        assert found(wire, '"after the backup"') == 1
    return session, backup


def found(wire: Wire, query: str) -> int:
    """How many hits there are once the index is up to date."""
    request = sessions_pb2.SearchMessagesRequest(query=query)
    while (answer := wire.sessions.SearchMessages(request, timeout=TIMEOUT_S)).indexing:
        pass
    return len(answer.hits)


def damage(path: Path, text: bytes) -> None:
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, text.upper()))


def test_a_sound_store_is_called_so(home: Path, kept: tuple[str, Path]) -> None:
    done = oblixd(home, "check")
    assert (done.returncode, done.stdout) == (0, f"The store in {home}/store is sound.\n")


def test_where_nothing_was_kept_there_is_nothing_to_check(home: Path) -> None:
    done = oblixd(home, "check")
    assert (done.returncode, "no store" in done.stdout) == (0, True)


def test_damage_is_told_by_session_with_what_to_do(home: Path, kept: tuple[str, Path]) -> None:
    damage(home / "store" / DATA_FILE, b"after the backup")
    done = oblixd(home, "check")
    assert done.returncode == 1
    named, advice = done.stdout.splitlines()
    assert named == f"session {kept[0]}: message 2 is damaged"
    assert "oblixd restore FILE" in advice


def test_pages_that_kill_their_reader_are_told(home: Path, kept: tuple[str, Path]) -> None:
    data = home / "store" / DATA_FILE
    os.truncate(data, 3 * 4096)
    done = oblixd(home, "check")
    assert done.returncode == 1
    assert "kills the reader (Bus error)" in done.stdout


@pytest.mark.parametrize("words", [("check",), ("restore", "backup")])
def test_beside_a_daemon_nothing_is_touched(home: Path, words: tuple[str, ...]) -> None:
    with running(home, **QUIET) as daemon:
        done = oblixd(home, *words)
        assert done.returncode == EXIT_ALREADY_RUNNING
        assert f"pid {daemon.process.pid}" in done.stderr
        assert "oblix stop" in done.stderr
        assert Wire(daemon.channel).session()


def test_a_restored_backup_is_served_and_what_was_there_is_kept(home: Path, kept: tuple[str, Path]) -> None:
    session, backup = kept
    done = oblixd(home, "restore", str(backup))
    assert done.returncode == 0, done.stdout
    (before,) = home.glob("store.before-restore-*")
    assert str(before) in done.stdout
    with running(home, **QUIET) as daemon:
        assert said(Wire(daemon.channel), session) == ["before the backup"]
        assert found(Wire(daemon.channel), '"before the backup"') == 1
        assert found(Wire(daemon.channel), '"after the backup"') == 0
    assert oblixd(home, "check").returncode == 0
    (home / "store" / DATA_FILE).write_bytes((before / DATA_FILE).read_bytes())
    with running(home, **QUIET) as daemon:
        assert said(Wire(daemon.channel), session) == ["before the backup", "after the backup"]


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_backup_that_is_not_whole_changes_nothing(home: Path, kept: tuple[str, Path], harm: str) -> None:
    backup = kept[1]
    content = bytearray(backup.read_bytes())
    content[9000] ^= harm == "flip"
    backup.write_bytes({"cut": content[:-100], "flip": content, "empty": b""}[harm])
    before = (home / "store" / DATA_FILE).read_bytes()
    done = oblixd(home, "restore", str(backup), "--force")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert str(backup) in done.stderr
    assert (home / "store" / DATA_FILE).read_bytes() == before


def test_a_backup_of_a_damaged_store_is_restored_only_by_force(home: Path, kept: tuple[str, Path]) -> None:
    session, backup = kept
    damage(home / "store" / DATA_FILE, b"after the backup")
    with running(home, **QUIET) as daemon:
        pieces = Wire(daemon.channel).sessions.BackupStore(sessions_pb2.BackupStoreRequest())
        backup.write_bytes(b"".join(piece.data for piece in pieces))
    refused = oblixd(home, "restore", str(backup))
    assert refused.returncode == 1
    assert f"session {session}: message 2 is damaged" in refused.stdout
    assert "--force" in refused.stdout
    assert not list(home.glob("store.before-restore-*"))
    assert oblixd(home, "restore", "--force", str(backup)).returncode == 0


def test_a_missing_backup_is_told_in_a_line(home: Path, tmp_path: Path) -> None:
    done = oblixd(home, "restore", str(tmp_path / "nowhere"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "nowhere" in done.stderr
