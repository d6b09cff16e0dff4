"""ChatGPT's `conversations.json`: a list of trees, of which the branch that was read last is taken.

Taken are titles, times, the name of the model (as `openai:NAME`), texts, code,
what tools answered, and thoughts as reasoning. Hidden messages (the memory,
custom instructions) and empty ones are left out. Pictures and sounds are not in
that file: what it calls them is kept as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oblix._checks import text
from oblix._records import role_of
from oblix.formats import trees
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

Content = Mapping[str, Any]
Notes = Counter[str]

_NOT_SAID = {"user_editable_context", "model_editable_context", "reasoning_recap"}


def matches(value: object) -> bool:
    """Whether a value looks like a conversation of ChatGPT."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError with the path of what is wrong."""
    conversation = Conversation(_session(document))
    nodes = mapping(document.get("mapping"), "mapping")
    leaf = document.get("current_node") or trees.newest_leaf(nodes, parent="parent", path="mapping")
    for node in trees.branch(nodes, leaf, parent="parent", path="mapping"):
        if node.get("message") is not None:
            _add(conversation, mapping(node["message"], "message"))
    fill_times(conversation)
    return conversation


def _session(document: Mapping[str, Any]) -> sessions_pb2.Session:
    session = sessions_pb2.Session(
        id=named(document, "conversation_id") or named(document, "id"),
        title=optional_text(document, "title"),
        archived=flag(document, "is_archived"),
    )
    set_time(session, "create_time", document.get("create_time"), "create_time")
    set_time(session, "update_time", document.get("update_time"), "update_time")
    return session


def _add(conversation: Conversation, given: Mapping[str, Any]) -> None:
    path = f"message {optional_text(given, 'id', 'message')}"
    content = mapping(given.get("content") or {}, f"{path}.content")
    about = mapping(given.get("metadata") or {}, f"{path}.metadata")
    kind = optional_text(content, "content_type", path)
    if about.get("is_visually_hidden_from_conversation") is True or kind in _NOT_SAID:
        conversation.notes["hidden messages left out"] += 1
        return
    message = messages_pb2.Message(
        id=optional_text(given, "id", path),
        role=role_of(mapping(given.get("author") or {}, f"{path}.author").get("role"), f"{path}.author.role"),
        status=_status(given),
        parts=_parts(given, content, path, conversation.notes),
    )
    if not message.parts:
        return
    if message.role == messages_pb2.ROLE_ASSISTANT and about.get("model_slug"):
        message.model = f"openai:{text(about['model_slug'], f'{path}.metadata.model_slug')}"
    set_time(message, "create_time", given.get("create_time"), f"{path}.create_time")
    conversation.messages.append(message)


def _status(given: Mapping[str, Any]) -> messages_pb2.MessageStatus.ValueType:
    is_cut = given.get("status") in ("in_progress", "finished_partial_completion")
    return messages_pb2.MESSAGE_STATUS_INTERRUPTED if is_cut else messages_pb2.MESSAGE_STATUS_COMPLETE


def _parts(given: Mapping[str, Any], content: Content, path: str, notes: Notes) -> list[messages_pb2.Part]:
    kind = content.get("content_type")
    if kind == "thoughts":
        return [messages_pb2.Part(reasoning=thought) for thought in _thoughts(content, path)]
    write = _WRITERS.get(kind, _plain) if isinstance(kind, str) else _plain
    said = "\n".join(piece for piece in write(content, path, notes) if piece)
    return [messages_pb2.Part(text=said)] if said else []


def _thoughts(content: Content, path: str) -> Iterator[str]:
    for index, item in enumerate(items(content.get("thoughts") or [], f"{path}.thoughts")):
        at = f"{path}.thoughts[{index}]"
        thought = mapping(item, at)
        lines = [optional_text(thought, "summary", at), optional_text(thought, "content", at)]
        if said := "\n".join(line for line in lines if line):
            yield said


def _plain(content: Content, path: str, notes: Notes) -> Iterator[str]:
    """Text, alone or in parts; also of kinds that are newer than this reader."""
    for key in ("text", "result", "content"):
        if isinstance(content.get(key), str):
            yield text(content[key], f"{path}.{key}")
    for index, part in enumerate(items(content.get("parts") or [], f"{path}.parts")):
        if isinstance(part, str):
            yield text(part, f"{path}.parts[{index}]")
        elif part is not None:
            yield _asset(mapping(part, f"{path}.parts[{index}]"), f"{path}.parts[{index}]", notes)


def _asset(part: Mapping[str, Any], path: str, notes: Notes) -> str:
    """Something that is not text: what was heard in it, or what the file calls it."""
    if said := optional_text(part, "text", path):
        return said
    kind = optional_text(part, "content_type", path).removesuffix("_asset_pointer") or "something"
    notes["pictures, sounds and files that are not in the export, kept as their names"] += 1
    return f"[{kind}: {optional_text(part, 'asset_pointer', path) or 'not in the export'}]"


def _code(content: Content, path: str, notes: Notes) -> Iterator[str]:
    language = optional_text(content, "language", path)
    for piece in _plain(content, path, notes):
        yield f"```{'' if language == 'unknown' else language}\n{piece}\n```"


def _quote(content: Content, path: str, notes: Notes) -> Iterator[str]:
    yield optional_text(content, "title", path)
    yield optional_text(content, "url", path)
    yield from _plain(content, path, notes)


_WRITERS: dict[str, Callable[[Content, str, Notes], Iterator[str]]] = {"code": _code, "tether_quote": _quote}
