"""aider's history: `.aider.chat.history.md` in a project's folder, Markdown that can't be read back for sure.

A line that starts with `#### ` is the person's, one that starts with `> ` aider's own, the rest the answer.
Inside a code block neither is taken for one. Each run of aider is a conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, tzinfo

from oblix.formats.agents.origin import (
    LOCAL_TIMES,
    Origin,
    complete,
    conversation_of,
    is_asked,
    local_zone,
)
from oblix.formats.conversations import Conversation, clean
from oblix.formats.moments import set_time
from oblix.formats.parts import text_part
from oblix.v1 import messages_pb2

NAME = ".aider.chat.history.md"
GUESSED = "headings of the fourth level taken as the person's words, quotes as aider's own"

_START = re.compile(r"^# aider chat started at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\s*$", re.MULTILINE)
_FENCE = re.compile(r"^(`{3,}|~{3,})")
_MODEL = re.compile(r"^> (?:Main )?[Mm]odel: (\S+)")
_PERSONS = "#### "


def matches(text: str) -> bool:
    """Return whether a text looks like a history."""
    return _START.search(text[:4096]) is not None


def read(text: str, origin: Origin) -> Iterator[Conversation]:
    """Read each run in which somebody asked something."""
    zone = local_zone()
    pieces = _START.split(text)
    for started, body in zip(pieces[1::2], pieces[2::2], strict=True):
        name = f"{origin.digest}-{started.replace(' ', 'T')}"
        conversation = conversation_of("aider", name, directory=str(origin.path.absolute().parent))
        conversation.note(LOCAL_TIMES)
        conversation.note(GUESSED)
        set_time(conversation.session, "create_time", started, conversation, zone)
        _take(body, conversation, _instant(started, zone))
        complete(conversation)
        if is_asked(conversation):
            yield conversation


def _instant(start: str, zone: tzinfo) -> str:
    try:
        return datetime.fromisoformat(start).replace(tzinfo=zone).isoformat()
    except ValueError:
        return ""


def _take(body: str, conversation: Conversation, start: str) -> None:
    model, lines, role = "", list[str](), messages_pb2.ROLE_ASSISTANT
    for speaker, line in _lines_with_roles(body):
        if speaker is None:
            found = _MODEL.match(line)
            model = found.group(1) if found else model
            continue
        if speaker != role:
            _add(conversation, role, lines, model, start)
            lines, role = [], speaker
        lines.append(line)
    _add(conversation, role, lines, model, start)


def _lines_with_roles(body: str) -> Iterator[tuple[messages_pb2.Role.ValueType | None, str]]:
    """Yield each line with its role; None is aider itself."""
    fence = ""
    for line in body.splitlines():
        mark = _FENCE.match(line)
        if fence:
            fence = (
                "" if mark and mark.group(1).startswith(fence) and not line[mark.end() :].strip() else fence
            )
            yield messages_pb2.ROLE_ASSISTANT, line
        elif line.startswith(_PERSONS) or line == _PERSONS.strip():
            yield messages_pb2.ROLE_USER, line.removeprefix("####").strip()
        elif line.startswith("> "):
            yield None, line
        else:
            fence = mark.group(1) if mark else ""
            yield messages_pb2.ROLE_ASSISTANT, line


def _add(
    conversation: Conversation, role: messages_pb2.Role.ValueType, lines: list[str], model: str, start: str
) -> None:
    said = clean("\n".join(lines).strip())
    if not said:
        return
    message = messages_pb2.Message(
        role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE, parts=[text_part(said)]
    )
    if role == messages_pb2.ROLE_ASSISTANT:
        message.model = model.replace("/", ":", 1)
    set_time(message, "create_time", start, conversation)
    conversation.messages.append(message)
