"""mistral-vibe's sessions: folders `~/.vibe/logs/session/unified/SESSION/`, of which `CURRENT` is read first.

`CURRENT` names the generation, its manifest the chunks of messages. Chunks of older generations stay in the
folder; the journal has what came after the generation was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from oblix.formats.agents.origin import Origin, complete, conversation_of, is_asked
from oblix.formats.conversations import Conversation, keys, object_of, objects, string, unreadable
from oblix.formats.moments import set_time
from oblix.formats.turns import message_of
from oblix.v1 import messages_pb2

KNOWN = keys("turnId inputEntryId source outcome sessionId relatedEntryId manifest_sha256 store_format")

_STORE = "mistral.vibe.unified-session-store/v1"


def matches(lines: Sequence[Any]) -> bool:
    """Return whether a file is the `CURRENT` of a session."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    return string(first, "store_format").startswith("mistral.vibe.unified-session-store")


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a session. Raises InvalidArgumentError for a store of another version."""
    current = objects(lines)[0]
    if string(current, "store_format") != _STORE:
        raise unreadable(
            "it", f"its store has the format {string(current, 'store_format')!r}, {_STORE!r} is read"
        )
    about = _neighbour_json(origin, "meta.json")
    directory = string(object_of(about, "environment"), "working_directory") or string(
        about, "origin_directory"
    )
    conversation = conversation_of(
        "mistral-vibe", string(current, "session_id"), title=string(about, "title"), directory=directory
    )
    set_time(conversation.session, "create_time", about.get("start_time"), conversation)
    set_time(conversation.session, "update_time", about.get("end_time"), conversation)
    entries = _entries(origin, string(current, "generation"))
    conversation.source = entries
    model = string(object_of(about, "config"), "model_name", "active_model")
    for entry in entries:
        conversation.add(entry, f"entry {string(entry, 'id')}", partial(_message, entry, model, conversation))
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _entries(origin: Origin, generation: str) -> list[Mapping[str, Any]]:
    """Return what was said, in order: the chunks of the generation, then the journal after it."""
    manifest = _neighbour_json(origin, f"generations/{_name(generation)}/manifest.json")
    chunks = object_of(manifest, "projection_state").get("chunks")
    entries: dict[str, Mapping[str, Any]] = {}
    for chunk in chunks if isinstance(chunks, list) else []:
        for entry in objects(_json(origin.neighbour(f"chunks/{_name(str(chunk))}.json"))):
            entries[string(entry, "id") or str(len(entries))] = entry
    segment = object_of(manifest, "recovery_journal_segment")
    number = string(segment, "path").rpartition("/")[2]
    for line in (origin.neighbour(f"journal/{_name(number)}") or b"").splitlines() if number else ():
        record = _json(line)
        entry = object_of(record, "entry") or record if isinstance(record, dict) else {}
        if entry:
            entries[string(entry, "id") or str(len(entries))] = entry
    return list(entries.values())


def _message(entry: Mapping[str, Any], model: str, conversation: Conversation) -> messages_pb2.Message | None:
    message = message_of(entry, conversation)
    if message is None:
        return None
    set_time(message, "create_time", entry.get("createdAt"), conversation)
    if message.role == messages_pb2.ROLE_ASSISTANT:
        message.model = message.model or model
        if entry.get("generationStatus") not in (None, "completed"):
            message.status = messages_pb2.MESSAGE_STATUS_INTERRUPTED
    return message


def _name(name: str) -> str:
    """Return a name out of a file, as one of a file in a folder: it leads nowhere else."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".")


def _neighbour_json(origin: Origin, name: str) -> Mapping[str, Any]:
    value = _json(origin.neighbour(name))
    return value if isinstance(value, dict) else {}


def _json(data: bytes | None) -> Any:
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
