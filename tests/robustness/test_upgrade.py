"""`oblix restart` while answers run, as after an upgrade, and a drain with ten thousand queued prompts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from oblix import OblixClient
from oblix.testing import Answer, OllamaServer, Stall
from oblix.v1 import (
    daemon_pb2,
    daemon_pb2_grpc,
    executions_pb2,
    executions_pb2_grpc,
    messages_pb2,
    models_pb2,
    models_pb2_grpc,
)
from support import scale
from support.drivers import processes
from support.drivers.daemon import RunningDaemon
from support.drivers.waiting import eventually

CLIENTS, ROUNDS, RESTARTS = 8, 12, 2
QUEUED = 1_000 if scale.QUICK else 10_000
CONNECTIONS = 20
GRACE_S = 10.0
CONFIG = "[embedded]\nenabled = false\n[execution]\nqueue_length = 20000\n[daemon]\nclient_memory_mib = 512\n"


async def _talk(url: str, number: int, answered: Counter[str]) -> None:
    """One program: it never hears of the restarts."""
    async with OblixClient() as client:
        await client.hook_model("ollama", "llama2", endpoint=url, max_running=4)
        session = await client.create_session() if number % 2 else None
        for turn in range(ROUNDS):
            prompt = f"{number}.{turn}"
            answer = await client.execute(prompt, session_id=session, stream=False, on_disconnect="continue")
            assert answer["response"] == f"You said: {prompt}"
            answered[prompt] += 1
        if session is not None:
            loaded = client.load_session(session)
            assert loaded is not None
            assert len(loaded["messages"]) == 2 * ROUNDS


async def test_programs_do_not_notice_an_upgrade(home: Path) -> None:
    (home / "config.toml").write_text(CONFIG)
    with OllamaServer(["llama2"]) as server:
        server.default = lambda prompt: Answer(f"You said: {prompt}", tokens_per_second=20)
        answered: Counter[str] = Counter()
        programs = [asyncio.create_task(_talk(server.url, number, answered)) for number in range(CLIENTS)]
        pids = set()
        for restart in range(RESTARTS):
            enough = (restart + 1) * CLIENTS * ROUNDS / (RESTARTS + 2)
            await eventually(lambda enough=enough: sum(answered.values()) >= enough)
            pids.add(processes.daemon_of(home).pid)
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "oblix", "restart", "--grace", "60"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        await asyncio.gather(*programs)
        asked = Counter(one.body["messages"][-1]["content"] for one in server.requests)
    assert len(pids | {processes.daemon_of(home).pid}) == RESTARTS + 1
    assert answered == Counter(f"{number}.{turn}" for number in range(CLIENTS) for turn in range(ROUNDS))
    assert set(asked.values()) == {1}, "a prompt was paid for twice"


async def test_ten_thousand_queued_prompts_end_within_the_grace(home: Path) -> None:
    (home / "config.toml").write_text(CONFIG)
    with OllamaServer(["llama2"]) as server:
        # The first one never ends: else some have ended before the last one waits.
        server.default = lambda _: Answer("one two", fault=Stall(after=1))
        daemon = RunningDaemon(home, {"OBLIX_DAEMON_GRACE_S": f"{GRACE_S}"})
        daemon.wait_until_serving()
        async with AsyncExitStack() as stack:
            own_connections = (("grpc.use_local_subchannel_pool", 1),)
            channels = [
                await stack.enter_async_context(
                    grpc.aio.insecure_channel(f"unix:{daemon.socket}", options=own_connections)
                )
                for _ in range(CONNECTIONS)
            ]
            endings = asyncio.create_task(_queue(channels, server.url))
            await asyncio.to_thread(_wait_until_queued, daemon.channel)
            began = time.monotonic()
            daemon.process.terminate()
            reasons = await endings
            code = await asyncio.to_thread(daemon.process.wait, 120)
            took_s = time.monotonic() - began
    daemon.channel.close()
    print(f"{QUEUED} queued prompts ended {took_s:.1f} s after SIGTERM, with a grace of {GRACE_S:g} s")
    assert code == 0
    # Who is told so was told before the grace was over: what it runs out for is interrupted.
    assert reasons == {"DAEMON_STOPPING": QUEUED - 1, "EXECUTION_INTERRUPTED": 1}


async def _queue(channels: Sequence[grpc.aio.Channel], url: str) -> Counter[str]:
    hooked = await models_pb2_grpc.ModelServiceStub(channels[0]).HookModel(
        models_pb2.HookModelRequest(provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint=url)
    )
    stubs = [executions_pb2_grpc.ExecutionServiceStub(channel) for channel in channels]

    async def execute(number: int) -> str:
        request = executions_pb2.ExecuteRequest(candidates=[hooked.handle])
        request.input.add(role=messages_pb2.ROLE_USER).parts.add(text=f"prompt {number}")
        try:
            async for _ in stubs[number % len(stubs)].Execute(request):
                pass
        except grpc.RpcError as error:
            return _reason(error)
        return ""

    return Counter(await asyncio.gather(*(execute(number) for number in range(QUEUED))))


def _reason(error: grpc.RpcError) -> str:
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    info = error_details_pb2.ErrorInfo()
    return info.reason if status.details and status.details[0].Unpack(info) else f"{error.code()}"


def _wait_until_queued(channel: grpc.Channel) -> None:
    stub = daemon_pb2_grpc.DaemonServiceStub(channel)
    until = time.monotonic() + 600
    while time.monotonic() < until:
        if stub.GetInfo(daemon_pb2.GetInfoRequest()).running_count >= QUEUED:
            return
        time.sleep(0.1)  # nothing announces that they were taken
    pytest.fail("the prompts were not taken")
