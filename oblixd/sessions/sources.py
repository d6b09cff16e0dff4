"""Where an import's sessions come from: what is here already is known by its source and its content."""

from __future__ import annotations

from hashlib import blake2b

from oblix.v1 import messages_pb2
from oblix.v1 import sessions_pb2 as pb

from oblixd.store.v1 import records_pb2 as records

_HASH_BYTES = 32


class _FramedHash:
    """A hash over messages, each with its length."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=_HASH_BYTES)

    def add(self, message: messages_pb2.Message) -> None:
        """The next message."""
        self._add(message.SerializeToString(deterministic=True))

    def digest(self) -> bytes:
        """The hash of what was added."""
        return self._hash.digest()

    def _add(self, content: bytes) -> None:
        self._hash.update(len(content).to_bytes(8, "big") + content)


class ContentHash(_FramedHash):
    """A hash over title, metadata, context and messages as they were sent."""

    def __init__(self, session: pb.Session) -> None:
        super().__init__()
        content = pb.Session(title=session.title, metadata=session.metadata, context=session.context)
        self._add(content.SerializeToString(deterministic=True))


class ChainHash(_FramedHash):
    """A hash over messages as they were sent, told after any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        """How many messages were added."""

    def add(self, message: messages_pb2.Message) -> None:
        """The next message."""
        super().add(message)
        self.count += 1


def latest_key(source_id: str) -> bytes:
    """Under what all sessions are found that imports made of a source, whatever it said."""
    return blake2b(b"source " + source_id.encode(), digest_size=_HASH_BYTES).digest()


def source_key(header: records.SessionRecord) -> bytes:
    """Under what an import's session is found: its source's id and its content."""
    return blake2b(header.source_hash + header.source_id.encode(), digest_size=_HASH_BYTES).digest()


def source_keys(header: records.SessionRecord) -> list[bytes]:
    """Under what a session is found by its source, if an import made it."""
    if not header.source_id:
        return []
    return [source_key(header), *([latest_key(header.source_id)] if header.source_chain else [])]
