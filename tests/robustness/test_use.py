"""Ordinary use for long: nothing leaks; and what two hundred quiet clients wait beside a bare gRPC server."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import grpc
import psutil
from oblix.testing import OllamaServer
from oblix.v1 import daemon_pb2, daemon_pb2_grpc
from support import scale
from support.drivers.daemon import SOON, RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire
from support.figures import NoteFigure
from support.machine import faults, history, traffic
from support.machine.faults import TESTS

CALLS = scale.count("USE_CALLS", full=500_000, quick=3_000)
FAULTS = scale.count("HARMLESS_FAULTS", full=1_000, quick=20)
WARM = CALLS // 2
WARM_LIVES = 5
"""What is kept of sessions still fills up after 100,000 calls, and memory goes up and down by some
percent. So the warm-up is half of all and has several parts, and its highest figure counts."""
WARM_FOR_FAULTS = min(WARM, 80_000)
PROCESSES = 2
SLACK = 1.05
SECONDS = scale.count("USE_SECONDS", full=20, quick=5)
QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    descriptors: int
    threads: int
    children: int
    own_mb: float

    @classmethod
    def by(cls, pid: int) -> Held:
        """Look at a process: its memory without the pages of files."""
        process = psutil.Process(pid)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(
            process.num_fds(),
            process.num_threads(),
            len(process.children()),
            int(status["RssAnon"].split()[0]) / 1e3,
        )

    @classmethod
    def most(cls, looks: Sequence[Held]) -> Held:
        """The highest of each figure."""
        return cls(*(max(figures) for figures in zip(*map(astuple, looks), strict=True)))


def held_after_warm_up(daemon: RunningDaemon, url: str, calls: int) -> Held:
    """The most that the daemon holds after a part of the warm-up."""
    return Held.most(
        [held_after_use(daemon, url, calls // WARM_LIVES, life + 1) for life in range(WARM_LIVES)]
    )


def held_after_use(daemon: RunningDaemon, url: str, calls: int, life: int) -> Held:
    """What the daemon holds after so many calls, once all programs have gone."""
    command = [sys.executable, "-m", "support.machine.use", str(daemon.home), url]
    started = [
        subprocess.Popen(
            [*command, str(life * PROCESSES + number), str(calls // PROCESSES)],
            cwd=TESTS,
            stdout=subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]
    made: Counter[str] = Counter()
    for one in started:
        printed, _ = one.communicate()
        assert one.returncode == 0, daemon.errors.read_text()[-2000:]
        made.update(json.loads(printed))
    print(f"\n{dict(made.most_common())}")
    return at_rest(daemon.process.pid)


def at_rest(pid: int) -> Held:
    """What a daemon holds once nothing of its clients is left, or after a while."""
    until, held = time.monotonic() + 30, Held.by(pid)
    while time.monotonic() < until:
        time.sleep(0.5)  # nothing announces that a daemon has closed what it had for others
        before, held = held, Held.by(pid)
        if before == held:
            break
    return held


def test_nothing_grows_with_use(home: Path, note_figure: NoteFigure) -> None:
    server = OllamaServer(["llama2"])
    server.default = script = traffic.Answers(fault_share=0.1)
    with server, run_daemon(home, **QUIET) as daemon:
        before = held_after_warm_up(daemon, server.url, WARM)
        server.requests.clear()
        after = held_after_use(daemon, server.url, CALLS - WARM, WARM_LIVES + 1)
    print(f"after {WARM} calls: {before}\nafter all {CALLS}: {after}")
    note_figure("calls of ordinary use", CALLS)
    note_figure("faults of the model's server", script.faults)
    _compare(before, after, note_figure)


def _compare(before: Held, after: Held, note_figure: NoteFigure) -> None:
    """Caches are full after the warm-up; in a quick run they are not, and memory is only printed."""
    note_figure("memory after it, of that after the warm-up", after.own_mb / before.own_mb)
    note_figure("descriptors after it, of those after the warm-up", after.descriptors / before.descriptors)
    assert after.descriptors <= before.descriptors * SLACK
    assert after.threads <= before.threads * SLACK
    assert after.children <= before.children
    assert scale.QUICK or after.own_mb <= before.own_mb * SLACK


def test_nothing_is_left_of_a_thousand_faults(home: Path, note_figure: NoteFigure) -> None:
    """Clients die in the middle of calls, servers and syncs fail, descriptors are short; the daemon lives."""
    seed = int(os.environ.get("MACHINE_SEED") or random.randrange(2**32))
    print(f"\nMACHINE_SEED={seed}")
    server = OllamaServer(["llama2"])
    server.default = script = traffic.Answers(fault_share=0.25)
    with server:
        scene = faults.Scene(home, server.url, seed)
        try:
            pid = scene.daemon.process.pid
            for session in traffic.SHARED:
                Wire(scene.daemon.channel).session(id=session, title=session)
            warm = held_after_warm_up(scene.daemon, server.url, WARM_FOR_FAULTS)
            before = Held.most([warm, held_after_faults(scene, FAULTS // 4)])
            (home / "stop").unlink()
            after = held_after_faults(scene, FAULTS - FAULTS // 4)
            assert scene.daemon.process.pid == pid, "the daemon was started anew"
        finally:
            scene.close()
    outcomes = Counter(one.outcome for one in history.operations(home))
    print(f"{dict(scene.tried)}; calls: {dict(outcomes)}; prompts at the model: {len(server.requests)}")
    print(f"after {FAULTS // 4} faults: {before}\nafter all {FAULTS}: {after}")
    note_figure("faults that one daemon lived through", sum(scene.tried.values()))
    note_figure("faults of the model's server", script.faults)
    _compare(before, after, note_figure)


def held_after_faults(scene: faults.Scene, count: int) -> Held:
    """What the daemon holds after so many faults, once all clients have gone."""
    for _ in range(count):
        faults.do_harmless(scene)
    scene.controls.set(sync_error=0, clock_offset_s=0)
    scene.end_clients()
    return at_rest(scene.daemon.process.pid)


BARE = """
import asyncio, sys, grpc
answer = bytes.fromhex(sys.argv[2])
async def info(request, context):
    return answer
