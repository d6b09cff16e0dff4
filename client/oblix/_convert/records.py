"""Sessions and messages as the dicts that programs and files see.

Instants: ISO 8601 text in Python and in files, Timestamp on the wire.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from oblix._convert.validation import describe, invalid, text
from oblix._convert.values import from_struct
from oblix.v1 import messages_pb2, sessions_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_text(time: Timestamp) -> str:
    """Write an instant with six fraction digits and Z: `2026-01-31T12:00:00.000000Z`."""
    moment = _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_text(value: object, field: str) -> Timestamp:
    """Read ISO 8601. Without an offset it is taken as UTC. Raises InvalidArgumentError."""
    try:
        moment = datetime.fromisoformat(text(value, field))
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(field, "an ISO 8601 time", describe(value)) from None
    return _timestamp(moment - _EPOCH)


def from_moment(value: object, field: str) -> Timestamp:
    """Read a datetime, or ISO 8601 text; UTC without an offset. Raises InvalidArgumentError."""
    return from_text(value.isoformat() if isinstance(value, datetime) else value, field)


def from_seconds(value: object, field: str) -> Timestamp:
    """Read seconds since 1970, to the microsecond. Raises InvalidArgumentError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, "seconds since 1970", describe(value))
    try:
        moment = _EPOCH + timedelta(seconds=value)
    except (ValueError, OverflowError):
        raise invalid(field, "seconds since 1970, of the years 1 to 9999", describe(value)) from None
    return _timestamp(moment - _EPOCH)


def _timestamp(since_epoch: timedelta) -> Timestamp:
    seconds = since_epoch.days * 86_400 + since_epoch.seconds
    return Timestamp(seconds=seconds, nanos=since_epoch.microseconds * 1000)


def seconds_of(duration: Duration) -> float:
    """Return a duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


ROLES = {
    "system": messages_pb2.ROLE_SYSTEM,
    "user": messages_pb2.ROLE_USER,
    "assistant": messages_pb2.ROLE_ASSISTANT,
    "tool": messages_pb2.ROLE_TOOL,
}
STATUSES = {
    "complete": messages_pb2.MESSAGE_STATUS_COMPLETE,
    "streaming": messages_pb2.MESSAGE_STATUS_STREAMING,
    "cancelled": messages_pb2.MESSAGE_STATUS_CANCELLED,
    "failed": messages_pb2.MESSAGE_STATUS_FAILED,
    "interrupted": messages_pb2.MESSAGE_STATUS_INTERRUPTED,
}
ACTIONS = {
    "archive": sessions_pb2.RETENTION_ACTION_ARCHIVE,
    "delete": sessions_pb2.RETENTION_ACTION_DELETE,
}
ACTION_NAMES = {number: name for name, number in ACTIONS.items()}
_ROLE_NAMES = {number: name for name, number in ROLES.items()}
_STATUS_NAMES = {number: name for name, number in STATUSES.items()}


def role_of(name: object, field: str = "role") -> messages_pb2.Role.ValueType:
    """Return the role of this name, or InvalidArgumentError."""
    if not isinstance(name, str) or name not in ROLES:
        raise invalid(field, f"one of {', '.join(ROLES)}", describe(name))
    return ROLES[name]


def role_name(role: messages_pb2.Role.ValueType) -> str:
    """Return the name of a role; empty where it is not set."""
    return _ROLE_NAMES.get(role, "")


def action_of(name: object, field: str) -> sessions_pb2.RetentionAction.ValueType:
    """Return the retention action of this name, or InvalidArgumentError."""
    if not isinstance(name, str) or name not in ACTIONS:
        raise invalid(field, f"one of {', '.join(ACTIONS)}", describe(name))
    return ACTIONS[name]


def document_of(session: sessions_pb2.Session, messages: Iterable[messages_pb2.Message]) -> dict[str, Any]:
    """Return a whole session, as `load_session` shows it and a file holds it, with the flags that are set."""
    document: dict[str, Any] = {
        "id": session.id,
        "title": session.title,
        "created_at": to_text(session.create_time),
        "updated_at": to_text(session.update_time),
        "messages": [message_of(message) for message in messages],
        "context": from_struct(session.context),
        "metadata": from_struct(session.metadata),
    }
    marks = {
        "local_only": session.local_only,
        "archived": session.archived,
        "routing_policy": session.routing_policy,
    }
    return document | {name: mark for name, mark in marks.items() if mark}


def message_of(message: messages_pb2.Message) -> dict[str, Any]:
    """Return a message. The last keys are optional: a status that is not complete, parts beside text."""
    shape: dict[str, Any] = {
        "id": message.id,
        "role": role_name(message.role),
        "content": text_of(message),
        "timestamp": to_text(message.create_time),
    }
    if message.status not in (messages_pb2.MESSAGE_STATUS_UNSPECIFIED, messages_pb2.MESSAGE_STATUS_COMPLETE):
        shape["status"] = _STATUS_NAMES[message.status]
    if any(part.WhichOneof("kind") != "text" for part in message.parts):
        shape["parts"] = [_plain_json(part) for part in message.parts]
    if message.model:
        shape["model"] = message.model
    if message.HasField("usage"):
        usage = message.usage
        shape["usage"] = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        for name in ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost"):
            if usage.HasField(name):
                shape["usage"][name] = getattr(usage, name)
    if message.HasField("provider_state"):
        shape["provider_state"] = _plain_json(message.provider_state)
    return shape | _marks_of(message)


def _marks_of(message: messages_pb2.Message) -> dict[str, Any]:
    """Return what few messages have."""
    marks: dict[str, Any] = {}
    if message.version:
        marks["version"] = message.version
    if message.HasField("exclusion"):
        mark = message.exclusion
        marks["excluded"] = {
            "reason": mark.reason,
            "detail": mark.detail,
            "marked_at": to_text(mark.mark_time),
        }
    if message.client_data:
        marks["client_data"] = b64encode(message.client_data).decode()
    return marks


def _plain_json(value: messages_pb2.Part | messages_pb2.ProviderState) -> dict[str, Any]:
    from google.protobuf import json_format  # noqa: PLC0415 - slow to load, and an answer does without

    return json_format.MessageToDict(value, preserving_proto_field_name=True)


def text_of(message: messages_pb2.Message) -> str:
    """Return the text of a message: its text parts, joined."""
    return "".join(part.text for part in message.parts)
