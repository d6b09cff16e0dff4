"""gptme's logs: `~/.local/share/gptme/logs/NAME/conversation.jsonl`.

Times there are local and have no offset; `events.jsonl` beside it tells the offset. A tool's result has the
role system and a `call_id`; a call is text in the answer, and a thought one in the tag `think` before it.
Branches that an undo left are not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from typing import Any

from oblix.formats.agents.origin import (
    LOCAL_TIMES,
    PROGRAM_NOTE,
    Origin,
    complete,
    conversation_of,
    is_asked,
    local_zone,
)
from oblix.formats.conversations import Conversation, clean, keys, object_of, string
from oblix.formats.moments import set_time
from oblix.formats.parts import FILE_NOTE, call_part, result_part, separate_thoughts, text_part
from oblix.formats.turns import count
from oblix.v1 import messages_pb2

Line = Mapping[str, Any]

KNOWN = keys("metadata files file_hashes")

_FIELDS = keys("role content timestamp hide pinned call_id metadata files file_hashes quiet")
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?")
"""As Python writes a time without an offset."""
_CALL = re.compile(r"^@([\w.-]{1,100})\(([^)\n]{1,100})\): ", re.MULTILINE)
_PROGRAMS = re.compile(r"<system>.*</system>", re.DOTALL)
"""What gptme says in the person's place where it runs without one."""
_QUARTER = 15 * 60
_MOST = 14 * 3600
_EVENTS_READ = 400


def matches(lines: Sequence[Any]) -> bool:
    """Return whether the first lines look like a log's: flat texts of three roles, with local times.

    Another line among them, for example a tool's, makes it any program's list of messages.
    """
    return bool(lines) and all(isinstance(line, dict) and _is_line(line) for line in lines)


def _is_line(line: Line) -> bool:
    return (
        {"role", "content", "timestamp"} <= line.keys() <= _FIELDS
        and isinstance(line["content"], str)
        and string(line, "role") in ("system", "user", "assistant")
        and _LOCAL_TIME.fullmatch(string(line, "timestamp")) is not None
    )


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a log."""
    name = origin.path.parent.name
    conversation = conversation_of("gptme", f"{name}-{origin.digest[:6]}", title=name)
    conversation.source = list(lines)
    zone = _zone(origin)
    if zone is None:
        zone = local_zone()
        conversation.note(LOCAL_TIMES)
    for number, line in enumerate(lines, 1):
        if isinstance(line, dict):
            conversation.add(line, f"line {number}", partial(_message, line, zone, conversation))
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _zone(origin: Origin) -> tzinfo | None:
    """Return the offset of the log's times: an event has the same moment in UTC, too."""
    for line in (origin.neighbour("events.jsonl") or b"").splitlines()[:_EVENTS_READ]:
        try:
            event = json.loads(line)
            local, instant = _times(event)
        except (ValueError, TypeError, RecursionError):
            continue
        seconds = (local - instant).total_seconds()
        offset = round(seconds / _QUARTER) * _QUARTER
        if abs(offset) <= _MOST and abs(seconds - offset) < _QUARTER / 3:
            return timezone(timedelta(seconds=offset))
    return None


def _times(event: Any) -> tuple[datetime, datetime]:
    """Return the local and the true time of an event. Raises ValueError or TypeError if one is missing."""
    given = object_of(object_of(event, "payload"), "message") or object_of(event, "message") or event
    local = datetime.fromisoformat(string(given, "timestamp") or string(event, "timestamp"))
    instant = datetime.fromisoformat(string(event, "ts"))
    if local.tzinfo is not None or instant.tzinfo is None:
        raise ValueError
    return local.replace(tzinfo=UTC), instant.astimezone(UTC)


def _message(line: Line, zone: tzinfo, conversation: Conversation) -> messages_pb2.Message | None:
    role, said = string(line, "role"), string(line, "content")
    if line.get("hide") is True:
        conversation.pass_over(line)
        return None
    if role == "user" and _PROGRAMS.fullmatch(said.strip()):
        conversation.leave_out(line, PROGRAM_NOTE)
        return None
    if role == "system":
        if not line.get("call_id") and not conversation.messages:
            conversation.pass_over(line)
            return None
        kind, parts = messages_pb2.ROLE_TOOL, [_result(line, said)]
    elif role == "assistant":
        kind, parts = messages_pb2.ROLE_ASSISTANT, list(_answer(said, conversation))
    else:
        kind, parts = messages_pb2.ROLE_USER, [text_part(said)] if said else []
        parts += _files(line, conversation)
    message = messages_pb2.Message(role=kind, status=messages_pb2.MESSAGE_STATUS_COMPLETE, parts=parts)
    if kind == messages_pb2.ROLE_ASSISTANT:
        about = object_of(line, "metadata")
        message.model = string(about, "model", "served_model").replace("/", ":", 1)
        count(message, about)
    set_time(message, "create_time", line.get("timestamp"), conversation, zone)
    return message


def _files(line: Line, conversation: Conversation) -> list[messages_pb2.Part]:
    """Name the files of a question: their content is not in the log."""
    given = line.get("files")
    names = [name for name in given if isinstance(name, str)] if isinstance(given, list) else []
    if names:
        conversation.note(FILE_NOTE, len(names))
    return [text_part(f"\n[file: {name}]") for name in names]


def _result(line: Line, text: str) -> messages_pb2.Part:
    return result_part(line.get("call_id"), text) if line.get("call_id") else text_part(text)


def _answer(text: str, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    """Yield the text and the calls in it: `@tool(id): {...}`, each at the beginning of a line."""
    thoughts, without_thoughts = separate_thoughts(text)
    if thoughts:
        conversation.rewritten.append(text)
        text = without_thoughts
    yield from thoughts
    start, decoder = 0, json.JSONDecoder()
    for found in _CALL.finditer(text):
        if found.start() < start:
            continue
        try:
            arguments, end = decoder.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            continue
        if before := text[start : found.start()].strip("\n"):
            yield text_part(clean(before))
        conversation.rewritten.append(text)
        yield call_part(found.group(2), found.group(1), arguments)
        start = end
    if rest := text[start:].strip("\n") if start else text:
        yield text_part(rest)
