"""ShareGPT: `{"conversations": [{"from": "human", "value": ...}, ...]}`, as data sets carry it.

Turns may as well have `role` and `content`. `id`, `title` and `system` are read where they are there; tools
are noted; other short values are kept as metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix.formats.chats import openai
from oblix.formats.conversations import Conversation, items
from oblix.v1 import messages_pb2

_LISTS = ("conversations", "conversation")


def matches(value: object) -> bool:
    """Whether a value looks like a conversation of ShareGPT."""
    return isinstance(value, dict) and any(isinstance(value.get(key), list) for key in _LISTS)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError where it has no list of turns."""
    key = next((key for key in _LISTS if isinstance(document.get(key), list)), _LISTS[0])
    turns = items(document.get(key), key)
    conversation = openai.conversation_of(document, turns, key)
    if isinstance(system := document.get("system"), str) and system:
        part = messages_pb2.Part(text=system)
        conversation.messages.insert(0, messages_pb2.Message(role=messages_pb2.ROLE_SYSTEM, parts=[part]))
    return conversation
