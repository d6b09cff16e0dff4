"""The pieces of a message as programs write them, whatever they call them, as parts of oblix.v1.

Read are texts; blocks as OpenAI's chat completions and Responses, Claude's messages and Google's contents
have them; and lists of all these. Of a block of an unknown kind the texts are taken, with a note.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from oblix._convert.validation import describe
from oblix.formats import images
from oblix.formats.accounting import words_in
from oblix.formats.conversations import Conversation, clean, object_of, objects, string
from oblix.v1 import messages_pb2

Block = Mapping[str, Any]
Parts = Iterator[messages_pb2.Part]

FILE_NOTE = "files that are not in the export, kept as their names"
AUDIO_NOTE = "sounds left out"
_TEXT_KEYS = ("text", "content", "value", "output_text", "message", "parts")
_NAMED = re.compile(r"\[(file|image|sound)\b[^\]]*\]|!\[image\]\(")
"""What stands in the text for a thing that is not in it."""
_THOUGHT = re.compile(r"\s*<(think|thinking)>(.*?)</\1>\s*", re.DOTALL)
_CONTENT = {"text", "image", "audio", "resource", "resource_link"}
"""The kinds of blocks that MCP has."""
_MAX_NAME = 128
_NO_NAME = "unnamed"


def parts_of(content: object, conversation: Conversation) -> list[messages_pb2.Part]:
    """Return the parts of a message's content: a text, a block, or a list of them."""
    return [part for part in _any(content, conversation, 0) if part is not None]


def text_part(content: str) -> messages_pb2.Part:
    """Return a part of text."""
    return messages_pb2.Part(text=clean(content))


def call_part(call_id: object, name: object, arguments: object) -> messages_pb2.Part:
    """Return a tool call. Arguments that are no text are written as JSON."""
    if arguments is None:
        arguments = ""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    call = messages_pb2.ToolCallPart(
        call_id=_label(call_id), name=_label(name)[:_MAX_NAME] or _NO_NAME, arguments_json=clean(written)
    )
    return messages_pb2.Part(tool_call=call)


def result_part(call_id: object, content: str, *, is_error: bool = False) -> messages_pb2.Part:
    """Return what a tool answered."""
    result = messages_pb2.ToolResultPart(call_id=_label(call_id), content=clean(content), is_error=is_error)
    return messages_pb2.Part(tool_result=result)


def result_parts(
    call_id: object, content: object, conversation: Conversation, *, is_error: bool = False
) -> list[messages_pb2.Part]:
    """Return what a tool answered, with the images in it behind it."""
    found = parts_of(content, conversation)
    if isinstance(content, dict) and not any(part.WhichOneof("kind") == "text" for part in found):
        return [result_part(call_id, json.dumps(content, ensure_ascii=False), is_error=is_error)]
    said = "\n".join(part.text for part in found if part.HasField("text"))
    answer = result_part(call_id, said, is_error=is_error)
    return [answer, *(part for part in found if part.HasField("image"))]


def is_content(value: object) -> bool:
    """Return whether a value is what a tool of MCP answers: blocks, and no data of the tool's own."""
    blocks = value if isinstance(value, list) else []
    return bool(blocks) and all(
        isinstance(block, dict) and string(block, "type") in _CONTENT for block in blocks
    )


def sources(citations: object) -> str:
    """Citations as a list of links, as Markdown. Empty where there are none."""
    links: dict[str, str] = {}
    for item in objects(citations):
        inner = next(
            (item[key] for key in ("url_citation", "metadata") if isinstance(item.get(key), dict)), item
        )
        if url := string(inner, "url", "uri", "link"):
            links.setdefault(url, string(inner, "title", "document_title", "name") or url)
    return "\n".join(f"- {link(title, url)}" for url, title in links.items())


def link(title: str, url: str) -> str:
    """Return a link as Markdown."""
    return f"[{title.replace('[', '(').replace(']', ')')}]({url})"


def separate_thoughts(said: str) -> tuple[list[messages_pb2.Part], str]:
    """Return the thoughts that a text begins with, and the rest.

    For tools that write what a model thought into its answer, in the tag `think` or `thinking`. A tag later
    in the text is the model's word: it may speak of one.
    """
    thoughts, end = [], 0
    while found := _THOUGHT.match(said, end):
        if thought := found.group(2).strip():
            thoughts.append(messages_pb2.Part(reasoning=clean(thought)))
        end = found.end()
    return thoughts, said[end:]


