"""A session as one JSON object: the format that Oblix has always exported.

    {"id", "title", "created_at", "updated_at", "context", "metadata",
     "messages": [{"id", "role", "content", "timestamp"}]}

Times are ISO 8601 in UTC. Keys that older versions don't know, and ignore, are
there only where they say something: of a session `local_only` and `archived`; of
a message `status`, `parts` (what is not text), `model` and `usage`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from google.protobuf import json_format

from oblix import _times
from oblix._checks import invalid, shown, text
from oblix._records import STATUSES, document_of, role_of
from oblix._values import to_struct
from oblix.errors import InvalidArgumentError
from oblix.v1 import messages_pb2, sessions_pb2

M = TypeVar("M", messages_pb2.Part, messages_pb2.Usage)

MAX_BYTES = 128 * 1024 * 1024
"""Of a file that is read."""


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as JSON text, its keys sorted."""
    return json.dumps(document_of(session, messages), sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def load(data: bytes, source: str) -> tuple[sessions_pb2.Session, list[messages_pb2.Message]]:
    """Read a session. `source` names the file in errors.

    Raises InvalidArgumentError, with the file and the problem, for what is too
    large, is not JSON, is something else than a session, or has a wrong value.
    """
    if len(data) > MAX_BYTES:
        raise _unreadable(source, f"it has more than {MAX_BYTES // 2**20} MiB")
    document = _parsed(data, source)
    if not isinstance(document, dict) or not isinstance(document.get("messages"), list):
        raise _unreadable(source, 'it is not a session: that is an object with a list of "messages"')
    try:
        messages = [_message(item, f"messages[{index}]") for index, item in enumerate(document["messages"])]
        return _session(document), messages
    except InvalidArgumentError as error:
        raise _unreadable(source, error.message.removesuffix("."), error.metadata) from None


def _parsed(data: bytes, source: str) -> object:
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise _unreadable(source, "it is nested too deeply") from None
    except ValueError as error:
        raise _unreadable(source, f"it is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _session(document: Mapping[str, Any]) -> sessions_pb2.Session:
    session = sessions_pb2.Session(
        id=text(document.get("id") or "", "id"),
        title=text(document.get("title") or "", "title"),
        metadata=to_struct(document.get("metadata") or {}, "metadata"),
        context=to_struct(document.get("context") or {}, "context"),
        local_only=_flag(document, "local_only"),
        archived=_flag(document, "archived"),
    )
    if document.get("created_at"):
        session.create_time.CopyFrom(_times.from_text(document["created_at"], "created_at"))
    if document.get("updated_at"):
        session.update_time.CopyFrom(_times.from_text(document["updated_at"], "updated_at"))
    return session


def _flag(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise invalid(name, "true or false", shown(value))
    return value


def _message(item: object, field: str) -> messages_pb2.Message:
    if not isinstance(item, dict):
        raise invalid(field, "an object", shown(item))
    message = messages_pb2.Message(
        id=text(item.get("id") or "", f"{field}.id"),
        role=role_of(item.get("role"), f"{field}.role"),
        status=_status(item.get("status", "complete"), f"{field}.status"),
        model=text(item.get("model") or "", f"{field}.model"),
        parts=_parts(item, field),
    )
    if item.get("timestamp"):
        message.create_time.CopyFrom(_times.from_text(item["timestamp"], f"{field}.timestamp"))
    if item.get("usage"):
        message.usage.CopyFrom(_read(item["usage"], messages_pb2.Usage(), f"{field}.usage"))
    return message


def _status(name: object, field: str) -> messages_pb2.MessageStatus.ValueType:
    if not isinstance(name, str) or name not in STATUSES:
        raise invalid(field, f"one of {', '.join(STATUSES)}", shown(name))
    return STATUSES[name]


def _parts(item: Mapping[str, Any], field: str) -> list[messages_pb2.Part]:
    if "parts" not in item:
        content = text(item.get("content"), f"{field}.content")
        return [messages_pb2.Part(text=content)] if content else []
    parts = item["parts"]
    if not isinstance(parts, list):
        raise invalid(f"{field}.parts", "a list", shown(parts))
    return [_read(part, messages_pb2.Part(), f"{field}.parts[{index}]") for index, part in enumerate(parts)]


def _read(value: object, into: M, field: str) -> M:
    if not isinstance(value, dict):
        raise invalid(field, "an object", shown(value))
    try:
        return json_format.ParseDict(value, into)
    except (json_format.ParseError, UnicodeEncodeError) as error:
        raise invalid(field, f"what {into.DESCRIPTOR.name} of oblix.v1 holds", error) from None


def _unreadable(source: str, problem: str, metadata: Mapping[str, str] | None = None) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{source} can't be imported: {problem}.",
        reason="UNREADABLE_FILE",
        metadata={"file": source, "problem": problem, **(metadata or {})},
    )
