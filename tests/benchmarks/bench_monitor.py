"""What the sampling costs: share of a core while the monitor samples once a second. Limit: 0.3 %."""

from __future__ import annotations

import asyncio
import os
import time

from oblixd.monitor import Monitor

LIMIT_PERCENT = 0.3
SECONDS = 10.0


async def measure() -> float:
    """CPU time of this process over the wall time, in percent, with one process of ours watched."""
    monitor = Monitor(interval_s=1.0, own_pids=lambda: [os.getpid()])
    await monitor.start()
    began_s, used_s = time.monotonic(), time.process_time()
    await asyncio.sleep(SECONDS)
    share = (time.process_time() - used_s) / (time.monotonic() - began_s)
    await monitor.close()
    return 100.0 * share


def main() -> int:
    """Print the share; 1 where it is over the limit."""
    percent = asyncio.run(measure())
    print(f"sampling once a second: {percent:.3f} % of a core (limit {LIMIT_PERCENT} %)")
    return 0 if percent <= LIMIT_PERCENT else 1


if __name__ == "__main__":
    raise SystemExit(main())
