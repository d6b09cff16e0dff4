"""Ollama Herd, a router over Ollama servers, beside this endpoint and the same server asked directly.

    python -m support.faults.netns python tests/benchmarks/herd.py COMMANDS

COMMANDS is the folder with its commands `herd` and `herd-node`. It announces itself in the network by
multicast, so the benchmark runs in a network of its own. Every answer is compared with what was sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
from fast_server import OLLAMA_MODELS, size_of, token
from measure import Line, report, serve_module
from oblix.v1 import endpoint_pb2, endpoint_pb2_grpc
from raw_client import RawClient
from support.drivers.daemon import run_daemon

ROUNDS, STREAMS, REPLIES, FIRSTS = 5, 16, 320, 200
WAIT_S = 120.0
CONFIG = """
[ollama]
endpoint = "{url}"
models = {models}
parallel = {streams}
[embedded]
enabled = false
[http]
port = 0
"""


def main(commands: Path) -> int:
    """Measure all sides in turn."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        serve_module("benchmarks.fast_server") as url,
        herd(commands, Path(folder) / "herd", url) as herd_url,
    ):
        home = Path(folder) / "oblix"
        home.mkdir()
        config = CONFIG.format(url=url, models=list(OLLAMA_MODELS), streams=STREAMS)
        (home / "config.toml").write_text(config)
        with run_daemon(home) as daemon:
            stub = endpoint_pb2_grpc.EndpointServiceStub(daemon.channel)
            ours = stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest()).url
            text = stub.CreateToken(endpoint_pb2.CreateTokenRequest(name="bench")).text
            sides = {
                "the server directly": (url, "/api/chat", ""),
                "Oblix": (ours, "/v1/chat/completions", text),
                "Ollama Herd": (herd_url, "/v1/chat/completions", ""),
            }
            return asyncio.run(_measure(sides))


@contextmanager
def herd(commands: Path, home: Path, url: str) -> Iterator[str]:
    """Start the router and its node, until the block ends. Gives the router's address."""
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    router = f"http://127.0.0.1:{port}"
    environ = {**os.environ, "HOME": str(home), "FLEET_NODE_TELEMETRY": "false", "FLEET_AUTO_PULL": "false"}
    words = [
        [str(commands / "herd"), "--host", "127.0.0.1", "--port", str(port), "--log-level", "WARNING"],
        [str(commands / "herd-node"), "--ollama-host", url, "--router-url", router, "--node-id", "bench"],
    ]
    errors = home / "errors"
    with errors.open("wb") as output:
        started = [
            subprocess.Popen(command, env=environ, stdout=output, stderr=output, cwd=home)
            for command in words
        ]
    try:
        _wait_for_models(router, errors)
        yield router
    finally:
        for process in started:
            process.kill()
            process.wait()


def _wait_for_models(router: str, errors: Path) -> None:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            listed = httpx.get(f"{router}/v1/models").json()
            if {one["id"] for one in listed["data"]} >= set(OLLAMA_MODELS):
                return
        except (httpx.HTTPError, ValueError, KeyError):
            pass
        time.sleep(0.2)  # the node announces itself to the router, and nobody else
    raise AssertionError(f"Ollama Herd does not serve: {errors.read_text()[-2000:]}")


async def _measure(sides: Mapping[str, tuple[str, str, str]]) -> int:
    async with AsyncExitStack() as stack:
        clients = {name: [RawClient(*side) for _ in range(STREAMS)] for name, side in sides.items()}
        for one in (client for group in clients.values() for client in group):
            stack.push_async_callback(one.close)
        first: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(FIRSTS + FIRSTS // 10):
            for name, group in clients.items():
                took_ms = await _ask(group[0], OLLAMA_MODELS[0])
                if number >= FIRSTS // 10:
                    first[name].append(took_ms)
        rates: dict[tuple[str, str], list[float]] = {}
        for number in range(ROUNDS + 1):
            for model in OLLAMA_MODELS:
                for name, group in clients.items():
                    rate = await _rate(group, model)
                    if number:
                        rates.setdefault((name, model), []).append(rate)
                httpx_rate = await _httpx_rate(sides["the server directly"][0], model)
                if number:
                    rates.setdefault(("httpx", model), []).append(httpx_rate)
    return _report(first, {key: statistics.median(values) for key, values in rates.items()})


async def _ask(client: RawClient, model: str) -> float:
    result = await client.ask(model)
    expected = "".join(token(number) for number in range(size_of(model)))
    assert result.text == expected, f"an answer is not what was sent: {result.text[:200]!r}"
    return result.first_ms


def _asks(model: str) -> int:
    return REPLIES // STREAMS if model.startswith("short") else 1


def _units(model: str) -> int:
    """Return what an answer counts: one reply, or its tokens."""
    return 1 if model.startswith("short") else size_of(model)


async def _rate(clients: list[RawClient], model: str) -> float:
    async def ask(client: RawClient) -> None:
        for _ in range(_asks(model)):
            await _ask(client, model)

    began = time.perf_counter()
    await asyncio.gather(*map(ask, clients))
    return len(clients) * _asks(model) * _units(model) / (time.perf_counter() - began)


async def _httpx_rate(url: str, model: str) -> float:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "hello"}]}

    async def ask(client: httpx.AsyncClient) -> None:
        for _ in range(_asks(model)):
            async with client.stream("POST", f"{url}/api/chat", json=body) as response:
                async for _line in response.aiter_lines():
                    pass

    async with httpx.AsyncClient(timeout=60) as client:
        began = time.perf_counter()
        await asyncio.gather(*(ask(client) for _ in range(STREAMS)))
        return STREAMS * _asks(model) * _units(model) / (time.perf_counter() - began)


def _report(first: Mapping[str, list[float]], rates: Mapping[tuple[str, str], float]) -> int:
    direct = first["the server directly"]
    lines = []
    for name, found in first.items():
        added = [ours - theirs for theirs, ours in zip(direct, found, strict=True)]
        value, what = (found, "first token") if found is direct else (added, "first token, added by")
        lines.append(Line(f"{what}: {name}", statistics.median(value), "ms"))
    for model in OLLAMA_MODELS:
        unit = "replies/s" if model.startswith("short") else "tokens/s"
        for name in ("httpx", *first):
            rate = rates[name, model]
            lines.append(Line(f"{model}, {STREAMS} at once: {name}", rate, unit))
            if name in ("Oblix", "Ollama Herd"):
                lines.append(Line("  of httpx", rate / rates["httpx", model], "x"))
    return report("Ollama Herd, and the endpoint in front of the same server, nothing recorded", lines)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
