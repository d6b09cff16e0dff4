"""A server that speaks Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from oblix.testing.answers import Answer, ToolCall, tokens
from oblix.testing.exchange import Exchange, Received
from oblix.testing.server import Frames, ModelServer

_ID = "msg_oblix"
_WINDOW, _LONGEST_ANSWER = 200_000, 64_000
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
    prompt_path = "/messages"

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
            model = {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2024-03-07T00:00:00Z",
                "max_input_tokens": _WINDOW,
                "max_tokens": _LONGEST_ANSWER,
            }
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
        blocks = [block for block in _blocks(answer) if block[1]]
        written = [_block(index, begun, deltas) for index, (begun, deltas) in enumerate(blocks)]
        return Frames(first, [frame for block in written for frame in block], _last_events(request, answer))

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
        elif problem := _problem(request) or _removed_message(exchange.received) or _too_long(request):
            exchange.send(400, self.error(400, problem))
        else:
            answer = self.next_answer(_text(request["messages"][-1])).limit(request["max_tokens"])
            if request.get("stream"):
                self.play(exchange, answer)
            else:
                exchange.send_json(200, _message(request, answer), answer.headers)


def _too_long(request: dict[str, Any]) -> str:
    given = request["max_tokens"]
    if given <= _LONGEST_ANSWER:
        return ""
    most = "which is the maximum allowed number of output tokens for"
    return f"max_tokens: {given} > {_LONGEST_ANSWER}, {most} {request['model']}"


def _keys(headers: Mapping[str, str]) -> set[str]:
    """Both ways to send a key are current."""
    return {headers.get("x-api-key", ""), headers.get("authorization", "").removeprefix("Bearer ")}


def _removed_message(request: Received) -> str:
    version = request.headers["anthropic-version"]
    sent = sorted(_SAMPLING & request.body.keys()) if version == _VERSIONS[-1] else []
    return f"{sent[0]}: not supported in API version {version}" if sent else ""


def _problem(request: dict[str, Any]) -> str:
    if not isinstance(request.get("max_tokens"), int):
        return "max_tokens: Field required"
    roles = [message["role"] for message in request.get("messages", [])]
    if not roles or set(roles) - {"user", "assistant"}:
        return "messages: roles must be user or assistant"
    if roles[0] != "user" or any(one == other for one, other in pairwise(roles)):
        return "messages: roles must alternate between user and assistant, beginning with user"
    return _unanswered_message(request["messages"])


def _unanswered_message(messages: list[dict[str, Any]]) -> str:
    asked: set[str] = set()
    for message in [*messages, {"content": ""}]:
        if unanswered := asked ^ _ids(message, "tool_result", "tool_use_id"):
            told = "`tool_use` ids need `tool_result` blocks immediately after, and the other way round"
            return f"messages: {told}: {', '.join(sorted(unanswered))}"
        asked = _ids(message, "tool_use", "id")
    return ""


def _ids(message: dict[str, Any], kind: str, key: str) -> set[str]:
    content = message["content"]
    blocks = content if isinstance(content, list) else []
    return {block[key] for block in blocks if block["type"] == kind}


def _blocks(answer: Answer) -> Iterator[tuple[dict[str, Any], list[dict[str, str]]]]:
    """Give each block as it begins, and its deltas."""
    thought = [{"type": "thinking_delta", "thinking": one} for one in answer.reasoning_tokens]
    signed = [{"type": "signature_delta", "signature": answer.signature}] if answer.signature else []
    yield {"type": "thinking", "thinking": "", "signature": ""}, [*thought, *signed]
    yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": one} for one in answer.tokens]
    for call in answer.tool_calls:
        # The format begins the arguments with an empty piece, and writes none at all where there are none.
        pieces = ["", *(call.pieces if call.arguments else [])]
        yield _tool_use(call, {}), [{"type": "input_json_delta", "partial_json": one} for one in pieces]


def _tool_use(call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.call_id, "name": call.name, "input": dict(arguments)}


def _block(index: int, start_event: dict[str, Any], deltas: list[dict[str, str]]) -> list[bytes]:
    """Put the block's start before its first delta and its stop behind the last: frames stay one a token."""
    start = _event({"type": "content_block_start", "index": index, "content_block": start_event})
    stop = _event({"type": "content_block_stop", "index": index})
    frames = [_event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
    frames[0] = start + frames[0]
    frames[-1] += stop
    return frames


def _last_events(request: dict[str, Any], answer: Answer) -> bytes:
    usage = {"output_tokens": _usage(request, answer)["output_tokens"]}
    delta = {"stop_reason": _finish(answer), "stop_sequence": None}
    stop = _event({"type": "message_delta", "delta": delta, "usage": usage})
    return stop + _event({"type": "message_stop"})


def _finish(answer: Answer) -> str:
    return "tool_use" if answer.calls else _FINISHES.get(answer.finish, answer.finish)


def _message(request: dict[str, Any], answer: Answer) -> dict[str, Any]:
    calls = [_tool_use(call, call.arguments) for call in answer.tool_calls]
    said = [{"type": "text", "text": answer.text}] if answer.text or not calls else []
    return {
        **_envelope(request),
        "content": [*said, *calls],
        "stop_reason": _finish(answer),
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


def _usage(request: dict[str, Any], answer: Answer, output_tokens: int | None = None) -> dict[str, int]:
    asked = sum(len(tokens(_text(message))) for message in request.get("messages", []))
    said = len(answer.tokens) + len(answer.reasoning_tokens) if output_tokens is None else output_tokens
    return {
        "input_tokens": asked if answer.input_tokens is None else answer.input_tokens,
        "output_tokens": said,
    }


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
