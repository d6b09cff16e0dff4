"""The end of a backup file: what it is, how it was written, and that all of it is there.

A backup is an LMDB data file, as every LMDB tool reads it, and these bytes after it:

| bytes | what |
|---|---|
| 8 | `OBLIXBAK` |
| 4 | the schema, big-endian |
| 8 | the size of the data file, big-endian |
| 32 | SHA-256 over all bytes before |
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

MAGIC = b"OBLIXBAK"
_FIELDS = struct.Struct(">8sIQ")
DIGEST_BYTES = hashlib.sha256().digest_size
TRAILER_BYTES = _FIELDS.size + DIGEST_BYTES


class Trailer(NamedTuple):
    """What a backup says of itself."""

    schema: int
    size: int
    """Bytes of the data file."""
    digest: bytes

    def fields(self) -> bytes:
        """Return the part that the digest is over, too."""
        return _FIELDS.pack(MAGIC, self.schema, self.size)


def write(schema: int, size: int, digest: hashlib._Hash) -> bytes:
    """Return the trailer of a data file; `digest` has seen all of it."""
    fields = Trailer(schema, size, b"").fields()
    digest.update(fields)
    return fields + digest.digest()


def read(end: bytes) -> Trailer | None:
    """Return the trailer that a file's last TRAILER_BYTES are, or None where they are something else."""
    if len(end) != TRAILER_BYTES or not end.startswith(MAGIC):
        return None
    _, schema, size = _FIELDS.unpack(end[: _FIELDS.size])
    return Trailer(schema, size, end[_FIELDS.size :])
