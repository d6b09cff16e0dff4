"""What watching the network costs: share of a core at rest, and with one endpoint in use."""

from __future__ import annotations

import asyncio
import time

from measure import Line, report

from oblixd.monitor.network import Network

SECONDS = 10.0
AT_REST_PERCENT, IN_USE_PERCENT = 0.05, 0.3


async def share_percent(origins: list[str], *, is_used: bool) -> float:
    """CPU time of this process over the wall time."""
    network = Network(lambda: origins)
    network.start()
    began_s, used_s = time.monotonic(), time.process_time()
    while time.monotonic() - began_s < SECONDS:
        if is_used:
            network.want()
            network.overall()
        await asyncio.sleep(1.0)
    share = (time.process_time() - used_s) / (time.monotonic() - began_s)
    await network.close()
    return 100.0 * share


async def measure() -> list[Line]:
    """Serve one endpoint of this machine, and watch none, then it."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        return [
            Line("no cloud model", await share_percent([], is_used=False), "% of a core", AT_REST_PERCENT),
            Line("one in use", await share_percent([origin], is_used=True), "% of a core", IN_USE_PERCENT),
        ]


if __name__ == "__main__":
    raise SystemExit(report("watching the network", asyncio.run(measure())))
