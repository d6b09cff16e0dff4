"""A session as one JSON object: the format that Oblix has always exported.

    {"id", "title", "created_at", "updated_at", "context", "metadata",
     "messages": [{"id", "role", "content", "timestamp"}]}

Times are ISO 8601 in UTC. Keys that older versions don't know, and ignore, are
there only where they say something: of a session `local_only`, `archived` and `routing_policy`; of
a message `status`, `parts` (what is not text), `model`, `usage`, `provider_state`, `version` (how
often it was edited or answered anew), `excluded` (why contexts leave it out: `reason`, `detail`,
`marked_at`) and `client_data` (the program's own data, in base64).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from oblix._convert import records
from oblix._convert.records import STATUSES, document_of, role_of
from oblix._convert.validation import describe, invalid, text
from oblix._convert.values import to_struct
from oblix.errors import InvalidArgumentError
from oblix.formats.chats import openai
from oblix.formats.conversations import Conversation, flag, items, mapping, message_from, unreadable
from oblix.v1 import messages_pb2, sessions_pb2

MAX_BYTES = 128 * 1024 * 1024
"""Of a file that is read as a whole."""
MAX_VERSION = 2**31


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as JSON text, its keys sorted."""
    return json.dumps(document_of(session, messages), sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def load(data: bytes, source: str) -> tuple[sessions_pb2.Session, list[messages_pb2.Message]]:
    """Read a session. `source` names the file in errors.

    Raises InvalidArgumentError, with the file and the problem, for what is too
    large, is not JSON, is something else than a session, or has a wrong value.
    """
    if len(data) > MAX_BYTES:
        raise unreadable(source, f"it has more than {MAX_BYTES // 2**20} MiB")
    document = _parse(data, source)
    if not isinstance(document, dict) or not isinstance(document.get("messages"), list):
        raise unreadable(source, 'it is not a session: that is an object with a list of "messages"')
    try:
        conversation = _read_strictly(document)
    except InvalidArgumentError as error:
        raise unreadable(source, error.message.removesuffix("."), error.metadata) from None
    return conversation.session, conversation.messages


def matches(value: object) -> bool:
    """Return whether a value looks like a session of Oblix: it tells when it was made."""
    return isinstance(value, dict) and isinstance(value.get("messages"), list) and "created_at" in value


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a session. A message of another shape is read as other programs write it, or left out with a note.

    Raises InvalidArgumentError with the path of what is wrong in the session itself.
    """
    said = items(document.get("messages"), "messages")
    conversation = Conversation(_session(document), source=document)
    for index, item in enumerate(said):
        path = f"messages[{index}]"
        read_item = partial(_lenient, item, path, conversation)
        conversation.add(item, path, read_item, keep_empty=True)
    return conversation


def _lenient(item: object, path: str, conversation: Conversation) -> messages_pb2.Message | None:
    try:
        return _message(item, path)
    except InvalidArgumentError:
        return openai.turn(item, conversation)


def _read_strictly(document: Mapping[str, Any]) -> Conversation:
    said = items(document.get("messages"), "messages")
    messages = [_message(item, f"messages[{index}]") for index, item in enumerate(said)]
    return Conversation(_session(document), messages)


def _parse(data: bytes, source: str) -> object:
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise unreadable(source, "it is nested too deeply") from None
    except ValueError as error:
        raise unreadable(source, f"it is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _session(document: Mapping[str, Any]) -> sessions_pb2.Session:
    session = sessions_pb2.Session(
        id=text(document.get("id") or "", "id"),
        title=text(document.get("title") or "", "title"),
        metadata=to_struct(document.get("metadata") or {}, "metadata"),
        context=to_struct(document.get("context") or {}, "context"),
        local_only=flag(document, "local_only"),
        archived=flag(document, "archived"),
        routing_policy=text(document.get("routing_policy") or "", "routing_policy"),
    )
    if document.get("created_at"):
        session.create_time.CopyFrom(records.from_text(document["created_at"], "created_at"))
    if document.get("updated_at"):
        session.update_time.CopyFrom(records.from_text(document["updated_at"], "updated_at"))
    return session


def _message(item: object, field: str) -> messages_pb2.Message:
    given = mapping(item, field)
    message = messages_pb2.Message(
        id=text(given.get("id") or "", f"{field}.id"),
        role=role_of(given.get("role"), f"{field}.role"),
        status=_status(given.get("status", "complete"), f"{field}.status"),
        model=text(given.get("model") or "", f"{field}.model"),
        parts=_parts(given, field),
    )
    if given.get("timestamp"):
        message.create_time.CopyFrom(records.from_text(given["timestamp"], f"{field}.timestamp"))
    if given.get("usage"):
        message.usage.CopyFrom(message_from(given["usage"], messages_pb2.Usage(), f"{field}.usage"))
    if given.get("provider_state"):
        state = message_from(given["provider_state"], messages_pb2.ProviderState(), f"{field}.provider_state")
        message.provider_state.CopyFrom(state)
    _read_marks(given, message, field)
    return message


def _read_marks(record: Mapping[str, Any], message: messages_pb2.Message, field: str) -> None:
    version = record.get("version", 0)
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < MAX_VERSION:
        raise invalid(f"{field}.version", "a whole number of 0 or more", describe(version))
    message.version = version
    message.client_data = _client_data(record.get("client_data") or "", f"{field}.client_data")
    if record.get("excluded"):
        message.exclusion.CopyFrom(_exclusion(record["excluded"], f"{field}.excluded"))


def _exclusion(value: object, field: str) -> messages_pb2.ContextExclusion:
    given = mapping(value, field)
    exclusion = messages_pb2.ContextExclusion(
        reason=text(given.get("reason") or "", f"{field}.reason"),
        detail=text(given.get("detail") or "", f"{field}.detail"),
    )
    marked_at = text(given.get("marked_at"), f"{field}.marked_at")
    exclusion.mark_time.CopyFrom(records.from_text(marked_at, f"{field}.marked_at"))
    return exclusion


def _client_data(value: object, field: str) -> bytes:
    try:
        return base64.b64decode(text(value, field), validate=True)
    except ValueError:
        raise invalid(field, "base64", describe(value)) from None


def _status(name: object, field: str) -> messages_pb2.MessageStatus.ValueType:
    if not isinstance(name, str) or name not in STATUSES:
        raise invalid(field, f"one of {', '.join(STATUSES)}", describe(name))
    return STATUSES[name]


def _parts(item: Mapping[str, Any], field: str) -> list[messages_pb2.Part]:
    if "parts" not in item:
        content = text(item.get("content"), f"{field}.content")
        return [messages_pb2.Part(text=content)] if content else []
    parts = items(item["parts"], f"{field}.parts")
    return [
        message_from(part, messages_pb2.Part(), f"{field}.parts[{index}]") for index, part in enumerate(parts)
    ]
