"""ChatGPT's `conversations.json`: a list of trees.

Taken are titles, times, the name of the model (as `openai:NAME`), texts, code, what tools answered,
thoughts as reasoning, and citations as links. Hidden messages (the memory, custom instructions) and empty
ones are left out. Images and sounds are not in that file: what it calls them is kept as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oblix.formats.accounting import words_in
from oblix.formats.conversations import (
    Conversation,
    clean,
    fill_times,
    flag,
    keys,
    mapping,
    object_of,
    objects,
    string,
)
from oblix.formats.moments import set_time
from oblix.formats.parts import link, parts_of, sources, text_part
from oblix.formats.trees import Tree
from oblix.formats.turns import role_in
from oblix.v1 import messages_pb2, sessions_pb2

Content = Mapping[str, Any]

KNOWN = keys(
    "metadata mapping_index safe_urls blocked_urls plugin_ids conversation_template_id gizmo_type "
    "conversation_origin voice async_status disabled_tool_ids moderation_results"
)
"""Of a message's metadata what counts (citations, the model) is read; the rest is the program's own."""
HIDDEN_NOTE = "hidden messages left out"
SOURCES_NOTE = "sources of citations left out"
ASSET_NOTE = "images, sounds and files that are not in the export, kept as their names"

_NOT_SAID = {"user_editable_context", "model_editable_context", "reasoning_recap"}
_MARKED = re.compile("\ue200([^\ue200\ue201]*)\ue201")
"""A citation as newer models write it: private characters around the kind and what is cited."""
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_BRACKETED = re.compile("\u3010[^\u3010\u3011]{1,80}\u3011")
"""A citation as older models wrote it."""


def matches(value: object) -> bool:
    """Return whether a value looks like a conversation of ChatGPT."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError where there is no tree."""
    session = sessions_pb2.Session(
        id=string(document, "conversation_id", "id"),
        title=string(document, "title"),
        archived=flag(document, "is_archived") if document.get("is_archived") in (True, False) else False,
    )
    conversation = Conversation(session, source=document)
    set_time(session, "create_time", document.get("create_time"), conversation)
    set_time(session, "update_time", document.get("update_time"), conversation)
    nodes = mapping(document.get("mapping"), "mapping")
    model = string(document, "default_model_slug")

    def add(into: Conversation, node: Mapping[str, Any]) -> None:
        given = node.get("message")
        if isinstance(given, dict):
            path = f"message {string(given, 'id') or string(node, 'id')}"
            into.add(given, path, lambda: _message(given, model, into))

    Tree(nodes, conversation, parent="parent").read(document.get("current_node"), add)
    for each in (conversation, *conversation.branches):
        fill_times(each)
    return conversation


def _message(source: Content, model: str, conversation: Conversation) -> messages_pb2.Message | None:
    content, about = object_of(source, "content"), object_of(source, "metadata")
    kind = string(content, "content_type")
    if about.get("is_visually_hidden_from_conversation") is True or kind in _NOT_SAID:
        conversation.leave_out(source, HIDDEN_NOTE)
        return None
    role = role_in({"author": source.get("author")})
    message = messages_pb2.Message(
        id=string(source, "id")[:128],
        role=role or messages_pb2.ROLE_UNSPECIFIED,
        status=_status(source),
        parts=[
            part
            for part in _parts(content, about, conversation)
            if part.text or part.reasoning or part.WhichOneof("kind") == "image"
        ],
    )
    if role is None:
        if message.parts:
            conversation.leave_out(source, "messages without an author left out")
        return None
    if role == messages_pb2.ROLE_ASSISTANT and (
        slug := string(about, "model_slug", "default_model_slug") or model
    ):
        message.model = f"openai:{slug}"
    set_time(message, "create_time", source.get("create_time"), conversation)
    return message


def _status(message: Content) -> messages_pb2.MessageStatus.ValueType:
    is_cut = message.get("status") in ("in_progress", "finished_partial_completion")
    return messages_pb2.MESSAGE_STATUS_INTERRUPTED if is_cut else messages_pb2.MESSAGE_STATUS_COMPLETE


