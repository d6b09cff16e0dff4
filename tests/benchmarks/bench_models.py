"""First token and long answers through the HTTP seam, against plain httpx on the same server."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import httpx
from measure import Line, report, serve_module
from support.drivers.model_requests import question

from oblixd.models.base import Content
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.ollama import OllamaConnection

ROUNDS = 200
LONG_ROUNDS = 20
TOKENS = 2_000
AT_ONCE = 16
BODY = {"model": "llama2", "stream": True, "messages": [{"role": "user", "content": "What is up?"}]}

Ask = Callable[[], Awaitable[tuple[float, float]]]


async def main() -> int:
    """Both sides in turn, the server in a process of its own."""
    with serve_module("oblix.testing", "ollama") as url:
        async with both(url) as sides:
            first = [statistics.median(taken) for taken in zip(*await first_tokens(sides), strict=True)]
    with serve_module("support.servers.constant_answers", str(TOKENS)) as url:
        async with both(url) as sides:
            alone = [await long_answers(ask, 1) for ask in sides]
            crowd = [await long_answers(ask, AT_ONCE) for ask in sides]
    plain, seam = first
    return report(
        "The HTTP seam against plain httpx",
        [
            Line("first token, plain httpx", plain, "ms"),
            Line("first token, seam", seam, "ms"),
            Line("first token, seam / httpx", seam / plain, "x", 1.2),
            *rates("one stream", *alone),
            *rates(f"{AT_ONCE} streams", *crowd),
        ],
    )


def rates(what: str, plain: float, seam: float) -> list[Line]:
    """Tokens a second, and the time that the seam takes as a share of httpx's."""
    return [
        Line(f"{what}, plain httpx", plain, "tokens/s"),
        Line(f"{what}, seam", seam, "tokens/s"),
        Line(f"{what}, time of seam / httpx", plain / seam, "x", 0.6),
    ]


async def first_tokens(sides: list[Ask]) -> list[list[float]]:
    """Milliseconds to the first token of each side, round by round."""
    taken = [[(await ask())[0] for ask in sides] for _ in range(ROUNDS)]
    return taken[ROUNDS // 10 :]


async def long_answers(ask: Ask, at_once: int) -> float:
    """Tokens a second over all streams together: the median of some rounds."""
    rates = []
    for _ in range(max(3, LONG_ROUNDS // at_once)):
        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(at_once)))
        rates.append(at_once * TOKENS / (time.perf_counter() - began))
    return statistics.median(rates)


@asynccontextmanager
async def both(url: str) -> AsyncIterator[list[Ask]]:
    """Plain httpx and the seam, warm."""
    connection = OllamaConnection(spec_of("ollama", "llama2", endpoint=url))
    async with httpx.AsyncClient() as client:
        sides: list[Ask] = [lambda: through_httpx(client, url), lambda: through_seam(connection)]
        for ask in sides:
            await ask()
        yield sides
    await connection.close()


async def through_httpx(client: httpx.AsyncClient, url: str) -> tuple[float, float]:
    """Milliseconds to the first token and to the end, as a program has it without us."""
    began, first = time.perf_counter(), 0.0
    async with client.stream("POST", f"{url}/api/chat", json=BODY) as response:
        async for line in response.aiter_lines():
            assert json.loads(line)["message"]["role"] == "assistant"
            first = first or time.perf_counter() - began
    return first * 1e3, (time.perf_counter() - began) * 1e3


async def through_seam(connection: OllamaConnection) -> tuple[float, float]:
    """The same through a connection of ours."""
    began, first = time.perf_counter(), 0.0
    async with aclosing(connection.stream(question())) as items:
        async for item in items:
            first = first or time.perf_counter() - began
            assert isinstance(item, Content) or item.counts.output_tokens
    return first * 1e3, (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
