"""Continue's sessions: `~/.continue/sessions/SESSION.json`, of its editor extensions and of `cn`.

A tool's result stands with the call (`toolCallStates`), and in some versions also in a message of the role
`tool`. Messages have no times; `sessions.json` beside the file has the session's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from oblix.formats.agents.origin import SUMMARY_NOTE, Origin, complete, conversation_of, is_asked
from oblix.formats.conversations import Conversation, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, file_part, parts_of, result_part
from oblix.formats.turns import count
from oblix.v1 import messages_pb2

Item = Mapping[str, Any]

KNOWN = keys(
    "editorState promptLogs appliedRules parsedArgs processedArgs mode chatModelTitle signature "
    "redactedThinking reasoning_details description uri gitDiff"
)
NO_TIMES = "messages have no times in this tool's files"

_UNTITLED = ("Untitled Session", "New Session")
_ROLES = {
    "user": messages_pb2.ROLE_USER,
    "assistant": messages_pb2.ROLE_ASSISTANT,
    "thinking": messages_pb2.ROLE_ASSISTANT,
    "tool": messages_pb2.ROLE_TOOL,
}


def matches(lines: Sequence[Any]) -> bool:
    """Return whether a file is a session."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    history = objects(first.get("history"))
    return "sessionId" in first and bool(history) and all("message" in item for item in history)


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a session. Nothing where nobody asked anything."""
    about = objects(lines)[0]
    name, title = string(about, "sessionId"), string(about, "title")
    directory = string(about, "workspaceDirectory").removeprefix("file://")
    conversation = conversation_of(
        "continue", name, title="" if title in _UNTITLED else title, directory=directory
    )
    history = objects(about.get("history"))
    conversation.source = history
    conversation.note(NO_TIMES)
    set_time(conversation.session, "create_time", _start_time(origin, name), conversation)
    told = {
        string(object_of(item, "message"), "toolCallId")
        for item in history
        if string(object_of(item, "message"), "role") == "tool"
    }
    for number, item in enumerate(history, 1):
        conversation.add(item, f"item {number}", partial(_message, item, conversation))
        _add_results(item, told, conversation)
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _start_time(origin: Origin, name: str) -> str:
    """Return when the session began, empty where its index does not say so."""
    try:
        entries = objects(json.loads(origin.neighbour("sessions.json") or b"[]"))
    except (ValueError, RecursionError):
        return ""
    return next((string(entry, "dateCreated") for entry in entries if entry.get("sessionId") == name), "")


def _message(item: Item, conversation: Conversation) -> messages_pb2.Message | None:
    given = object_of(item, "message")
    role = _ROLES.get(string(given, "role"))
    if summary := item.get("conversationSummary"):
        conversation.leave_out(summary, SUMMARY_NOTE)
    if role is None:
        conversation.pass_over(item)
        return None
    parts = parts_of(given.get("content"), conversation)
    if string(given, "role") == "thinking":
        parts = [messages_pb2.Part(reasoning="\n".join(part.text for part in parts))]
    elif role == messages_pb2.ROLE_TOOL:
        said = "\n".join(part.text for part in parts)
        parts = [result_part(given.get("toolCallId"), said)]
    elif role == messages_pb2.ROLE_USER:
        for each in objects(item.get("contextItems")):
            parts += file_part({"name": string(each, "name"), "content": each.get("content")}, conversation)
    else:
        if thought := string(object_of(item, "reasoning"), "text"):
            parts.insert(0, messages_pb2.Part(reasoning=thought))
        for call in objects(given.get("toolCalls")):
            function = object_of(call, "function")
            parts.append(call_part(call.get("id"), string(function, "name"), function.get("arguments")))
    message = messages_pb2.Message(role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE, parts=parts)
    if role == messages_pb2.ROLE_ASSISTANT:
        message.model = string(object_of(given, "usage"), "model")
        count(message, given)
    return message


def _add_results(item: Item, told: set[str], conversation: Conversation) -> None:
    """Add what the tools of an answer gave, unless messages of their own say it."""
    message = messages_pb2.Message(role=messages_pb2.ROLE_TOOL, status=messages_pb2.MESSAGE_STATUS_COMPLETE)
    for state in objects(item.get("toolCallStates")):
        call_id, status = string(state, "toolCallId"), string(state, "status")
        output = [string(each, "content") for each in objects(state.get("output"))]
        if call_id not in told and (output or status in ("errored", "canceled")):
            conversation.rewritten += output
            is_error = status in ("errored", "canceled")
            said = "\n".join(output) or status
            message.parts.append(result_part(call_id, said, is_error=is_error))
    if message.parts:
        conversation.messages.append(message)
