"""opencode's sessions in files: what `opencode export` writes, and what versions before 1.2 kept.

An export is one value with `info` and `messages`. The older versions kept each session, message and part in a
file of its own, below `~/.local/share/opencode/storage`; read from files of 1.1.65.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oblix.formats.agents.databases import opencode
from oblix.formats.agents.origin import Origin, complete, file_name, files_in
from oblix.formats.conversations import Conversation, Fork, object_of, objects, string

Data = Mapping[str, Any]
Message = tuple[Data, Data, list[dict[str, Any]]]

KNOWN = opencode.KNOWN
_LARGEST = 64 * 1024 * 1024
"""Of a file that holds one message or one part."""


def matches(lines: Sequence[Any]) -> bool:
    """Return whether a value is an export, or a session of an older version."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    info = object_of(first, "info") if isinstance(first.get("messages"), list) else first
    return string(info, "id").startswith("ses_") and {"projectID", "directory"} <= info.keys()


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a session. Nothing where nothing was said."""
    first = objects(lines)[0]
    info = object_of(first, "info") or first
    times = object_of(info, "time")
    session = {f"time_{key}": times.get(key) for key in ("created", "updated", "archived")}
    conversation = opencode.session_of({**info, **session})
    messages = (
        _exported_messages(objects(first["messages"]))
        if "messages" in first
        else _stored_messages(info, origin)
    )
    opencode.add_messages(conversation, messages, info.get("revert"))
    if parent := string(info, "parentID"):
        conversation.fork = Fork(f"opencode:{parent}", 0)
    complete(conversation)
    return [conversation] if conversation.messages else []


def _exported_messages(messages: Sequence[Data]) -> Iterator[Message]:
    for message in messages:
        info = object_of(message, "info")
        yield info, info, [dict(part) for part in objects(message.get("parts"))]


def _stored_messages(info: Data, origin: Origin) -> Iterator[Message]:
    """Yield what stands below `message/SESSION`, each with the parts below `part/MESSAGE`."""
    storage = origin.path.absolute().parent.parent.parent
    paths = files_in(storage / "message" / file_name(string(info, "id")), "msg_*.json")
    for message in sorted(map(_value, paths), key=lambda each: string(each, "id")):
        paths = files_in(storage / "part" / (file_name(string(message, "id")) or "none"), "prt_*.json")
        yield message, message, [part for path in paths if (part := _value(path))]


def _value(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes()) if path.stat().st_size <= _LARGEST else None
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
