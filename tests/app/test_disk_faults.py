"""Bad luck with the disk, seen through the socket: a clear status, and nothing acknowledged lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import grpc
import lmdb
import pytest
from google.rpc import error_details_pb2, status_pb2
from oblix.v1 import messages_pb2, sessions_pb2
from support.drivers.daemon import WAIT_S, run_daemon
from support.drivers.grpc_calls import TIMEOUT_S, Wire
from support.faults.machine_faults import Controls
from support.faults.small_disk import fill, small_disk

from oblixd.__main__ import EXIT_FAILED
from oblixd.errors import FailedPreconditionError
from oblixd.sessions import TABLE_NAMES
from oblixd.store import Store, Table, schema
from oblixd.store.directory_lock import DirectoryLock
from oblixd.store.inspection import DATA_FILE
from oblixd.store.v1 import records_pb2 as records

QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}
TEXT = "what was said " * 2000


def append(wire: Wire, session: str, text: str) -> None:
    message = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
    request = sessions_pb2.AppendMessagesRequest(session_id=session, messages=[message])
    wire.sessions.AppendMessages(request, timeout=TIMEOUT_S)


def reason(error: grpc.RpcError) -> str:
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason


def refusal_of(home: Path, **environ: str) -> str:
    """What a daemon says that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "oblixd"],
        env={**os.environ, "OBLIX_HOME": str(home), **QUIET, **environ},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == EXIT_FAILED
    assert done.stderr.count("\n") == 1
    return done.stderr


def fill_by_appending(wire: Wire, session: str) -> tuple[int, grpc.RpcError]:
    """How many messages were acknowledged, and the error of the next."""
    for number in count():
        try:
            append(wire, session, TEXT)
        except grpc.RpcError as error:
            return number, error
    raise AssertionError


def test_a_full_disk_refuses_what_can_not_be_kept_and_serves_the_rest(home: Path) -> None:
    with small_disk(home / "disk", 32) as disk:
        with run_daemon(disk, **QUIET) as daemon:
            wire = Wire(daemon.channel)
            session = wire.session(title="kept")
            ballast = fill(disk, leave=2**20)
            acknowledged, error = fill_by_appending(wire, session)
            assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
            assert "Free some space" in error.details()
            assert len(wire.messages(session)) == acknowledged > 5
            ballast.unlink()
            append(wire, session, "there is room again")
            fill(disk, leave=2**19)
            daemon.kill()
        ballast.unlink()
        with run_daemon(disk, **QUIET) as daemon:
            said = [message.parts[0].text for message in Wire(daemon.channel).messages(session)]
            assert said == [TEXT] * acknowledged + ["there is room again"]


def test_a_start_on_a_full_disk_serves_what_is_there(home: Path) -> None:
    with small_disk(home / "disk", 32) as disk:
        with run_daemon(disk, **QUIET) as daemon:
            wire = Wire(daemon.channel)
            session = wire.session(title="kept")
            append(wire, session, TEXT)
            daemon.kill()
        ballast = fill(disk)
        with run_daemon(disk, **QUIET) as daemon:
            wire = Wire(daemon.channel)
            assert [message.parts[0].text for message in wire.messages(session)] == [TEXT]
            with pytest.raises(grpc.RpcError) as caught:
                append(wire, session, TEXT)
            assert reason(caught.value) == "DISK_FULL"
            ballast.unlink()
            append(wire, session, "there is room again")
            assert len(wire.messages(session)) == 2


@pytest.mark.parametrize("away", ["removed", "moved"])
def test_a_store_that_is_gone_takes_no_writes_and_ends_its_daemon(home: Path, away: str) -> None:
    with run_daemon(home, **QUIET) as daemon:
        wire = Wire(daemon.channel)
        session = wire.session(title="kept")
        append(wire, session, "acknowledged")
        if away == "moved":
            (home / "store").rename(home / "elsewhere")
        else:
            shutil.rmtree(home / "store")
        with pytest.raises(grpc.RpcError) as caught:
            append(wire, session, "lost")
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.UNAVAILABLE, "STORE_REMOVED")
        assert daemon.process.wait(WAIT_S) == 0
        assert "was removed or moved" in daemon.errors.read_text()
    if away == "moved":
        (home / "elsewhere").rename(home / "store")
        with run_daemon(home, **QUIET) as daemon:
            assert [message.parts[0].text for message in Wire(daemon.channel).messages(session)][:1] == [
                "acknowledged"
            ]


