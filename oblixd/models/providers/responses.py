"""OpenAI's /v1/responses, which some models speak in place of chat completions.

The events are those of OpenAI's API reference, "Responses: streaming events". Servers that imitate it
leave some out: what an answer consists of is taken from the first event that tells it, be that a delta,
the end of an item or the whole response at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oblixd.models.base import ChatMessage, ChatRequest, ContentKind, Finish, Finished
from oblixd.models.encoding import in_base64, parameters_of, schema_of
from oblixd.models.http.event_stream import EventSplitter
from oblixd.models.http.server import ServerErrors
from oblixd.models.providers import reasoning
from oblixd.models.providers.provider_state import dump_state
from oblixd.models.providers.token_usage import UsageReader
from oblixd.models.streaming import Piece, ToolCallAssembler, decode_event, object_of, text_of

_TEXTS = ("response.output_text", "response.refusal", "response.text")
_THOUGHTS = (
    "response.reasoning_summary_text",
    "response.reasoning_text",
    "response.reasoning_summary",
    "response.reasoning",
)
_ARGUMENTS = "response.function_call_arguments"
_ENDS = {
    "response.completed",
    "response.incomplete",
    "response.done",
    "response.failed",
    "response.cancelled",
}
_CUT = {"max_output_tokens", "max_tokens", "length"}
_STATE = "reasoning_items"


class ResponseDecoder:
    """Reads the typed events of a response, or one document."""

    def __init__(self, server_errors: ServerErrors) -> None:
        self.complete = False
        self._server_errors = server_errors
        self._events = EventSplitter()
        self._calls = ToolCallAssembler(server_errors)
        self._usage = UsageReader()
        self._seen_parts: set[tuple[str, str]] = set()
        """The kinds of content of each item of which something was given."""
        self._reasoning: list[dict[str, Any]] = []
        self._finish: Finish | None = None
        self._is_refused = False

    @property
    def is_stopped(self) -> bool:
        """See `Decoder.is_stopped`."""
        return self._finish is not None

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """See `Decoder.pieces`."""
        for data in self._events.feed(read) if read else self._events.rest():
            if data.strip() == b"[DONE]":
                self.complete = self.complete or self.is_stopped
            elif not self.complete:
                yield from decode_event(self, self._event, data, self._server_errors)

    def finish(self) -> Finished:
        """See `Decoder.finish`."""
        self._calls.check()
        reason = self._calls.why(self._finish or Finish.STOP)
        if self._is_refused and reason is Finish.STOP:
            reason = Finish.CONTENT_FILTER
        state = dump_state({_STATE: self._reasoning} if self._reasoning else {})
        return Finished(reason, self._usage.counts(), state)

    def _event(self, event: dict[str, Any]) -> Iterator[Piece]:
        kind = text_of(event, "type")
        if event.get("object") == "response":
            yield from self._end_response(event)
        elif kind == "error" or (event.get("error") and not kind):
            raise self._server_errors.error_event(event)
        elif kind in _ENDS:
            yield from self._end_response(object_of(event, "response"))
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            yield from self._item(_place(event), object_of(event, "item"), is_whole=kind.endswith("done"))
        else:
            yield from self._piece(kind, event)

    def _piece(self, kind: str, event: Mapping[str, Any]) -> Iterator[Piece]:
        """Take a delta, or the end of a part, which repeats its deltas where there were any."""
        base, _, step = kind.rpartition(".")
        place = _place(event)
        text = text_of(event, "delta") if step == "delta" else text_of(event, "text", "refusal", "arguments")
        if (
            not text
            or step not in {"delta", "done"}
            or (step == "done" and (place, base) in self._seen_parts)
        ):
            return
        if base == _ARGUMENTS:
            self._seen_parts.add((place, base))
            yield from self._calls.take(place, "", text_of(event, "name"), text)
        elif base in _TEXTS:
            self._is_refused = self._is_refused or base == "response.refusal"
            yield self._say(place, base, ContentKind.TEXT, text)
        elif base in _THOUGHTS:
            yield self._say(place, base, ContentKind.REASONING, text)

    def _say(self, key: str, base: str, kind: ContentKind, text: str) -> Piece:
        self._seen_parts |= {(key, base), (key, kind.value)}
        return kind, text

    def _item(self, key: str, item: Mapping[str, Any], *, is_whole: bool) -> Iterator[Piece]:
        match item.get("type"):
            case "function_call":
                told = (key, _ARGUMENTS) in self._seen_parts
                arguments = text_of(item, "arguments") if is_whole and not told else ""
                if arguments:
                    self._seen_parts.add((key, _ARGUMENTS))
                yield from self._calls.take(key, text_of(item, "call_id"), text_of(item, "name"), arguments)
                if is_whole:
                    yield from self._calls.rest(key)
            case "message" if is_whole and (key, ContentKind.TEXT.value) not in self._seen_parts:
                yield from self._content(key, item.get("content"), ContentKind.TEXT)
            case "reasoning" if is_whole:
                if (key, ContentKind.REASONING.value) not in self._seen_parts:
                    yield from self._content(key, item.get("summary"), ContentKind.REASONING)
                self._keep(item)

    def _content(self, key: str, parts: object, kind: ContentKind) -> Iterator[Piece]:
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict) and (text := text_of(part, "text", "refusal")):
                self._is_refused = self._is_refused or part.get("type") == "refusal"
                yield self._say(key, "", kind, text)

    def _keep(self, item: Mapping[str, Any]) -> None:
        """Keep reasoning that only its server can read: it wants it back."""
        if item.get("encrypted_content") and all(item.get("id") != one.get("id") for one in self._reasoning):
            kept = ("type", "id", "summary", "encrypted_content")
            self._reasoning.append({key: item[key] for key in kept if key in item})

    def _end_response(self, response: Mapping[str, Any]) -> Iterator[Piece]:
        if response.get("error"):
            raise self._server_errors.error_event({"error": response["error"]})
        output = response.get("output")
        for place, item in enumerate(output if isinstance(output, list) else []):
            if isinstance(item, dict):
                yield from self._item(self._known_key(str(place), item), item, is_whole=True)
        self._usage.take(response.get("usage"))
        self._finish = self._reason(response)
        self.complete = True

    def _known_key(self, key: str, item: Mapping[str, Any]) -> str:
        """Give what an item of the whole response was told apart by before."""
        own = text_of(item, "id")
        return own if any(own and told == own for told, _ in self._seen_parts) else key

    def _reason(self, response: Mapping[str, Any]) -> Finish:
        status = text_of(response, "status")
        if status in {"", "completed"}:
            return Finish.STOP
        why = text_of(object_of(response, "incomplete_details"), "reason")
        if status == "incomplete" and why in _CUT:
            return Finish.LENGTH
        if status == "incomplete" and why == "content_filter":
            return Finish.CONTENT_FILTER
        raise self._server_errors.broken_stream(f"it ended as {status!r}{f' ({why})' if why else ''}")


def _place(event: Mapping[str, Any]) -> str:
    """Tell the items of a response apart. Some servers leave out the index, and name only the item."""
    index = event.get("output_index")
    return (
        str(index)
        if index is not None
        else text_of(event, "item_id") or text_of(object_of(event, "item"), "id")
    )


def response_body(
    name: str, request: ChatRequest, context: Sequence[ChatMessage], server_errors: ServerErrors
) -> dict[str, Any]:
    """Write a streamed response. Nothing of it is stored at the provider. Raises ModelError."""
    options = request.options
    for given, what in ((options.seed, "seed"), (options.stop or None, "stop texts")):
        if given is not None:
            raise server_errors.unable(
                f"The calls of /v1/responses know no {what}: leave that out, or use another model."
            )
    body = {
        "model": name,
        "input": [item for one in context for item in _items(one)],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "temperature": options.temperature,
        "max_output_tokens": options.max_tokens,
        "top_p": options.top_p,
        "text": _format(options.response_schema),
        **reasoning.for_responses(options.reasoning),
        **_tools(request),
    }
    return {key: value for key, value in body.items() if value is not None}


def _format(schema: str) -> dict[str, Any] | None:
    if not schema:
        return None
    return {"format": {"type": "json_schema", "name": "answer", "schema": schema_of(schema), "strict": True}}


def _tools(request: ChatRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    choice = request.tool_choice.value if request.tool_choice else None
    tools = [
        {
            "type": "function",
            "name": tool.name,
            **({"description": tool.description} if tool.description else {}),
            "parameters": parameters_of(tool),
            # Strict is the default there, and refuses most schemas that others take.
            "strict": False,
        }
        for tool in request.tools
    ]
    return {"tools": tools, "tool_choice": choice}


def _items(one: ChatMessage) -> Iterator[dict[str, Any]]:
    for result in one.results:
        yield {"type": "function_call_output", "call_id": result.call_id, "output": result.content}
    yield from _reasoning_items(one)
    if content := list(_parts(one)):
        yield {"role": one.role, "content": content}
    for call in one.calls:
        yield {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments_json or "{}",
        }


def _reasoning_items(one: ChatMessage) -> Iterator[dict[str, Any]]:
    items = one.state.get(_STATE)
    yield from (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()


def _parts(one: ChatMessage) -> Iterator[dict[str, Any]]:
    if one.text:
        yield {"type": "output_text" if one.role == "assistant" else "input_text", "text": one.text}
    for image in one.images:
        yield {"type": "input_image", "image_url": f"data:{image.media_type};base64,{in_base64(image)}"}
