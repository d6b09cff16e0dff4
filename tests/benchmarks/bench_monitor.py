"""What the sampling costs: one sample, a second of it, and a daemon at rest. Limit: 0.3 % of a core."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import psutil
from measure import Line, median_ms, report
from oblix.v1 import monitor_pb2, monitor_pb2_grpc
from support.drivers.daemon import RunningDaemon, run_daemon

from oblixd.monitor import Monitor
from oblixd.monitor.sampler import Sampler
from oblixd.monitor.servers import LocalServers

LIMIT_PERCENT = 0.3
SECONDS = 20.0
OLLAMA = "http://127.0.0.1:11434"


def main() -> int:
    """Print all of it; 1 where something is over its limit."""
    sampler = Sampler(lambda: [os.getpid()], list, Path("/"))
    servers = LocalServers(Path("/"), lambda: [OLLAMA])
    lines = [
        Line("one sample, in the event loop", median_ms(sampler.sample, 500), "ms"),
        Line("looking for model servers, every 10 s where one is hooked", median_ms(servers.pids, 50), "ms"),
        Line("sampling once a second", asyncio.run(sampling()), "%", LIMIT_PERCENT),
        *whole_daemon(),
    ]
    return report("Shares are of one core", lines)


async def sampling() -> float:
    """CPU time of this process over the wall time, in percent, with a model server to look for."""
    monitor = Monitor(own_pids=lambda: [os.getpid()], local_origins=lambda: [OLLAMA])
    await monitor.start()
    began_s, used_s = time.monotonic(), time.process_time()
    await asyncio.sleep(SECONDS)
    share = (time.process_time() - used_s) / (time.monotonic() - began_s)
    await monitor.close()
    return 100.0 * share


def whole_daemon() -> list[Line]:
    """A daemon with everything that it does, while nobody calls, and while somebody watches."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home, run_daemon(Path(home)) as daemon:
        watching = monitor_pb2_grpc.MonitorServiceStub(daemon.channel).WatchSnapshots(
            monitor_pb2.WatchSnapshotsRequest()
        )
        next(watching)
        watched = share(daemon)
        watching.cancel()
        time.sleep(40)  # it counts as in use for 30 seconds more
        return [
            Line("a daemon whose snapshots somebody watches", watched, "%"),
            Line("a daemon at rest", share(daemon), "%", LIMIT_PERCENT),
        ]


def share(daemon: RunningDaemon) -> float:
    """Of a core, percent, over a while."""
    process = psutil.Process(daemon.process.pid)
    before_s = sum(process.cpu_times()[:2])
    time.sleep(SECONDS)
    return (sum(process.cpu_times()[:2]) - before_s) / SECONDS * 100


if __name__ == "__main__":
    raise SystemExit(main())
