"""An editor's prompts as Oblix's messages take them, and conversations as an editor shows them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from acp import helpers, schema

from oblix import InvalidArgumentError
from oblix.protocols.acp.editor_tools import KINDS, Call, arguments_of, plan_of
from oblix.v1 import messages_pb2

Block = (
    schema.TextContentBlock
    | schema.ImageContentBlock
    | schema.AudioContentBlock
    | schema.ResourceContentBlock
    | schema.EmbeddedResourceContentBlock
)
Reader = Callable[[str], Awaitable[str | None]]
"""Reads a text file by its absolute path through the editor; None where the editor can't."""
Update = schema.UserMessageChunk | schema.AgentMessageChunk | schema.AgentThoughtChunk
NOT_ANSWERED = "No result of this call is recorded."
HistoryUpdate = Update | schema.ToolCallStart | schema.ToolCallProgress | schema.AgentPlanUpdate


async def parts_of(blocks: Sequence[Block], read: Reader) -> list[dict[str, Any]]:
    """Return a prompt's blocks as content parts: texts and images.

    A link to a text file is read through the editor, which knows what is not
    saved yet; any other link stays a link. Raises InvalidArgumentError for sound
    and for embedded files that are neither text nor an image.
    """
    return [await _part(block, read) for block in blocks]


async def _part(block: Block, read: Reader) -> dict[str, Any]:
    match block:
        case schema.TextContentBlock():
            return _text(block.text)
        case schema.ImageContentBlock():
            return {"type": "image", "data": block.data}
        case schema.EmbeddedResourceContentBlock():
            return _embedded_content(block.resource)
        case schema.ResourceContentBlock():
            path = path_of(block.uri)
            content = await read(path) if path else None
            return _text(f"[{block.name}]({block.uri})") if content is None else _file(block.uri, content)
    raise InvalidArgumentError("Oblix takes text, images and files, no sound.", reason="INVALID_MEDIA_TYPE")


def _embedded_content(resource: schema.TextResourceContents | schema.BlobResourceContents) -> dict[str, Any]:
    if isinstance(resource, schema.TextResourceContents):
        return _file(resource.uri, resource.text)
    if (resource.mime_type or "").startswith("image/"):
        return {"type": "image", "data": resource.blob}
    why = f"{resource.uri} is {resource.mime_type or 'of no known type'}: attach text or an image."
    raise InvalidArgumentError(why, reason="INVALID_MEDIA_TYPE")


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def _file(uri: str, content: str) -> dict[str, Any]:
    return _text(f'\n<file uri="{uri}">\n{content}\n</file>\n')


def path_of(uri: str) -> str | None:
    """Return the absolute path of a `file:` URI of this machine, or None."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    path = unquote(parts.path)
    return path if PurePosixPath(path).is_absolute() else None


def question_of(parts: Sequence[dict[str, Any]]) -> str:
    """Return the words of a prompt on one line, for a title."""
    return " ".join(" ".join(part.get("text", "") for part in parts).split())


async def updates_of(messages: AsyncIterator[messages_pb2.Message]) -> AsyncIterator[HistoryUpdate]:
    """Yield what an editor shows of a conversation. System messages are the program's, not shown.

    Tool calls get their results, from the messages after them; a call without
    one is shown as failed. Plans that tools of other agents wrote are plans.
    """
    open_calls: dict[str, str] = {}
    async for message in messages:
        if message.role == messages_pb2.ROLE_SYSTEM:
            continue
        for chunk in _chunks(message):
            yield chunk
        for part in message.parts:
            if part.HasField("tool_call"):
                shown_id = open_calls[part.tool_call.call_id] = f"{message.id}/{part.tool_call.call_id}"
                for update in _call(part.tool_call, shown_id):
                    yield update
            elif part.HasField("tool_result"):
                result = part.tool_result
                yield _result(result, open_calls.pop(result.call_id, f"{message.id}/{result.call_id}"))
    for shown_id in open_calls.values():
        yield helpers.update_tool_call(
            shown_id, status="failed", content=[helpers.tool_content(helpers.text_block(NOT_ANSWERED))]
        )


def _call(
    call: messages_pb2.ToolCallPart, shown_id: str
) -> Iterator[schema.ToolCallStart | schema.AgentPlanUpdate]:
    arguments = arguments_of(call.arguments_json)
    title = Call(shown_id, call.name, arguments).title
    kind = KINDS.get(call.name, "other")
    yield helpers.start_tool_call(shown_id, title, kind=kind, status="pending", raw_input=arguments)
    if plan := plan_of(call.name, arguments):
        yield helpers.update_plan(plan)


def _result(result: messages_pb2.ToolResultPart, shown_id: str) -> schema.ToolCallProgress:
    return helpers.update_tool_call(
        shown_id,
        status="failed" if result.is_error else "completed",
        content=[helpers.tool_content(helpers.text_block(result.content))],
    )


def _chunks(message: messages_pb2.Message) -> Iterator[Update]:
    """Yield what a message says and shows, piece by piece. Its tool calls and their results are not of it."""
    is_user = message.role == messages_pb2.ROLE_USER
    for part in message.parts:
        block = _block(part)
        if block is None:
            continue
        if part.HasField("reasoning"):
            chunk: Update = helpers.update_agent_thought(block)
        else:
            chunk = helpers.update_user_message(block) if is_user else helpers.update_agent_message(block)
        chunk.message_id = message.id
        yield chunk


def _block(part: messages_pb2.Part) -> schema.TextContentBlock | schema.ImageContentBlock | None:
    kind = part.WhichOneof("kind")
    if kind == "image":
        return helpers.image_block(base64.b64encode(part.image.data).decode(), part.image.media_type)
    if kind in ("text", "reasoning"):
        words = part.text or part.reasoning
        return helpers.text_block(words) if words else None
    return None
