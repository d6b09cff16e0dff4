"""Any object with a list of messages in it: for programs that no reader is made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix.errors import InvalidArgumentError
from oblix.formats.chats import openai
from oblix.formats.conversations import Conversation, unreadable
from oblix.formats.turns import is_message, is_turn

NOTE = "its format is not known: read as a list of messages"
_LEVELS = 4
_FIRST = 20
"""Items of a list that are looked at."""
_TRIED = 2000
"""Values that are looked at. A list of messages stands near to the beginning of a document."""


def matches(value: object) -> bool:
    """Return whether there is a list of messages somewhere in a value."""
    return isinstance(value, dict) and _messages(value) is not None


def read(document: Mapping[str, Any]) -> Conversation:
    """Read the longest list of messages in a document. Raises InvalidArgumentError where there is none."""
    found = _messages(document)
    if found is None:
        raise _no_messages()
    path, turns = found
    conversation = openai.conversation_of(document, turns, path.partition(".")[0])
    conversation.note(NOTE)
    return conversation


def _are_messages(values: list[Any]) -> bool:
    """Return whether most values are messages. Those that only call tools say nothing: one has to."""
    return any(map(is_message, values)) and sum(map(is_turn, values)) * 2 > len(values)


def _no_messages() -> InvalidArgumentError:
    return unreadable("it", "there is no list of messages in it", reason="UNKNOWN_FORMAT")


def _messages(document: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
    """Return the path and the items of the longest list of which most are messages."""
    best: tuple[str, list[Any]] | None = None
    waiting: list[tuple[str, object, int]] = [("", document, 0)]
    for _ in range(_TRIED):
        if not waiting:
            break
        path, value, level = waiting.pop()
        if isinstance(value, list) and _are_messages(value[:_FIRST]):
            if best is None or len(value) > len(best[1]):
                best = path, value
        elif level < _LEVELS:
            pairs = (
                value.items()
                if isinstance(value, dict)
                else enumerate(value)
                if isinstance(value, list)
                else ()
            )
            waiting.extend((f"{path}.{key}".strip("."), item, level + 1) for key, item in pairs)
    return best
