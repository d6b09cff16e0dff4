"""A server that speaks Ollama's wire format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from oblix.testing.answers import Answer, ToolCall, tokens
from oblix.testing.embeddings import tokens_of, vectors_of
from oblix.testing.exchange import Exchange
from oblix.testing.faults import InsteadOfAnswer, InStream
from oblix.testing.ollama_models import USUAL_CONTEXT, Library, Resident, Residents, keep_seconds, line
from oblix.testing.server import Frames, ModelServer

_SIZE = 1_000_000_000
CAPABILITIES = ("completion", "tools", "vision", "thinking")


class OllamaServer(ModelServer):
    """Ollama: /api/chat (streamed or whole), /api/embed, /api/tags, /api/show, /api/ps, /api/pull
    and /api/version.

    Serves the models that it is given, `llama2` where none is named; another
    one is "not found", as for a model that was not pulled. It loads a model with
    its first prompt, again when another `num_ctx` is asked for, and lets go of it
    after `keep_alive`. It counts words as tokens.
    """

    content_type = "application/x-ndjson"
    prompt_path = "/api/chat"

    def __init__(
        self,
        models: Iterable[str] = ("llama2",),
        *,
        remote: Iterable[str] = (),
        library: Mapping[str, int] | None = None,
        context_length: int = 131_072,
        capabilities: Iterable[str] | None = CAPABILITIES,
        version: str = "0.12.0",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Make a server.

        `remote` are models that it lists and passes on to Ollama's cloud; `library`
        what it can pull, with the sizes in bytes; `context_length` the longest
        context of its models; `capabilities` what they can, None as older servers,
        which do not say.
        """
        super().__init__([*models, *remote], host=host, port=port)
        self.version = version
        self.context_length = context_length
        self.capabilities = None if capabilities is None else list(capabilities)
        self.library = Library(library or {})
        self.load_s = 0.0
        """How long loading a model takes."""
        self.pull_pause_s = 0.0
        """How long it takes until the next piece of a pulled model arrives."""
        self.pull_fault: InsteadOfAnswer | InStream | None = None
        """How it misbehaves with every pull. None: not at all."""
        self.remote = {_with_tag(name) for name in remote}
        """The models that answer from Ollama's cloud, with their tags; more can be added at any time."""
        self._residents = Residents()

    @property
    def loads(self) -> list[tuple[str, int]]:
        """Every loading of a model, oldest first: its name, and the context that it was loaded with."""
        return self._residents.loads

    def route(self, exchange: Exchange) -> None:
        """See `ModelServer.route`."""
        received = exchange.received
        match (received.method, received.path):
            case ("POST", "/api/chat"):
                self._chat(exchange)
            case ("POST", "/api/embed"):
                self._embed(exchange)
            case ("POST", "/api/show"):
                self._show(exchange)
            case ("POST", "/api/pull"):
                self._pull(exchange)
            case ("GET", "/api/tags"):
                exchange.send_json(200, {"models": [self._tag(name) for name in self.models]})
            case ("GET", "/api/ps"):
                exchange.send_json(200, {"models": [self._ps_entry(one) for one in self._residents.now()]})
            case ("GET", "/api/version"):
                exchange.send_json(200, {"version": self.version})
            case ("GET", "/"):
                exchange.send(200, b"Ollama is running", {"Content-Type": "text/plain; charset=utf-8"})
            case _:
                exchange.send(404, b"404 page not found", {"Content-Type": "text/plain"})

    def frames(self, request: dict[str, Any], answer: Answer) -> Frames:
        """See `ModelServer.frames`."""
        thought = [self._piece(request, {"content": "", "thinking": one}) for one in answer.reasoning_tokens]
        said = [self._piece(request, {"content": one}) for one in answer.tokens]
        calls = [
            self._piece(request, {"content": "", "tool_calls": [_call(one)]}) for one in answer.tool_calls
        ]
        return Frames(b"", [*thought, *said, *calls], line(self._last_line(request, answer, {})))

    def error(self, status: int, message: str) -> bytes:
        """See `ModelServer.error`."""
        return json.dumps({"error": message}).encode()

    def error_in_stream(self, message: str) -> bytes:
        """See `ModelServer.error_in_stream`."""
        return line({"error": message})

    def _chat(self, exchange: Exchange) -> None:
        request = exchange.received.body
        if not self._has(request["model"]):
            self._refuse(exchange, request["model"])
            return
        if wrong := self._wrong(request):
            exchange.send(400, self.error(400, wrong))
            return
        name, context = _with_tag(request["model"]), self._context(request)
        keep_s = keep_seconds(request.get("keep_alive"))
        if self._residents.use(name, context, keep_s):
            exchange.wait(self.load_s)
        try:
            self._answer(exchange, request)
        finally:
            self._residents.rest(name, context, keep_s)

    def _embed(self, exchange: Exchange) -> None:
        name = exchange.received.body["model"]
        if not self._has(name):
            self._refuse(exchange, name)
        else:
            self.embed(exchange, _embeddings)

    def _answer(self, exchange: Exchange, request: dict[str, Any]) -> None:
        answer = self.next_answer(_question(request)).limit(request.get("options", {}).get("num_predict"))
        if request.get("stream", True):
            self.play(exchange, answer)
        else:
            calls = [_call(one) for one in answer.tool_calls]
            said = {"content": answer.text} | ({"tool_calls": calls} if calls else {})
            exchange.send_json(200, self._last_line(request, answer, said), answer.headers)

    def _wrong(self, request: dict[str, Any]) -> str:
        """Say what the server would refuse a request for; empty: nothing."""
        name, able = request["model"], self.capabilities or CAPABILITIES
        try:
            keep_seconds(request.get("keep_alive"))
        except ValueError as error:
            return str(error)
        if request.get("tools") and "tools" not in able:
            return f"registry.ollama.ai/library/{name} does not support tools"
        if "vision" not in able and any(message.get("images") for message in request.get("messages", [])):
            return "this model is missing data required for image input"
        asked, context = _words(request), self._context(request)
        if request.get("truncate", True) is False and asked > context:
            return f"request ({asked} tokens) exceeds the available context size ({context} tokens)"
        return ""

    def _context(self, request: dict[str, Any]) -> int:
        asked = int(request.get("options", {}).get("num_ctx", USUAL_CONTEXT))
        return min(asked, self.context_length)

    def _pull(self, exchange: Exchange) -> None:
        name, fault = exchange.received.body["model"], self.pull_fault
        if isinstance(fault, InsteadOfAnswer):
            fault.strike(exchange, self.error(fault.status, fault.message))
            return
        exchange.start(self.content_type)
        if not self.library.has(name):
            exchange.chunk(self.error_in_stream("pull model manifest: file does not exist"))
        elif not self._arrive(exchange, name, fault):
            return
        exchange.end()

    def _arrive(self, exchange: Exchange, name: str, fault: InStream | None) -> bool:
        for number, step in enumerate(self.library.pull(name)):
            struck = fault if fault and number == fault.after else None
            if struck and not struck.strike(exchange, self.error_in_stream(struck.message)):
                return False
            if step["status"] == "success" and not self._has(name):
                self.models.append(name)
            exchange.chunk(line(step))
            exchange.wait(self.pull_pause_s)
        return True

    def _show(self, exchange: Exchange) -> None:
        name = exchange.received.body["model"]
        if not self._has(name):
            self._refuse(exchange, name)
            return
        info = {"general.architecture": "llama", "llama.context_length": self.context_length}
        shown: dict[str, Any] = {
            "modelfile": f"FROM {name}",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _DETAILS,
            "model_info": info,
        }
        if self.capabilities is not None:
            shown["capabilities"] = self.capabilities
        exchange.send_json(200, shown | self._remoteness(_with_tag(name)))

    def _refuse(self, exchange: Exchange, name: str) -> None:
        exchange.send(404, self.error(404, f"model '{name}' not found"))

    def _has(self, name: str) -> bool:
        return _with_tag(name) in {_with_tag(one) for one in self.models}

    def _tag(self, name: str) -> dict[str, Any]:
        full = _with_tag(name)
        tag: dict[str, Any] = {
            "name": full,
            "model": full,
            "modified_at": _now(),
            "size": _SIZE,
            "digest": hashlib.sha256(full.encode()).hexdigest(),
            "details": _DETAILS,
        }
        return tag | self._remoteness(full)

    def _remoteness(self, name: str) -> dict[str, Any]:
        if name not in self.remote:
            return {}
        return {"remote_model": name, "remote_host": "https://ollama.com:443"}

    def _ps_entry(self, resident: Resident) -> dict[str, Any]:
        return {
            **self._tag(resident.name),
            "expires_at": _moment(datetime.fromtimestamp(resident.until_s, UTC)),
            "size_vram": 0,
            "context_length": resident.context,
        }

    def _piece(self, request: dict[str, Any], message: dict[str, Any]) -> bytes:
        said = {"role": "assistant", **message}
        return line({"model": request["model"], "created_at": _now(), "message": said, "done": False})

    def _last_line(self, request: dict[str, Any], answer: Answer, message: dict[str, Any]) -> dict[str, Any]:
        spoken = len(answer.tokens) + len(answer.reasoning_tokens)
        asked = _words(request)
        return {
            "model": request["model"],
            "created_at": _now(),
            "message": {"role": "assistant", "content": "", **message},
            "done": True,
            "done_reason": answer.finish,
            "total_duration": 1_000_000 * (2 + spoken),
            "load_duration": 1_000_000,
            "prompt_eval_count": asked if answer.input_tokens is None else answer.input_tokens,
            "prompt_eval_duration": 1_000_000,
            "eval_count": spoken,
            "eval_duration": 1_000_000 * spoken,
        }


_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "7B",
    "quantization_level": "Q4_0",
}


def _embeddings(request: dict[str, Any]) -> dict[str, Any]:
    counts = {"total_duration": 1_000_000, "load_duration": 0, "prompt_eval_count": tokens_of(request)}
    return {"model": request["model"], "embeddings": vectors_of(request), **counts}


def _question(request: dict[str, Any]) -> str:
    messages = reversed(request.get("messages", []))
    asked = (message["content"] for message in messages if message["role"] == "user")
    return next(asked, "")


def _call(call: ToolCall) -> dict[str, Any]:
    return {"function": {"name": call.name, "arguments": dict(call.arguments)}}


def _with_tag(name: str) -> str:
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def _words(request: dict[str, Any]) -> int:
    return sum(len(tokens(message.get("content", ""))) for message in request.get("messages", []))


def _now() -> str:
    return _moment(datetime.now(UTC))


def _moment(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")
