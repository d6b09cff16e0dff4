"""Reads the header of a GGUF file: what it takes to know how much memory the model will need.

The format: https://github.com/ggml-org/ggml/blob/main/docs/gguf.md. A file may be
cut short or hostile: every length is held against what is left of it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

MOST_PAIRS = 100_000
"""Key-value pairs, and tensors."""
MOST_ITEMS = 4_000_000
"""Texts of one list: the largest vocabularies have 300,000."""
LONGEST_KEY = 65_535
"""Bytes of a key, as the format says."""
KEPT_ITEMS = 4096
"""Numbers of a list that is kept: one for each layer. Longer lists are of no use here."""
LONGEST_TEXT = 4096
"""Bytes of a text that is kept."""
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

Value = int | float | bool | str | Sequence[int | float]


class BrokenFileError(ValueError):
    """It is no GGUF file, or not a whole one. The message says how, to go on a sentence about the file."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its model. 0 where it does not say."""

    file_bytes: int
    context_length: int
    """The longest context that it was trained for, in tokens."""
    kept_per_token: int
    """Numbers that the attention keeps for each token of context: keys and values of all layers."""
    embedding_length: int
    vocabulary: int
    has_pooling: bool = False
    """Whether it says how the vectors of tokens become the vector of a text, as models for embeddings do."""


@dataclass(frozen=True, slots=True)
class Description:
    """What kind of file it is, as it says itself. Empty where it does not say."""

    architecture: str
    """As in llama, bert, clip."""
    type: str
    """As in model, adapter, mmproj."""
    parts: int
    """Files that its model was split into; 1 where it is whole."""
    has_chat_template: bool
    """Whether it says how a conversation is written for its model. Without it llama.cpp writes ChatML."""


def describe(path: Path) -> Description:
    """Read what kind of file it is. Raises BrokenFileError and OSError."""
    with path.open("rb") as file:
        reader = _Reader(file, path.stat().st_size)
        _, pairs = reader.start()
        values = dict(reader.pair() for _ in range(pairs))
    parts = _count(values.get("split.count"))
    return Description(
        str(values.get("general.architecture") or ""),
        str(values.get("general.type") or ""),
        max(1, parts),
        has_chat_template="tokenizer.chat_template" in values,
    )


def read(path: Path) -> Header:
    """Read a file's header, in up to a second where the vocabulary is large.

    Raises BrokenFileError and OSError.
    """
    with path.open("rb") as file:
        reader = _Reader(file, path.stat().st_size)
        tensors, pairs = reader.start()
        values = dict(reader.pair() for _ in range(pairs))
        reader.check_tensors(tensors)
        return _header(reader.size, values)


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self._bytes_left = size

    def start(self) -> tuple[int, int]:
        if self._bytes_left < len(b"GGUF") or self._take(4) != b"GGUF":
            raise BrokenFileError("is no GGUF file")
        version = self._number("I")
        if version not in {2, 3}:
            raise BrokenFileError(f"is of a version of GGUF that can't be read ({version})")
        tensors, pairs = self._number("Q"), self._number("Q")
        if max(tensors, pairs) > MOST_PAIRS:
            self._fail()
        return int(tensors), int(pairs)

    def pair(self) -> tuple[str, Value]:
        key = self._text(LONGEST_KEY)
        kind = int(self._number("I"))
        return key, self._array() if kind == _ARRAY else self._scalar(kind)

    def check_tensors(self, count: int) -> None:
        """See that the file goes on at least to where its last tensor begins."""
        last = 0
        for _ in range(count):
            self._text(LONGEST_KEY)
            dimensions = int(self._number("I"))
            self._skip(8 * min(dimensions, MOST_PAIRS) + 4)
            last = max(last, int(self._number("Q")))
        if count and last >= self._bytes_left:
            raise BrokenFileError("is cut short: its weights are not all there")

    def _scalar(self, kind: int) -> Value:
        if kind == _STRING:
            return self._text()
        if kind not in _NUMBERS:
            self._fail()
        return self._number(_NUMBERS[kind])

    def _array(self) -> Value:
        kind, count = int(self._number("I")), int(self._number("Q"))
        if kind == _STRING:
            if count > MOST_ITEMS:
                self._fail()
            for _ in range(count):
                self._skip(int(self._number("Q")))
            return float(count)
        if kind not in _NUMBERS:
            self._fail()
        size = count * struct.calcsize(_NUMBERS[kind])
        if count > KEPT_ITEMS:
            self._skip(size)
            return ()
        return struct.unpack(f"<{count}{_NUMBERS[kind]}", self._take(size))

    def _text(self, limit: int = LONGEST_TEXT) -> str:
        length = int(self._number("Q"))
        if length > limit:
            self._skip(length)
            return ""
        return self._take(length).decode("utf-8", "replace")

    def _number(self, code: str) -> int | float:
        number: int | float = struct.unpack(f"<{code}", self._take(struct.calcsize(code)))[0]
        return number

    def _take(self, count: int) -> bytes:
        self._count(count)
        taken = self._file.read(count)
        if len(taken) != count:
            self._fail()
        return taken

    def _skip(self, count: int) -> None:
        self._count(count)
        self._file.seek(count, 1)

    def _count(self, count: int) -> None:
        if not 0 <= count <= self._bytes_left:
            self._fail()
        self._bytes_left -= count

    def _fail(self) -> NoReturn:
        raise BrokenFileError("is damaged or cut short: its header can't be read")


def _header(size: int, values: Mapping[str, Value]) -> Header:
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or f"{architecture}.block_count" not in values:
        raise BrokenFileError("holds no language model: its header does not describe one")
    mine = {
        key.removeprefix(f"{architecture}."): value
        for key, value in values.items()
        if key.startswith(f"{architecture}.")
    }
    tokens = values.get("tokenizer.ggml.tokens", 0)
    return Header(
        file_bytes=size,
        context_length=_count(mine.get("context_length")),
        kept_per_token=_cache_heads(mine),
        embedding_length=_count(mine.get("embedding_length")),
        vocabulary=int(tokens) if isinstance(tokens, float) else _count(mine.get("vocab_size")),
        has_pooling=bool(_count(mine.get("pooling_type"))),
    )


def _cache_heads(values: Mapping[str, Value]) -> int:
    """Keys and values of every layer; heads may differ from layer to layer."""
    layers = min(_count(values.get("block_count")), KEPT_ITEMS)
    heads = _each(values.get("attention.head_count"), layers)
    kept_heads = _each(values.get("attention.head_count_kv", values.get("attention.head_count")), layers)
    usual = _count(values.get("embedding_length")) // max(heads, default=1) if any(heads) else 0
    key = _count(values.get("attention.key_length")) or usual
    value = _count(values.get("attention.value_length")) or usual
    return sum(kept_heads) * (key + value)


def _each(value: Value | None, layers: int) -> list[int]:
    if isinstance(value, tuple):
        return [_count(one) for one in value[:layers]]
    return [_count(value)] * layers


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
