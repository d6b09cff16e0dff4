"""What goes on in the background does not end unheard, and can't hold the event loop up."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.drivers.waiting import eventually

from oblixd import background
from oblixd.app import lifecycle
from oblixd.monitor import Monitor
from oblixd.monitor.sampler import Sampler


async def test_a_defect_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError

    await asyncio.wait([background.begin(work(), "the works")])
    await eventually(lambda: "the works has ended by a defect" in caplog.text)
    assert "ZeroDivisionError" in caplog.text


async def test_an_end_that_was_wanted_is_not(caplog: pytest.LogCaptureFixture) -> None:
    ended, cancelled = background.begin(asyncio.sleep(0), "a"), background.begin(asyncio.sleep(60), "b")
    await ended
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await asyncio.sleep(0)
    assert caplog.text == ""


async def test_a_monitor_that_stops_measuring_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = Monitor(interval_s=0.01)
    await monitor.start()
    monkeypatch.setattr(Sampler, "sample", lambda _: 1 // 0)
    await eventually(lambda: "monitor has ended by a defect" in caplog.text)
    await monitor.close()


async def test_a_pool_has_all_its_threads_from_the_start() -> None:
    """One that is started later can stop the event loop for ever, where there is no memory."""
    pool = background.thread_pool(3, "a-pool")
    named = {thread for thread in threading.enumerate() if thread.name.startswith("a-pool")}
    loop = asyncio.get_running_loop()
    used = set(await asyncio.gather(*[loop.run_in_executor(pool, _thread_beside_two) for _ in range(3)]))
    assert used == named
    assert len(named) == 3
    pool.shutdown()


_TOGETHER = threading.Barrier(3)


def _thread_beside_two() -> threading.Thread:
    _TOGETHER.wait(60)
    return threading.current_thread()


_STALLS = """
import asyncio, sys, threading
from oblixd.app.lifecycle import StallWatch

async def main():
    watch = StallWatch(asyncio.get_running_loop(), limit_s=float(sys.argv[1]))
    print("runs", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    if sys.argv[2] == "stall":
        threading.Event().wait()
    watch.close()

asyncio.run(main())
"""


def _start_watched(limit_s: float, what: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", _STALLS, str(limit_s), what], text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "runs\n"
    return process


def test_an_event_loop_that_stands_still_ends_its_process_and_says_where() -> None:
    process = _start_watched(0.3, "stall")
    _, errors = process.communicate("go\n", 60)
    assert process.returncode == lifecycle.STALLED
    assert "the event loop stood still" in errors
    assert "in main" in errors


def test_a_process_that_was_stopped_has_not_stood_still() -> None:
    process = _start_watched(0.6, "end")
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)  # the time that it is stopped for is what is tried
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate("go\n", 60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(("now_s", "left_s"), [(12.0, 3.0), (15.0, 5.0), (14.999, 5.001), (19.0, 1.0)])
def test_recurring_work_waits_for_the_same_tick(
    monkeypatch: pytest.MonkeyPatch, now_s: float, left_s: float
) -> None:
    """One that a timer reached a little early is over."""
    monkeypatch.setattr(background.time, "monotonic", lambda: now_s)
    assert background.until_tick_s(5.0) == pytest.approx(left_s)
