"""What a program says to a model: a prompt, the results of tools, or several messages.

Pictures that a program shows to a model.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Any

from oblix._convert import file_io
from oblix._convert.records import STATUSES, from_moment, role_of
from oblix._convert.tools import json_of, list_of, mapping_of
from oblix._convert.validation import data, describe, invalid, text
from oblix.results import ImagePart, Message, Part, ReasoningPart, TextPart, ToolCallPart
from oblix.v1 import messages_pb2

MAX_IMAGE_BYTES = 8 * 1024 * 1024
"""Of one encoded image, and of all parts of its message together."""

# How each format begins: the PNG and GIF specifications, ITU-T T.81 B.1.1.3, and RIFF as WebP uses it.
# These four are what every provider takes.
_BEGINNINGS = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
_INLINE = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)

Source = str | os.PathLike[str] | bytes


def image_of(source: object, field: str) -> messages_pb2.Part:
    """Read the image in a file (a path), or in bytes. Its content tells its type, whatever its name says.

    PNG, JPEG, GIF or WebP, of at most 8 MiB. Raises InvalidArgumentError with the
    field, and NotFoundError where there is no such file.
    """
    if isinstance(source, str | os.PathLike):
        data = file_io.read(file_io.path_of(source), MAX_IMAGE_BYTES)
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        raise invalid(field, "the path of an image, or its bytes", describe(source))
    return _image_part(data, field)


def image_in(part: Mapping[str, Any], field: str) -> messages_pb2.Part:
    """Return the image of a content part with `path`, or with `data` (bytes, or base64 text)."""
    if ("path" in part) is ("data" in part):
        raise invalid(field, "an image with path or with data", ", ".join(part))
    if "path" in part:
        return image_of(part["path"], f"{field}.path")
    data = part["data"]
    return image_of(_decode(data, f"{field}.data") if isinstance(data, str) else data, f"{field}.data")


def image_at(value: object, field: str) -> messages_pb2.Part:
    """Read the image in a `data:` URL, as OpenAI's `image_url` has it. Nothing is fetched from an address."""
    if isinstance(value, Mapping):
        value, field = value.get("url"), f"{field}.url"
    url = text(value, field)
    inline = _INLINE.match(url)
    if inline is None:
        limit = "a data: URL in base64: oblixd fetches nothing, so load the image and send its bytes"
        raise invalid(field, limit, describe(url))
    return _image_part(_decode(url[inline.end() :], field), field)


def _decode(encoded: str, field: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(field, "base64", error) from None


def _image_part(data: bytes, field: str) -> messages_pb2.Part:
    if len(data) > MAX_IMAGE_BYTES:
        limit = f"an image of at most {MAX_IMAGE_BYTES:,} bytes"
        raise invalid(field, limit, "a larger one", "MESSAGE_TOO_LARGE")
    media_type = next((name for name, begins in _BEGINNINGS.items() if begins.match(data)), None)
    if media_type is None:
        limit = "a PNG, JPEG, GIF or WebP image, told by its first bytes"
        raise invalid(field, limit, f"{len(data):,} bytes that begin with {data[:8]!r}", "INVALID_MEDIA_TYPE")
    return messages_pb2.Part(image=messages_pb2.ImagePart(media_type=media_type, data=data))


RESULT_KEYS = ("call_id", "content", "is_error")
CALL_KEYS = ("call_id", "name", "arguments", "arguments_json")
MESSAGE_KEYS = {
    messages_pb2.ROLE_TOOL: ("role", *RESULT_KEYS, "client_data"),
    messages_pb2.ROLE_ASSISTANT: ("role", "content", "tool_calls", "client_data"),
}
"""Of the other roles: OTHER_KEYS."""
OTHER_KEYS = ("role", "content", "client_data")
PART_KEYS = {
    "text": ("type", "text"),
    "image": ("type", "path", "data", "media_type"),
    "image_url": ("type", "image_url"),
}


def input_of(prompt: object, options: Mapping[str, Any]) -> list[messages_pb2.Message]:
    """Return the messages of a prompt, the results of tools before it, images at its end.

    Raises InvalidArgumentError.
    """
    results = [
        _result(mapping_of(item, f"tool_results[{index}]", RESULT_KEYS), f"tool_results[{index}]")
        for index, item in enumerate(list_of(options.get("tool_results"), "tool_results"))
    ]
    images = [
        image_of(item, f"images[{index}]")
        for index, item in enumerate(list_of(options.get("images"), "images"))
    ]
    tool = [messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=results)] if results else []
    said = _messages_of(prompt, required=not (results or images))
    return [*tool, *(_with_images(said, images) if images else said)]


def _with_images(
    messages: list[messages_pb2.Message], images: list[messages_pb2.Part]
) -> list[messages_pb2.Message]:
    """Show the images with the user's last words, or by themselves where the last word is not theirs."""
    if not messages or messages[-1].role != messages_pb2.ROLE_USER:
        messages.append(messages_pb2.Message(role=messages_pb2.ROLE_USER))
    messages[-1].parts.extend(images)
    return messages


def _messages_of(prompt: object, *, required: bool) -> list[messages_pb2.Message]:
    if isinstance(prompt, list | tuple):
        said = messages_of(prompt, "prompt")
    else:
        said = [_text_message(words)] if (words := text(prompt, "prompt")).strip() else []
    if required and not said:
        raise invalid("prompt", "text or messages, not empty", describe(prompt))
    return said


