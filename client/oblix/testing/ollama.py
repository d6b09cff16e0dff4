"""A server that speaks Ollama's wire format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from oblix.testing.answers import Answer, ToolCall, tokens
from oblix.testing.exchange import Exchange
from oblix.testing.server import Frames, ModelServer

_SIZE = 1_000_000_000
_CONTEXT = 4096


class OllamaServer(ModelServer):
    """Ollama: /api/chat (streamed or whole), /api/tags, /api/show, /api/ps, /api/version.

    Serves the models that it is given, `llama2` where none is named; another
    one is "not found", as for a model that was not pulled.
    """

    content_type = "application/x-ndjson"

    def __init__(
        self,
        models: Iterable[str] = ("llama2",),
        *,
        remote: Iterable[str] = (),
        version: str = "0.12.0",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Make a server; `remote` are models that it lists and passes on to Ollama's cloud."""
        super().__init__([*models, *remote], host=host, port=port)
        self.version = version
        self._remote = {_full(name) for name in remote}
        self._loaded: list[str] = []

    def route(self, exchange: Exchange) -> None:
        """See `ModelServer.route`."""
        received = exchange.received
        match (received.method, received.path):
            case ("POST", "/api/chat"):
                self._chat(exchange)
            case ("POST", "/api/show"):
                self._show(exchange)
            case ("GET", "/api/tags"):
                exchange.send_json(200, {"models": [self._tag(name) for name in self.models]})
            case ("GET", "/api/ps"):
                exchange.send_json(200, {"models": [self._running(name) for name in self._loaded]})
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
        return Frames(b"", [*thought, *said, *calls], _line(self._last(request, answer, {})))

    def error(self, status: int, message: str) -> bytes:
        """See `ModelServer.error`."""
        return json.dumps({"error": message}).encode()

    def error_in_stream(self, message: str) -> bytes:
        """See `ModelServer.error_in_stream`."""
        return _line({"error": message})

    def _chat(self, exchange: Exchange) -> None:
        request = exchange.received.body
        if not self._has(request["model"]):
            self._refuse(exchange, request["model"])
            return
        if request["model"] not in self._loaded:
            self._loaded.append(request["model"])
        answer = self.next_answer(_question(request)).limited(request.get("options", {}).get("num_predict"))
        if request.get("stream", True):
            self.play(exchange, answer)
        else:
            calls = [_call(one) for one in answer.tool_calls]
            said = {"content": answer.text} | ({"tool_calls": calls} if calls else {})
            exchange.send_json(200, self._last(request, answer, said))

    def _show(self, exchange: Exchange) -> None:
        name = exchange.received.body["model"]
        if not self._has(name):
            self._refuse(exchange, name)
            return
        exchange.send_json(
            200,
            {
                "modelfile": f"FROM {name}",
                "parameters": "",
                "template": "{{ .Prompt }}",
                "details": _DETAILS,
                "model_info": {"general.architecture": "llama", "llama.context_length": _CONTEXT},
                "capabilities": ["completion", "tools"],
            },
        )

    def _refuse(self, exchange: Exchange, name: str) -> None:
        exchange.send(404, self.error(404, f"model '{name}' not found"))

    def _has(self, name: str) -> bool:
        return _full(name) in {_full(one) for one in self.models}

    def _tag(self, name: str) -> dict[str, Any]:
        full = _full(name)
        tag: dict[str, Any] = {
            "name": full,
            "model": full,
            "modified_at": _now(),
            "size": _SIZE,
            "digest": hashlib.sha256(full.encode()).hexdigest(),
            "details": _DETAILS,
        }
        if full in self._remote:
            tag |= {"remote_model": full, "remote_host": "https://ollama.com:443"}
        return tag

    def _running(self, name: str) -> dict[str, Any]:
        return {**self._tag(name), "expires_at": _now(), "size_vram": 0, "context_length": _CONTEXT}

    def _piece(self, request: dict[str, Any], message: dict[str, Any]) -> bytes:
        said = {"role": "assistant", **message}
        return _line({"model": request["model"], "created_at": _now(), "message": said, "done": False})

    def _last(self, request: dict[str, Any], answer: Answer, message: dict[str, Any]) -> dict[str, Any]:
        spoken = len(answer.tokens) + len(answer.reasoning_tokens)
        asked = sum(len(tokens(message.get("content", ""))) for message in request.get("messages", []))
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


def _question(request: dict[str, Any]) -> str:
    messages = reversed(request.get("messages", []))
    asked = (message["content"] for message in messages if message["role"] == "user")
    return next(asked, "")


def _call(call: ToolCall) -> dict[str, Any]:
    return {"function": {"name": call.name, "arguments": dict(call.arguments)}}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _full(name: str) -> str:
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