def file_part(block: Block, conversation: Conversation) -> Parts:
    """Return a file: its text where that is there, an image where it is one, else its name."""
    name = string(block, "file_name", "filename", "name", "title", "path", "file_id", "id")
    url = string(block, "url", "file_url", "data", "file_data")
    said = string(block, "extracted_content", "content", "text")
    is_image = string(block, "type", "mime_type", "mimeType", "mediaType", "media_type").startswith("image")
    if is_image and url:
        yield from filter(None, [images.part_of(url, conversation)])
    elif said:
        yield text_part(f"[file: {name or 'unnamed'}]\n{said}")
    else:
        conversation.note(FILE_NOTE)
        yield text_part(f"[file: {name or url[:_MAX_NAME] or 'unnamed'}]")


def separate_names(parts: Iterable[messages_pb2.Part]) -> Parts:
    """Yield parts with a line break before the name of a file or an image that stands behind words.

    Texts are joined as they are elsewhere: a text can come in several blocks that are one sentence.
    """
    before = ""
    for part in parts:
        if before and not before.endswith("\n") and _NAMED.match(part.text):
            part = messages_pb2.Part(text=f"\n{part.text}")  # noqa: PLW2901
        before = part.text
        yield part


def _label(value: object) -> str:
    return clean(value) if isinstance(value, str) else "" if value is None else str(value)


def _any(content: object, conversation: Conversation, depth: int) -> Iterator[messages_pb2.Part | None]:
    if isinstance(content, str):
        if content:
            yield text_part(content)
    elif isinstance(content, list):
        for item in content:
            yield from _any(item, conversation, depth + 1)
    elif isinstance(content, dict):
        yield from _block(content, conversation, depth)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield text_part(str(content))


def _block(block: Block, conversation: Conversation, depth: int) -> Iterator[messages_pb2.Part | None]:
    kind = block.get("type")
    for key, read in _BY_KEY.items():
        if block.get(key) and not (isinstance(kind, str) and kind in _BY_KIND):
            yield from read(block, conversation)
            return
    read_kind = _BY_KIND.get(kind) if isinstance(kind, str) else _plain_parts
    yield from (read_kind or _unknown)(block, conversation)


def _plain_parts(block: Block, conversation: Conversation) -> Iterator[messages_pb2.Part | None]:
    content = next((block[key] for key in _TEXT_KEYS if block.get(key)), None)
    if content is None:
        yield from _unknown(block, conversation)
    elif block.get("thought") is True:
        yield messages_pb2.Part(reasoning="".join(part.text for part in parts_of(content, conversation)))
    else:
        yield from _any(content, conversation, 1)


def _text(block: Block, conversation: Conversation) -> Iterator[messages_pb2.Part | None]:
    content = next((block[key] for key in ("text", "refusal", *_TEXT_KEYS) if block.get(key)), None)
    if isinstance(content, dict):
        content = content.get("value", content)
    if block.get("thought") is True and isinstance(content, str):
        yield messages_pb2.Part(reasoning=clean(content))
        return
    yield from _any(content, conversation, 1)
    if found := sources(block.get("citations")) or sources(block.get("annotations")):
        yield text_part(f"\n\nSources:\n{found}")


def _reasoning_part(block: Block, conversation: Conversation) -> Parts:
    for key in ("thinking", "text", "think", "summary", "content", "reasoning"):
        found = parts_of(block.get(key), conversation)
        said = "\n".join(part.text or part.reasoning for part in found)
        if said:
            yield messages_pb2.Part(reasoning=said)
            return
    if block.get("data") or block.get("encrypted_content"):
        conversation.note("thoughts that are encrypted left out")
        conversation.pass_over(block)


