"""Labels: what a session's metadata can be filtered by.

A filter's key names a metadata value: the top-level key of that very name where
there is one, else the value at the dotted path. Only scalars can be filtered by;
lists are not looked into.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import blake2b

from google.protobuf.struct_pb2 import Struct, Value

LABEL_BYTES = 16


def labels_of(metadata: Struct) -> list[bytes]:
    """The labels of a session, one for each filter key that has a scalar value there. Sorted."""
    named = {".".join(path): value for path, value in _leaves(metadata, ()) if "." not in "".join(path)}
    # A literal key shadows a path of the same spelling, also where its value is no scalar.
    named.update(metadata.fields)
    return sorted(label(key, value) for key, value in named.items() if is_scalar(value))


def label(key: str, value: Value) -> bytes:
    """The hash of a filter's key and a scalar. Equal numbers are equal; true is not 1."""
    encoded = key.encode()
    size = len(encoded).to_bytes(4, "big")
    return blake2b(size + encoded + _canonical(value), digest_size=LABEL_BYTES).digest()


def split(labels: bytes) -> list[bytes]:
    """Labels that are kept one after the other."""
    return [labels[at : at + LABEL_BYTES] for at in range(0, len(labels), LABEL_BYTES)]


def is_scalar(value: Value) -> bool:
    """True for a text, a number, a boolean and null."""
    return value.WhichOneof("kind") in {"string_value", "number_value", "bool_value", "null_value"}


def _leaves(container: Struct, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Value]]:
    for key, value in container.fields.items():
        if value.HasField("struct_value"):
            yield from _leaves(value.struct_value, (*path, key))
        else:
            yield (*path, key), value


def _canonical(value: Value) -> bytes:
    match value.WhichOneof("kind"):
        case "string_value":
            return b"s" + value.string_value.encode()
        case "number_value":
            # 0.0 and -0.0 are the same number; adding 0.0 makes them the same bytes.
            return b"n" + struct.pack(">d", value.number_value + 0.0)
        case "bool_value":
            return b"t" if value.bool_value else b"f"
        case _:
            return b"0"
