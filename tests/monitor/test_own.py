"""How CPU time of real processes is accounted for."""

from __future__ import annotations

from pathlib import Path
from resource import getpagesize

import psutil
import pytest
from support.data.recorded_machines import write

from oblixd.monitor.processes import OwnUsage, use


def burn(process, seconds):
    """Return once a process has used that much CPU time."""
    times = psutil.Process(process.pid).cpu_times
    while sum(times()[:2]) < seconds:
        process.poll()


def test_a_new_process_counts_from_its_start(busy):
    own = OwnUsage()
    seen = use(Path("/"), busy.pid)
    assert seen is not None
    # However late this machine came to it: the measurement before was when the process started.
    own._before_s = seen.started_s
    burn(busy, 0.2)
    own.measure([busy.pid])
    assert own.cores > 0.0
    assert 0.0 < own.load_average < own.cores


def test_a_process_that_is_met_late_counts_from_then_on(busy):
    burn(busy, 0.2)
    own = OwnUsage()
    own.measure([busy.pid])
    assert own.cores == 0.0
    burn(busy, 0.4)
    own.measure([busy.pid])
    assert own.cores > 0.0


def test_a_process_that_is_not_ours_any_more_counts_no_more(busy):
    own = OwnUsage()
    own.measure([busy.pid])
    burn(busy, 0.2)
    own.measure([busy.pid])
    load_average = own.load_average
    own.measure([])
    assert own.cores == 0.0
    assert 0.0 < own.load_average < load_average


@pytest.mark.parametrize("pids", [[], [2**22 + 1]])
def test_nobody_uses_nothing(pids):
    own = OwnUsage()
    own.measure(pids)
    assert (own.cores, own.load_average) == (0.0, 0.0)


def test_a_later_process_of_the_same_number_is_another_one(tmp_path):
    fields = "S 1 2 3 4 5 6 7 8 9 10 {ticks} 0 0 0 20 0 1 0 {started} 1 5"
    write(tmp_path, "proc/self/stat", "")
    write(tmp_path, "proc/7/stat", f"7 (first) {fields.format(ticks=1000, started=100)}")
    own = OwnUsage(tmp_path)
    own.measure([7])
    assert own.cores == 0.0
    write(tmp_path, "proc/7/stat", f"7 (second) {fields.format(ticks=300, started=10**12)}")
    own.measure([7])
    assert own.cores > 0.0
    assert own.memory_bytes == 5 * getpagesize()
