"""Cline's sessions: `~/.cline/data/sessions/SESSION/SESSION.messages.json`, and the tasks of older versions.

A task is a list, `tasks/TASK/api_conversation_history.json` in the editor's storage; Roo Code and Kilo Code
write it, too. The person's words stand in tags (`<user_input>`, `<task>`, `<feedback>`), beside texts of the
program's (`<environment_details>`), and what tools gave is a message of the role user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from oblix.formats.agents.origin import PROGRAM_NOTE, Origin, complete, conversation_of, is_asked
from oblix.formats.conversations import Conversation, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import parts_of, result_part, result_parts, text_part
from oblix.v1 import messages_pb2

Item = Mapping[str, Any]

KNOWN = keys("system_prompt metrics modelInfo origin agent signature query displayRole")

_PERSONS = re.compile(r'<(user_input|task|feedback|user_message|answer)(?: mode="\w+")?>')
_PROGRAMS = ("<environment_details>", "[ERROR]", "[TASK RESUMPTION]", "<explicit_instructions", "# todo_list")
_RESULT = re.compile(r"^\[[a-z_]+(?: for '.*?')?\] Result:\s*", re.DOTALL)
_FOLDER = re.compile(r"# Current (?:Working|Workspace) Directory \(([^)\n]{1,4096})\)")
EXTENSIONS = {
    "saoudrizwan.claude-dev": "cline",
    "rooveterinaryinc.roo-cline": "roo-code",
    "kilocode.kilo-code": "kilo-code",
}
"""Of editors, that write tasks: by the folder that each has in the editor's storage."""


def matches(lines: Sequence[Any]) -> bool:
    """Return whether a file is a session, or the first message of a task."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    if isinstance(first.get("messages"), list):
        return {"sessionId", "agent", "messages"} <= first.keys()
    said = [string(block, "text").lstrip() for block in objects(first.get("content"))]
    return first.get("role") == "user" and any(text.startswith(("<task>", _PROGRAMS[0])) for text in said)


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a session, or a task. Nothing where nobody asked anything."""
    first = objects(lines)[0]
    conversation, items = _session(first, origin) if "messages" in first else _task(objects(lines), origin)
    conversation.source = items
    for number, item in enumerate(items, 1):
        conversation.add(item, f"message {number}", partial(_message, item, conversation))
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _session(document: Item, origin: Origin) -> tuple[Conversation, Sequence[Item]]:
    name = string(document, "sessionId")
    about = _json(origin.neighbour(f"{origin.path.name.removesuffix('.messages.json')}.json"))
    conversation = conversation_of(
        "cline", name, title=string(object_of(about, "metadata"), "title"), directory=string(about, "cwd"),
        version=string(object_of(document, "origin"), "version"),
    )  # fmt: skip
    set_time(conversation.session, "create_time", about.get("started_at"), conversation)
    return conversation, objects(document.get("messages"))


def _task(items: Sequence[Item], origin: Origin) -> tuple[Conversation, Sequence[Item]]:
    parents = origin.path.absolute().parents
    tool = next((EXTENSIONS[parent.name] for parent in parents if parent.name in EXTENSIONS), "cline")
    texts = (string(block, "text") for item in items for block in objects(item.get("content")))
    folder = next((found.group(1) for text in texts if (found := _FOLDER.search(text))), "")
    name = parents[0].name
    is_id = not name.strip("0123456789abcdef-")
    conversation = conversation_of(tool, name if is_id else origin.digest, directory=folder)
    if name.isdecimal():
        set_time(conversation.session, "create_time", name, conversation)
    return conversation, items


def _message(item: Item, conversation: Conversation) -> messages_pb2.Message | None:
    blocks = item.get("content")
    if string(item, "role") == "user":
        role, parts = _said_by_user(blocks, conversation)
    else:
        role, parts = messages_pb2.ROLE_ASSISTANT, parts_of(blocks, conversation)
    message = messages_pb2.Message(
        id=string(item, "id"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE, parts=parts
    )
    if role == messages_pb2.ROLE_ASSISTANT:
        model, metrics = object_of(item, "modelInfo"), object_of(item, "metrics")
        provider, name = string(model, "provider", "providerId"), string(model, "id", "modelId")
        message.model = ":".join(filter(None, (provider, name)))
        for field, key in (("input_tokens", "inputTokens"), ("output_tokens", "outputTokens")):
            if isinstance(metrics.get(key), int) and 0 < metrics[key] < 2**53:
                setattr(message.usage, field, metrics[key])
        if object_of(item, "metadata").get("displayRole") == "error":
            message.status = messages_pb2.MESSAGE_STATUS_FAILED
    set_time(message, "create_time", item.get("ts"), conversation)
    return message


def _said_by_user(
    blocks: object, conversation: Conversation
) -> tuple[messages_pb2.Role.ValueType, list[messages_pb2.Part]]:
    """Tell the person's words from what tools gave and from the program's own."""
    parts: list[messages_pb2.Part] = []
    for block in [{"type": "text", "text": blocks}] if isinstance(blocks, str) else objects(blocks):
        if string(block, "type") == "tool_result":
            parts += _result(block, conversation)
        elif string(block, "type") == "text":
            parts += _text(string(block, "text"), conversation)
        else:
            parts += parts_of(block, conversation)
    is_result = any(part.HasField("tool_result") for part in parts)
    return (messages_pb2.ROLE_TOOL if is_result else messages_pb2.ROLE_USER), parts


def _result(block: Item, conversation: Conversation) -> list[messages_pb2.Part]:
    content = block.get("content")
    if found := [each for each in objects(content) if "result" in each]:
        content = "\n".join(string(each, "result") for each in found)
        conversation.rewritten += [string(each, "error") for each in found]
    is_error = block.get("is_error") is True or any(each.get("success") is False for each in found)
    return result_parts(block.get("tool_use_id"), content, conversation, is_error=is_error)


def _text(text: str, conversation: Conversation) -> list[messages_pb2.Part]:
    result = _RESULT.match(text)
    said, rest = _separate(text[result.end() :] if result else text)
    conversation.rewritten.append(text)
    if result:
        return [result_part("", rest.strip()), *(text_part(each) for each in said)]
    if said:
        return [text_part("\n\n".join(said))]
    if text.lstrip().startswith(_PROGRAMS):
        conversation.note(PROGRAM_NOTE)
        return []
    return [text_part(text)] if text else []


def _separate(text: str) -> tuple[list[str], str]:
    """Return what stands in the person's tags, and the rest.

    A tag without an end is searched for once: an expression would do so from each of them.
    """
    said, rest, end, unclosed = list[str](), list[str](), 0, set[str]()
    for tag in _PERSONS.finditer(text):
        if tag.start() < end or tag[1] in unclosed:
            continue
        close = text.find(f"</{tag[1]}>", tag.end())
        if close < 0:
            unclosed.add(tag[1])
            continue
        said.append(text[tag.end() : close].strip())
        rest.append(text[end : tag.start()])
        end = close + len(f"</{tag[1]}>")
    return said, "".join([*rest, text[end:]])


def _json(data: bytes | None) -> Item:
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
