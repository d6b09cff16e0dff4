"""Open WebUI's export of chats: a list of `{"id", "title", "chat": {"history": {"messages", "currentId"}}}`.

Each chat is a tree: texts, images that are in the file, thoughts as reasoning, the model's name as Open
WebUI calls it, and what an answer consumed.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from oblix.formats.conversations import (
    Conversation,
    fill_times,
    items,
    keys,
    mapping,
    object_of,
    objects,
    string,
)
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, is_content, link, result_parts, text_part
from oblix.formats.trees import Tree
from oblix.formats.turns import message_of
from oblix.v1 import messages_pb2, sessions_pb2

KNOWN = keys(
    "models meta params tags files statusHistory usage info embeds childrenIds system_context followUps "
    "selectedModelId annotation"
)
"""`models` and `files` of a chat are settings; those of a message are read. `followUps` are proposals."""

_ASIDE = re.compile(
    r'<details type="(?P<kind>reasoning|tool_calls)"(?P<told>[^>]*)>\s*(?:<summary>[^<]*</summary>)?'
    r"(?P<said>[^<]*)</details>\s*"
)
_TOLD = re.compile(r'(\w+)="([^"]*)"')
"""An attribute. Quotation marks in its value are escaped."""


def matches(value: object) -> bool:
    """Return whether a value looks like a chat of Open WebUI."""
    return isinstance(value, dict) and isinstance(value.get("chat"), dict)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a chat. Raises InvalidArgumentError where it has neither a tree nor a list of messages."""
    chat = mapping(document.get("chat"), "chat")
    session = sessions_pb2.Session(
        id=string(document, "id") or string(chat, "id"),
        title=string(document, "title") or string(chat, "title"),
        archived=document.get("archived") is True,
    )
    conversation = Conversation(session, source=document)
    set_time(session, "create_time", document.get("created_at"), conversation)
    set_time(session, "update_time", document.get("updated_at"), conversation)
    model = next((each for each in _list_of(chat, "models") if isinstance(each, str)), "")

    def add(into: Conversation, item: Any) -> None:
        into.add(item, "message", lambda: _message(item, model, into))

    if system := string(object_of(chat, "params"), "system") or string(chat, "system"):
        session.context["system"] = system
    history = object_of(chat, "history")
    if history.get("messages"):
        nodes = mapping(history["messages"], "chat.history.messages")
        Tree(nodes, conversation, parent="parentId", children="childrenIds").read(
            history.get("currentId"), add
        )
        # Older versions write the branch that was read last once more, as a list.
        conversation.pass_over(chat.get("messages"))
    else:
        for item in items(chat.get("messages"), "chat.messages"):
            add(conversation, item)
    for each in (conversation, *conversation.branches):
        fill_times(each)
    return conversation


def _list_of(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def _message(item: Any, model: str, conversation: Conversation) -> messages_pb2.Message | None:
    given = mapping(item, "message")
    message = message_of(given, conversation)
    if message is None:
        return None
    message.status = _status(given)
    if message.role == messages_pb2.ROLE_ASSISTANT:
        message.model = message.model or model
        _split_thoughts(message, conversation)
    if isinstance(error := given.get("error"), dict) and (said := string(error, "content", "message")):
        message.parts.append(text_part(said))
    message.parts.extend(_sources(given))
    return message


def _status(item: Mapping[str, Any]) -> messages_pb2.MessageStatus.ValueType:
    if item.get("error"):
        return messages_pb2.MESSAGE_STATUS_FAILED
    is_cut = item.get("role") == "assistant" and item.get("done") is False
    return messages_pb2.MESSAGE_STATUS_INTERRUPTED if is_cut else messages_pb2.MESSAGE_STATUS_COMPLETE


def _split_thoughts(message: messages_pb2.Message, conversation: Conversation) -> None:
    """Thoughts stand in the text, as HTML."""
    parts = list(message.parts)
    del message.parts[:]
    for part in parts:
        message.parts.extend(_split(part, conversation) if "<details" in part.text else [part])


def _split(part: messages_pb2.Part, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    conversation.rewritten.append(part.text)
    end = 0
    for found in _ASIDE.finditer(part.text):
        if before := part.text[end : found.start()]:
            yield text_part(before)
        end = found.end()
        if found["kind"] == "tool_calls":
            yield from _call(found["told"], conversation)
            continue
        lines = html.unescape(found["said"]).strip().splitlines()
        yield messages_pb2.Part(reasoning="\n".join(line.removeprefix("> ") for line in lines))
    if rest := part.text[end:]:
        yield text_part(rest)


def _call(attributes: str, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    """Yield a tool's call and what it gave, each of which is JSON in an attribute."""
    told = {key: html.unescape(value) for key, value in _TOLD.findall(attributes)}
    yield call_part(told.get("id"), told.get("name"), _unwrap(told.get("arguments", "")))
    if told.get("done") == "true":
        yield from result_parts(told.get("id"), _result(told.get("result", "")), conversation)


def _result(text: str) -> object:
    """Return a text, or blocks of content. Any other value is the tool's own, and stays JSON."""
    value = _unwrap(text)
    return value if isinstance(value, str) or is_content(value) else text


def _unwrap(text: str) -> object:
    """Return what a JSON text says; another one as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _sources(item: Mapping[str, Any]) -> Iterator[messages_pb2.Part]:
    """Yield what an answer cites: names and addresses. The passages themselves are the search's, not said."""
    links: dict[str, str] = {}
    for given in [*objects(item.get("sources")), *objects(item.get("citations"))]:
        source = object_of(given, "source")
        name, url = string(source, "name", "id"), string(source, "url")
        for each in [source, *objects(given.get("metadata"))]:
            url = url or (string(each, "source") if string(each, "source").startswith("http") else "")
        if name or url:
            links.setdefault(name or url, url)
    if links:
        listed = (f"- {link(name, url) if url else name}" for name, url in links.items())
        yield text_part("\n\nSources:\n" + "\n".join(listed))
