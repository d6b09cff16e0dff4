"""What the HTTP endpoint adds to a server that answers at once: first token, tokens and replies a second.

In front of OpenAI's API, Ollama's and Anthropic's, each as a client of chat completions sees it.
All sides run in turn on the same fake server; daemon, server and client share the cores. Each answer is
read to its end and compared: nothing may be lost, repeated or in another order.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from fast_server import token
from measure import Line, anonymous_mb, report, serve_module
from oblix.v1 import endpoint_pb2, endpoint_pb2_grpc
from raw_client import RawClient
from support.drivers.daemon import run_daemon

ROUNDS, STREAMS, TOKENS, REPLIES = 5, 16, 4000, 800
IDLE = 500
"""Connections that are open and asked one thing each, for the memory of one."""
MODELS = ("short", f"tokens-{TOKENS}", f"single-{TOKENS}")
APIS = {"openai": "/v1/chat/completions", "ollama": "/api/chat", "claude": "/v1/messages"}
CONFIG = """
[openai]
endpoint = "{url}/v1"
models = {models}
[claude]
endpoint = "{url}"
models = {models}
[ollama]
endpoint = "{url}"
models = {ollama}
parallel = {streams}
[embedded]
enabled = false
[http]
port = 0
"""


def main() -> int:
    """Measure both sides."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home, serve_module("benchmarks.fast_server") as url:
        for key in ("openai-api-key", "claude-api-key"):
            (Path(home) / key).write_text("sk-x")
        models, ollama = list(MODELS), [_name("ollama", model) for model in MODELS]
        config = CONFIG.format(url=url, models=models, ollama=ollama, streams=STREAMS)
        (Path(home) / "config.toml").write_text(config)
        with run_daemon(Path(home), CREDENTIALS_DIRECTORY=home) as daemon:
            stub = endpoint_pb2_grpc.EndpointServiceStub(daemon.channel)
            ours = stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest()).url
            text = stub.CreateToken(endpoint_pb2.CreateTokenRequest(name="bench")).text
            idle_kb = asyncio.run(_idle_kb(ours, text, daemon.process.pid))
            return asyncio.run(_measure(url, ours, text, idle_kb))


async def _idle_kb(url: str, token_text: str, pid: int) -> float:
    """Return what the daemon holds for one connection that waits between two requests, in kB."""
    place = urlsplit(url)
    request = f"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token_text}\r\n\r\n"

    async def connect() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        return writer

    # As many again first: what the process keeps for good is not counted.
    held = [await connect() for _ in range(IDLE // 2)]
    before = anonymous_mb(pid)
    held += [await connect() for _ in range(IDLE)]
    added = anonymous_mb(pid) - before
    for writer in held:
        writer.close()
    return added * 1000 / IDLE


async def _measure(direct: str, ours: str, token_text: str, idle_kb: float) -> int:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))

        def crowd(url: str, path: str) -> list[RawClient]:
            clients = [RawClient(url, path, token_text) for _ in range(STREAMS)]
            for one in clients:
                stack.push_async_callback(one.close)
            return clients

        plain = {api: crowd(direct, path) for api, path in APIS.items()}
        through, translated = crowd(ours, APIS["openai"]), crowd(ours, APIS["claude"])
        first = {api: await _firsts(plain[api][0], through[0], api) for api in APIS}
        rows: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for api, model in product(APIS, MODELS):
                name, pin = _name(api, model), f"{api}:{_name(api, model)}"
                rows.setdefault(f"{api} raw {model}", []).append(await _rate(plain[api], name))
                rows.setdefault(f"{api} oblix {model}", []).append(await _rate(through, pin))
                if api == "openai":
                    rows.setdefault(f"messages {model}", []).append(await _rate(translated, pin))
                httpx_rate = await _httpx_rate(client, direct + APIS[api], name)
                rows.setdefault(f"{api} httpx {model}", []).append(httpx_rate)
    return _report(first, {name: statistics.median(values) for name, values in rows.items()}, idle_kb)


def _name(api: str, model: str) -> str:
    """Return what a model is called at the server: Ollama's have a tag."""
    return f"{model}:1b" if api == "ollama" else model


async def _firsts(plain: RawClient, through: RawClient, api: str) -> list[tuple[float, float]]:
    """Return how long the first token takes, straight and through the endpoint, round by round, in ms."""
    name = _name(api, "short")
    return [(await _first(plain, name), await _first(through, f"{api}:{name}")) for _ in range(400)][40:]


async def _first(client: RawClient, model: str) -> float:
    return (await client.ask(model)).first_ms


async def _rate(clients: Sequence[RawClient], model: str) -> float:
    """Return tokens a second, or replies a second of short ones."""

    async def ask(client: RawClient) -> int:
        total = 0
        for _ in range(_asks(model)):
            text = (await client.ask(model)).text
            assert text == _expected_text(model), f"{model} answers what was not sent: {text[:80]!r}"
            total += _size(model)
        return total

    began = time.perf_counter()
    total = sum(await asyncio.gather(*map(ask, clients)))
    return total / (time.perf_counter() - began)


async def _httpx_rate(client: httpx.AsyncClient, url: str, model: str) -> float:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "hello"}]}

    async def ask() -> int:
        total = 0
        for _ in range(_asks(model)):
            async with client.stream("POST", url, json=body) as response:
                async for _line in response.aiter_lines():
                    pass
            total += _size(model)
        return total

    began = time.perf_counter()
    total = sum(await asyncio.gather(*(ask() for _ in range(STREAMS))))
    return total / (time.perf_counter() - began)


def _asks(model: str) -> int:
    return REPLIES // STREAMS if "short" in model else 1


def _size(model: str) -> int:
    return 1 if "short" in model else TOKENS


def _expected_text(model: str) -> str:
    return "".join(token(number) for number in range(2 if "short" in model else TOKENS))


def _report(
    first: Mapping[str, Sequence[tuple[float, float]]], rates: Mapping[str, float], idle_kb: float
) -> int:
    lines = [line for api, pairs in first.items() for line in _first_lines(api, pairs)]
    for model, api in product(MODELS, APIS):
        what = "replies" if model == "short" else "tokens"
        lines += [
            Line(f"{api}: {model}, {STREAMS} at once, {side}", rates[f"{api} {side} {model}"], f"{what}/s")
            for side in ("raw", "httpx", "oblix")
        ]
        ratio = rates[f"{api} oblix {model}"] / rates[f"{api} httpx {model}"]
        lines.append(Line("  the endpoint, of httpx straight", ratio, "x"))
        if api != "openai":
            ratio = rates[f"openai oblix {model}"] / rates[f"{api} oblix {model}"]
            lines.append(Line("  the endpoint in front of openai, of this", ratio, "x"))
    for model in MODELS:
        ratio = rates[f"openai oblix {model}"] / rates[f"messages {model}"]
        lines.append(Line(f"{model}: Messages in front of chat completions, of none", ratio, "x", 1.2))
    lines.append(Line(f"memory of an idle connection, of {IDLE}", idle_kb, "kB", 10))
    return report("The HTTP endpoint, nothing recorded", lines)


def _first_lines(api: str, pairs: Sequence[tuple[float, float]]) -> list[Line]:
    added = [ours - theirs for theirs, ours in pairs]
    return [
        Line(f"{api}: first token, straight", statistics.median(straight for straight, _ in pairs), "ms"),
        Line("  added by the endpoint, median", statistics.median(added), "ms", 1.5),
        Line("  added, 99th percentile", statistics.quantiles(added, n=100)[98], "ms"),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
