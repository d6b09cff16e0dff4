"""The contract's messages as the results that a client returns."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from oblix import changes, results
from oblix._convert.records import ACTION_NAMES, STATUSES, role_name, seconds_of
from oblix._convert.values import from_struct
from oblix.v1 import embeddings_pb2, messages_pb2, sessions_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUS_NAMES = {number: name for name, number in STATUSES.items()}
_NAMES: dict[EnumDescriptor, dict[int, str]] = {}


def name_of(kind: EnumDescriptor, number: int) -> Any:
    """Return a value's name as Python shows it: in lower case, without what all of its kind begin with."""
    names = _NAMES.get(kind) or _NAMES.setdefault(kind, _names_in(kind))
    return names.get(number, "unknown")


def _names_in(kind: EnumDescriptor) -> dict[int, str]:
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).lower() for value in kind.values if value.number}


def moment_of(time: Timestamp) -> datetime:
    """Return an instant, in UTC, to the microsecond."""
    return _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)


def session_of(session: sessions_pb2.Session) -> results.Session:
    """Return a session's header."""
    return results.Session(
        id=session.id,
        title=session.title,
        created_at=moment_of(session.create_time),
        updated_at=moment_of(session.update_time),
        message_count=session.message_count,
        metadata=from_struct(session.metadata),
        context=from_struct(session.context),
        etag=session.etag,
        archived=session.archived,
        local_only=session.local_only,
        running_request_id=session.running_request_id or None,
        parent_id=session.parent_session_id or None,
        parent_sequence=session.parent_sequence,
        routing_policy=session.routing_policy,
        retention=_retention(session.retention) if session.HasField("retention") else None,
        deleted_at=moment_of(session.delete_time) if session.HasField("delete_time") else None,
        purged_at=moment_of(session.purge_time) if session.HasField("purge_time") else None,
    )


def damaged_session(session: sessions_pb2.DamagedSession) -> results.Session:
    """Return a session whose records are damaged on disk."""
    return results.Session(session.session_id, "", _EPOCH, _EPOCH, damaged=session.detail)


def _retention(retention: sessions_pb2.Retention) -> results.Retention:
    action = cast("results.RetentionAction", ACTION_NAMES.get(retention.action, "archive"))
    return results.Retention(retention.days, action)


def message_of(message: messages_pb2.Message) -> results.Message:
    """Return a message."""
    return results.Message(
        id=message.id,
        role=cast("results.RoleName", role_name(message.role)),
        content="".join(part.text for part in message.parts),
        parts=tuple(map(_part, message.parts)),
        sequence=message.sequence,
        timestamp=moment_of(message.create_time),
        status=cast("results.StatusName", _STATUS_NAMES.get(message.status, "complete")),
        model=message.model or None,
        usage=usage_of(message),
        timings=timings_of(message),
        request_id=message.request_id or None,
        version=message.version,
        exclusion=_exclusion(message.exclusion) if message.HasField("exclusion") else None,
        client_data=message.client_data,
        source_session_id=message.source_session_id or None,
        provider_state=results.ProviderState(message.provider_state.author, message.provider_state.json)
        if message.HasField("provider_state")
        else None,
    )


def usage_of(
    message: messages_pb2.Message | embeddings_pb2.EmbedTextsResponse,
) -> results.Usage | None:
    """Return what an answer or embeddings consumed, or None where the model's server did not say."""
    if not message.HasField("usage"):
        return None
    usage = message.usage
    return results.Usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens if usage.HasField("cache_read_tokens") else None,
        usage.cache_write_tokens if usage.HasField("cache_write_tokens") else None,
        usage.reasoning_tokens if usage.HasField("reasoning_tokens") else None,
        usage.cost if usage.HasField("cost") else None,
    )


def timings_of(message: messages_pb2.Message) -> results.Timings | None:
    """Return how long an answer took, or None of what no model wrote here."""
    if not message.HasField("timings"):
        return None
    timings = message.timings
    has_content = timings.HasField("time_to_first_token")
    return results.Timings(
        seconds_of(timings.total),
        seconds_of(timings.queued),
        seconds_of(timings.time_to_first_token) if has_content else None,
        timings.tokens_per_second or None,
    )


def call_of(call: messages_pb2.ToolCallPart) -> results.ToolCall:
    """Return a tool call, its arguments read where they are a JSON object."""
    try:
        arguments = json.loads(call.arguments_json)
    except (ValueError, RecursionError):
        arguments = None
    known = arguments if isinstance(arguments, dict) else None
    return results.ToolCall(call.call_id, call.name, known, call.arguments_json)


def hit_of(hit: sessions_pb2.SearchHit) -> results.SearchHit:
    """Return what a search found."""
    return results.SearchHit(
        hit.session_id,
        hit.title,
        hit.message_id or None,
        hit.sequence,
        cast("results.RoleName | None", role_name(hit.role) or None),
        moment_of(hit.create_time),
        hit.snippet,
        tuple((span.start, span.length) for span in hit.spans),
        hit.score,
    )


def change_of(event: sessions_pb2.WatchSessionsResponse) -> changes.Change[results.Session]:
    """Return what a watch tells."""
    match event.WhichOneof("event"):
        case "session":
            return changes.SessionChanged(session_of(event.session.session), event.session.revision)
        case "removed":
            return changes.SessionRemoved(event.removed.session_id, event.removed.revision)
        case "synced":
            return changes.Synced(event.synced.revision)
    return changes.ResyncRequired(event.resync_required.oldest_revision)


def conversation_of(
    session: sessions_pb2.Session, messages: Iterable[messages_pb2.Message]
) -> results.Conversation:
    """Return a session with its messages."""
    return results.Conversation(session_of(session), tuple(map(message_of, messages)))


def _exclusion(mark: messages_pb2.ContextExclusion) -> results.Exclusion:
    return results.Exclusion(mark.reason, mark.detail, moment_of(mark.mark_time))


def _part(part: messages_pb2.Part) -> results.Part:
    match part.WhichOneof("kind"):
        case "image":
            return results.ImagePart(part.image.media_type, part.image.data)
        case "tool_call":
            return results.ToolCallPart(call_of(part.tool_call))
        case "tool_result":
            result = part.tool_result
            return results.ToolResultPart(result.call_id, result.content, result.is_error)
        case "reasoning":
            return results.ReasoningPart(part.reasoning)
    return results.TextPart(part.text)
