"""gemini-cli's chats: `~/.gemini/tmp/PROJECT/chats/session-TIME-ID.jsonl`, a log that is replayed.

A line `{"$set": {"messages": [...]}}` replaces the whole list; a message whose id is known replaces that one.
Older versions wrote one JSON object with the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from oblix.formats.agents.origin import Origin, complete, conversation_of, is_asked
from oblix.formats.conversations import Conversation, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, parts_of, result_parts
from oblix.formats.turns import count
from oblix.v1 import messages_pb2

Line = Mapping[str, Any]

KNOWN = keys(
    "projectHash displayName description resultDisplay renderOutputAsMarkdown subject kind warmupMessage"
)

_CONTEXT = "<session_context>"
_PROGRAM_KINDS = ("info", "error", "warning", "about", "help", "stats", "quit")


def matches(lines: Sequence[Any]) -> bool:
    """Return whether the first line looks like the head of a chat."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    return "sessionId" in first and "projectHash" in first


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a chat. Nothing where nobody asked anything: a resumed run goes on in the first one's file."""
    about, replayed = _replay(lines)
    directory = origin.text("../.project_root")
    conversation = conversation_of("gemini-cli", string(about, "sessionId"), directory=directory)
    conversation.source = list(lines)
    set_time(conversation.session, "create_time", about.get("startTime"), conversation)
    set_time(conversation.session, "update_time", about.get("lastUpdated"), conversation)
    answered: set[str] = set()
    for item in replayed:
        conversation.add(item, f"message {string(item, 'id')}", partial(_message, item, conversation))
        for part in _results(item, conversation, answered):
            message = messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=part)
            message.status = messages_pb2.MESSAGE_STATUS_COMPLETE
            set_time(message, "create_time", item.get("timestamp"), conversation)
            conversation.messages.append(message)
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _replay(lines: Sequence[Any]) -> tuple[dict[str, Any], list[Line]]:
    about: dict[str, Any] = {}
    messages: dict[str, Line] = {}
    for line in objects(lines):
        change = object_of(line, "$set") or (line if "sessionId" in line else {})
        about.update({key: value for key, value in change.items() if key != "messages"})
        if isinstance(change.get("messages"), list):
            messages = {
                string(item, "id") or str(n): item for n, item in enumerate(objects(change["messages"]))
            }
        elif "type" in line:
            messages[string(line, "id") or str(len(messages))] = line
    return about, list(messages.values())


def _message(item: Line, conversation: Conversation) -> messages_pb2.Message | None:
    kind, content = string(item, "type"), item.get("content")
    if kind in _PROGRAM_KINDS:
        conversation.pass_over(item)
        return None
    is_answer = kind == "gemini"
    role = messages_pb2.ROLE_ASSISTANT if is_answer else messages_pb2.ROLE_USER
    message = messages_pb2.Message(
        id=string(item, "id"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE
    )
    if is_answer:
        for thought in objects(item.get("thoughts")):
            said = "\n".join(filter(None, (string(thought, "subject"), string(thought, "description"))))
            message.parts.append(messages_pb2.Part(reasoning=said))
    message.parts.extend(part for part in parts_of(content, conversation) if _is_said(part, is_answer))
    if not is_answer and message.parts and message.parts[0].text.lstrip().startswith(_CONTEXT):
        conversation.rewritten += [part.text for part in message.parts]
        return None
    if is_answer:
        for call in objects(item.get("toolCalls")):
            message.parts.append(call_part(call.get("id"), string(call, "name"), call.get("args")))
        message.model = f"gemini:{model}" if (model := string(item, "model")) else ""
        count(message, item)
    set_time(message, "create_time", item.get("timestamp"), conversation)
    return message


def _is_said(part: messages_pb2.Part, is_answer: bool) -> bool:
    """Thoughts, calls and results stand in fields of their own, too."""
    kind = part.WhichOneof("kind")
    return kind in ("text", "image") or (kind == "reasoning" and not is_answer)


def _results(item: Line, conversation: Conversation, seen_ids: set[str]) -> list[list[messages_pb2.Part]]:
    """Return what tools answered, each call once: it stands with the call, and in a line of the type user."""
    found = []
    calls = objects(item.get("toolCalls"))
    responses = [block for call in calls for block in objects(call.get("result"))]
    content = item.get("content")
    responses += [block for block in objects(content) if "functionResponse" in block]
    for block in responses:
        response = object_of(block, "functionResponse")
        call_id = string(response, "id")
        if response and call_id not in seen_ids:
            seen_ids.add(call_id)
            said = object_of(response, "response")
            output = said.get("output", said.get("error", said))
            found.append(result_parts(call_id, output, conversation, is_error="error" in said))
    return found
