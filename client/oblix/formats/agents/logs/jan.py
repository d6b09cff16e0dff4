"""Jan's threads: folders with `thread.json` and `messages.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from oblix.formats.agents.origin import Origin, complete, conversation_of, is_asked
from oblix.formats.conversations import Conversation, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.turns import message_of
from oblix.v1 import messages_pb2

KNOWN = keys("metadata attachments assistants tools error_code tokenSpeed")


def matches(lines: Sequence[Any]) -> bool:
    """Return whether the first line looks like a message of a thread."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    return "thread_id" in first and first.get("object") == "thread.message"


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a thread."""
    try:
        thread: Any = json.loads(origin.neighbour("thread.json") or b"{}")
    except (ValueError, RecursionError):
        thread = {}
    thread = thread if isinstance(thread, dict) else {}
    name = string(objects(lines)[0], "thread_id")
    conversation = conversation_of("jan", name, title=string(thread, "title"))
    conversation.source = list(lines)
    set_time(
        conversation.session, "create_time", thread.get("created") or thread.get("created_at"), conversation
    )
    assistant = next(iter(objects(thread.get("assistants"))), {})
    model = string(object_of(assistant, "model"), "id")
    for number, line in enumerate(objects(lines), 1):
        conversation.add(line, f"line {number}", partial(_message, line, model, conversation))
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _message(line: Mapping[str, Any], model: str, conversation: Conversation) -> messages_pb2.Message | None:
    message = message_of(line, conversation)
    if message is not None and message.role == messages_pb2.ROLE_ASSISTANT:
        message.model = string(object_of(line, "metadata"), "modelId") or message.model or model
        if line.get("status") in ("stopped", "error", "in_progress"):
            message.status = messages_pb2.MESSAGE_STATUS_INTERRUPTED
    return message