def _parts(content: Content, about: Content, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    kind = string(content, "content_type")
    if kind == "thoughts":
        for thought in objects(content.get("thoughts")):
            lines = [string(thought, "summary"), string(thought, "content")]
            yield messages_pb2.Part(reasoning="\n".join(line for line in lines if line))
    elif kind == "multimodal_text":
        yield from _multimodal(content, about, conversation)
    else:
        said = "\n".join(piece for piece in _WRITERS.get(kind, _plain_texts)(content, conversation) if piece)
        yield text_part(_link_citations(said, about, conversation))
    yield from _attachment_parts(about, conversation)


def _plain_texts(content: Content, conversation: Conversation) -> Iterator[str]:
    """Text, alone or in parts; also of kinds that are newer than this reader."""
    found = [
        clean(content[key]) for key in ("text", "result", "content") if isinstance(content.get(key), str)
    ]
    for part in content["parts"] if isinstance(content.get("parts"), list) else []:
        if isinstance(part, dict):
            found.append(_asset(part, conversation))
        elif part is not None:
            found.append(clean(str(part)))
    if not any(found):
        rest = [
            clean(text)
            for text in words_in({key: item for key, item in content.items() if key != "content_type"})
        ]
        if rest:
            conversation.note(
                f"content of the kind {string(content, 'content_type')[:40]!r} kept as its text"
            )
        found = rest[::-1]
    yield from found


def _multimodal(content: Content, about: Content, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    said: list[str] = []
    for part in content["parts"] if isinstance(content.get("parts"), list) else []:
        if isinstance(part, dict) and string(part, "type") in ("image_url", "image"):
            yield from [text_part("\n".join(said))] if said else []
            said = []
            yield from parts_of(part, conversation)
        elif isinstance(part, dict):
            said.append(_asset(part, conversation))
        elif isinstance(part, str) and part:
            said.append(clean(part))
    if said:
        yield text_part(_link_citations("\n".join(said), about, conversation))


def _asset(part: Content, conversation: Conversation) -> str:
    """Something that is not text: what was heard in it, or what the file calls it."""
    if said := string(part, "text", "transcript"):
        return said
    kind = string(part, "content_type").removesuffix("_asset_pointer") or "something"
    conversation.note(ASSET_NOTE)
    audio = object_of(part, "audio_asset_pointer")
    return (
        f"[{kind}: {string(part, 'asset_pointer') or string(audio, 'asset_pointer') or 'not in the export'}]"
    )


def _attachment_parts(about: Content, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    for file in objects(about.get("attachments")):
        name = string(file, "name", "id")
        is_image = string(file, "mime_type", "mimeType").startswith("image/")
        if name and not is_image:
            conversation.note(ASSET_NOTE)
            yield text_part(f"\n[file: {name}]")


def _code(content: Content, conversation: Conversation) -> Iterator[str]:
    language = string(content, "language")
    for piece in _plain_texts(content, conversation):
        yield f"```{'' if language == 'unknown' else language}\n{piece}\n```"


def _quote(content: Content, conversation: Conversation) -> Iterator[str]:
    yield string(content, "title")
    yield string(content, "url")
    yield from _plain_texts(content, conversation)


def _error(content: Content, conversation: Conversation) -> Iterator[str]:
    said = list(_plain_texts(content, conversation))
    yield string(content, "name") if not any(string(content, "name") in piece for piece in said) else ""
    yield from said


def _link_citations(text: str, about: Content, conversation: Conversation) -> str:
    """Return the text with links where it had marks of citations."""
    if not (_PRIVATE.search(text) or _BRACKETED.search(text) or about.get("content_references")):
        return text
    conversation.rewritten.append(text)
    text = _link_footnotes(text, about, conversation)
    references = sorted(
        objects(about.get("content_references")), key=lambda each: -len(string(each, "matched_text"))
    )
    for reference in references:
        marked = string(reference, "matched_text")
        if marked.strip() and (_PRIVATE.search(marked) or _BRACKETED.search(marked) or "turn" in marked):
            text = text.replace(marked, _reference(reference, conversation))
    text = _MARKED.sub(lambda found: _mark_text(found.group(1), conversation), text)
    return _PRIVATE.sub("", text)


def _reference(reference: Content, conversation: Conversation) -> str:
    if said := string(reference, "alt"):
        return f" {said}"
    listed = [*objects(reference.get("items")), *objects(reference.get("sources")), reference]
    links = [
        link(string(item, "title", "attribution") or string(item, "url"), string(item, "url"))
        for item in listed
        if string(item, "url")
    ]
    if not links and string(reference, "type") != "hidden":
        conversation.note(SOURCES_NOTE)
    return f" ({', '.join(dict.fromkeys(links))})" if links else ""


def _link_footnotes(text: str, about: Content, conversation: Conversation) -> str:
    """Return the text with links where it had brackets that older models wrote, each known by its place."""
    for citation in sorted(objects(about.get("citations")), key=lambda each: -_place(each, "start_ix")):
        start, end = _place(citation, "start_ix"), _place(citation, "end_ix")
        found = sources([object_of(citation, "metadata")])
        if found and 0 <= start < end and _BRACKETED.fullmatch(text[start:end]):
            text = f"{text[:start]} ({found.removeprefix('- ')}){text[end:]}"
    left = [mark for mark in _BRACKETED.findall(text) if "\u2020" in mark]
    if left:
        conversation.note(SOURCES_NOTE, len(left))
    return _BRACKETED.sub(lambda mark: "" if "\u2020" in mark.group() else mark.group(), text)


def _place(citation: Content, key: str) -> int:
    value = citation.get(key)
    return value if type(value) is int else -1


def _mark_text(inner: str, conversation: Conversation) -> str:
    """Return the text of a mark without a reference: an entity's name; a citation has none to show."""
    kind, _, rest = inner.partition("\ue202")
    if kind == "entity":
        try:
            named = json.loads(rest)
            return clean(str(named[1]))
        except (ValueError, IndexError, KeyError, TypeError, RecursionError):
            pass
    conversation.note(SOURCES_NOTE)
    return ""


_WRITERS: dict[str, Callable[[Content, Conversation], Iterator[str]]] = {
    "code": _code,
    "tether_quote": _quote,
    "system_error": _error,
}
