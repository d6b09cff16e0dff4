"""A server that costs next to nothing: its answers are bytes that were made before.

It speaks OpenAI's chat completions, Anthropic's messages, and of Ollama's API what a router asks, too.

`python -m benchmarks.fast_server` listens on a free port and prints its URL. The model's name says what it
answers: `short` two tokens at once; `tokens-N` N tokens, sixteen a write; `single-N` N tokens, one a write;
`open` one token, and then nothing until the client goes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from functools import cache

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
_EVENTS, _LINES, _JSON = b"text/event-stream", b"application/x-ndjson", b"application/json"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(rb'"model": *"([^"]+)"')
GROUP = 16
"""Tokens in one write of `tokens-N`."""
OLLAMA_MODELS = ("short:1b", "tokens-4000:1b", "single-4000:1b")
_DATE = "2026-11-29T00:00:00Z"


def token(number: int) -> str:
    """Return the token of this number: no two neighbours are the same, so that a lost one shows."""
    return f" {number:x}"


@cache
def answer(model: str) -> tuple[bytes, ...]:
    """Return the writes of an answer in OpenAI's form."""
    if model == "open":
        begun = _event({"delta": {"content": token(0)}})
        return (_HEAD % _EVENTS + b"%x\r\n%s\r\n" % (len(begun), begun),)
    size = size_of(model)
    events = [_event({"delta": {"content": token(number)}}) for number in range(size)]
    usage = {"prompt_tokens": 5, "completion_tokens": size, "total_tokens": size + 5}
    end = _event({"delta": {}, "finish_reason": "stop"}) + _data({"choices": [], "usage": usage})
    return _writes(model, _EVENTS, events, end + b"data: [DONE]\n\n")


@cache
def ollama_answer(model: str) -> tuple[bytes, ...]:
    """Return the writes of an answer of `/api/chat`."""
    size = size_of(model)
    lines = [_line(model, token(number)) for number in range(size)]
    nanos = {"total_duration": 10**6, "load_duration": 10**5, "eval_duration": 10**5}
    end = _line(model, "", done=True, done_reason="stop", prompt_eval_count=5, eval_count=size, **nanos)
    return _writes(model, _LINES, lines, end)


@cache
def claude_answer(model: str) -> tuple[bytes, ...]:
    """Return the writes of an answer of `/v1/messages`."""
    size = size_of(model)
    head = {"id": "m", "type": "message", "role": "assistant", "model": model, "content": []}
    block = {"type": "text", "text": ""}
    begun = _typed("message_start", message={**head, "usage": {"input_tokens": 5, "output_tokens": 1}})
    begun += _typed("content_block_start", index=0, content_block=block)
    deltas = ({"type": "text_delta", "text": token(number)} for number in range(size))
    events = [_typed("content_block_delta", index=0, delta=delta) for delta in deltas]
    end = _typed("content_block_stop", index=0)
    end += _typed("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": size})
    return _writes(model, _EVENTS, [begun, *events], end + _typed("message_stop"))


def size_of(model: str) -> int:
    """Return how many tokens a model's answer has."""
    return 2 if model.startswith("short") else int(model.partition(":")[0].partition("-")[2])


def _writes(model: str, kind: bytes, pieces: Sequence[bytes], end: bytes) -> tuple[bytes, ...]:
    """Return the answer as it is written: a head, pieces in chunks, the end."""
    group = 1 if model.startswith("single") else GROUP
    writes = [b"".join(pieces[at : at + group]) for at in range(0, len(pieces), group)]
    chunks = [b"%x\r\n%s\r\n" % (len(write), write) for write in [*writes, end]]
    chunks[-1] += b"0\r\n\r\n"
    if model.startswith("short"):
        return (_HEAD % kind + b"".join(chunks),)
    return (_HEAD % kind + chunks[0], *chunks[1:])


@cache
def ollama_facts(path: str) -> tuple[bytes, ...]:
    """Return what Ollama says of its models and of itself, so that they count as loaded and small."""
    about = {"family": "llama", "parameter_size": "1B", "quantization_level": "Q4_0"}
    models = [
        {"name": name, "model": name, "size": 10**9, "size_vram": 10**9, "digest": "0" * 64}
        | {
            "details": about,
            "context_length": 8192,
            "modified_at": _DATE,
            "expires_at": "2199-01-01T00:00:00Z",
        }
        for name in OLLAMA_MODELS
    ]
    facts = {
        "/api/version": {"version": "0.12.0"},
        "/api/show": {
            "details": about,
            "capabilities": ["completion"],
            "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
        },
    }
    body = json.dumps(facts.get(path, {"models": models})).encode()
    return (_HEAD % _JSON + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),)


async def serve() -> None:
    """Serve until the process ends."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            model = _MODEL.search(body)
            path = head.split(b" ", 2)[1].decode()
            for write in _reply(path, model[1].decode() if model else "short"):
                writer.write(write)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _reply(path: str, model: str) -> tuple[bytes, ...]:
    if path.startswith("/v1/messages"):
        return claude_answer(model)
    if not path.startswith("/api/"):
        return answer(model)
    return ollama_answer(model) if path == "/api/chat" else ollama_facts(path)


def _line(model: str, text: str, *, done: bool = False, **fields: object) -> bytes:
    message = {"role": "assistant", "content": text}
    said = {"model": model, "created_at": _DATE, "message": message, "done": done, **fields}
    return json.dumps(said).encode() + b"\n"


def _event(choice: dict[str, object]) -> bytes:
    return _data({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]})


def _typed(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\n".encode() + _data({"type": kind, **fields})


def _data(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


if __name__ == "__main__":
    asyncio.run(serve())
