"""Ollama: /api/chat as it streams, /api/tags to know what is pulled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from oblixd.models.answers import Decoder, Piece, count_of, object_of, read_object, text_of
from oblixd.models.base import (
    ChatRequest,
    ContentKind,
    Finish,
    Finished,
    Location,
    ModelErrorKind,
    State,
    Status,
    ToolChoice,
)
from oblixd.models.calls import Calls
from oblixd.models.connection import HttpConnection
from oblixd.models.failures import Peer
from oblixd.models.framing import Lines
from oblixd.models.hooks import HookSpec
from oblixd.models.prompts import (
    Said,
    arguments_of,
    function_of,
    in_base64,
    said,
    schema_of,
    tool_names,
    tools_of,
)
from oblixd.models.servers import PATIENCE, Patience, Server

_FINISHES = {"length": Finish.LENGTH}


class OllamaConnection(HttpConnection):
    """A model of an Ollama server."""

    path = "/api/chat"

    def __init__(self, spec: HookSpec, *, patience: Patience = PATIENCE) -> None:
        peer = Peer(
            title="Ollama",
            endpoint=spec.endpoint,
            start="start it with `ollama serve`",
            missing=f"The model is not pulled: run `ollama pull {spec.name}`",
            api_key=spec.api_key,
        )
        headers = {"Authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        super().__init__(spec, Server(peer, spec.endpoint, headers, patience=patience))
        self._is_confirmed = False
        # The server's own default changes by machine and version: only what we fixed is known.
        self.context_window = spec.count("context_window") or spec.count("num_ctx")

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Write the request in Ollama's words. Raises ModelError where a tool must be called."""
        if request.tool_choice is ToolChoice.REQUIRED:
            message = "Ollama can't make a model call a tool: leave the choice to it, or use another model."
            raise self._peer.error(ModelErrorKind.REFUSED, message)
        body: dict[str, Any] = {
            "model": self.name,
            "messages": _messages(said(request.messages)),
            "stream": True,
            "options": self._options(request),
        }
        if tools := tools_of(request):
            body["tools"] = [function_of(tool) for tool in tools]
        if request.options.response_schema:
            body["format"] = schema_of(request.options.response_schema)
        if "keep_alive" in self._spec.options:
            body["keep_alive"] = self._spec.options["keep_alive"]
        return body

    def decoder(self) -> Decoder:
        """Read /api/chat's lines."""
        return OllamaDecoder(self._peer)

    async def confirm_location(self) -> None:
        """See `Connection.confirm_location`: a local name may stand for a model in Ollama's cloud."""
        if self._spec.location is None and self.location is Location.LOCAL and not self._is_confirmed:
            await self.ask()

    async def ask(self) -> Status:
        """Look the model up in /api/tags."""
        tags = await self.get("/api/tags")
        entry = next(
            (one for one in _listed(tags) if _full(text_of(one, "model", "name")) == _full(self.name)), None
        )
        if entry is None:
            missing = f"Ollama at {self.endpoint} does not have {self.name}: run `ollama pull {self.name}`."
            return Status(State.UNAVAILABLE, missing)
        if entry.get("remote_host") and self._spec.location is None:
            # A copy of a hosted model under a local name: it answers from Ollama's cloud all the same.
            self.location = Location.CLOUD
        self._is_confirmed = True
        return Status(State.READY)

    def _options(self, request: ChatRequest) -> dict[str, Any]:
        options = {
            "num_ctx": self._spec.count("num_ctx"),
            "temperature": request.options.temperature,
            "num_predict": request.options.max_tokens,
            "top_p": request.options.top_p,
            "seed": request.options.seed,
            "stop": list(request.options.stop) or None,
        }
        return {key: value for key, value in options.items() if value is not None}


class OllamaDecoder:
    """Reads newline-delimited JSON objects, the last of which says `done`."""

    def __init__(self, peer: Peer) -> None:
        self.complete = False
        self.stopped = False
        self._peer = peer
        self._lines = Lines()
        self._calls = Calls(peer)
        self._last: dict[str, Any] = {}

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """See `Decoder.pieces`."""
        for line in self._lines.feed(read) if read else [self._lines.rest()]:
            if line.strip():
                yield from self._line(read_object(line, self._peer))

    def finished(self) -> Finished:
        """See `Decoder.finished`."""
        return Finished(
            reason=self._calls.why(_FINISHES.get(text_of(self._last, "done_reason"), Finish.STOP)),
            input_tokens=count_of(self._last, "prompt_eval_count"),
            output_tokens=count_of(self._last, "eval_count"),
        )

    def _line(self, line: dict[str, Any]) -> Iterator[Piece]:
        if line.get("error"):
            raise self._peer.reported(line)
        message = object_of(line, "message")
        if thinking := text_of(message, "thinking"):
            yield ContentKind.REASONING, thinking
        if content := text_of(message, "content"):
            yield ContentKind.TEXT, content
        if isinstance(calls := message.get("tool_calls"), list):
            yield from self._called(calls)
        if line.get("done") is True:
            self._last = line
            self.stopped = self.complete = True

    def _called(self, calls: Sequence[object]) -> Iterator[Piece]:
        # Calls come whole, the arguments as an object, and only from newer servers with an id.
        for whole in calls:
            if isinstance(whole, dict):
                function = object_of(whole, "function")
                place = str(len(self._calls))
                call, _ = self._calls.take(place, text_of(whole, "id"), text_of(function, "name"))
                yield call, json.dumps(object_of(function, "arguments"), ensure_ascii=False)


def _messages(context: Sequence[Said]) -> list[dict[str, Any]]:
    names = tool_names(context)
    return [message for one in context for message in _message(one, names)]


def _message(one: Said, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    for result in one.results:
        yield {
            "role": "tool",
            "content": result.content,
            "tool_name": names.get(result.call_id, result.call_id),
        }
    if not (one.text or one.images or one.calls):
        return
    message: dict[str, Any] = {"role": one.role, "content": one.text}
    if one.images:
        message["images"] = [in_base64(image) for image in one.images]
    if one.calls:
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": arguments_of(call)}} for call in one.calls
        ]
    yield message


def _listed(tags: dict[str, Any]) -> list[dict[str, Any]]:
    models = tags.get("models")
    return [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []


def _full(name: str) -> str:
    """A name without a tag means the tag `latest`."""
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
