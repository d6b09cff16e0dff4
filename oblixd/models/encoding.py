"""What every provider needs of a context before it puts it into its own words.

Refuses what a model is known not to take, before anything is sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, groupby, takewhile
from typing import Any

from oblix.v1 import messages_pb2

from oblixd.models.base import ChatMessage, ChatRequest, Tool, ToolChoice, UnableError
from oblixd.models.http.server import ServerErrors
from oblixd.models.providers.provider_state import is_own, load_object, load_state, merge

NO_RESULT = "(This call was not answered.)"
LONGEST_TOOL_NAME = 64
"""Characters that OpenAI and Anthropic take of a tool's name."""
LONGEST_CALL_ID = 40
"""Characters that OpenAI takes of a call's id."""
_NO_ARGUMENTS = {"type": "object", "properties": {}}
_ROLES = {
    messages_pb2.ROLE_SYSTEM: "system",
    messages_pb2.ROLE_USER: "user",
    messages_pb2.ROLE_ASSISTANT: "assistant",
    messages_pb2.ROLE_TOOL: "tool",
}
_IMAGE_LEFT_OUT = "(An image stood here.)"
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")


def chat_messages(
    messages: Sequence[messages_pb2.Message], author: str = "", plain: Sequence[ChatMessage | None] = ()
) -> list[ChatMessage]:
    """Read a context, oldest first, and make it one that servers take.

    - A message without text, image, call or result is left out, and so is text of blanks.
    - A call and its results stand together: results that came later are moved up to their
      call, and one that nobody answered is answered with `NO_RESULT`. Servers refuse a
      conversation with a call alone in it, which then could never go on.
    - A tool's bare text is the result of the first call that has none. A result of no call
      in this context is said by the user.
    - Ids of calls are unique, and of characters and a length that OpenAI and Anthropic take.
      Names of tools are, too. Arguments are a JSON object.
    - Images of a system message or an answer are left out: no server takes them there.

    `author`: the model and the server that it is for, as `author_of` gives it. `plain`: see `ChatRequest`.
    """
    everything = [
        known if known is not None else _chat_message(message, author)
        for message, known in zip(messages, plain or map(plain_message, messages), strict=True)
    ]
    spoken = [one for one in everything if one.text or one.images or one.calls or one.results]
    if not any(one.calls or one.results or one.role == "tool" for one in spoken):
        return spoken
    return _with_unique_ids(_pair_results(list(_attribute_results(spoken))))


