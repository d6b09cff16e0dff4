"""ShareGPT: `{"conversations": [{"from": "human", "value": ...}, ...]}`, as data sets carry it.

`id`, `title` and `system` are read where they are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix._checks import invalid, shown, text
from oblix.formats.conversations import Conversation, items, mapping, named, optional_text
from oblix.v1 import messages_pb2, sessions_pb2

_SPEAKERS = {
    "system": messages_pb2.ROLE_SYSTEM,
    "human": messages_pb2.ROLE_USER,
    "user": messages_pb2.ROLE_USER,
    "gpt": messages_pb2.ROLE_ASSISTANT,
    "chatgpt": messages_pb2.ROLE_ASSISTANT,
    "assistant": messages_pb2.ROLE_ASSISTANT,
    "bing": messages_pb2.ROLE_ASSISTANT,
    "bard": messages_pb2.ROLE_ASSISTANT,
    "model": messages_pb2.ROLE_ASSISTANT,
    "function_call": messages_pb2.ROLE_ASSISTANT,
    "tool": messages_pb2.ROLE_TOOL,
    "observation": messages_pb2.ROLE_TOOL,
    "function_response": messages_pb2.ROLE_TOOL,
}


def matches(value: object) -> bool:
    """Whether a value looks like a conversation of ShareGPT."""
    return isinstance(value, dict) and isinstance(value.get("conversations"), list)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError with the path of what is wrong."""
    said = items(document.get("conversations"), "conversations")
    messages = [_message(item, f"conversations[{index}]") for index, item in enumerate(said)]
    if system := optional_text(document, "system"):
        messages.insert(0, _said(messages_pb2.ROLE_SYSTEM, system))
    session = sessions_pb2.Session(id=named(document, "id"), title=optional_text(document, "title"))
    return Conversation(session, messages)


def _message(item: object, path: str) -> messages_pb2.Message:
    given = mapping(item, path)
    speaker = given.get("from")
    if not isinstance(speaker, str) or speaker.lower() not in _SPEAKERS:
        raise invalid(f"{path}.from", f"one of {', '.join(_SPEAKERS)}", shown(speaker))
    return _said(_SPEAKERS[speaker.lower()], text(given.get("value"), f"{path}.value"))


def _said(role: messages_pb2.Role.ValueType, content: str) -> messages_pb2.Message:
    return messages_pb2.Message(role=role, parts=[messages_pb2.Part(text=content)] if content else [])
