"""mistral-vibe's sessions: folders `~/.vibe/logs/session/unified/SESSION/`, of which `CURRENT` is read first.

`CURRENT` names the generation, its manifest the chunks of entries: messages, thoughts, and tools that ran
(`effect-...`). Chunks of older generations stay in the folder; the journal has what came after the generation
was written. A call that vibe refused to run is in the model's view only (`checkpoint`).

Version 1 wrote one file for each run, `~/.vibe/logs/session/session_TIME_ID.json`; read from files of 1.3.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from oblix.formats.agents.origin import (
    LOCAL_TIMES,
    Origin,
    complete,
    conversation_of,
    file_name,
    is_asked,
    local_zone,
)
from oblix.formats.conversations import Conversation, keys, object_of, objects, string, unreadable
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, parts_of, result_part
from oblix.formats.turns import message_of
from oblix.v1 import messages_pb2

REFUSED = "calls that the tool refused to run left out"
KNOWN = keys(
    "turnId inputEntryId source outcome sessionId relatedEntryId manifest_sha256 store_format display detail "
    "state title"
)

_STORE = "mistral.vibe.unified-session-store/v1"


def matches(lines: Sequence[Any]) -> bool:
    """Return whether a file is the `CURRENT` of a session, or a session of version 1."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    return _is_older(first) or string(first, "store_format").startswith("mistral.vibe.unified-session-store")


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a session. Raises InvalidArgumentError for a store of another version."""
    current = objects(lines)[0]
    if _is_older(current):
        return _read_older(current)
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
    _Entries(conversation, model).take(entries)
    ran = sum(_is_tool(entry) for entry in entries)
    if (refused := _calls(origin, string(current, "generation")) - ran) > 0:
        conversation.note(REFUSED, refused)
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _is_older(document: Mapping[str, Any]) -> bool:
    about = object_of(document, "metadata")
    return {"session_id", "environment", "stats"} <= about.keys() and "messages" in document


def _read_older(document: Mapping[str, Any]) -> list[Conversation]:
    """Read a session of version 1: one file. A continued run wrote another one, with all that was before."""
    about = object_of(document, "metadata")
    directory = string(object_of(about, "environment"), "working_directory")
    conversation = conversation_of("mistral-vibe", string(about, "session_id"), directory=directory)
    conversation.note(LOCAL_TIMES)
    for name in ("create_time", "update_time"):
        when = about.get("start_time" if name == "create_time" else "end_time")
        set_time(conversation.session, name, when, conversation, local_zone())
    said = [each for each in objects(document["messages"]) if string(each, "role") != "system"]
    conversation.source = said
    model = string(object_of(about, "agent_config"), "active_model")
    _Entries(conversation, model).take(said)
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _entries(origin: Origin, generation: str) -> list[Mapping[str, Any]]:
    """Return what was said, in order: the chunks of the generation, then the journal after it."""
    manifest = _neighbour_json(origin, f"generations/{file_name(generation)}/manifest.json")
    chunks = object_of(manifest, "projection_state").get("chunks")
    entries: dict[str, Mapping[str, Any]] = {}
    for chunk in chunks if isinstance(chunks, list) else []:
        for entry in objects(_json(origin.neighbour(f"chunks/{file_name(str(chunk))}.json"))):
            entries[string(entry, "id") or str(len(entries))] = entry
    segment = object_of(manifest, "recovery_journal_segment")
    number = string(segment, "path").rpartition("/")[2]
    for line in (origin.neighbour(f"journal/{file_name(number)}") or b"").splitlines() if number else ():
        for entry in _entries_in(_json(line)):
            entries[string(entry, "id") or str(len(entries))] = entry
    return list(entries.values())


def _entries_in(record: object) -> list[Mapping[str, Any]]:
    """Return the entries that a record of the journal adds or changes."""
    if not isinstance(record, dict):
        return []
    changes = objects(object_of(record, "payload").get("delta"))
    return [entry for change in changes if (entry := object_of(change, "entry"))]


def _calls(origin: Origin, generation: str) -> int:
    """Return how many calls the model's view has."""
    manifest = _neighbour_json(origin, f"generations/{file_name(generation)}/manifest.json")
    chunks = object_of(manifest, "checkpoint").get("chunks")
    return sum(
        string(block, "type") == "tool_call"
        for chunk in (chunks if isinstance(chunks, list) else [])
        for item in objects(_json(origin.neighbour(f"chunks/{file_name(str(chunk))}.json")))
        for block in objects(object_of(item, "message").get("content"))
    )


