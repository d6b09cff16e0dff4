"""CPU, memory, swap, pressure and power, each from the files that Linux tells them in."""

from __future__ import annotations

from pathlib import Path
from resource import getpagesize

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data.recorded_machines import lay_out, write

from oblixd.monitor import host, reading
from oblixd.monitor.host import Cpu, MemoryUse, Power, PowerState, Swap
from oblixd.monitor.processes import use

STAT = """cpu  300 0 100 1600 50 0 0 0 20 0
cpu0 200 0 50 700 50 0 0 0 20 0
cpu1 100 0 50 900 0 0 0 0 0 0
intr 12345 0 0
ctxt 987"""
THROTTLED = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"


def test_stat_is_read_by_core_without_waiting_and_without_guests_twice() -> None:
    assert host.parse_core_times(STAT) == {0: (250.0, 1000.0), 1: (150.0, 1050.0)}


def test_use_is_what_was_added_since_the_sample_before() -> None:
    readings = iter([{0: (10.0, 100.0), 1: (0.0, 100.0)}, {0: (60.0, 200.0), 1: (0.0, 200.0)}])
    sampler = Cpu(lambda: next(readings))
    assert sampler.sample() is None
    assert sampler.sample() == host.CpuUse(25.0, (50.0, 0.0))


def test_a_core_that_went_away_is_left_out() -> None:
    readings = iter([{0: (0.0, 0.0), 1: (0.0, 0.0)}, {1: (30.0, 100.0)}, {0: (0.0, 0.0), 1: (60.0, 200.0)}])
    sampler = Cpu(lambda: next(readings))
    assert [sampler.sample() for _ in range(3)] == [
        None,
        host.CpuUse(30.0, (30.0,)),
        host.CpuUse(30.0, (30.0,)),
    ]
    assert sampler.core_count == 2


_times = st.dictionaries(st.integers(0, 3), st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), max_size=4)


@given(_times, _times)
def test_cpu_use_stays_a_percentage_for_any_counters(before: host.Times, after: host.Times) -> None:
    readings = iter([before, after])
    sampler = Cpu(lambda: next(readings))
    sampler.sample()
    found = sampler.sample()
    assert found is None or all(0.0 <= part <= 100.0 for part in (found.total_percent, *found.core_percents))


def test_only_the_cores_that_we_may_run_on_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "proc/stat", STAT)
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda pid: {1})
    assert set(host.core_times(tmp_path)) == {1}
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda pid: {7})
    assert set(host.core_times(tmp_path)) == {0, 1}


def test_without_proc_psutil_tells(tmp_path: Path) -> None:
    assert len(host.core_times(tmp_path)) >= 1
    assert host.memory(tmp_path).total == psutil.virtual_memory().total
    process = use(tmp_path, psutil.Process().pid)
    assert process is not None
    assert process.memory_bytes > 0
    assert Power(tmp_path).sample().is_throttled is None


def test_both_ways_tell_the_same_of_a_process(tmp_path: Path) -> None:
    ours, theirs = use(Path("/"), psutil.Process().pid), use(tmp_path, psutil.Process().pid)
    assert ours is not None
    assert theirs is not None
    assert ours.cpu_s == pytest.approx(theirs.cpu_s, abs=0.5)
    assert ours.started_s == pytest.approx(theirs.started_s, abs=1.5)


def test_a_process_with_an_odd_name_is_read(tmp_path: Path) -> None:
    fields = " ".join(
        ["S", *map(str, range(1, 11)), "250", "150", "0", "0", "20", "0", "1", "0", "9000", "1", "5"]
    )
    write(tmp_path, "proc/self/stat", "")
    write(tmp_path, "proc/7/stat", f"7 (a) b) (c) {fields} 0 0")
    assert use(tmp_path, 7) == (4.0, 90.0, 5 * getpagesize())


def test_memory_that_can_be_had_is_not_in_use(tmp_path: Path) -> None:
    write(
        tmp_path, "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 250 kB\nSwapTotal: 9 kB"
    )
    told = host.memory(tmp_path)
    assert told == MemoryUse(1000 * 1024, 250 * 1024, has_swap=True)
    assert told.percent == pytest.approx(75.0)
    assert MemoryUse(0, 0).percent == 0.0


def test_swap_is_what_moved_since_the_sample_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(host.time, "monotonic", lambda: now[0])
    write(tmp_path, "proc/vmstat", "nr_free_pages 5\npswpin 100\npswpout 200")
    swap = Swap(tmp_path)
    assert swap.sample(has_swap=True) is None
    now[0] += 2.0
    write(tmp_path, "proc/vmstat", "nr_free_pages 5\npswpin 110\npswpout 200")
    assert swap.sample(has_swap=True) == host.SwapRates(5.0 * getpagesize(), 0.0)
    assert swap.sample(has_swap=False) == host.SwapRates(0.0, 0.0)
    assert Swap(tmp_path / "elsewhere").sample(has_swap=True) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("some avg10=12.34 avg60=1.00 avg300=0.10 total=99\nfull avg10=5.00", 12.34),
        ("some avg10=nan avg60=1.00", None),
        ("nothing of the kind", None),
        ("", None),
    ],
)
def test_pressure_is_the_ten_seconds_of_some(tmp_path: Path, content: str, expected: float | None) -> None:
    write(tmp_path, "proc/pressure/cpu", content)
    assert host.of_machine(tmp_path) == host.Pressure(expected, None, None)


def test_a_laptop_tells_of_its_own_battery_only(tmp_path: Path) -> None:
    power = Power(lay_out(tmp_path, "laptop"))
    assert power.sample() == PowerState(63.0, is_plugged_in=False, is_throttled=False)
    write(tmp_path, "sys/class/power_supply/AC/online", 1)
    assert power.sample().is_plugged_in is True


def test_throttling_is_a_count_that_rose_or_a_cooling_device_at_work(tmp_path: Path) -> None:
    power = Power(lay_out(tmp_path, "laptop"))
    power.sample()
    write(tmp_path, THROTTLED, 13)
    assert power.sample().is_throttled is True
    assert power.sample().is_throttled is False
    write(tmp_path, "sys/class/thermal/cooling_device0/cur_state", 2)
    assert power.sample().is_throttled is True


@pytest.mark.parametrize(
    ("word", "expected"), [("0x0", False), ("50000", False), ("0x4", True), ("0x80008", True)]
)
def test_a_raspberry_pi_tells_it_in_a_word(tmp_path: Path, word: str, expected: bool) -> None:
    (tmp_path / "sys/class").mkdir(parents=True)
    write(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", word)
    assert Power(tmp_path).sample().is_throttled is expected


def test_a_desktop_has_no_battery_and_its_mains_are_nothing_to_tell(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/power_supply/AC/type", "Mains")
    write(tmp_path, "sys/class/power_supply/AC/online", 1)
    assert Power(tmp_path).sample() == PowerState()


@pytest.mark.parametrize(("content", "expected"), [("12", 12), ("0x1f", 31), ("max", None), ("", None)])
def test_a_number_that_is_none_is_unknown(tmp_path: Path, content: str, expected: int | None) -> None:
    write(tmp_path, "number", content)
    assert reading.integer(tmp_path / "number") == expected
    assert reading.integer(tmp_path / "absent") is None
