"""pi's sessions: `~/.pi/agent/sessions/FOLDER/TIME_ID.jsonl`, a tree of entries in one file.

The branch of the last entry is the conversation; the other ones are forks of it. A fork to another file has
the entries before it once more, with the same ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from oblix.formats.agents.origin import SUMMARY_NOTE, Origin, complete, conversation_of, is_asked
from oblix.formats.conversations import Conversation, Fork, keys, object_of, objects, string
from oblix.formats.moments import moment, set_time
from oblix.formats.parts import call_part, parts_of, result_part, result_parts, text_part
from oblix.formats.trees import Tree
from oblix.formats.turns import count
from oblix.v1 import messages_pb2

Line = Mapping[str, Any]

KNOWN = keys("sections toolsAdded usage cwd parentSession details thinkingLevel api toolName rawStopReason")

_FILE = re.compile(r'<file name="([^"]*)">(.*?)</file>\s*', re.DOTALL)
_QUIET = ("model_change", "thinking_level_change", "session_info", "label", "custom")
_SUMMARIES = ("branch_summary", "compaction")


def matches(lines: Sequence[Any]) -> bool:
    """Return whether the first line looks like the head of a session."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    return first.get("type") == "session" and "cwd" in first


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a session, and its other branches."""
    about, entries = objects(lines)[0], objects(lines)[1:]
    conversation = conversation_of(
        "pi", string(about, "id"), title=_title(entries), directory=string(about, "cwd"),
        version=string(about, "version"),
    )  # fmt: skip
    conversation.source = list(lines)
    set_time(conversation.session, "create_time", about.get("timestamp"), conversation)
    nodes = {string(entry, "id") or f"entry {n}": entry for n, entry in enumerate(entries)}
    messages = [name for name in nodes if nodes[name].get("type") == "message"]

    def add(into: Conversation, entry: Any) -> None:
        into.add(entry, f"entry {entry.get('id')}", lambda: _message(entry, into))

    Tree(nodes, conversation, parent="parentId").read(messages[-1] if messages else None, add)
    if parent := string(about, "parentSession"):
        start = moment(about.get("timestamp"))
        shared = sum(start is not None and each.create_time.ToNanoseconds() < start.ToNanoseconds()
                     for each in conversation.messages)  # fmt: skip
        conversation.fork = Fork(f"pi:{PurePath(parent).stem.rpartition('_')[2]}", shared)
    for each in (conversation, *conversation.branches):
        complete(each)
    return [conversation] if is_asked(conversation) else []


def _title(entries: Sequence[Line]) -> str:
    named = [string(entry, "name") for entry in entries if entry.get("type") == "session_info"]
    return named[-1] if named else ""


def _message(entry: Line, conversation: Conversation) -> messages_pb2.Message | None:
    kind, given = string(entry, "type"), object_of(entry, "message")
    if kind in _SUMMARIES:
        conversation.leave_out(entry, SUMMARY_NOTE)
        return None
    if kind in _QUIET or string(given, "role") == "system":
        conversation.pass_over(entry)
        return None
    if kind != "message":
        # A kind that is newer than this reader: the account of its words says so.
        return None
    role, parts = _role_and_parts(given, conversation)
    message = messages_pb2.Message(
        id=string(entry, "id"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE, parts=parts
    )
    if role == messages_pb2.ROLE_ASSISTANT:
        message.model = ":".join(filter(None, (string(given, "provider"), string(given, "model"))))
        count(message, given)
        if string(given, "stopReason") in ("aborted", "error"):
            message.status = messages_pb2.MESSAGE_STATUS_INTERRUPTED
    set_time(message, "create_time", given.get("timestamp") or entry.get("timestamp"), conversation)
    return message


def _role_and_parts(
    message: Line, conversation: Conversation
) -> tuple[messages_pb2.Role.ValueType, list[messages_pb2.Part]]:
    role = string(message, "role")
    if role == "toolResult":
        is_error = message.get("isError") is True
        parts = result_parts(
            message.get("toolCallId"), message.get("content"), conversation, is_error=is_error
        )
        return messages_pb2.ROLE_TOOL, parts
    if role == "bashExecution":
        call = call_part("", "bash", {"command": string(message, "command")})
        return messages_pb2.ROLE_USER, [call, result_part("", string(message, "output"))]
    is_user = role == "user"
    parts = parts_of(message.get("content"), conversation)
    if is_user:
        parts = [each for part in parts for each in _without_tags(part, conversation)]
    return (messages_pb2.ROLE_USER if is_user else messages_pb2.ROLE_ASSISTANT), parts


def _without_tags(part: messages_pb2.Part, conversation: Conversation) -> list[messages_pb2.Part]:
    """Return what the person typed, and the files before it. pi puts them into tags, empty for an image."""
    files, text, end = [], part.text, 0
    while found := _FILE.match(text, end):
        name, content = found.groups()
        if content.strip():
            files.append(text_part(f"[file: {name}]\n{content.strip()}\n\n"))
        end = found.end()
    if not end:
        return [part]
    conversation.rewritten.append(text)
    return [*files, *([text_part(text[end:])] if text[end:] else [])]
