"""The kinds of servers that `oblix models add` knows, each tried against a replayed server of that kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from oblix import OblixClient
from oblix._convert.presets import PRESETS, table_of
from oblix.testing import OllamaServer, OpenAIServer
from oblix.testing.exchange import Exchange
from support.drivers.daemon import run_daemon

KEY = "sk-of-mine-0123456789"
LOCAL = {"ollama", "lmstudio", "llamacpp", "vllm"}


def chunk(delta: dict | None = None, **more: object) -> dict:
    """A chunk of a completion, as all of them write it."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": more.pop("finish", None)}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "choices": [choice], **more}


ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})
THERE = chunk({"content": " there"})
STOP = chunk(finish="stop")
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
COUNTS = {"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
USUAL = [ROLE, HELLO, THERE, STOP, COUNTS]
LISTED = {"object": "list", "data": [{"id": "m", "object": "model"}]}


@dataclass(frozen=True)
class Replayed:
    """What one kind of server is known by on the wire."""

    prefix: str = "/v1"
    listed: object = None
    """The answer of /models. None: as OpenAI's."""
    frames: tuple[object, ...] = tuple(USUAL)
    """The events of an answer; a text is sent as it is, as a comment for instance."""
    refuses: tuple[str, ...] = ()
    """Fields that it refuses, as a validation does."""
    header: str = "authorization"
    query: str = ""
    window: int | None = None
    """The context that it tells."""


def list_answer(**more: object) -> dict:
    return {"object": "list", "data": [{"id": "m", "object": "model", **more}]}


KINDS = {
    "lmstudio": Replayed(
        listed=list_answer(max_context_length=32768, loaded_context_length=4096), window=32768
    ),
    "llamacpp": Replayed(listed=list_answer(owned_by="llamacpp", meta={"n_ctx": 4096, "n_vocab": 1})),
    "vllm": Replayed(listed=list_answer(owned_by="vllm", max_model_len=8192), window=8192),
    "openai": Replayed(),
    "openrouter": Replayed(
        "/api/v1",
        {"data": [{"id": "m", "context_length": 131072, "pricing": {"prompt": "0.1"}}]},
        (": OPENROUTER PROCESSING\n\n", ": OPENROUTER PROCESSING\n\n", *USUAL),
        window=131072,
    ),
    "groq": Replayed(
        "/openai/v1",
        list_answer(context_window=131072, active=True),
        (
            {**ROLE, "x_groq": {"id": "req_1"}},
            HELLO,
            THERE,
            {**STOP, "x_groq": {"id": "req_1", "usage": {**USAGE, "queue_time": 0.1}}},
            COUNTS,
        ),
        window=131072,
    ),
    "mistral": Replayed(
        frames=(ROLE, HELLO, THERE, {**STOP, "usage": USAGE}),
        refuses=("stream_options", "seed"),
    ),
    "deepseek": Replayed(
        frames=(
            ": keep-alive\n\n",
            ROLE,
            chunk({"content": None, "reasoning_content": "Let me see."}),
            HELLO,
            THERE,
            {**STOP, "usage": {**USAGE, "prompt_cache_hit_tokens": 0}},
        )
    ),
    "gemini": Replayed(
        "/v1beta/openai",
        {"object": "list", "data": [{"id": "models/m", "object": "model", "owned_by": "google"}]},
        tuple({**one, "usage": USAGE} for one in (HELLO, THERE, STOP)),
    ),
    "azure": Replayed(
        "/openai/deployments/m",
        frames=({**COUNTS, "usage": None, "prompt_filter_results": [{"prompt_index": 0}]}, *USUAL),
        header="api-key",
        query="api-version=2024-10-21",
    ),
    "together": Replayed(
        listed=[{"id": "m", "context_length": 8192}], frames=(HELLO, THERE, {**STOP, "usage": USAGE})
    ),
    "xai": Replayed(
        frames=(ROLE, chunk({"reasoning_content": "Well"}), HELLO, THERE, STOP, COUNTS),
        refuses=("presence_penalty",),
    ),
}


class Server(OpenAIServer):
    """Replays one kind of server."""

    def __init__(self, kind: Replayed, *, wants_key: bool) -> None:
        super().__init__(["m"])
        self._kind = kind
        self._wants_key = wants_key
        self.prompt_path = f"{kind.prefix}/chat/completions{'?' + kind.query if kind.query else ''}"

    def route(self, exchange: Exchange) -> None:
        """Answer as it does."""
        kind, received = self._kind, exchange.received
        path, _, query = received.path.partition("?")
        given = received.headers.get(kind.header, "").removeprefix("Bearer ")
        if self._wants_key and given != KEY:
            exchange.send(401, b'{"error": {"message": "Invalid API Key", "type": "invalid_request_error"}}')
        elif query != kind.query:
            exchange.send(404, b'{"error": {"code": "404", "message": "Resource not found"}}')
        elif path == f"{kind.prefix}/models":
            exchange.send_json(200, LISTED if kind.listed is None else kind.listed)
        elif path == f"{kind.prefix}/chat/completions":
            self._answer(exchange)
        else:
            exchange.send(404, b"404 page not found", {"Content-Type": "text/plain"})

    def _answer(self, exchange: Exchange) -> None:
        if wrong := [name for name in self._kind.refuses if name in exchange.received.body]:
            detail = [
                {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs"} for name in wrong
            ]
            exchange.send_json(422, {"object": "error", "message": {"detail": detail}})
            return
        exchange.start("text/event-stream")
        for frame in self._kind.frames:
            text = frame if isinstance(frame, str) else f"data: {json.dumps(frame)}\n\n"
            exchange.chunk(text.encode())
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.end()


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A daemon without models of its own."""
    home = tmp_path_factory.mktemp("presets")
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        yield home


@pytest.fixture
def servers() -> Iterator[Callable[[OpenAIServer], OpenAIServer]]:
    with ExitStack() as started:
        yield started.enter_context


def test_every_kind_is_tried() -> None:
    assert set(PRESETS) == {*KINDS, "ollama", "claude", "custom"}


@pytest.mark.parametrize("word", KINDS)
async def test_a_server_of_this_kind_answers(word, shared_daemon, servers, monkeypatch) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(shared_daemon))
    preset, kind = PRESETS[word], KINDS[word]
    wants_key = preset.key == "needed"
    server = servers(Server(kind, wants_key=wants_key))
    # The preset's own path, at the replayed server.
    path = urlsplit(preset.endpoint).path or (kind.prefix if word == "azure" else "")
    table = table_of(word, "m", endpoint=f"http://127.0.0.1:{server.port}{path}")
    table |= {"location": "local" if word in LOCAL else "cloud"} if "location" in table else {}
    provider, name, endpoint = (table.pop(key) for key in ("provider", "name", "endpoint"))
    async with OblixClient() as client:
        await client.hook_model(provider, name, endpoint, KEY if wants_key else None, **table)
        answer = await client.execute("Hi", stream=False)
        assert answer["response"] == "Hello there"
        assert answer["metrics"]["input_tokens"] == 9
        assert answer["metrics"]["output_tokens"] == 2
        assert answer["metrics"]["finish_reason"] == "stop"
        again = await client.execute("Hi again", stream=False, temperature=0.5, max_tokens=50)
        assert again["response"] == "Hello there"
    # Nothing was refused on the way: the preset knows what the server takes.
    assert len(server.requests) == 2


async def test_a_preset_of_ollama_answers(shared_daemon, servers, monkeypatch) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(shared_daemon))
    server = servers(OllamaServer(["m"]))
    table = table_of("ollama", "m", endpoint=server.url)
    async with OblixClient() as client:
        await client.hook_model(table.pop("provider"), table.pop("name"), table.pop("endpoint"), **table)
        assert (await client.execute("Hi", stream=False))["response"] == "You said: Hi"


@pytest.mark.parametrize("word", PRESETS)
def test_a_preset_writes_no_more_than_is_needed(word: str) -> None:
    table = table_of(word, "m")
    assert ("endpoint" in table) == (word not in {"ollama", "openai", "claude", "azure", "custom"})
    assert ("location" in table) == (PRESETS[word].provider == "custom")
    if word in LOCAL - {"ollama"}:
        assert table["location"] == "local"
