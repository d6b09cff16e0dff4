"""`client.backup`: a file, whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from oblix import InvalidArgumentError, OblixClient, UnavailableError
from support.drivers.daemon import RunningDaemon, run_daemon


async def test_it_is_one_private_file_and_tells_how_far_it_is(client: OblixClient, tmp_path: Path) -> None:
    await client.create_session(title="kept " * 200, metadata={"text": "x" * 50_000})
    target = tmp_path / "new" / "backup"
    steps: list[tuple[int, int]] = []
    size = await client.backup(target, on_progress=lambda *step: steps.append(step))
    assert size == target.stat().st_size
    assert _names(target.parent) == ["backup"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert steps[-1] == (size, size)
    assert {total for _, total in steps} == {size}


async def test_a_path_that_can_not_be_written_is_named(client: OblixClient, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgumentError, match=f"{tmp_path}/file/backup can't be written"):
        await client.backup(tmp_path / "file" / "backup")


async def test_a_daemon_that_dies_leaves_the_file_of_before(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    target.write_text("before")
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        client = OblixClient()
        for _ in range(100):
            await client.create_session(initial_context={"text": "x" * 60_000})
        with pytest.raises(UnavailableError):
            await client.backup(target, on_progress=lambda *_: _kill(daemon))
    assert target.read_text() == "before"
    assert _names(tmp_path) == ["backup"]


def _kill(daemon: RunningDaemon) -> None:
    if daemon.process.poll() is None:
        daemon.kill()


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]
