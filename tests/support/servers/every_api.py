"""A model's server that speaks three APIs and always answers the same: for agents that are run for real."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = "Moss does."


@dataclass
class EveryApi:
    """Where it listens, and what it was asked."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def words(self) -> str:
        """All that it was asked, as one text."""
        return json.dumps(self.asked)


@contextmanager
def every_api() -> Iterator[EveryApi]:
    """Serve OpenAI's Responses and chat completions, and Claude's messages, on loopback."""
    api = EveryApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(b'{"data": [], "models": []}', "application/json")

        def do_HEAD(self) -> None:
            self._reply(b"", "application/json")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            api.asked.append(body)
            kind = self.path.partition("?")[0].rpartition("/")[2]
            self._reply(_stream(kind), "text/event-stream")

        def _reply(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()


def _stream(kind: str) -> bytes:
    if kind == "responses":
        content = [{"type": "output_text", "text": ANSWER}]
        message = {"type": "message", "id": "m", "role": "assistant", "content": content}
        usage = {"input_tokens": 20, "output_tokens": 7, "total_tokens": 27}
        return _events(
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_item.done", "output_index": 0, "item": message},
            {"type": "response.completed", "response": {"id": "r", "output": [message], "usage": usage}},
        )
    if kind == "messages":
        message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-toy", "content": []}
        return _events(
            {
                "type": "message_start",
                "message": message | {"usage": {"input_tokens": 20, "output_tokens": 1}},
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        )
    chunks = [{"delta": {"role": "assistant", "content": ANSWER}}, {"delta": {}, "finish_reason": "stop"}]
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "toy"}
    return _events(*(head | {"choices": [{"index": 0, **chunk}]} for chunk in chunks)) + b"data: [DONE]\n\n"


def _events(*events: dict[str, Any]) -> bytes:
    return b"".join(
        f"event: {event.get('type', 'message')}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )
