"""`oblixd check`, `restore`, `salvage` and `compact`, as a person runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from oblix.v1 import messages_pb2, sessions_pb2
from support.drivers.daemon import WAIT_S, run_daemon
from support.drivers.grpc_calls import TIMEOUT_S, Wire

from oblixd.__main__ import EXIT_ALREADY_RUNNING
from oblixd.store.inspection import DATA_FILE

PAGE = 4096
QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}


def oblixd(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "oblixd", *words],
        env={**os.environ, "OBLIX_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def say(wire: Wire, session: str, text: str) -> None:
    message = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
    request = sessions_pb2.AppendMessagesRequest(session_id=session, messages=[message])
    wire.sessions.AppendMessages(request, timeout=TIMEOUT_S)


def texts_of(wire: Wire, session: str) -> list[str]:
    return [message.parts[0].text for message in wire.messages(session)]


@pytest.fixture(scope="module")
def template_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The home of `kept`, made once."""
    home = tmp_path_factory.mktemp("kept")
    with run_daemon(home, **QUIET) as daemon:
        wire = Wire(daemon.channel)
        session = wire.session(title="kept")
        say(wire, session, "before the backup")
        pieces = wire.sessions.BackupStore(sessions_pb2.BackupStoreRequest(), timeout=TIMEOUT_S)
        (home / "backup").write_bytes(b"".join(piece.data for piece in pieces))
        say(wire, session, "after the backup")
        assert count_hits(wire, '"after the backup"') == 1
    return home, session


@pytest.fixture
def home_with_backup(template_home: tuple[Path, str], home: Path, tmp_path: Path) -> tuple[str, Path]:
    """A session with two messages, of which the backup holds one. No daemon runs."""
    before, session = template_home
    shutil.copytree(before, home, dirs_exist_ok=True)
    return session, (home / "backup").rename(tmp_path / "backup")


def count_hits(wire: Wire, query: str) -> int:
    """How many hits there are once the index is up to date."""
    request = sessions_pb2.SearchMessagesRequest(query=query)
    while (answer := wire.sessions.SearchMessages(request, timeout=TIMEOUT_S)).indexing:
        pass
    return len(answer.hits)


def damage(path: Path, text: bytes) -> None:
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, text.upper()))


def test_a_sound_store_is_called_so(home: Path, home_with_backup: tuple[str, Path]) -> None:
    done = oblixd(home, "check")
    assert (done.returncode, done.stdout) == (0, f"The store in {home}/store is sound.\n")


def test_where_nothing_was_kept_there_is_nothing_to_check(home: Path) -> None:
    done = oblixd(home, "check")
    assert (done.returncode, "no store" in done.stdout) == (0, True)


def test_damage_is_told_by_session_with_what_to_do(home: Path, home_with_backup: tuple[str, Path]) -> None:
    damage(home / "store" / DATA_FILE, b"after the backup")
    done = oblixd(home, "check")
    assert done.returncode == 1
    named, *advice = done.stdout.splitlines()
    assert named == f"session {home_with_backup[0]}: message 2 is damaged"
    assert "oblixd restore FILE" in advice[0]
    assert "can be deleted" in advice[1]


def lose_a_page(home: Path, text: bytes) -> None:
    """Overwrite the page that a text is on, as a disk does that writes to the wrong place."""
    data = home / "store" / DATA_FILE
    content = bytearray(data.read_bytes())
    page = content.index(text) // PAGE * PAGE
    content[page : page + PAGE] = bytes(PAGE)
    data.write_bytes(content)


@pytest.fixture(scope="module")
def two_before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, str]]:
    """The home of `two`, made once."""
    home = tmp_path_factory.mktemp("two")
    with run_daemon(home, **QUIET) as daemon:
        wire = Wire(daemon.channel)
        hurt, well = wire.session(title="hurt"), wire.session(title="well")
        for session in (hurt, well):
            for number in range(20):
                say(wire, session, f"message {number} of {session} " * 10)
    return home, (hurt, well)


@pytest.fixture
def two(two_before: tuple[Path, tuple[str, str]], home: Path) -> tuple[str, str]:
    """Two sessions, of which each has messages on a page of its own. No daemon runs."""
    before, sessions = two_before
    shutil.copytree(before, home, dirs_exist_ok=True)
    return sessions


def test_a_damaged_page_is_told_with_the_way_out(home: Path, two: tuple[str, str]) -> None:
    hurt, well = two
    lose_a_page(home, f"message 3 of {hurt}".encode())
    checked = oblixd(home, "check")
    assert checked.returncode == 1
    assert "messages: page" in checked.stdout
    assert "oblixd salvage" in checked.stdout
    done = oblixd(home, "salvage")
    assert done.returncode == 1
    assert f"session {hurt}: messages" in done.stdout
    assert well not in done.stdout
    (before,) = home.glob("store.damaged-*")
    assert str(before) in done.stdout
    # What check says of the new store is true: the rest is served, and the session can be deleted.
    environ = {**QUIET, "OBLIX_SESSIONS_DELETED_DAYS": "0"}
    again = oblixd(home, "check")
    assert {line.split(":")[0] for line in again.stdout.splitlines() if line.startswith("session")} == {
        f"session {hurt}"
    }
    with run_daemon(home, **environ) as daemon:
        wire = Wire(daemon.channel)
        assert len(texts_of(wire, well)) == 20
        with pytest.raises(grpc.RpcError, match="missing"):
            texts_of(wire, hurt)
        wire.sessions.DeleteSession(sessions_pb2.DeleteSessionRequest(session_id=hurt), timeout=TIMEOUT_S)
        assert wire.session()
    assert oblixd(home, "check").returncode == 0


