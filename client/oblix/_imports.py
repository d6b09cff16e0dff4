"""Sending sessions to be imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import aclosing

from oblix import errors
from oblix._transport import Transport
from oblix.v1 import messages_pb2, sessions_pb2

BATCH_MESSAGES = 1000
BATCH_BYTES = 4 * 1024 * 1024
"""A batch also ends where the next message would make it larger than this."""


async def import_one(
    transport: Transport,
    session: sessions_pb2.Session,
    messages: Sequence[messages_pb2.Message],
    *,
    keep_id: bool,
) -> sessions_pb2.Session:
    """Import a session and return it as it was recorded. Raises OblixError where the daemon refuses it."""
    header = sessions_pb2.ImportHeader(session=session, keep_id=keep_id)
    answers = transport.stream(
        lambda link: link.sessions.ImportSessions(steps_of(header, messages), metadata=link.metadata)
    )
    async with aclosing(answers):
        results = [answer.result async for answer in answers if answer.HasField("result")]
    if len(results) != 1:
        raise errors.InternalError(f"The daemon answered one import with {len(results)} results.")
    return _recorded(results[0])


def steps_of(
    header: sessions_pb2.ImportHeader, messages: Sequence[messages_pb2.Message]
) -> Iterator[sessions_pb2.ImportSessionsRequest]:
    """One session as it is sent: its header, then its messages in batches."""
    yield sessions_pb2.ImportSessionsRequest(header=header)
    for batch in _batches(messages):
        yield sessions_pb2.ImportSessionsRequest(messages=sessions_pb2.MessageBatch(messages=batch))


def _batches(messages: Sequence[messages_pb2.Message]) -> Iterator[list[messages_pb2.Message]]:
    batch: list[messages_pb2.Message] = []
    size = 0
    for message in messages:
        added = message.ByteSize()
        if batch and (len(batch) == BATCH_MESSAGES or size + added > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += added
    if batch:
        yield batch


def _recorded(result: sessions_pb2.ImportResult) -> sessions_pb2.Session:
    if not result.reason:
        return result.session
    is_taken = result.reason in {"SESSION_EXISTS", "SESSION_DELETED"}
    kind = errors.AlreadyExistsError if is_taken else errors.InvalidArgumentError
    raise kind(result.detail, reason=result.reason)
