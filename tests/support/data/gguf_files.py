"""Small GGUF files, as a test wants them."""

from __future__ import annotations

import struct

TENSOR_AT = 96


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, value: object) -> bytes:
    match value:
        case str():
            return text(key) + struct.pack("<I", 8) + text(value)
        case int():
            return text(key) + struct.pack("<II", 4, value)
        case [str(), *_]:
            items = b"".join(text(one) for one in value)
            return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + items
        case list():
            return text(key) + struct.pack(f"<IIQ{len(value)}I", 9, 4, len(value), *value)
    raise AssertionError(value)


def file_of(values: dict[str, object], *, weights_bytes: int = 256) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(values))
    pairs = b"".join(pair(key, value) for key, value in values.items())
    tensor = text("blk.0") + struct.pack("<IQIQ", 1, 32, 0, TENSOR_AT)
    return head + pairs + tensor + bytes(weights_bytes)


LLAMA: dict[str, object] = {
    "general.architecture": "llama",
    "llama.block_count": 4,
    "llama.context_length": 2048,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}