def test_a_start_sets_apart_what_is_damaged_and_serves_the_rest(home: Path, two: tuple[str, str]) -> None:
    hurt, well = two
    lose_a_page(home, f"message 3 of {hurt}".encode())
    with run_daemon(home, **QUIET) as daemon:
        assert len(texts_of(Wire(daemon.channel), well)) == 20
        with pytest.raises(grpc.RpcError, match="missing"):
            texts_of(Wire(daemon.channel), hurt)
        (before,) = home.glob("store.damaged-*")
        assert str(before) in daemon.errors.read_text()
        assert f"session {hurt}: messages" in daemon.errors.read_text()
    # A disk that damages the store again is not trusted without a person.
    lose_a_page(home, f"message 3 of {well}".encode())
    with pytest.raises(AssertionError, match="oblixd salvage"), run_daemon(home, **QUIET):
        pass
    assert oblixd(home, "salvage").returncode == 1


def test_a_store_of_which_nothing_can_be_saved_is_left_as_it_is(home: Path, two: tuple[str, str]) -> None:
    data = home / "store" / DATA_FILE
    os.truncate(data, 3 * PAGE)
    before = data.read_bytes()
    with pytest.raises(AssertionError, match="no session in it can be saved"), run_daemon(home, **QUIET):
        pass
    done = oblixd(home, "salvage")
    assert (done.returncode, "no session" in done.stderr) == (1, True)
    assert data.read_bytes() == before
    assert not list(home.glob("store.damaged-*"))


def test_salvaging_a_sound_store_loses_nothing(home: Path, two: tuple[str, str]) -> None:
    done = oblixd(home, "salvage")
    assert done.returncode == 0
    assert "2 sessions that are whole" in done.stdout
    assert oblixd(home, "check").returncode == 0
    with run_daemon(home, **QUIET) as daemon:
        assert [len(texts_of(Wire(daemon.channel), session)) for session in two] == [20, 20]
        assert count_hits(Wire(daemon.channel), f'"message 3 of {two[0]}"') == 1


def test_compacting_gives_the_room_of_deleted_sessions_back(home: Path, two: tuple[str, str]) -> None:
    environ = {**QUIET, "OBLIX_SESSIONS_DELETED_DAYS": "0"}
    with run_daemon(home, **environ) as daemon:
        wire = Wire(daemon.channel)
        large = wire.session()
        say(wire, large, "x" * 2**21)
        wire.sessions.DeleteSession(sessions_pb2.DeleteSessionRequest(session_id=large), timeout=TIMEOUT_S)
    data = home / "store" / DATA_FILE
    before = data.stat().st_size
    done = oblixd(home, "compact")
    assert done.returncode == 0
    assert data.stat().st_size < before - 2**20
    assert oblixd(home, "check").returncode == 0
    with run_daemon(home, **QUIET) as daemon:
        assert [len(texts_of(Wire(daemon.channel), session)) for session in two] == [20, 20]


def test_a_damaged_store_is_not_compacted(home: Path, two: tuple[str, str]) -> None:
    lose_a_page(home, f"message 3 of {two[0]}".encode())
    before = (home / "store" / DATA_FILE).read_bytes()
    done = oblixd(home, "compact")
    assert done.returncode == 1
    assert "oblixd check" in done.stdout
    assert (home / "store" / DATA_FILE).read_bytes() == before


@pytest.mark.parametrize("words", [("check",), ("restore", "backup"), ("salvage",), ("compact",)])
def test_beside_a_daemon_nothing_is_touched(home: Path, words: tuple[str, ...]) -> None:
    with run_daemon(home, **QUIET) as daemon:
        done = oblixd(home, *words)
        assert done.returncode == EXIT_ALREADY_RUNNING
        assert f"pid {daemon.process.pid}" in done.stderr
        assert "oblix stop" in done.stderr
        assert Wire(daemon.channel).session()


def test_a_restored_backup_is_served_and_what_was_there_is_kept(
    home: Path, home_with_backup: tuple[str, Path]
) -> None:
    session, backup = home_with_backup
    done = oblixd(home, "restore", str(backup))
    assert done.returncode == 0, done.stdout
    (before,) = home.glob("store.before-restore-*")
    assert str(before) in done.stdout
    with run_daemon(home, **QUIET) as daemon:
        assert texts_of(Wire(daemon.channel), session) == ["before the backup"]
        assert count_hits(Wire(daemon.channel), '"before the backup"') == 1
        assert count_hits(Wire(daemon.channel), '"after the backup"') == 0
    assert oblixd(home, "check").returncode == 0
    (home / "store" / DATA_FILE).write_bytes((before / DATA_FILE).read_bytes())
    with run_daemon(home, **QUIET) as daemon:
        assert texts_of(Wire(daemon.channel), session) == ["before the backup", "after the backup"]


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_backup_that_is_not_whole_changes_nothing(
    home: Path, home_with_backup: tuple[str, Path], harm: str
) -> None:
    backup = home_with_backup[1]
    content = bytearray(backup.read_bytes())
    content[9000] ^= harm == "flip"
    backup.write_bytes({"cut": content[:-100], "flip": content, "empty": b""}[harm])
    before = (home / "store" / DATA_FILE).read_bytes()
    done = oblixd(home, "restore", str(backup), "--force")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert str(backup) in done.stderr
    assert (home / "store" / DATA_FILE).read_bytes() == before


def test_a_backup_of_a_damaged_store_is_restored_only_by_force(
    home: Path, home_with_backup: tuple[str, Path]
) -> None:
    session, backup = home_with_backup
    damage(home / "store" / DATA_FILE, b"after the backup")
    with run_daemon(home, **QUIET) as daemon:
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
