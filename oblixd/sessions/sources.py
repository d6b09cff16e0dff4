"""Where an import's sessions come from: what is here already is known by its source and its content."""

from __future__ import annotations

from hashlib import blake2b

from oblix.v1 import messages_pb2
from oblix.v1 import sessions_pb2 as pb

from oblixd.store.v1 import records_pb2 as records

_HASH_BYTES = 32


class ContentHash:
    """A hash over title, metadata, context and messages as they were sent."""

    def __init__(self, session: pb.Session) -> None:
        self._hash = blake2b(digest_size=_HASH_BYTES)
        content = pb.Session(title=session.title, metadata=session.metadata, context=session.context)
        self._add(content.SerializeToString(deterministic=True))

    def add(self, message: messages_pb2.Message) -> None:
        """The next message."""
        self._add(message.SerializeToString(deterministic=True))

    def digest(self) -> bytes:
        """The hash of what was added."""
        return self._hash.digest()

    def _add(self, content: bytes) -> None:
        self._hash.update(len(content).to_bytes(8, "big") + content)


def source_key(header: records.SessionRecord) -> bytes:
    """Under what an import's session is found: its source's id and its content."""
    return blake2b(header.source_hash + header.source_id.encode(), digest_size=_HASH_BYTES).digest()
