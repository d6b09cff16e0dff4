"""Whose load is it: our own model's keeps its next prompt here, somebody else's sends it away.

With the real embedded worker and real busy processes. Takes a machine that is
otherwise quiet: where it is not, the first assertion says so.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from oblix import OblixClient
from oblix.agents import ResourceMonitor
from oblix.testing import OllamaServer
from support.daemon import running

PATIENCE_S = 60.0
BUSY = "while True: pass"
LOCAL, CLOUD = "embedded:", "custom:far"
# The load average takes a minute to follow; what is measured here is CPU.
LOAD_ASIDE = {"load_threshold": 1000.0}


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
    with running(tmp_path, **threads), OllamaServer(["far"]) as far:
        client = OblixClient()
        await client.hook_model("embedded", "smollm2-135m-instruct")
        await client.hook_model("custom", "far", endpoint=far.url, location="cloud")
        client.hook_agent(ResourceMonitor(custom_thresholds=LOAD_ASIDE))
        yield client
        await client.shutdown()


async def goes_to(client: OblixClient) -> str:
    decision = await client.explain("And the next one?")
    print(f"{time.monotonic():9.1f} {decision['model_routing']['reason']}")
    return str(decision["model_routing"]["target"])


async def until(client: OblixClient, holds: Callable[[str], bool]) -> float:
    """Seconds until the next prompt's model is as wanted."""
    began_s = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while not holds(await goes_to(client)):  # noqa: ASYNC110 - a decision is asked for, nothing tells of it
            await asyncio.sleep(0.5)
    return time.monotonic() - began_s


@pytest.mark.timeout(240)
async def test_our_own_model_at_full_speed_keeps_its_next_prompt(client: OblixClient) -> None:
    assert (await goes_to(client)).startswith(LOCAL), "this machine is under load already"

    async def talk() -> None:
        while True:
            await client.execute(
                "Tell me a long story.", model=await goes_to(client), max_tokens=400, stream=False
            )

    talking = asyncio.create_task(talk())
    try:
        seen = 0.0
        for _ in range(50):
            assert (await goes_to(client)).startswith(LOCAL)
            seen = max(seen, (await client.get_resource_metrics())["own_cpu_percent"] or 0.0)
            await asyncio.sleep(0.5)
        assert seen > 60.0, "our model did not run at full speed: nothing is shown"
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


@pytest.mark.timeout(240)
async def test_somebody_elses_load_sends_the_next_prompt_away_and_its_end_brings_it_back(
    client: OblixClient,
) -> None:
    assert (await goes_to(client)).startswith(LOCAL), "this machine is under load already"
    with busy():
        away_s = await until(client, lambda model: model == CLOUD)
    back_s = await until(client, lambda model: model.startswith(LOCAL))
    print(f"away after {away_s:.0f} s, back after {back_s:.0f} s")
    assert away_s < 30.0
    assert back_s < 50.0