def _image(block: Block, conversation: Conversation) -> Iterator[messages_pb2.Part | None]:
    keys = ("source", "image_url", "imageUrl", "image", "inlineData")
    source = next((block[key] for key in keys if block.get(key)), block)
    if isinstance(source, str):
        yield images.part_of(source, conversation)
        return
    if not isinstance(source, dict):
        yield from _unknown(block, conversation)
        return
    data, url = string(source, "data", "b64_json"), string(source, "url", "uri", "image_url")
    if data and not data.startswith(("http:", "https:")):
        media_type = string(source, "media_type", "mimeType", "mime_type", "mediaType")
        yield images.inline_part(data, media_type, conversation)
    elif url or data:
        yield images.part_of(url or data, conversation)
    else:
        yield from file_part(block, conversation)


def _call(block: Block, conversation: Conversation) -> Parts:
    function = (
        object_of(block, "function")
        or object_of(block, "functionCall")
        or object_of(block, "tool_call")
        or block
    )
    arguments = next(
        (function[key] for key in ("arguments", "args", "input", "parameters", "action") if key in function),
        None,
    )
    call_id = string(block, "call_id", "tool_call_id", "toolCallId", "callID", "id") or string(function, "id")
    yield call_part(
        call_id, string(function, "name", "toolName", "tool", "tool_name") or block.get("type"), arguments
    )


def _result(block: Block, conversation: Conversation) -> Parts:
    response = object_of(block, "functionResponse") or block
    keys = ("output", "content", "result", "response", "text", "error")
    content = next((response[key] for key in keys if response.get(key)), "")
    if isinstance(content, dict) and isinstance(content.get("output", content.get("result")), str):
        content = content.get("output", content.get("result"))
    call_id = string(response, "tool_use_id", "call_id", "tool_call_id", "toolCallId", "callId", "id")
    is_error = block.get("is_error") is True or block.get("isError") is True
    yield from result_parts(call_id, content, conversation, is_error=is_error)


def _audio(block: Block, conversation: Conversation) -> Parts:
    audio = next((block[key] for key in ("input_audio", "audio") if isinstance(block.get(key), dict)), block)
    said = string(block, "transcript", "text") or string(audio, "transcript", "text")
    conversation.note(AUDIO_NOTE)
    conversation.pass_over(audio)
    yield text_part(said or "[sound]")


def _file(block: Block, conversation: Conversation) -> Parts:
    inner = object_of(block, "file") or object_of(block, "source") or block
    title = string(block, "title", "name", "filename")
    given = {"name": title, **inner} if title else inner
    if string(inner, "type") == "base64" or string(inner, "data", "file_data").startswith("data:"):
        conversation.leave_out(inner, "files left out")
        given = {"name": title or string(inner, "filename", "file_name")}
    yield from file_part(given, conversation)


def _nested_parts(block: Block, conversation: Conversation) -> Iterator[messages_pb2.Part | None]:
    yield from _any(block.get("content"), conversation, 1)


def _unknown(block: Block, conversation: Conversation) -> Parts:
    kind = describe(block.get("type")) if block.get("type") else "no known kind"
    said = [clean(text) for text in words_in(dict(block))]
    if said:
        conversation.note(f"parts of {kind} kept as their text")
        yield text_part("\n".join(reversed(said)))
    elif len(block) > 1:
        conversation.note(f"parts of {kind} left out")


_Reader = Callable[[Block, Conversation], Iterator[messages_pb2.Part | None]]

_BY_KEY: dict[str, _Reader] = {
    "functionCall": _call,
    "functionResponse": _result,
    "inlineData": _image,
    "image_url": _image,
    "thinking": _reasoning_part,
}
_KINDS: dict[_Reader, str] = {
    _text: "text input_text output_text summary_text refusal Text markdown",
    _reasoning_part: "thinking reasoning thought think redacted_thinking reasoning_text "
    "reasoning.text reasoning.summary reasoning.encrypted",
    _image: "image image_url imageUrl input_image image_file localImage",
    _call: "tool_use tool_call toolCall function_call custom_tool_call server_tool_use function mcp_tool_use "
    "tool-call local_shell_call mcp_call web_search_call computer_call",
    _result: "tool_result toolResult function_call_output custom_tool_call_output tool-result "
    "web_search_tool_result mcp_tool_result local_shell_call_output code_execution_tool_result",
    _audio: "input_audio audio output_audio",
    _file: "file input_file document attachment",
    _nested_parts: "message",
}
"""What programs call each kind of block."""
_BY_KIND: dict[str, _Reader] = {kind: read for read, kinds in _KINDS.items() for kind in kinds.split()}
