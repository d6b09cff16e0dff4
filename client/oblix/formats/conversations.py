"""What every reader gives, and how readers look at values that somebody else wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf import json_format

from oblix import _times
from oblix._checks import invalid, shown, text
from oblix.errors import InvalidArgumentError
from oblix.v1 import messages_pb2, sessions_pb2

M = TypeVar("M", messages_pb2.Message, messages_pb2.Part, messages_pb2.Usage, sessions_pb2.Session)


@dataclass(slots=True)
class Conversation:
    """One conversation as a reader understood it."""

    session: sessions_pb2.Session
    """Its `id` is what the file calls it: any text, or empty."""
    messages: list[messages_pb2.Message] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    """What was left out or kept in another way, and how often."""


def unreadable(
    source: str, problem: str, metadata: Mapping[str, str] | None = None, reason: str = "UNREADABLE_FILE"
) -> InvalidArgumentError:
    """The error for a file, or a place in it, that can't be read. `source` names it."""
    return InvalidArgumentError(
        f"{source} can't be imported: {problem}.",
        reason=reason,
        metadata={"file": source, "problem": problem, **(metadata or {})},
    )


def mapping(value: object, path: str) -> Mapping[str, Any]:
    """The value where it is a JSON object. Raises InvalidArgumentError with its path."""
    if not isinstance(value, dict):
        raise invalid(path, "an object", shown(value))
    return value


def items(value: object, path: str) -> list[Any]:
    """The value where it is a list. Raises InvalidArgumentError with its path."""
    if not isinstance(value, list):
        raise invalid(path, "a list", shown(value))
    return value


def optional_text(document: Mapping[str, Any], key: str, path: str = "") -> str:
    """The text under a key, empty where there is none. Raises InvalidArgumentError with its path."""
    value = document.get(key)
    return "" if value is None else text(value, f"{path}.{key}" if path else key)


def named(document: Mapping[str, Any], key: str) -> str:
    """What the file calls a thing, as text: some write numbers. Empty where it has no name."""
    value = document.get(key)
    return str(value) if isinstance(value, int) else optional_text(document, key)


def flag(document: Mapping[str, Any], key: str) -> bool:
    """The true or false under a key, false where there is none. Raises InvalidArgumentError."""
    value = document.get(key)
    if value is not None and not isinstance(value, bool):
        raise invalid(key, "true or false", shown(value))
    return bool(value)


def set_time(into: sessions_pb2.Session | messages_pb2.Message, name: str, value: object, path: str) -> None:
    """Set a time from seconds since 1970, where there is one. Raises InvalidArgumentError with its path."""
    if value is not None:
        getattr(into, name).CopyFrom(_times.from_seconds(value, path))


def fill_times(conversation: Conversation) -> None:
    """Give a message without a time that of the one before, or of the session: not that of the import."""
    last = conversation.session.create_time if conversation.session.HasField("create_time") else None
    for message in conversation.messages:
        if not message.HasField("create_time") and last is not None:
            message.create_time.CopyFrom(last)
        last = message.create_time if message.HasField("create_time") else None


def message_from(value: object, into: M, path: str) -> M:
    """Read a message of oblix.v1 from its JSON form. Raises InvalidArgumentError with its path."""
    try:
        return json_format.ParseDict(dict(mapping(value, path)), into)
    except (json_format.ParseError, UnicodeEncodeError) as error:
        raise invalid(path, f"what {into.DESCRIPTOR.name} of oblix.v1 holds", error) from None
