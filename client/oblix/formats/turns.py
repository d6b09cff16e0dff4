"""One message as programs write it, whatever they call its fields: who, what, when, by which model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from oblix._convert.validation import describe
from oblix.formats import images
from oblix.formats.conversations import Conversation, clean, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import (
    call_part,
    file_part,
    parts_of,
    result_parts,
    separate_names,
    separate_thoughts,
    sources,
    text_part,
)
from oblix.v1 import messages_pb2

Item = Mapping[str, Any]

_USER, _ASSISTANT = messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT
_SYSTEM, _TOOL = messages_pb2.ROLE_SYSTEM, messages_pb2.ROLE_TOOL
_SPEAKERS = {
    _SYSTEM: "system developer instructions",
    _USER: "user human person prompter customer you request",
    _ASSISTANT: "assistant gpt model ai bot chatgpt bing bard claude gemini agent llm response "
    "function_call tool_call",
    _TOOL: "tool function observation function_response tool_response tool_result toolresult ipython",
}
ROLES = {name: role for role, names in _SPEAKERS.items() for name in names.split()}
"""What programs call those who speak."""
ROLE_KEYS = ("role", "from", "sender", "author", "speaker", "type")
CONTENT_KEYS = ("content", "contentParts", "parts", "text", "value", "message", "body")
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thoughts")
_TIME_KEYS = ("timestamp", "create_time", "created_at", "createdAt", "created", "inserted_at", "time", "date")
_MODEL_KEYS = ("model", "modelID", "model_slug", "modelName", "model_name", "modelId")
_THOUGHT_FLAGS = ("isThought", "thought")
"""What marks a whole message as thinking: Google AI Studio writes it so."""
_CALL_ROLES = ("function_call", "tool_call")
_CALL_KEYS = {"id", "type", "name", "arguments", "parameters"}


def role_in(item: Item) -> messages_pb2.Role.ValueType | None:
    """Return who said a message, or None if it does not say so in a known word."""
    for key in ROLE_KEYS:
        value = item.get(key)
        name = string(value, "role", "name") if isinstance(value, dict) else value
        if isinstance(name, str) and name.lower() in ROLES:
            return ROLES[name.lower()]
    return None


def is_message(item: object) -> bool:
    """Return whether a value looks like a message: somebody says something."""
    return isinstance(item, dict) and role_in(item) is not None and content_of(item) is not None


def is_turn(item: object) -> bool:
    """Return whether a value looks like a message, also an empty one, or one that only calls tools."""
    keys = (*CONTENT_KEYS, "tool_calls", "function_call")
    return isinstance(item, dict) and role_in(item) is not None and any(key in item for key in keys)


def content_of(item: Item) -> object:
    """Return what was said, under whichever key it stands. None where there is nothing."""
    return next((item[key] for key in CONTENT_KEYS if item.get(key) not in (None, "", [], {})), None)


def message_of(item: Item, conversation: Conversation) -> messages_pb2.Message | None:
    """Return the message, or None, with a note, where nobody says it. Its parts may be empty."""
    role = role_in(item)
    if role is None:
        given = next((item[key] for key in ROLE_KEYS if item.get(key) is not None), None)
        who = f"of the role {describe(given)}" if given is not None else "of nobody"
        conversation.leave_out(item, f"messages {who} left out")
        return None
    message = messages_pb2.Message(
        id=string(item, "id", "uuid", "message_id", "messageId")[:128],
        role=role,
        status=messages_pb2.MESSAGE_STATUS_COMPLETE,
        parts=list(separate_names(_parts(item, role, conversation))),
    )
    if role == _USER and message.parts and all(part.HasField("tool_result") for part in message.parts):
        # Claude's style: what tools gave is handed in as the person's.
        message.role = _TOOL
    if role == _ASSISTANT:
        move_thoughts(message, conversation)
        message.model = string(item, *_MODEL_KEYS)
        count(message, item)
    for key in _TIME_KEYS:
        if item.get(key) and not message.HasField("create_time"):
            set_time(message, "create_time", item[key], conversation)
    return message


def move_thoughts(message: messages_pb2.Message, conversation: Conversation) -> None:
    """Make thoughts of what an answer begins with in the tag `think`: so local models write them."""
    place = next((n for n, part in enumerate(message.parts) if part.text), None)
    if place is None:
        return
    said = message.parts[place].text
    thoughts, rest = separate_thoughts(said)
    if thoughts:
        conversation.rewritten.append(said)
        parts = list(message.parts)
        parts[place : place + 1] = [*thoughts, *([text_part(rest)] if rest else [])]
        del message.parts[:]
        message.parts.extend(parts)


def _parts(item: Item, role: int, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    yield from thoughts_of(item, conversation)
    content = content_of(item)
    speaker = string(item, *ROLE_KEYS).lower()
    if speaker in _CALL_ROLES and isinstance(content, str):
        yield from _written_calls(item, content, conversation)
    elif role == _TOOL:
        yield from _result(item, content, conversation)
    elif any(item.get(key) is True for key in _THOUGHT_FLAGS):
        said = "\n".join(part.text or part.reasoning for part in parts_of(content, conversation))
        yield from [messages_pb2.Part(reasoning=said)] if said else []
    else:
        yield from parts_of(content, conversation)
    if isinstance(item.get("refusal"), str):
        yield text_part(item["refusal"])
    yield from _audio(item, conversation)
    yield from calls_of(item, conversation)
    yield from attachments_of(item, conversation)
    if said := sources(item.get("citations")) or sources(item.get("annotations")):
        yield text_part(f"\n\nSources:\n{said}")


def thoughts_of(item: Item, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    """Yield what the model thought, each thought once: some programs write it under several keys."""
    seen: set[str] = set()
    for key in _THOUGHT_KEYS:
        found = parts_of(item.get(key), conversation) if item.get(key) else []
        said = "\n".join(part.text or part.reasoning for part in found)
        if said and said not in seen:
            seen.add(said)
            yield messages_pb2.Part(reasoning=said)


def calls_of(item: Item, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    """Yield the tools that a message calls, in OpenAI's style, the older one too."""
    for call in objects(item.get("tool_calls")):
        function = object_of(call, "function") or object_of(call, "custom") or call
        arguments = next((function[key] for key in ("arguments", "input", "args") if function.get(key)), "")
        yield call_part(string(call, "id", "call_id"), string(function, "name"), arguments)
    function = object_of(item, "function_call")
    if function:
        # This style has no ids: the result that follows is known by its place.
        yield call_part(
            f"call-{len(conversation.messages)}", string(function, "name"), function.get("arguments")
        )


