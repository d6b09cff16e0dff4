"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from oblixd.models.answers import Decoder, Piece, count_of, object_of, read_object, text_of
from oblixd.models.base import (
    ChatRequest,
    ContentKind,
    Finish,
    Finished,
    Options,
    State,
    Status,
    Tool,
    ToolChoice,
)
from oblixd.models.calls import Calls
from oblixd.models.connection import HttpConnection
from oblixd.models.exchanges import OnExchange, unheard
from oblixd.models.failures import Peer
from oblixd.models.framing import Events
from oblixd.models.hooks import HookSpec
from oblixd.models.prompts import Said, arguments_of, in_base64, joined, parameters_of, said, schema_of
from oblixd.models.servers import PATIENCE, Patience, Server

API_VERSION = "2023-06-01"
"""The newer 2026-10-21 refuses a temperature, which our callers may ask for; nothing else differs for us."""
MAX_TOKENS = 4096
"""Claude wants a limit with every request: what is sent where the caller gave none."""
_OPENING = "(The conversation begins.)"
_CHOICES = {ToolChoice.AUTO: "auto", ToolChoice.REQUIRED: "any", ToolChoice.NONE: "none"}
_FINISHES = {
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "tool_use": Finish.TOOL_CALLS,
    "refusal": Finish.CONTENT_FILTER,
}


class ClaudeConnection(HttpConnection):
    """A model of Anthropic's."""

    path = "/v1/messages"

    def __init__(
        self, spec: HookSpec, *, patience: Patience = PATIENCE, on_exchange: OnExchange = unheard
    ) -> None:
        peer = Peer(
            title="Claude",
            endpoint=spec.endpoint,
            missing=f"Check the model's name: {spec.name} is not known there",
            api_key=spec.api_key,
        )
        headers = {"anthropic-version": API_VERSION, "x-api-key": spec.api_key}
        super().__init__(
            spec, Server(peer, spec.endpoint.removesuffix("/v1"), headers, patience=patience), on_exchange
        )

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Write the request in Claude's words. Raises ModelError where a seed is asked for: there is none."""
        if request.options.seed is not None:
            message = "Claude knows no seed: leave it out, or use another model."
            raise self._peer.unable(message)
        context = said(request.messages)
        system = "\n\n".join(one.text for one in context if one.role == "system")
        body = {
            "model": self.name,
            "messages": _messages([one for one in context if one.role != "system"]),
            "system": system or None,
            "stream": True,
            **_options(request.options),
            **_tools(request),
        }
        return {key: value for key, value in body.items() if value is not None}

    def decoder(self) -> Decoder:
        """Read the events of a message."""
        return MessageDecoder(self._peer)

    async def ask(self) -> Status:
        """Look the model up by its name."""
        await self.get(f"/v1/models/{quote(self.name, safe='')}")
        return Status(State.READY)


class MessageDecoder:
    """Reads typed events: message_start, content blocks in deltas, message_delta, message_stop."""

    def __init__(self, peer: Peer) -> None:
        self.complete = False
        self.stopped = False
        self._peer = peer
        self._events = Events()
        self._reason = Finish.STOP
        self._calls = Calls(peer)
        self._input: int | None = None
        self._output: int | None = None

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """See `Decoder.pieces`."""
        for data in self._events.feed(read) if read else self._events.rest():
            if not self.complete:
                yield from self._event(read_object(data, self._peer))

    def finished(self) -> Finished:
        """See `Decoder.finished`."""
        return Finished(self._calls.why(self._reason), self._input, self._output)

    def _event(self, event: dict[str, Any]) -> Iterator[Piece]:
        match event.get("type"):
            case "content_block_start":
                yield from self._begun(str(event.get("index")), object_of(event, "content_block"))
            case "content_block_delta":
                yield from self._delta(str(event.get("index")), object_of(event, "delta"))
            case "message_start":
                self._count(object_of(object_of(event, "message"), "usage"))
            case "message_delta":
                self._count(object_of(event, "usage"))
                self._stop(text_of(object_of(event, "delta"), "stop_reason"))
            case "message_stop":
                self.stopped = self.complete = True
            case _ if event.get("error"):
                raise self._peer.reported(event)

    def _begun(self, index: str, block: Mapping[str, Any]) -> Iterator[Piece]:
        if block.get("type") == "tool_use":
            call, _ = self._calls.take(index, text_of(block, "id"), text_of(block, "name"))
            yield call, ""

    def _delta(self, index: str, delta: Mapping[str, Any]) -> Iterator[Piece]:
        if thinking := text_of(delta, "thinking"):
            yield ContentKind.REASONING, thinking
        if text := text_of(delta, "text"):
            yield ContentKind.TEXT, text
        if arguments := text_of(delta, "partial_json"):
            call, _ = self._calls.take(index, "", "")
            yield call, arguments

    def _count(self, usage: Mapping[str, Any]) -> None:
        kinds = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        counts = [count for kind in kinds if (count := count_of(usage, kind)) is not None]
        self._input = sum(counts) if counts else self._input
        output = count_of(usage, "output_tokens")
        self._output = self._output if output is None else output

    def _stop(self, reason: str) -> None:
        if reason:
            self._reason = _FINISHES.get(reason, Finish.STOP)
            self.stopped = True


def _options(options: Options) -> dict[str, Any]:
    return {
        "max_tokens": options.max_tokens or MAX_TOKENS,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop_sequences": list(options.stop) or None,
        "output_config": _format(options.response_schema),
    }


def _format(schema: str) -> dict[str, Any] | None:
    return {"format": {"type": "json_schema", "schema": schema_of(schema)}} if schema else None


def _tools(request: ChatRequest) -> dict[str, Any]:
    # A choice without tools is refused there, and says nothing.
    if not request.tools:
        return {}
    choice = {"type": _CHOICES[request.tool_choice]} if request.tool_choice else None
    return {"tools": [_tool(tool) for tool in request.tools], "tool_choice": choice}


def _tool(tool: Tool) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "input_schema": parameters_of(tool)}


def _messages(context: Sequence[Said]) -> list[dict[str, Any]]:
    # Claude takes tool results from the user, strict turns, and the user's first.
    turns = joined([_as_user(one) if one.role == "tool" else one for one in context])
    if turns and turns[0].role != "user":
        turns.insert(0, Said("user", _OPENING))
    return [{"role": turn.role, "content": list(_blocks(turn))} for turn in turns]


def _as_user(one: Said) -> Said:
    return replace(one, role="user")


def _blocks(turn: Said) -> Iterator[dict[str, Any]]:
    for result in turn.results:
        yield {
            "type": "tool_result",
            "tool_use_id": result.call_id,
            "content": result.content,
            "is_error": result.is_error,
        }
    for image in turn.images:
        source = {"type": "base64", "media_type": image.media_type, "data": in_base64(image)}
        yield {"type": "image", "source": source}
    if turn.text:
        yield {"type": "text", "text": turn.text}
    for call in turn.calls:
        yield {"type": "tool_use", "id": call.call_id, "name": call.name, "input": arguments_of(call)}
