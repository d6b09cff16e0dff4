"""The requests of `client.sessions`. Every function checks what a program hands in. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from oblix._convert.messages import content_of, messages_of
from oblix._convert.records import action_of, from_moment
from oblix._convert.validation import data, describe, invalid, session_id_of, text, whole_number
from oblix._convert.values import to_struct
from oblix.errors import NotFoundError
from oblix.limits import MAX_DAYS
from oblix.options import MessageRef
from oblix.results import Message, Retention
from oblix.v1 import messages_pb2, sessions_pb2

Paged = TypeVar(
    "Paged",
    sessions_pb2.ListSessionsRequest,
    sessions_pb2.ListMessagesRequest,
    sessions_pb2.SearchMessagesRequest,
)
MAX_VERSION = 2**31 - 1
ARCHIVED = {
    False: sessions_pb2.ARCHIVED_FILTER_EXCLUDE,
    True: sessions_pb2.ARCHIVED_FILTER_ONLY,
    None: sessions_pb2.ARCHIVED_FILTER_INCLUDE,
}


def creation(
    session_id: str | None,
    *,
    title: str | None,
    metadata: Mapping[str, Any] | None,
    context: Mapping[str, Any] | None,
    local_only: bool,
    routing_policy: str,
    get_existing: bool,
    context_field: str = "context",
) -> sessions_pb2.CreateSessionRequest:
    """Return the request that makes a session."""
    session = sessions_pb2.Session(
        id=text(session_id or "", "session_id"),
        title=text(title or "", "title"),
        metadata=to_struct(metadata or {}, "metadata"),
        context=to_struct(context or {}, context_field),
        local_only=local_only,
        routing_policy=text(routing_policy, "routing_policy"),
    )
    return sessions_pb2.CreateSessionRequest(session=session, get_existing=get_existing)


def listing(
    metadata: Mapping[str, Any] | None,
    *,
    archived: bool | None = False,
    updated_from: datetime | str | None = None,
    updated_before: datetime | str | None = None,
    deleted: bool = False,
    field: str = "metadata",
) -> sessions_pb2.ListSessionsRequest:
    """Return the request that lists sessions."""
    request = sessions_pb2.ListSessionsRequest(
        filter=to_struct(metadata, field) if metadata else None,
        archived=ARCHIVED[archived],
        deleted=deleted,
    )
    if updated_from is not None:
        request.updated_from.CopyFrom(from_moment(updated_from, "updated_from"))
    if updated_before is not None:
        request.updated_before.CopyFrom(from_moment(updated_before, "updated_before"))
    return request


def page_of(request: Paged, token: str, size: int) -> Paged:
    """Return a request for one page of a list."""
    asked = type(request)()
    asked.CopyFrom(request)
    asked.page_token, asked.page_size = token, size
    return asked


def update(
    session: object,
    *,
    title: str | None,
    archived: bool | None,
    metadata: Mapping[str, Any] | None,
    context: Mapping[str, Any] | None,
    retention: Retention | Mapping[str, Any] | Literal["configured"] | None,
    routing_policy: str | None,
    local_only: bool,
    etag: str | None,
) -> sessions_pb2.UpdateSessionRequest:
    """Return the request that changes what is given."""
    changed = sessions_pb2.Session(
        id=session_id_of(session),
        title=text(title or "", "title"),
        archived=bool(archived),
        metadata=to_struct(metadata or {}, "metadata"),
        context=to_struct(context or {}, "context"),
        retention=_retention(retention) if isinstance(retention, Retention | Mapping) else None,
        routing_policy=text(routing_policy or "", "routing_policy"),
        local_only=local_only,
        etag=text(etag or "", "etag"),
    )
    given = {
        "title": title,
        "archived": archived,
        "retention": retention,
        "routing_policy": routing_policy,
        "local_only": local_only or None,
    }
    paths = [name for name, value in given.items() if value is not None]
    paths += [f"metadata.{key}" for key in metadata or ()] + [f"context.{key}" for key in context or ()]
    request = sessions_pb2.UpdateSessionRequest(session=changed)
    request.update_mask.paths.extend(paths)
    return request


def _retention(value: Retention | Mapping[str, Any]) -> sessions_pb2.Retention:
    days, action = (
        (value.days, value.action)
        if isinstance(value, Retention)
        else (value.get("days"), value.get("action", "archive"))
    )
    return sessions_pb2.Retention(
        days=whole_number(days, "retention.days", 0, MAX_DAYS), action=action_of(action, "retention.action")
    )


def appending(session: object, messages: object) -> sessions_pb2.AppendMessagesRequest:
    """Return the request that appends messages."""
    single = isinstance(messages, str | Mapping | Message)
    each = [messages] if single or not isinstance(messages, Sequence) else messages
    said = [{"role": "user", "content": one} if isinstance(one, str) else one for one in each]
    return sessions_pb2.AppendMessagesRequest(
        session_id=session_id_of(session), messages=messages_of(said, "messages")
    )


def merging(sessions: Iterable[object], title: str | None) -> sessions_pb2.MergeSessionsRequest:
    """Return the request that merges sessions."""
    if isinstance(sessions, str) or not isinstance(sessions, Sequence):
        raise invalid("session_ids", "a list of sessions", describe(sessions))
    request = sessions_pb2.MergeSessionsRequest(session_ids=[session_id_of(each) for each in sessions])
    if title is not None:
        request.title = text(title, "title")
    return request


def pruning(
    days: int | None, action: object, metadata: Mapping[str, Any] | None, dry_run: bool, field: str
) -> sessions_pb2.PruneSessionsRequest:
    """Return the request that prunes sessions."""
    request = sessions_pb2.PruneSessionsRequest(dry_run=dry_run)
    if days is not None:
        request.days = whole_number(days, "days", 1, MAX_DAYS)
        request.action = action_of(action, "action")
    if metadata is not None:
        # An empty one is sent as it is, and refused: "every session" is said by leaving it out.
        request.filter.CopyFrom(to_struct(metadata, field))
    return request


def watching(
    metadata: Mapping[str, Any] | None, from_revision: int | None, field: str
) -> sessions_pb2.WatchSessionsRequest:
    """Return the request that watches sessions."""
    if from_revision is not None and (isinstance(from_revision, bool) or not isinstance(from_revision, int)):
        raise invalid("from_revision", "a whole number", describe(from_revision))
    return sessions_pb2.WatchSessionsRequest(
        filter=to_struct(metadata, field) if metadata else None, from_revision=from_revision
    )


def listing_of(
    session: object, newest_first: bool = False, from_sequence: int = 0
) -> sessions_pb2.ListMessagesRequest:
    """Return the request that lists messages."""
    return sessions_pb2.ListMessagesRequest(
        session_id=session_id_of(session),
        newest_first=newest_first,
        from_sequence=from_sequence,
    )


def names_of(messages: object) -> list[MessageRef]:
    """Return the messages that a program names, one or several."""
    if isinstance(messages, str | int | Message):
        return [messages]
    if not isinstance(messages, Sequence):
        raise invalid("messages", "a message, or a list of messages", describe(messages))
    return list(messages)


def message_id_of(message: object) -> str:
    """Return the id of a message that is named by it."""
    return text(message.id if isinstance(message, Message) else message, "message")


def no_message_error(session: object, message: object) -> NotFoundError:
    """Return the error for a message that is not there."""
    shown = message.id if isinstance(message, Message) else message
    detail = f"Session {session_id_of(session)} has no message {shown}."
    return NotFoundError(detail, reason="MESSAGE_NOT_FOUND")


def edit(
    session: object, original: messages_pb2.Message, content: object, client_data: object, version: int | None
) -> sessions_pb2.EditMessageRequest:
    """Return the request that edits a message."""
    return sessions_pb2.EditMessageRequest(
        session_id=session_id_of(session),
        sequence=original.sequence,
        parts=_edited_parts(original, content),
        client_data=data(client_data, "client_data"),
        version=None if version is None else whole_number(version, "version", 0, MAX_VERSION),
    )


def _edited_parts(original: messages_pb2.Message, content: object) -> list[messages_pb2.Part]:
    """Return the parts of an edited message: reasoning, what it says now, its tool calls."""
    results = [part.tool_result for part in original.parts if part.HasField("tool_result")]
    if results:
        return [_edited_result(results, content)]
    said = content_of(content, original.role, "content")
    reasoning = [part for part in original.parts if part.HasField("reasoning")]
    return [*reasoning, *said, *(part for part in original.parts if part.HasField("tool_call"))]


def _edited_result(results: list[messages_pb2.ToolResultPart], content: object) -> messages_pb2.Part:
    if len(results) > 1 or not isinstance(content, str):
        raise invalid("content", "a text, for a message with one tool result", describe(content))
    result = messages_pb2.ToolResultPart(call_id=results[0].call_id, content=text(content, "content"))
    return messages_pb2.Part(tool_result=result)
