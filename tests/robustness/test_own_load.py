"""Whose load is it: our own model's keeps its next prompt here, somebody else's sends it away.

With the real embedded worker and real busy processes. What else runs on this machine
is told apart by what the decision says that it saw.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from oblix import OblixClient
from oblix.agents import ResourceMonitor
from oblix.testing import OllamaServer
from support.drivers.daemon import run_daemon

WAIT_S = 180.0
THRESHOLD = 40.0
"""Percent of CPU: less than our model uses, more than an idle machine does."""
BUSY = "while True: pass"
LOCAL, CLOUD = "embedded:", "custom:far"
EMBEDDED = "embedded:smollm2-135m-instruct"
KEPT = 40
"""So often, twice a second, a prompt has to stay while our model uses more than the threshold."""
# The load average takes a minute to follow; what is measured here is CPU.
THRESHOLDS = {"load_threshold": 1000.0, "cpu_threshold": THRESHOLD, "critical_cpu": 100.0}


@contextmanager
def busy() -> Iterator[None]:
    """As many processes as there are cores, each doing nothing but run."""
    command = [sys.executable, "-S", "-c", BUSY]
    processes = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OblixClient]:
    """A client of a daemon that may use all cores, with the embedded model and one in the cloud."""
    monkeypatch.setenv("OBLIX_HOME", str(tmp_path))
    threads = {"OBLIX_EMBEDDED_THREADS": str(os.cpu_count() or 1)}
    with run_daemon(tmp_path, **threads), OllamaServer(["far"]) as far:
        client = OblixClient()
        await client.hook_model("embedded", "smollm2-135m-instruct")
        await client.hook_model("custom", "far", endpoint=far.url, location="cloud")
        client.hook_agent(ResourceMonitor(custom_thresholds=THRESHOLDS))
        yield client
        await client.shutdown()


@dataclass(frozen=True)
class Decided:
    """Where a prompt would go now."""

    model: str
    others_percent: float
    """CPU use of the rest of the machine, as the decision saw it."""

    @property
    def is_local(self) -> bool:
        return self.model.startswith(LOCAL)


async def decide(client: OblixClient) -> Decided:
    decision = await client.explain("And the next one?")
    print(f"{time.monotonic():9.1f} {decision['model_routing']['reason']}")
    others = decision["resource_routing"]["metrics"].get("cpu_percent", 0.0)
    return Decided(decision["model_routing"]["target"], others)


async def until(client: OblixClient, holds: Callable[[Decided], bool]) -> float:
    """Seconds until the decision is as wanted."""
    began_s = time.monotonic()
    async with asyncio.timeout(WAIT_S):
        while not holds(await decide(client)):  # noqa: ASYNC110 - a decision is asked for, nothing tells of it
            await asyncio.sleep(0.5)
    return time.monotonic() - began_s


async def own_percent(client: OblixClient) -> float:
    return (await client.get_resource_metrics())["own_cpu_percent"] or 0.0


async def test_our_own_model_at_full_speed_keeps_its_next_prompt(client: OblixClient) -> None:
    async def talk() -> None:
        while True:
            await client.execute("Tell me a long story.", model=EMBEDDED, max_tokens=400, stream=False)

    talking = asyncio.create_task(talk())
    kept = 0
    try:
        async with asyncio.timeout(WAIT_S):
            # Longer than any state takes to change.
            while kept < KEPT:
                now = await decide(client)
                assert now.is_local or now.others_percent >= THRESHOLD, "our own load was held against us"
                kept += now.is_local and await own_percent(client) > THRESHOLD
                await asyncio.sleep(0.5)
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def test_somebody_elses_load_sends_the_next_prompt_away_and_its_end_brings_it_back(
    client: OblixClient,
) -> None:
    await until(client, lambda now: now.is_local)
    with busy():
        away_s = await until(client, lambda now: now.model == CLOUD)
    back_s = await until(client, lambda now: now.is_local)
    print(f"away after {away_s:.0f} s, back after {back_s:.0f} s")