async def main():
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(info)
    service = "oblix.v1.DaemonService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"GetInfo": handler}),))
    server.add_insecure_port("unix:" + sys.argv[1])
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()
asyncio.run(main())
"""


async def waits_ms(target: str) -> list[float]:
    """What small calls of two hundred clients took, a call a second each."""
    options = [*SOON, ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(200)]
    found: list[float] = []

    async def client(number: int, channel: grpc.aio.Channel) -> None:
        stub = daemon_pb2_grpc.DaemonServiceStub(channel)
        await stub.GetInfo(daemon_pb2.GetInfoRequest())
        await asyncio.sleep(number / len(channels))  # the pace is what is measured with
        for _ in range(SECONDS):
            began_s = time.monotonic()
            await stub.GetInfo(daemon_pb2.GetInfoRequest())
            found.append((time.monotonic() - began_s) * 1e3)
            await asyncio.sleep(max(0.0, began_s + 1.0 - time.monotonic()))

    try:
        await asyncio.gather(*(client(number, channel) for number, channel in enumerate(channels)))
    finally:
        for channel in channels:
            await channel.close()
    return sorted(found)


async def test_two_hundred_clients_beside_a_bare_server(home: Path, note_figure: NoteFigure) -> None:
    """The ratio is printed, and decides nothing: it is of this machine at this moment."""
    with run_daemon(home, **QUIET) as daemon:
        info = daemon.channel.unary_unary("/oblix.v1.DaemonService/GetInfo")(b"", timeout=60)
        command = [sys.executable, "-c", BARE, str(home / "bare.sock"), info.hex()]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as bare:  # noqa: ASYNC220 - nothing else runs yet
            assert bare.stdout is not None
            bare.stdout.readline()
            figures: dict[str, list[float]] = {"oblixd": [], "bare gRPC": []}
            for _ in range(2):
                figures["bare gRPC"] += await waits_ms(f"unix:{home}/bare.sock")
                figures["oblixd"] += await waits_ms(f"unix:{daemon.socket}")
            bare.kill()
    last = {}
    for name, found in figures.items():
        found.sort()
        last[name] = found[int(len(found) * 0.99)]
        print(
            f"\n{name}: {len(found)} calls, median {found[len(found) // 2]:.2f} ms, 99 % {last[name]:.2f} ms"
        )
    ratio = last["oblixd"] / last["bare gRPC"]
    print(f"ratio of the 99th percentiles: {ratio:.2f}")
    note_figure("99th percentile of 200 clients' calls, of a bare server's", ratio)
    assert len(figures["oblixd"]) == len(figures["bare gRPC"]) == 2 * 200 * SECONDS
