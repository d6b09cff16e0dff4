"""Open WebUI's export of chats: a list of `{"id", "title", "chat": {"history": {"messages", "currentId"}}}`.

Each chat is a tree, of which the branch that was read last is taken: texts,
pictures that are in the file, thoughts as reasoning, the model's name as Open
WebUI calls it, and what an answer consumed.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from oblix._checks import text
from oblix._records import role_of
from oblix.formats import pictures, trees
from oblix.formats.conversations import (
    Conversation,
    fill_times,
    flag,
    items,
    mapping,
    named,
    optional_text,
    set_time,
)
from oblix.v1 import messages_pb2, sessions_pb2

Notes = Counter[str]

_THOUGHTS = re.compile(r'<details type="reasoning"[^>]*>\s*(?:<summary>[^<]*</summary>)?([^<]*)</details>\s*')
_LARGEST_SECONDS = 1e11
"""Some versions count milliseconds, microseconds or nanoseconds; as seconds these are past the year 5000."""


def matches(value: object) -> bool:
    """Whether a value looks like a chat of Open WebUI."""
    return isinstance(value, dict) and isinstance(value.get("chat"), dict)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a chat. Raises InvalidArgumentError with the path of what is wrong."""
    chat = mapping(document.get("chat"), "chat")
    session = sessions_pb2.Session(
        id=named(document, "id") or named(chat, "id"),
        title=optional_text(document, "title") or optional_text(chat, "title", "chat"),
        archived=flag(document, "archived"),
    )
    set_time(session, "create_time", _seconds(document.get("created_at")), "created_at")
    set_time(session, "update_time", _seconds(document.get("updated_at")), "updated_at")
    conversation = Conversation(session)
    for path, item in _said(chat):
        conversation.messages.append(_message(item, path, conversation.notes))
    fill_times(conversation)
    return conversation


def _said(chat: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each message with its path: the branch that was read last, or of old versions the list."""
    if chat.get("history") is None:
        for index, item in enumerate(items(chat.get("messages"), "chat.messages")):
            yield f"chat.messages[{index}]", mapping(item, f"chat.messages[{index}]")
        return
    history, path = mapping(chat["history"], "chat.history"), "chat.history.messages"
    nodes = mapping(history.get("messages"), path)
    leaf = history.get("currentId") or trees.newest_leaf(nodes, parent="parentId", path=path)
    for index, node in enumerate(trees.branch(nodes, leaf, parent="parentId", path=path)):
        yield f"message {index + 1}", node


def _message(item: Mapping[str, Any], path: str, notes: Notes) -> messages_pb2.Message:
    message = messages_pb2.Message(
        id=optional_text(item, "id", path),
        role=role_of(item.get("role"), f"{path}.role"),
        status=_status(item),
        parts=[*_texts(item, path), *_pictures(item, path, notes)],
    )
    if message.role == messages_pb2.ROLE_ASSISTANT:
        message.model = optional_text(item, "model", path)
        _count(message, item)
    set_time(message, "create_time", _seconds(item.get("timestamp")), f"{path}.timestamp")
    return message


def _status(item: Mapping[str, Any]) -> messages_pb2.MessageStatus.ValueType:
    if item.get("error"):
        return messages_pb2.MESSAGE_STATUS_FAILED
    is_cut = item.get("role") == "assistant" and item.get("done") is False
    return messages_pb2.MESSAGE_STATUS_INTERRUPTED if is_cut else messages_pb2.MESSAGE_STATUS_COMPLETE


def _texts(item: Mapping[str, Any], path: str) -> Iterator[messages_pb2.Part]:
    content = text(item.get("content") or "", f"{path}.content")
    if item.get("role") == "assistant":
        for thought in _THOUGHTS.findall(content):
            lines = html.unescape(thought).strip().splitlines()
            yield messages_pb2.Part(reasoning="\n".join(line.removeprefix("> ") for line in lines))
        content = _THOUGHTS.sub("", content)
    if content:
        yield messages_pb2.Part(text=content)


def _pictures(item: Mapping[str, Any], path: str, notes: Notes) -> Iterator[messages_pb2.Part]:
    for index, each in enumerate(items(item.get("files") or [], f"{path}.files")):
        at = f"{path}.files[{index}]"
        file = mapping(each, at)
        if file.get("type") == "image":
            yield pictures.part_of(text(file.get("url"), f"{at}.url"), f"{at}.url", notes)
        else:
            notes["files that are not in the export left out"] += 1


def _count(message: messages_pb2.Message, item: Mapping[str, Any]) -> None:
    """What the answer consumed, as servers of OpenAI's and of Ollama's kind call it."""
    usage = item.get("usage") or item.get("info")
    if not isinstance(usage, dict):
        return
    given = _tokens(usage, "prompt_tokens", "prompt_eval_count")
    taken = _tokens(usage, "completion_tokens", "eval_count")
    if given or taken:
        message.usage.CopyFrom(messages_pb2.Usage(input_tokens=given, output_tokens=taken))


def _tokens(usage: Mapping[str, Any], *names: str) -> int:
    counts = (usage.get(name) for name in names)
    return next((count for count in counts if type(count) is int and 0 < count < 2**53), 0)


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    while _LARGEST_SECONDS < value < _LARGEST_SECONDS * 1e9:
        value /= 1000
    return value