def join_neighbours(context: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Join neighbours of one role, for models that were taught strict turns."""
    return [_join(list(neighbours)) for _, neighbours in groupby(context, key=lambda one: one.role)]


def in_base64(image: messages_pb2.ImagePart) -> str:
    """Give an image's bytes as the wire formats carry them."""
    return base64.b64encode(image.data).decode()


def arguments_of(call: messages_pb2.ToolCallPart) -> dict[str, Any]:
    """Read a call's arguments, for formats that want an object and not its text."""
    arguments = load_object(call.arguments_json)
    # A model can write broken JSON. The conversation goes on, and it sees what it wrote.
    return {"invalid_json": call.arguments_json} if arguments is None else arguments


def tool_names(context: Sequence[ChatMessage]) -> dict[str, str]:
    """Map each call's id to its tool, for formats that name a result by the tool."""
    return {call.call_id: call.name for one in context for call in one.calls}


def tools_of(request: ChatRequest) -> tuple[Tool, ...]:
    """Return the tools, for formats that can't say that a model must not call them."""
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


def _attribute_results(context: Sequence[ChatMessage]) -> Iterator[ChatMessage]:
    waiting: list[str] = []
    for place, one in enumerate(context):
        if one.role != "tool":
            waiting = _unanswered_calls(context, place)
        if one.role == "tool" and (one.text or one.images):
            yield from _result_messages(one, waiting)
        else:
            yield one


def _result_messages(one: ChatMessage, call_ids: list[str]) -> Iterator[ChatMessage]:
    if one.results:
        yield replace(one, text="", images=())
    if call_ids and not one.images:
        result = messages_pb2.ToolResultPart(call_id=call_ids.pop(0), content=one.text)
        yield ChatMessage("tool", results=(result,))
    else:
        yield ChatMessage("user", one.text, one.images)


def _unanswered_calls(context: Sequence[ChatMessage], position: int) -> list[str]:
    """List the calls of a message that the tools behind it do not answer."""
    if not context[position].calls:
        return []
    later = (context[number] for number in range(position + 1, len(context)))
    following = takewhile(lambda one: one.results or one.role == "tool", later)
    answered = {result.call_id for one in following for result in one.results}
    return [call.call_id for call in context[position].calls if call.call_id not in answered]


def _pair_results(context: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Put the results of each call behind the message that made it."""
    found: dict[int, dict[str, messages_pb2.ToolResultPart]] = {}
    open_: dict[str, int] = {}
    alone: dict[int, list[messages_pb2.ToolResultPart]] = {}
    for place, one in enumerate(context):
        open_.update((call.call_id, place) for call in one.calls)
        for result in one.results:
            if result.call_id in open_:
                found.setdefault(open_.pop(result.call_id), {})[result.call_id] = result
            else:
                alone.setdefault(place, []).append(result)
    return [said for place, one in enumerate(context) for said in _with_results(one, place, found, alone)]


def _with_results(
    one: ChatMessage,
    position: int,
    results_by_position: Mapping[int, Mapping[str, messages_pb2.ToolResultPart]],
    results_alone: Mapping[int, Sequence[messages_pb2.ToolResultPart]],
) -> Iterator[ChatMessage]:
    rest = replace(one, results=()) if one.results else one
    if rest.text or rest.images or rest.calls:
        yield rest
    if one.calls:
        results = results_by_position.get(position, {})
        yield ChatMessage(
            "tool", results=tuple(results.get(call.call_id) or _missing_result(call) for call in one.calls)
        )
    # Its call was left out, or never was there: an import can bring such a one.
    for result in results_alone.get(position, ()):
        if result.content.strip():
            yield ChatMessage("user", text=result.content)


def _missing_result(call: messages_pb2.ToolCallPart) -> messages_pb2.ToolResultPart:
    return messages_pb2.ToolResultPart(call_id=call.call_id, content=NO_RESULT, is_error=True)


def _with_unique_ids(context: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Write the ids of calls so that each is its own, and servers take it; its result has the same."""
    taken: set[str] = set()
    now: dict[str, str] = {}
    result = []
    for one in context:
        for call in one.calls:
            now[call.call_id] = _sound_id(call.call_id, taken)
            taken.add(now[call.call_id])
        result.append(_with_call_ids(one, now) if one.calls or one.results else one)
    return result


def _sound_id(call_id: str, taken_ids: Collection[str]) -> str:
    """Give the id itself where it can stay. Else one made of it: the same each time, for a server's cache."""
    if (
        call_id
        and call_id not in taken_ids
        and len(call_id) <= LONGEST_CALL_ID
        and not _NO_NAME.search(call_id)
    ):
        return call_id
    made = (_digest(f"{call_id}#{number}") for number in count())
    return next(f"call_{one[:24]}" for one in made if f"call_{one[:24]}" not in taken_ids)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _with_call_ids(one: ChatMessage, ids: Mapping[str, str]) -> ChatMessage:
    return replace(
        one,
        calls=tuple(
            messages_pb2.ToolCallPart(
                call_id=ids[call.call_id],
                name=_NO_NAME.sub("_", call.name)[:LONGEST_TOOL_NAME] or "_",
                arguments_json=call.arguments_json,
            )
            for call in one.calls
        ),
        results=tuple(
            messages_pb2.ToolResultPart(
                call_id=ids[result.call_id], content=result.content, is_error=result.is_error
            )
            for result in one.results
        ),
        state=_with_ids(one.state, ids),
    )


def _with_ids(state: Mapping[str, Any], ids: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what a server said of each call goes with it under its new id."""
    calls = state.get("calls")
    if not isinstance(calls, dict):
        return state
    return {**state, "calls": {ids.get(call_id, call_id): extra for call_id, extra in calls.items()}}


def plain_message(message: messages_pb2.Message) -> ChatMessage | None:
    """Return what every server reads in a message of one text, as nearly all of a long history are.

    None: it is another one, and what is read in it depends on the server.
    """
    parts = message.parts
    if len(parts) != 1 or not parts[0].HasField("text") or message.HasField("provider_state"):
        return None
    text = parts[0].text
    return ChatMessage(_ROLES.get(message.role, "user"), text if text.strip() else "")


def _chat_message(message: messages_pb2.Message, author: str) -> ChatMessage:
    role = _ROLES.get(message.role, "user")
    text = "".join(part.text for part in message.parts)
    images = tuple(part.image for part in _parts(message, "image"))
    if images and role in {"system", "assistant"}:
        text, images = f"{text}\n{_IMAGE_LEFT_OUT}".strip(), ()
    own = is_own(author, message.provider_state.author)
    return ChatMessage(
        role=role,
        text=text if text.strip() else "",
        images=images,
        calls=tuple(part.tool_call for part in _parts(message, "tool_call")) if role == "assistant" else (),
        results=tuple(part.tool_result for part in _parts(message, "tool_result")),
        reasoning="".join(part.reasoning for part in message.parts) if own else "",
        state=load_state(message.provider_state.json) if own else {},
    )


def _parts(message: messages_pb2.Message, kind: str) -> Iterator[messages_pb2.Part]:
    return (part for part in message.parts if part.WhichOneof("kind") == kind)


def _join(neighbours: list[ChatMessage]) -> ChatMessage:
    return replace(
        neighbours[0],
        text="\n\n".join(one.text for one in neighbours if one.text),
        images=tuple(image for one in neighbours for image in one.images),
        calls=tuple(call for one in neighbours for call in one.calls),
        results=tuple(result for one in neighbours for result in one.results),
        reasoning="\n\n".join(one.reasoning for one in neighbours if one.reasoning),
        state=merge([one.state for one in neighbours]),
    )


IMAGES, TOOLS = "images", "tools"


def check(features: Collection[str], request: ChatRequest, server_errors: ServerErrors) -> None:
    """Compare a request with a model's `Connection.features`; of an unknown model everything is tried.

    Raises UnableError.
    """
    if not features:
        return
    if IMAGES not in features and has_image(request):
        raise _refusal(server_errors, "The model can't read images", "Leave the image out")
    if TOOLS not in features and tools_of(request):
        raise _refusal(server_errors, "The model knows no tools", "Leave the tools out")


def needs_features(request: ChatRequest) -> bool:
    """Return whether a request asks for what not every model takes."""
    return bool(has_image(request) or tools_of(request))


def has_image(request: ChatRequest) -> bool:
    """Return whether a request holds an image."""
    plain = request.plain_messages or (None for _ in request.messages)
    others = (message for message, known in zip(request.messages, plain, strict=True) if known is None)
    return any(part.HasField("image") for message in others for part in message.parts)


def _refusal(server_errors: ServerErrors, what: str, remedy: str) -> UnableError:
    return server_errors.unable(f"{what}, as {server_errors.title} tells. {remedy}, or use another model.")
