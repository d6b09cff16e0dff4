"""Reading the header of a GGUF file, whatever became of the file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data.gguf_files import LLAMA, file_of, text

from oblixd.models.embedded import gguf, memory, weights
from oblixd.models.embedded.gguf import BrokenFileError, Header

GOOD = file_of(LLAMA)


def read(tmp_path: Path, data: bytes) -> Header:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return gguf.read(path)


def test_the_packaged_weights() -> None:
    header = gguf.read(weights.find(None).path)
    assert (header.context_length, header.kept_per_token) == (8192, 30 * 3 * 2 * 64)
    assert (header.embedding_length, header.vocabulary) == (576, 49_152)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, 4 * 2 * (8 + 8)),
        ({"llama.attention.head_count_kv": [2, 0, 4, 0]}, 6 * (8 + 8)),
        ({"llama.attention.key_length": 16, "llama.attention.value_length": 4}, 4 * 2 * 20),
    ],
)
def test_the_size_of_the_attention_cache_is_computed(
    tmp_path: Path, changes: dict[str, object], kept: int
) -> None:
    header = read(tmp_path, file_of(LLAMA | changes))
    assert header == Header(header.file_bytes, 2048, kept, 64, 3)


def test_heads_of_its_own_are_as_many_as_asked(tmp_path: Path) -> None:
    without = {key: value for key, value in LLAMA.items() if not key.endswith("head_count_kv")}
    assert read(tmp_path, file_of(without)).kept_per_token == 4 * 8 * 16


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no GGUF file"),
        (b"GGML" + GOOD[4:], "no GGUF file"),
        (b"GGUF" + struct.pack(">I", 3) + GOOD[8:], "version of GGUF that can't be read"),
        (GOOD[:200], "damaged or cut short"),
        (file_of(LLAMA, weights_bytes=16), "cut short: its weights are not all there"),
        (file_of({"general.architecture": "llama"}), "holds no language model"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 8, 2**63), "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 9, 1), "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "damaged"),
    ],
)
def test_a_malformed_file_is_refused_with_the_reason(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(BrokenFileError, match=words):
        read(tmp_path, data)


@given(
    cut=st.integers(0, len(GOOD)), places=st.dictionaries(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_file_is_read_or_refused(tmp_path: Path, cut: int, places: dict[int, int]) -> None:
    data = bytearray(GOOD)
    for place, byte in places.items():
        data[place] = byte
    try:
        header = read(tmp_path, bytes(data[:cut]))
    except BrokenFileError:
        return
    assert memory.needs(header, 2048, 1, 0) > 0
