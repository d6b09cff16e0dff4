"""Finding the embedded model's weights, and checking them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from oblixd.models.embedded import weights
from oblixd.models.embedded.weights import DEFAULT_SHA256, Weights, WeightsError


def test_the_default_weights_are_what_they_should_be(tmp_path: Path) -> None:
    found = weights.find(None)
    assert found.sha256 == DEFAULT_SHA256
    assert found.path.stat().st_size == 98_362_432
    weights.verify(found, tmp_path)


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    mine = tmp_path / "Mine-7B.Q4.gguf"
    mine.write_bytes(b"GGUF")
    assert weights.find(mine) == Weights(mine)
    weights.verify(Weights(mine), tmp_path)
    with pytest.raises(WeightsError, match="There is no file"):
        weights.find(tmp_path / "other.gguf")


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(WeightsError, match="oblix models fetch embedded"):
        weights.find(None)


def test_the_weights_alone_can_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "DEFAULT_PACKAGE", "no-such-package")
    with pytest.raises(WeightsError, match=r"weights are not installed for .*oblix models fetch embedded"):
        weights.find(None)


def test_the_file_is_hashed_once_for_each_state_of_it(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"right")
    good = Weights(file, hashlib.sha256(b"right").hexdigest())
    weights.verify(good, tmp_path)
    before = file.stat()
    file.write_bytes(b"wrong")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    weights.verify(good, tmp_path)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    for _ in range(2):
        with pytest.raises(WeightsError, match="damaged"):
            weights.verify(good, tmp_path)


@pytest.mark.parametrize("note", ["", "nonsense", "[]", json.dumps(["x", 1, 2, "y"]), "\x00\xff"])
def test_a_note_that_is_of_no_use_is_made_anew(tmp_path: Path, note: str) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"right")
    (tmp_path / "weights.json").write_text(note)
    weights.verify(Weights(file, hashlib.sha256(b"right").hexdigest()), tmp_path)
    assert str(file) in (tmp_path / "weights.json").read_text()