def messages_in(prompt: object) -> list[object]:
    """Return what a prompt says as a list of messages, as a program writes them."""
    if isinstance(prompt, list | tuple):
        return list(prompt)
    return [{"role": "user", "content": prompt}] if prompt else []


def results_of(options: Mapping[str, Any]) -> list[object]:
    """Return the tool results of a prompt as messages, as a program writes them."""
    return [{"role": "tool", **result} for result in options.get("tool_results") or ()]


def messages_of(value: object, field: str) -> list[messages_pb2.Message]:
    """Return messages: dicts, or what a client returned. Raises InvalidArgumentError."""
    return [_message(item, f"{field}[{index}]") for index, item in enumerate(list_of(value, field))]


def _text_message(words: str) -> messages_pb2.Message:
    return messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=words)])


def _message(value: object, field: str) -> messages_pb2.Message:
    if isinstance(value, Message):
        return raw_message(value)
    role = role_of(mapping_of(value, field).get("role"), f"{field}.role")
    given = mapping_of(value, field, MESSAGE_KEYS.get(role, OTHER_KEYS))
    if role == messages_pb2.ROLE_TOOL:
        parts = [_result(given, field)]
    else:
        parts = content_of(given.get("content") or "", role, f"{field}.content")
        calls = enumerate(list_of(given.get("tool_calls"), f"{field}.tool_calls"))
        parts += [_call(call, f"{field}.tool_calls[{index}]") for index, call in calls]
    given_data = data(given.get("client_data"), f"{field}.client_data")
    return messages_pb2.Message(role=role, parts=parts, client_data=given_data or b"")


def raw_message(message: Message) -> messages_pb2.Message:
    """Return a message that a client returned as the contract has it, to append it elsewhere."""
    raw = messages_pb2.Message(
        role=role_of(message.role),
        parts=map(_raw_part, message.parts or (TextPart(message.content),)),
        status=STATUSES[message.status],
        model=message.model or "",
        client_data=message.client_data,
    )
    if message.timestamp.timestamp():
        raw.create_time.CopyFrom(from_moment(message.timestamp, "timestamp"))
    if message.usage is not None:
        raw.usage.CopyFrom(messages_pb2.Usage(**message.usage.to_dict()))
    if message.provider_state is not None:
        state = message.provider_state
        raw.provider_state.CopyFrom(messages_pb2.ProviderState(author=state.author, json=state.json))
    return raw


def _raw_part(part: Part) -> messages_pb2.Part:
    match part:
        case TextPart(text=words):
            return messages_pb2.Part(text=words)
        case ReasoningPart(text=words):
            return messages_pb2.Part(reasoning=words)
        case ImagePart(media_type=media_type, data=content):
            return messages_pb2.Part(image=messages_pb2.ImagePart(media_type=media_type, data=content))
        case ToolCallPart(call=call):
            names = {"call_id": call.call_id, "name": call.name, "arguments_json": call.arguments_json}
            return messages_pb2.Part(tool_call=messages_pb2.ToolCallPart(**names))
    result = messages_pb2.ToolResultPart(call_id=part.call_id, content=part.content, is_error=part.is_error)
    return messages_pb2.Part(tool_result=result)


def content_of(value: object, role: messages_pb2.Role.ValueType, field: str) -> list[messages_pb2.Part]:
    """Return the parts of a message's content: a text, or a list of texts and, from a user, images."""
    if isinstance(value, list | tuple):
        return [_part(item, role, f"{field}[{index}]") for index, item in enumerate(value)]
    words = text(value, field)
    return [messages_pb2.Part(text=words)] if words else []


def _part(value: object, role: messages_pb2.Role.ValueType, field: str) -> messages_pb2.Part:
    kind = mapping_of(value, field).get("type")
    if not isinstance(kind, str) or kind not in PART_KEYS:
        raise invalid(f"{field}.type", f"one of {', '.join(PART_KEYS)}", describe(kind))
    given = mapping_of(value, field, PART_KEYS[kind])
    if kind == "text":
        return messages_pb2.Part(text=text(given.get("text"), f"{field}.text"))
    if role != messages_pb2.ROLE_USER:
        raise invalid(f"{field}.type", "text: only a user shows images", kind)
    return (
        image_in(given, field) if kind == "image" else image_at(given.get("image_url"), f"{field}.image_url")
    )


def _result(record: Mapping[str, Any], field: str) -> messages_pb2.Part:
    failed = record.get("is_error", False)
    if not isinstance(failed, bool):
        raise invalid(f"{field}.is_error", "True or False", describe(failed))
    result = messages_pb2.ToolResultPart(
        call_id=text(record.get("call_id"), f"{field}.call_id"),
        content=text(record.get("content"), f"{field}.content"),
        is_error=failed,
    )
    return messages_pb2.Part(tool_result=result)


def _call(value: object, field: str) -> messages_pb2.Part:
    given = mapping_of(value, field, CALL_KEYS)
    written = given.get("arguments_json")
    arguments = {} if given.get("arguments") is None else given["arguments"]
    if written is None:
        written = json_of(mapping_of(arguments, f"{field}.arguments"), f"{field}.arguments")
    call = messages_pb2.ToolCallPart(
        call_id=text(given.get("call_id"), f"{field}.call_id"),
        name=text(given.get("name"), f"{field}.name"),
        arguments_json=text(written, f"{field}.arguments_json"),
    )
    return messages_pb2.Part(tool_call=call)
