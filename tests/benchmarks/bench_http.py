"""Which HTTP library is behind our interface: four of them on the same servers, in turn."""

from __future__ import annotations

import asyncio
import gc
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path

from clients import CLIENTS, Client
from measure import Line, report, serve_module
from support.proxies import certificates

from oblixd.models.http.server import ServerErrors
from oblixd.models.providers.ollama import OllamaDecoder
from oblixd.models.providers.openai import CompletionDecoder
from oblixd.models.streaming import Decoder, gather

TOKENS = 2_000
ROUNDS = 7
FIRST_ROUNDS = 100
CANCEL_ROUNDS = 30
CROWD = 64
AT_ONCE = 16
SETTLED_S = 0.2
WORST = 1.25
"""What is kept is not far behind in anything that takes time."""
MOST_MB = 32
BODY = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "What is up?"}]}
FORMATS: dict[str, tuple[str, Callable[[ServerErrors], Decoder]]] = {
    "SSE": ("/v1/chat/completions", CompletionDecoder),
    "NDJSON": ("/api/chat", OllamaDecoder),
}
PEER = ServerErrors("The server", "")
Measure = Callable[[Client], Awaitable[float]]


async def main() -> int:
    """All of it, over plain connections and over TLS."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        certificate = certificates.make(Path(folder), "IP:127.0.0.1")
        trusting = ssl.create_default_context(cafile=str(certificate))
        urls = {
            "plain": running.enter_context(serve_module("support.servers.constant_answers", str(TOKENS))),
            "TLS": running.enter_context(
                serve_module("support.servers.constant_answers", str(TOKENS), str(certificate))
            ),
        }
        clients = [make(trusting) for make in CLIENTS]
        results = [report(*rows) for rows in [await one for one in everything(clients, urls)]]
        for client in clients:
            await client.close()
    return max(results)


def everything(clients: list[Client], urls: dict[str, str]) -> Iterator[Awaitable[tuple[str, list[Line]]]]:
    """Each table, when its turn comes."""
    for way, url in urls.items():
        for name, (path, decoder) in FORMATS.items():
            for streams in (1, AT_ONCE):
                title = f"{streams} at once, {way}, {name}: ms for {streams * TOKENS:,} tokens"
                yield table(title, clients, flooding(url + path, decoder, streams), ROUNDS)
        yield table(f"First token idle, {way}: ms", clients, first_token(url), FIRST_ROUNDS)
        yield beside(f"First token beside {CROWD} streams, {way}: ms", clients, url)
        title = f"From cancelling to the server's end, {way}: ms"
        yield table(title, clients, cancelling(url), CANCEL_ROUNDS)
        yield table(f"Taken in for a reader that stopped, {way}: MB", clients, measure_stop(url), 1, MOST_MB)


async def table(
    title: str, clients: list[Client], measure: Measure, rounds: int, most: float | None = None
) -> tuple[str, list[Line]]:
    """The medians of each client, taken in turn, and how they compare with the first."""
    taken: dict[str, list[float]] = {client.name: [] for client in clients}
    for number in range(rounds + 1):
        for client in clients:
            value = await measure(client)
            if number or rounds == 1:
                taken[client.name].append(value)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    ours, *others = medians.values()
    rows = [Line(f"{name} ({value / ours:.2f} of aiohttp)", value, "") for name, value in medians.items()]
    if most is None:
        held = Line("aiohttp / the best of the others", ours / min(others), "x", WORST)
    else:
        held = Line("aiohttp", ours, "", most)
    return title, [*rows, held]


def flooding(url: str, decoder: Callable[[ServerErrors], Decoder], streams: int) -> Measure:
    """Whole answers, read and decoded."""

    async def measure(client: Client) -> float:
        gc.collect()
        began = time.perf_counter()
        counts = await asyncio.gather(*(answer(client, url, decoder(PEER)) for _ in range(streams)))
        assert set(counts) == {TOKENS * len(" word")}
        return (time.perf_counter() - began) * 1e3

    return measure


async def answer(client: Client, url: str, decoder: Decoder) -> int:
    """Characters of an answer, once it is whole."""
    size = 0
    async with aclosing(client.reads(url, BODY)) as reads:
        async for read in reads:
            contents, failure = gather(decoder.pieces(read), PEER)
            assert failure is None
            size += sum(len(content.text) for content in contents)
    assert decoder.complete
    return size


def first_token(url: str) -> Measure:
    """From the request to the first token, on a connection that is open."""

    async def measure(client: Client) -> float:
        began = time.perf_counter()
        decoder = CompletionDecoder(PEER)
        first = 0.0
        async with aclosing(client.reads(f"{url}/short/v1/chat/completions", BODY)) as reads:
            async for read in reads:
                if gather(decoder.pieces(read), PEER)[0]:
                    first = time.perf_counter() - began
        return first * 1e3

    return measure


async def beside(title: str, clients: list[Client], url: str) -> tuple[str, list[Line]]:
    """First tokens while the same client has many streams at the pace of models."""

    async def measure(client: Client) -> float:
        path, decoder = FORMATS["SSE"]
        asked = [answer(client, f"{url}/paced{path}", decoder(PEER)) for _ in range(CROWD)]
        crowd = [asyncio.create_task(one) for one in asked]
        await asyncio.sleep(SETTLED_S)
        one = first_token(url)
        value = statistics.median([await one(client) for _ in range(FIRST_ROUNDS // 4)])
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
        return value

    return await table(title, clients, measure, ROUNDS)


def cancelling(url: str) -> Measure:
    """From the cancellation of a task in mid-stream to the moment in which the server sees it."""

    async def measure(client: Client) -> float:
        begun = asyncio.Event()

        async def listen() -> None:
            async with aclosing(client.reads(f"{url}/stall/v1/chat/completions", BODY)) as reads:
                async for _ in reads:
                    begun.set()

        task = asyncio.create_task(listen())
        await begun.wait()
        cancelled_s = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        closed_s = 0.0
        while closed_s < cancelled_s:
            closed_s = (await client.get(f"{url}/facts"))["closed_s"]
        return (closed_s - cancelled_s) * 1e3

    return measure


def measure_stop(url: str) -> Measure:
    """What the server got rid of while nobody read: what sockets hold, and what the client gathers."""

    async def measure(client: Client) -> float:
        async with aclosing(client.reads(f"{url}/endless/api/chat", BODY)) as reads:
            await anext(reads)
            sent = -1.0
            while (now := (await client.get(f"{url}/facts"))["sent"]) != sent:
                sent = now
                await asyncio.sleep(SETTLED_S)
            return float(sent) / 1e6

    return measure


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
