"""A server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from oblix.testing.answers import Answer, ToolCall, tokens
from oblix.testing.embeddings import tokens_of, vectors_of
from oblix.testing.exchange import Exchange
from oblix.testing.server import Frames, ModelServer

_CREATED = 1_700_000_000
_ID = "chatcmpl-oblix"


class OpenAIServer(ModelServer):
    """OpenAI: /v1/chat/completions (streamed or whole), /v1/embeddings and /v1/models.

    `url` is what a program is told as the base URL, /v1 included. With an
    `api_key` every request without it is refused.
    """

    content_type = "text/event-stream"
    prompt_path = "/chat/completions"

    def __init__(
        self,
        models: Iterable[str] = ("gpt-4o-mini",),
        *,
        api_key: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(models, host=host, port=port)
        self._api_key = api_key

    @property
    def url(self) -> str:
        """Where it listens, as a program is told."""
        return f"{super().url}/v1"

    def route(self, exchange: Exchange) -> None:
        """See `ModelServer.route`."""
        received = exchange.received
        if self._api_key and received.headers.get("authorization") != f"Bearer {self._api_key}":
            given = received.headers.get("authorization", "").removeprefix("Bearer ")
            exchange.send(401, self.error(401, f"Incorrect API key provided: {given}"))
            return
        match (received.method, received.path):
            case ("POST", "/v1/chat/completions"):
                self._complete(exchange)
            case ("POST", "/v1/embeddings"):
                self._embed(exchange)
            case ("GET", "/v1/models"):
                exchange.send_json(200, {"object": "list", "data": [_model(name) for name in self.models]})
            case _:
                exchange.send(404, self.error(404, f"Invalid URL ({received.method} {received.path})"))

    def frames(self, request: dict[str, Any], answer: Answer) -> Frames:
        """See `ModelServer.frames`."""
        chunks = [
            *(_chunk(request, {"reasoning_content": one}) for one in answer.reasoning_tokens),
            *(_chunk(request, {"content": one}) for one in answer.tokens),
            *(_chunk(request, {"tool_calls": [piece]}) for piece in _pieces(answer)),
        ]
        last = _chunk(request, {}, finish=_finish(answer))
        if request.get("stream_options", {}).get("include_usage"):
            last += _event({**_head(request), "choices": [], "usage": _usage(request, answer)})
        return Frames(
            _chunk(request, {"role": "assistant", "content": ""}), chunks, last + b"data: [DONE]\n\n"
        )

    def error(self, status: int, message: str) -> bytes:
        """See `ModelServer.error`."""
        return json.dumps(_error(status, message)).encode()

    def error_in_stream(self, message: str) -> bytes:
        """See `ModelServer.error_in_stream`."""
        return _event(_error(500, message))

    def _embed(self, exchange: Exchange) -> None:
        name = exchange.received.body["model"]
        if name not in self.models:
            exchange.send(404, self.error(404, f"The model `{name}` does not exist"))
        else:
            self.embed(exchange, _embeddings)

    def _complete(self, exchange: Exchange) -> None:
        request = exchange.received.body
        if request["model"] not in self.models:
            exchange.send(404, self.error(404, f"The model `{request['model']}` does not exist"))
            return
        if problem := _problem(request):
            exchange.send(400, self.error(400, problem))
            return
        limit = request.get("max_completion_tokens", request.get("max_tokens"))
        answer = self.next_answer(_question(request)).limit(limit)
        if request.get("stream"):
            self.play(exchange, answer)
        else:
            exchange.send_json(200, _completion(request, answer), answer.headers)


_KINDS = {
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


def _error(status: int, message: str) -> dict[str, Any]:
    default = (
        "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error",
        None,
    )
    kind, code = _KINDS.get(status, default)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _problem(request: dict[str, Any]) -> str:
    if "tool_choice" in request and not request.get("tools"):
        return "'tool_choice' is only allowed when 'tools' are specified."
    waiting: set[str] = set()
    for message in request.get("messages", []):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                return (
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                )
            waiting.remove(message["tool_call_id"])
        elif waiting:
            break
        waiting |= {call["id"] for call in message.get("tool_calls", [])}
    missing = ", ".join(sorted(waiting))
    told = "'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. Missing:"
    return f"{told} {missing}" if missing else ""


def _pieces(answer: Answer) -> Iterator[dict[str, Any]]:
    """Name a call once, then write its arguments piece by piece under its index."""
    for index, call in enumerate(answer.tool_calls):
        yield {"index": index, **_call(call, "")}
        yield from ({"index": index, "function": {"arguments": piece}} for piece in call.pieces)


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.calls else answer.finish


def _completion(request: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = [_call(call, "".join(call.pieces)) for call in answer.tool_calls]
    choice = {"index": 0, "message": message, "finish_reason": _finish(answer), "logprobs": None}
    head = {**_head(request), "object": "chat.completion"}
    return {**head, "choices": [choice], "usage": _usage(request, answer)}


def _embeddings(request: dict[str, Any]) -> dict[str, Any]:
    read = tokens_of(request)
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors_of(request))
    ]
    usage = {"prompt_tokens": read, "total_tokens": read}
    return {"object": "list", "data": data, "model": request["model"], "usage": usage}


def _head(request: dict[str, Any]) -> dict[str, Any]:
    return {"id": _ID, "object": "chat.completion.chunk", "created": _CREATED, "model": request["model"]}


def _chunk(request: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _event({**_head(request), "choices": [choice]})


def _usage(request: dict[str, Any], answer: Answer) -> dict[str, int]:
    asked = sum(len(tokens(_text(message))) for message in request.get("messages", []))
    prompt = asked if answer.input_tokens is None else answer.input_tokens
    spoken = len(answer.tokens) + len(answer.reasoning_tokens)
    return {"prompt_tokens": prompt, "completion_tokens": spoken, "total_tokens": prompt + spoken}


def _question(request: dict[str, Any]) -> str:
    asked = (_text(message) for message in reversed(request.get("messages", [])) if message["role"] == "user")
    return next(asked, "")


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "oblix"}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