@pytest.fixture
def closed_store(home: Path) -> tuple[Path, str]:
    """The file of a daemon that has ended, and a session in it."""
    with run_daemon(home, **QUIET) as daemon:
        wire = Wire(daemon.channel)
        session = wire.session(title="kept")
        for number in range(20):
            append(wire, session, f"{number} {TEXT}")
    return home / "store" / DATA_FILE, session


def test_a_file_that_was_cut_short_is_served_as_far_as_it_is_whole(
    closed_store: tuple[Path, str], home: Path
) -> None:
    data, session = closed_store
    os.truncate(data, data.stat().st_size // 2)
    before = data.read_bytes()
    with run_daemon(home, **QUIET) as daemon:
        wire = Wire(daemon.channel)
        with pytest.raises(grpc.RpcError) as caught:
            wire.messages(session)
        assert reason(caught.value) == "RECORD_DAMAGED"
        append(wire, wire.session(), "it goes on")
    (kept,) = home.glob("store.damaged-*")
    assert (kept / DATA_FILE).read_bytes() == before


def test_a_flipped_byte_is_data_loss_for_its_session_alone(
    closed_store: tuple[Path, str], home: Path
) -> None:
    data, session = closed_store
    content = data.read_bytes()
    data.write_bytes(content.replace(b"7 what was said", b"7 that was said"))
    with run_daemon(home, **QUIET) as daemon:
        wire = Wire(daemon.channel)
        with pytest.raises(grpc.RpcError) as caught:
            wire.messages(session)
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.DATA_LOSS, "RECORD_DAMAGED")
        assert session in caught.value.details()
        append(wire, session, "it goes on")
        other = wire.session(title="another")
        append(wire, other, "and so do others")
        assert len(wire.messages(other)) == 1


def test_a_file_of_nonsense_keeps_the_daemon_from_starting(
    closed_store: tuple[Path, str], home: Path
) -> None:
    closed_store[0].write_bytes(b"nonsense " * 10_000)
    assert "it is not a store's file" in refusal_of(home)


def test_a_newer_schema_keeps_the_daemon_from_starting(closed_store: tuple[Path, str], home: Path) -> None:
    newer = records.SchemaRecord(version=schema.VERSION + 1).SerializeToString()
    with lmdb.open(str(home / "store"), max_dbs=4) as environment:
        table = Table(schema.TABLE, environment.open_db(schema.TABLE.encode()))
        with environment.begin(write=True) as txn:
            table.put(txn, schema.KEY, newer)
    assert "written by a newer daemon" in refusal_of(home)


async def test_a_second_process_does_not_get_at_the_store_and_the_first_goes_on(home: Path) -> None:
    with run_daemon(home, **QUIET) as daemon:
        with pytest.raises(FailedPreconditionError) as caught:
            await Store.open(home / "store", TABLE_NAMES, map_size=1 << 30)
        assert caught.value.reason == "STORE_IN_USE"
        wire = Wire(daemon.channel)
        append(wire, wire.session(), "it goes on")


def test_a_daemon_without_a_claim_on_the_store_does_not_start(home: Path) -> None:
    """So it is for a second daemon whose lock is elsewhere, but whose data are the same."""
    claim = DirectoryLock.take(home / "store")
    assert "Another process has the store" in refusal_of(home)
    claim.give_up()


def test_a_disk_that_can_only_be_read_keeps_the_daemon_from_starting(home: Path) -> None:
    with small_disk(home / "disk", 16) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert "Read-only file system" in refusal_of(disk)


def test_a_commit_that_fails_at_its_last_write_ends_the_daemon_and_the_next_one_goes_on(home: Path) -> None:
    """liblmdb refuses every transaction from then on, and health went on saying SERVING."""
    controls = Controls(home)
    with run_daemon(home, **QUIET, **controls.environ) as daemon:
        wire = Wire(daemon.channel)
        session = wire.session()
        append(wire, session, "kept")
        controls.set(meta_error=errno.EIO)
        with pytest.raises(grpc.RpcError) as failed:
            append(wire, session, "not acknowledged")
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(failed.value) == "STORE_FAILED"
        assert daemon.process.wait(WAIT_S) == EXIT_FAILED
        assert "so this daemon ends" in daemon.errors.read_text()
    controls.set(meta_error=0)
    with run_daemon(home, **QUIET) as daemon:
        wire = Wire(daemon.channel)
        assert wire.messages(session)[0].parts[0].text == "kept"
        append(wire, session, "and on")
