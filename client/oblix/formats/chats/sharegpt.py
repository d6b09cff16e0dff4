"""ShareGPT: `{"conversations": [{"from": "human", "value": ...}, ...]}`, as data sets carry it.

Turns may as well have `role` and `content`. `id`, `title` and `system` are read where they are there; tools
are noted; other short values are kept as metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix.formats.chats import openai, pairs
from oblix.formats.conversations import Conversation, items
from oblix.v1 import messages_pb2

_LISTS = ("conversations", "conversation")
_ANSWERS = ("chosen", "rejected")


def matches(value: object) -> bool:
    """Return whether a value looks like a conversation of ShareGPT."""
    return isinstance(value, dict) and any(isinstance(value.get(key), list) for key in _LISTS)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError where it has no list of turns."""
    key = next((key for key in _LISTS if isinstance(document.get(key), list)), _LISTS[0])
    turns = items(document.get(key), key)
    answers = {name: document[name] for name in _ANSWERS if isinstance(document.get(name), dict | list)}
    conversation = openai.conversation_of({k: v for k, v in document.items() if k not in answers}, turns, key)
    conversation.source = document
    if "rejected" in answers:
        pairs.add_rejected(conversation, answers["rejected"])
    if "chosen" in answers:
        pairs.add_said(conversation, answers["chosen"], messages_pb2.ROLE_ASSISTANT)
    return conversation
