"""A reading that takes long, fails or hangs holds nobody up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from oblixd.monitor import reading
from oblixd.monitor.reading import STALE_AFTER_S, CachedReading, SafeReader

WAIT_S = 60.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(reading.time, "monotonic", lambda: now[0])
    return now


class Driver:
    """What is read: it hangs while the gate is shut."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)
        self.readings = 0

    def read(self) -> int:
        self.readings += 1
        self.began.release()
        assert self.gate.wait(WAIT_S)
        return self.readings


@pytest.fixture
def driver() -> Iterator[Driver]:
    opened = Driver()
    yield opened
    opened.gate.set()


def of(read: Callable[[], int]) -> CachedReading[int]:
    return CachedReading("gadget", read, every_s=10.0, reader=SafeReader())


def join(reader: CachedReading[int]) -> None:
    assert reader._thread is not None
    reader._thread.join(WAIT_S)


def test_the_first_asks_and_the_next_one_has_it(clock: list[float], driver: Driver) -> None:
    driver.gate.clear()
    reader = of(driver.read)
    assert reader.latest() is None
    driver.gate.set()
    join(reader)
    assert [reader.latest() for _ in range(3)] == [1, 1, 1]
    assert driver.readings == 1
    driver.gate.clear()
    clock[0] += 10.0
    assert reader.latest() == 1
    driver.gate.set()
    join(reader)
    assert reader.latest() == 2


def test_a_reading_that_hangs_is_left_alone_and_becomes_unknown(clock: list[float], driver: Driver) -> None:
    reader = of(driver.read)
    reader.latest()
    join(reader)
    driver.gate.clear()
    clock[0] += 10.0
    assert reader.latest() == 1
    clock[0] += 10.0 + STALE_AFTER_S - 0.1
    assert reader.latest() == 1
    clock[0] += 1000.0
    assert [reader.latest() for _ in range(3)] == [None, None, None]
    assert driver.readings == 2
    driver.gate.set()
    join(reader)
    reader.latest()
    join(reader)
    assert reader.latest() == 3


def test_a_failed_reading_is_unknown_and_logged_once(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> int:
        raise OSError("no such gadget")

    reader = of(broken)
    for _ in range(3):
        assert reader.latest() is None
        join(reader)
        clock[0] += 10.0
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.args[0] for record in told] == ["gadget"]
    assert "no such gadget" in caplog.text


def test_no_thread_of_it_keeps_a_program_from_ending(clock: list[float], driver: Driver) -> None:
    driver.gate.clear()
    reader = of(driver.read)
    reader.latest()
    assert reader._thread is not None
    assert reader._thread.daemon
