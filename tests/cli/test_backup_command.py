"""`oblix backup`."""

from __future__ import annotations

from pathlib import Path


def test_backup_writes_a_file_and_says_how_large_it_is(oblix, tmp_path: Path) -> None:
    done = oblix("backup", str(tmp_path / "backup"))
    size = (tmp_path / "backup").stat().st_size
    assert done.stdout == ""
    assert done.stderr == f"oblix: {tmp_path}/backup holds everything, {size:,} bytes.\n"


def test_a_directory_is_no_file(oblix, tmp_path: Path) -> None:
    done = oblix("backup", str(tmp_path), ok=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{tmp_path} can't be written" in done.stderr
