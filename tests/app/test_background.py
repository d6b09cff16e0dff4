"""What goes on in the background does not end unheard."""

from __future__ import annotations

import asyncio

import pytest
from support.drivers.waiting import eventually

from oblixd import background
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
