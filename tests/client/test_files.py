"""Files that a client writes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from oblix._convert import file_io
from oblix.errors import InvalidArgumentError


def test_a_pipe_stays_one_and_gets_the_whole(tmp_path: Path) -> None:
    """A device, too: /dev/null became a file for every program of the machine."""
    pipe, got = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    file_io.write(pipe, "said")
    assert pipe.is_fifo()
    reader.join()
    assert got == ["said"]
    assert [*tmp_path.iterdir()] == [pipe]


def test_a_pipe_of_the_process_is_written_to() -> None:
    """As a shell passes one: `>(gzip > said.gz)`."""
    reading, writing = os.pipe()
    file_io.write(Path(f"/dev/fd/{writing}"), "said")
    os.close(writing)
    with os.fdopen(reading) as file:
        assert file.read() == "said"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="directory"):
        file_io.write(tmp_path, "said")
    assert tmp_path.is_dir()
