"""A server that speaks Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from oblix.testing.answers import Answer, tokens
from oblix.testing.exchange import Exchange, Received
from oblix.testing.server import Frames, ModelServer

_ID = "msg_oblix"
_VERSIONS = ("2023-06-01", "2026-10-21")
_SAMPLING = {"temperature", "top_p", "top_k"}
"""The newer version takes these no more."""
_FINISHES = {"stop": "end_turn", "length": "max_tokens"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class ClaudeServer(ModelServer):
    """Claude: /v1/messages (streamed or whole) and /v1/models/NAME.

    With an `api_key` every request without it is refused.
    """

    content_type = "text/event-stream"

    def __init__(
        self,
        models: Iterable[str] = ("claude-3-haiku-20240307",),
        *,
        api_key: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(models, host=host, port=port)
        self._api_key = api_key

    def route(self, exchange: Exchange) -> None:
        """See `ModelServer.route`."""
        received = exchange.received
        if self._api_key and self._api_key not in _keys(received.headers):
            exchange.send(401, self.error(401, "invalid x-api-key"))
        elif received.headers.get("anthropic-version") not in _VERSIONS:
            exchange.send(400, self.error(400, "anthropic-version: header is required"))
        elif (received.method, received.path) == ("POST", "/v1/messages"):
            self._message(exchange)
        elif received.method == "GET" and received.path.removeprefix("/v1/models/") in self.models:
            name = received.path.removeprefix("/v1/models/")
            model = {"type": "model", "id": name, "display_name": name, "created_at": "2024-03-07T00:00:00Z"}
            exchange.send_json(200, model)
        else:
            exchange.send(404, self.error(404, f"{received.path} not found"))

    def frames(self, request: dict[str, Any], answer: Answer) -> Frames:
        """See `ModelServer.frames`."""
        begun = {
            **_envelope(request),
            "content": [],
            "stop_reason": None,
            "usage": _usage(request, answer, 1),
        }
        first = _event({"type": "message_start", "message": begun}) + _event({"type": "ping"})
        thought = [_delta(0, {"type": "thinking_delta", "thinking": one}) for one in answer.reasoning_tokens]
        index = 1 if thought else 0
        said = [_delta(index, {"type": "text_delta", "text": one}) for one in answer.tokens]
        if thought:
            thought = _block(0, {"type": "thinking", "thinking": "", "signature": ""}, thought)
        said = _block(index, {"type": "text", "text": ""}, said)
        return Frames(first, [*thought, *said], _last(request, answer))

    def error(self, status: int, message: str) -> bytes:
        """See `ModelServer.error`."""
        return json.dumps(_error(_KINDS.get(status, "api_error"), message)).encode()

    def error_in_stream(self, message: str) -> bytes:
        """See `ModelServer.error_in_stream`."""
        return _event(_error("overloaded_error", message))

    def _message(self, exchange: Exchange) -> None:
        request = exchange.received.body
        if request["model"] not in self.models:
            exchange.send(404, self.error(404, f"model: {request['model']}"))
        elif problem := _problem(request) or _removed(exchange.received):
            exchange.send(400, self.error(400, problem))
        else:
            answer = self.next_answer(_text(request["messages"][-1])).limited(request["max_tokens"])
            if request.get("stream"):
                self.play(exchange, answer)
            else:
                exchange.send_json(200, _whole(request, answer))


def _keys(headers: Mapping[str, str]) -> set[str]:
    """Both ways to send a key are current."""
    return {headers.get("x-api-key", ""), headers.get("authorization", "").removeprefix("Bearer ")}


def _removed(received: Received) -> str:
    version = received.headers["anthropic-version"]
    sent = sorted(_SAMPLING & received.body.keys()) if version == _VERSIONS[-1] else []
    return f"{sent[0]}: not supported in API version {version}" if sent else ""


def _problem(request: dict[str, Any]) -> str:
    if not isinstance(request.get("max_tokens"), int):
        return "max_tokens: Field required"
    roles = [message["role"] for message in request.get("messages", [])]
    if not roles or set(roles) - {"user", "assistant"}:
        return "messages: roles must be user or assistant"
    if roles[0] != "user" or any(one == other for one, other in pairwise(roles)):
        return "messages: roles must alternate between user and assistant, beginning with user"
    return ""


def _block(index: int, begun: dict[str, str], deltas: list[bytes]) -> list[bytes]:
    """Put the block's start before its first delta and its stop behind the last: frames stay one a token."""
    if not deltas:
        return []
    start = _event({"type": "content_block_start", "index": index, "content_block": begun})
    stop = _event({"type": "content_block_stop", "index": index})
    deltas = [start + deltas[0], *deltas[1:]]
    return [*deltas[:-1], deltas[-1] + stop]


def _last(request: dict[str, Any], answer: Answer) -> bytes:
    usage = {"output_tokens": _usage(request, answer)["output_tokens"]}
    delta = {"stop_reason": _FINISHES.get(answer.finish, answer.finish), "stop_sequence": None}
    stop = _event({"type": "message_delta", "delta": delta, "usage": usage})
    return stop + _event({"type": "message_stop"})


def _whole(request: dict[str, Any], answer: Answer) -> dict[str, Any]:
    return {
        **_envelope(request),
        "content": [{"type": "text", "text": answer.text}],
        "stop_reason": _FINISHES.get(answer.finish, answer.finish),
        "usage": _usage(request, answer),
    }


def _envelope(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": _ID,
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "stop_sequence": None,
    }


def _usage(request: dict[str, Any], answer: Answer, spoken: int | None = None) -> dict[str, int]:
    asked = sum(len(tokens(_text(message))) for message in request.get("messages", []))
    said = len(answer.tokens) + len(answer.reasoning_tokens) if spoken is None else spoken
    return {
        "input_tokens": asked if answer.input_tokens is None else answer.input_tokens,
        "output_tokens": said,
    }


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)


def _delta(index: int, delta: dict[str, str]) -> bytes:
    return _event({"type": "content_block_delta", "index": index, "delta": delta})


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