def _written_calls(item: Item, content: str, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    """Yield the calls that a data set writes as text: JSON with name and arguments, or arguments alone."""
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        given = None
    each = given if isinstance(given, list) else [given]
    calls = [call for call in objects(each) if string(call, "name")]
    call_id = f"call-{len(conversation.messages)}"
    if len(calls) == len(each) and all(call.keys() <= _CALL_KEYS for call in calls):
        conversation.pass_over(content)  # all of it stands in the calls, in another spelling
    if not calls:
        yield call_part(call_id, string(item, "name") or "function", content)
    for place, call in enumerate(calls):
        arguments = next((call[key] for key in ("arguments", "parameters") if key in call), None)
        yield call_part(f"{call_id}-{place}" if place else call_id, string(call, "name"), arguments)


def _result(item: Item, content: object, conversation: Conversation) -> list[messages_pb2.Part]:
    call_id = string(item, "tool_call_id", "call_id", "toolCallId", "tool_use_id")
    blocks = objects(content)
    if not call_id and any("result" in string(block, "type") for block in blocks):
        return parts_of(content, conversation)
    if not call_id and _last_call(conversation) is None and not item.get("name"):
        return parts_of(content, conversation)
    call_id = call_id or _last_call(conversation) or ""
    return result_parts(call_id, content, conversation, is_error=item.get("is_error") is True)


def _last_call(conversation: Conversation) -> str | None:
    """Return the call of the message before, for results that don't say which they answer."""
    for message in reversed(conversation.messages[-1:]):
        for part in message.parts:
            if part.HasField("tool_call"):
                return part.tool_call.call_id
    return None


def _audio(item: Item, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    audio = object_of(item, "audio")
    if audio:
        conversation.note("sounds left out")
        conversation.pass_over(audio)
        if said := string(audio, "transcript", "text"):
            yield text_part(said)


def attachments_of(item: Item, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    """Images and files that a message names beside its content."""
    given = item.get("images")
    for image in given if isinstance(given, list) else []:
        if isinstance(image, str):
            is_address = image.startswith(("data:", "http:", "https:", "/", "file:")) or "." in image[-6:]
            part = (
                images.part_of(image, conversation)
                if is_address
                else images.inline_part(image, "", conversation)
            )
            yield from [part] if part else []
        else:
            yield from parts_of(image, conversation)
    for key in ("files", "attachments", "experimental_attachments"):
        for file in objects(item.get(key)):
            inner = object_of(file, "file") or file
            yield from file_part(
                {**inner, **{k: v for k, v in file.items() if k in ("type", "url")}}, conversation
            )
            conversation.pass_over(file)


def count(message: messages_pb2.Message, item: Item) -> None:
    """Read the answer's usage, under the names that servers of many kinds use."""
    usage: Item = next(
        (
            item[key]
            for key in ("usage", "tokens", "info", "usageMetadata")
            if isinstance(item.get(key), dict)
        ),
        {},
    )
    given = _tokens(usage, "prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokenCount", "input")
    taken = _tokens(
        usage, "completion_tokens", "output_tokens", "eval_count", "candidatesTokenCount", "output"
    )
    if given or taken:
        message.usage.CopyFrom(messages_pb2.Usage(input_tokens=given, output_tokens=taken))


def _tokens(usage: Item, *names: str) -> int:
    counts = (usage.get(name) for name in names)
    return next((count for count in counts if type(count) is int and 0 < count < 2**53), 0)


def title_of(document: Item) -> str:
    """Return what a document calls its conversation."""
    return clean(string(document, "title", "name", "topic", "summary"))
