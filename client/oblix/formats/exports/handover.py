"""What the files for other tools have in common: ids as those tools make them, calls with their results."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from oblix.v1 import messages_pb2, sessions_pb2

_NAMESPACE = uuid.UUID("6f1d1a3e-5d0b-4a0e-9c55-0f6b8a1f7c11")
_UNUSUAL = re.compile(r"[^a-zA-Z0-9_-]")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Step:
    """One message as a model's server takes it: a question, or an answer with the results of its calls."""

    message: messages_pb2.Message
    text: str
    calls: list[messages_pb2.ToolCallPart]
    results: list[messages_pb2.ToolResultPart]


def uuid_of(session: sessions_pb2.Session) -> str:
    """Return the session's id where it is a UUID, else one that is made of it."""
    try:
        return str(uuid.UUID(session.id))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, session.id))


def child_uuid(parent: str, number: int) -> str:
    """Return the id of a part of something, always the same."""
    return str(uuid.uuid5(uuid.UUID(parent), str(number)))


def sortable_id(prefix: str, parent: str, number: int) -> str:
    """Make an id that sorts by its number: a prefix, twelve digits, and letters made of the parent's id."""
    rest, letters = uuid.uuid5(uuid.UUID(parent), f"{prefix}{number}").int, ""
    for _ in range(14):
        rest, digit = divmod(rest, len(_ALPHABET))
        letters += _ALPHABET[digit]
    return f"{prefix}_{number:012x}{letters}"


def call_id_of(call_id: str) -> str:
    """Return a call's id of the characters that every server takes."""
    return _UNUSUAL.sub("_", call_id)[:64] or "call"


def directory_of(session: sessions_pb2.Session) -> str:
    """Return the working directory that an import found, or empty."""
    return session.metadata.fields["directory"].string_value if "directory" in session.metadata else ""


def steps(messages: Iterable[messages_pb2.Message]) -> Iterator[Step]:
    """Yield the questions and answers. A call without a result, or a result without a call, is told as text.

    Thoughts are left out: servers take back only those that they signed. So are system messages: the tool
    has its own.
    """
    known = list(messages)
    results = {
        part.tool_result.call_id: part.tool_result
        for m in known
        for part in m.parts
        if part.HasField("tool_result")
    }
    called = {part.tool_call.call_id for m in known for part in m.parts if part.HasField("tool_call")}
    for message in known:
        if message.role == messages_pb2.ROLE_SYSTEM:
            continue
        text = "".join(part.text for part in message.parts)
        text += "".join(
            f"\n[result]\n{part.tool_result.content}"
            for part in message.parts
            if part.HasField("tool_result") and part.tool_result.call_id not in called
        )
        calls = [part.tool_call for part in message.parts if part.HasField("tool_call")]
        answered = [call for call in calls if call.call_id in results]
        text += "".join(
            f"\n[called {call.name}: {call.arguments_json}]" for call in calls if call not in answered
        )
        if text.strip() or answered:
            yield Step(message, text.strip(), answered, [results[call.call_id] for call in answered])