def _is_tool(entry: Mapping[str, Any]) -> bool:
    return string(object_of(entry, "detail"), "kind") == "tool"


class _Entries:
    """One pass over the entries: thoughts and calls stand beside the answer that they belong to."""

    def __init__(self, conversation: Conversation, model: str) -> None:
        self._conversation = conversation
        self._model = model
        self._thoughts: list[messages_pb2.Part] = []

    def take(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add what was said."""
        for entry in entries:
            if string(entry, "type") == "reasoning":
                said = "\n".join(part.text for part in parts_of(entry.get("text"), self._conversation))
                self._thoughts += [messages_pb2.Part(reasoning=said)] if said else []
            elif _is_tool(entry):
                self._add_call(entry)
            else:
                self._conversation.add(entry, f"entry {string(entry, 'id')}", lambda: self._message(entry))  # noqa: B023 - called at once

    def _message(self, entry: Mapping[str, Any]) -> messages_pb2.Message | None:
        message = message_of(entry, self._conversation)
        if message is None:
            return None
        set_time(message, "create_time", entry.get("createdAt"), self._conversation)
        if message.role == messages_pb2.ROLE_ASSISTANT:
            message.model = message.model or self._model
            self._prepend_thoughts(message)
            if entry.get("generationStatus") not in (None, "completed"):
                message.status = messages_pb2.MESSAGE_STATUS_INTERRUPTED
        return message

    def _prepend_thoughts(self, message: messages_pb2.Message) -> None:
        parts = [*self._thoughts, *message.parts]
        self._thoughts = []
        del message.parts[:]
        message.parts.extend(parts)

    def _add_call(self, entry: Mapping[str, Any]) -> None:
        """Add a call to the answer before it, and the result behind it."""
        messages, call_id = self._conversation.messages, string(entry, "id")
        detail, state = object_of(entry, "detail"), object_of(entry, "state")
        if self._thoughts or not messages or messages[-1].role != messages_pb2.ROLE_ASSISTANT:
            messages.append(self._new_message(entry, messages_pb2.ROLE_ASSISTANT))
            messages[-1].model = self._model
            self._prepend_thoughts(messages[-1])
        messages[-1].parts.append(call_part(call_id, string(detail, "toolName"), detail.get("input")))
        output = object_of(state, "output")
        is_error = string(state, "status") != "completed" or string(output, "type") not in ("", "success")
        result = self._new_message(entry, messages_pb2.ROLE_TOOL)
        result.parts.append(result_part(call_id, self._result(state, output), is_error=is_error))
        messages.append(result)

    def _result(self, state: Mapping[str, Any], output: Mapping[str, Any]) -> str:
        if said := string(state, "outputText"):
            return said
        if found := parts_of(output.get("content"), self._conversation):
            return "\n".join(part.text for part in found)
        given = output.get("structured_content") or output.get("error") or state.get("error") or ""
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)

    def _new_message(
        self, entry: Mapping[str, Any], role: messages_pb2.Role.ValueType
    ) -> messages_pb2.Message:
        message = messages_pb2.Message(role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE)
        set_time(message, "create_time", entry.get("createdAt"), self._conversation)
        return message


def _neighbour_json(origin: Origin, name: str) -> Mapping[str, Any]:
    value = _json(origin.neighbour(name))
    return value if isinstance(value, dict) else {}


def _json(data: bytes | None) -> Any:
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
