"""What the HTTP endpoint adds to a server that answers at once: first token, tokens and replies a second.

Both sides run in turn on the same fake server; daemon, server and client share the cores. Each answer is
read to its end and compared: nothing may be lost, repeated or in another order.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
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
CONFIG = """
[openai]
endpoint = "{url}/v1"
models = {models}
[embedded]
enabled = false
[http]
port = 0
"""
Ask = Callable[[str], Awaitable[str]]


def main() -> int:
    """Measure both sides."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home, serve_module("benchmarks.fast_server") as url:
        key = Path(home) / "openai-api-key"
        key.write_text("sk-x")
        (Path(home) / "config.toml").write_text(CONFIG.format(url=url, models=list(MODELS)))
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
        plain = [RawClient(direct, "/v1/chat/completions") for _ in range(STREAMS)]
        through = [RawClient(ours, "/v1/chat/completions", token_text) for _ in range(STREAMS)]
        translated = [RawClient(ours, "/v1/messages", token_text) for _ in range(STREAMS)]
        for one in (*plain, *through, *translated):
            stack.push_async_callback(one.close)
        first = [(await _first(plain[0]), await _first(through[0])) for _ in range(400)][40:]
        rows: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for model in MODELS:
                for name, side in (("raw", plain), ("oblix", through), ("messages", translated)):
                    rows.setdefault(f"{name} {model}", []).append(await _rate(side, model))
                rows.setdefault(f"httpx {model}", []).append(await _httpx_rate(client, direct, model))
    rates = {name: statistics.median(values) for name, values in rows.items()}
    return _report(first, rates, idle_kb)


async def _first(client: RawClient) -> float:
    return (await client.ask("short")).first_ms


async def _rate(clients: Sequence[RawClient], model: str) -> float:
    """Return tokens a second, or replies a second of short ones."""

    async def ask(client: RawClient) -> int:
        total = 0
        for _ in range(_asks(model)):
            text = (await client.ask(model)).text
            assert text == _expected_text(model), "an answer is not what was sent"
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
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
                async for _line in response.aiter_lines():
                    pass
            total += _size(model)
        return total

    began = time.perf_counter()
    total = sum(await asyncio.gather(*(ask() for _ in range(STREAMS))))
    return total / (time.perf_counter() - began)


def _asks(model: str) -> int:
    return REPLIES // STREAMS if model == "short" else 1


def _size(model: str) -> int:
    return 1 if model == "short" else TOKENS


def _expected_text(model: str) -> str:
    return "".join(token(number) for number in range(2 if model == "short" else TOKENS))


def _report(first: Sequence[tuple[float, float]], rates: dict[str, float], idle_kb: float) -> int:
    plain, through = ([one[side] for one in first] for side in (0, 1))
    added = [ours - theirs for theirs, ours in first]
    lines = [
        Line("first token, straight to the server", statistics.median(plain), "ms"),
        Line("first token, through the endpoint", statistics.median(through), "ms"),
        Line("  added, median", statistics.median(added), "ms", 1.5),
        Line("  added, 99th percentile", statistics.quantiles(added, n=100)[98], "ms"),
    ]
    for model in MODELS:
        what = "replies" if model == "short" else "tokens"
        lines += [
            Line(f"{model}, {STREAMS} at once, {side}", rates[f"{side} {model}"], f"{what}/s")
            for side in ("raw", "httpx", "oblix", "messages")
        ]
        ratio = rates[f"httpx {model}"] / rates[f"oblix {model}"]
        lines.append(Line("  httpx straight, of the endpoint", ratio, "x"))
        translation = rates[f"oblix {model}"] / rates[f"messages {model}"]
        lines.append(Line("  Messages in front of chat completions, of none", translation, "x", 1.2))
    lines.append(Line(f"memory of an idle connection, of {IDLE}", idle_kb, "kB", 10))
    return report("The HTTP endpoint, nothing recorded", lines)


if __name__ == "__main__":
    raise SystemExit(main())
