"""What every provider needs of a context before it puts it into its own words."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, takewhile
from typing import Any

from oblix.v1 import messages_pb2 as pb

from oblixd.models.base import ChatRequest, Tool, ToolChoice

NO_RESULT = "(This call was not answered.)"
_NO_ARGUMENTS = {"type": "object", "properties": {}}
_ROLES = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
}


@dataclass(frozen=True, slots=True)
class Said:
    """One message as models see it: without its reasoning, its time and its status."""

    role: str
    """system, user, assistant or tool."""
    text: str = ""
    images: tuple[pb.ImagePart, ...] = ()
    calls: tuple[pb.ToolCallPart, ...] = ()
    results: tuple[pb.ToolResultPart, ...] = ()


def said(messages: Iterable[pb.Message]) -> list[Said]:
    """Read a context, oldest first; what is empty without its reasoning is left out.

    A tool call that nobody answered is answered with `NO_RESULT`: servers refuse
    a conversation with one in it, which then could never go on. For the same reason
    a tool's bare text is the result of the first call that has none, and where every
    call has one, it is said by the user.
    """
    everything = (_said(message) for message in messages)
    spoken = [one for one in everything if one.text or one.images or one.calls or one.results]
    context = list(_attributed(spoken))
    return [one for place in range(len(context)) for one in _answered(context, place)]


def joined(context: Sequence[Said]) -> list[Said]:
    """Join neighbours of one role, for models that were taught strict turns."""
    return [_join(list(neighbours)) for _, neighbours in groupby(context, key=lambda one: one.role)]


def in_base64(image: pb.ImagePart) -> str:
    """Give a picture's bytes as the wire formats carry them."""
    return base64.b64encode(image.data).decode()


def arguments_of(call: pb.ToolCallPart) -> dict[str, Any]:
    """Read a call's arguments, for formats that want an object and not its text."""
    try:
        arguments = json.loads(call.arguments_json or "{}")
    except (ValueError, RecursionError):
        arguments = None
    # A model can write broken JSON. The conversation goes on, and it sees what it wrote.
    return arguments if isinstance(arguments, dict) else {"invalid_json": call.arguments_json}


def tool_names(context: Sequence[Said]) -> dict[str, str]:
    """Map each call's id to its tool, for formats that name a result by the tool."""
    return {call.call_id: call.name for one in context for call in one.calls}


def tools_of(request: ChatRequest) -> tuple[Tool, ...]:
    """The tools, for formats that can't say that a model must not call them."""
    return () if request.tool_choice is ToolChoice.NONE else request.tools


def function_of(tool: Tool) -> dict[str, Any]:
    """Write a tool in OpenAI's words, which others took over."""
    described = {"description": tool.description} if tool.description else {}
    return {
        "type": "function",
        "function": {"name": tool.name, **described, "parameters": parameters_of(tool)},
    }


def parameters_of(tool: Tool) -> dict[str, Any]:
    """Read a tool's schema. Formats want one of an object, also where there are no arguments."""
    return schema_of(tool.parameters_schema) or _NO_ARGUMENTS


def schema_of(text: str) -> dict[str, Any] | None:
    """Read a JSON Schema, which was checked to be an object; None where there is none."""
    schema: dict[str, Any] | None = json.loads(text) if text else None
    return schema


def _attributed(context: Sequence[Said]) -> Iterator[Said]:
    waiting: list[str] = []
    for place, one in enumerate(context):
        if one.role != "tool":
            waiting = _waiting(context, place)
        if one.role == "tool" and (one.text or one.images):
            yield from _told(one, waiting)
        else:
            yield one


def _told(one: Said, waiting: list[str]) -> Iterator[Said]:
    if one.results:
        yield replace(one, text="", images=())
    if waiting and not one.images:
        result = pb.ToolResultPart(call_id=waiting.pop(0), content=one.text)
        yield Said("tool", results=(result,))
    else:
        yield Said("user", one.text, one.images)


def _waiting(context: Sequence[Said], place: int) -> list[str]:
    """List the calls of a message that the tools behind it do not answer."""
    later = islice(context, place + 1, None)
    following = takewhile(lambda one: one.results or one.role == "tool", later)
    answered = {result.call_id for one in following for result in one.results}
    return [call.call_id for call in context[place].calls if call.call_id not in answered]


def _answered(context: Sequence[Said], place: int) -> Iterator[Said]:
    one = context[place]
    yield one
    missing = [
        pb.ToolResultPart(call_id=call_id, content=NO_RESULT, is_error=True)
        for call_id in _waiting(context, place)
    ]
    if missing:
        yield Said("tool", results=tuple(missing))


def _said(message: pb.Message) -> Said:
    return Said(
        role=_ROLES[message.role],
        text="".join(part.text for part in message.parts),
        images=tuple(part.image for part in _parts(message, "image")),
        calls=tuple(part.tool_call for part in _parts(message, "tool_call")),
        results=tuple(part.tool_result for part in _parts(message, "tool_result")),
    )


def _parts(message: pb.Message, kind: str) -> Iterator[pb.Part]:
    return (part for part in message.parts if part.WhichOneof("kind") == kind)


def _join(neighbours: list[Said]) -> Said:
    return replace(
        neighbours[0],
        text="\n\n".join(one.text for one in neighbours if one.text),
        images=tuple(image for one in neighbours for image in one.images),
        calls=tuple(call for one in neighbours for call in one.calls),
        results=tuple(result for one in neighbours for result in one.results),
    )
