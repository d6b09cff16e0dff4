"""Graphics processors: laid-out trees of AMD's and Intel's, and a library that speaks NVIDIA's calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.data.recorded_machines import lay_out, write
from support.servers.nvidia import Nvidia

from oblixd.monitor.gpu import Gpus, gpus, sysfs
from oblixd.monitor.snapshot import Gpu

GIB = 1 << 30
XE = "sys/devices/pci0000:00/0000:00:01.0/0000:03:00.0/tile0"
I915 = "sys/devices/pci0000:00/0000:00:02.0/drm/card0/gt/gt0"
AMD = "sys/devices/pci0000:00/0000:00:01.1/0000:03:00.0"


def absent() -> object:
    raise OSError("libnvidia-ml.so.1: cannot open shared object file")


def of(root: Path, library: Callable[[], object] = absent, own: tuple[int, ...] = ()) -> Gpus:
    return Gpus(root, lambda: own, nvidia=library)


def test_a_card_of_amd_is_read(tmp_path: Path) -> None:
    large, small = of(lay_out(tmp_path, "amd")).sample()
    assert large == Gpu("AMD GPU 1002:744c", 0.37, 25753026560, 6438256640, 58.0)
    assert large.memory_utilization == pytest.approx(0.25)
    assert (small.name, small.utilization, small.temperature_celsius) == ("Raphael", 0.0, None)


def test_a_card_that_is_gone_is_unknown(tmp_path: Path) -> None:
    found = of(lay_out(tmp_path, "amd"))
    for name in ("gpu_busy_percent", "mem_info_vram_total", "mem_info_vram_used"):
        (tmp_path / AMD / name).unlink()
    assert found.sample()[0] == Gpu("AMD GPU 1002:744c", temperature_celsius=58.0)


def test_intel_was_busy_while_it_did_not_sleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(sysfs.time, "monotonic", lambda: now[0])
    found = of(lay_out(tmp_path, "intel"))
    assert [gpu.utilization for gpu in found.sample()] == [None, None]
    now[0] += 2.0
    write(tmp_path, f"{I915}/rc6_residency_ms", 900000 + 500)
    write(tmp_path, f"{XE}/gt0/gtidle/idle_residency_ms", 500000 + 2000)
    write(tmp_path, f"{XE}/gt1/gtidle/idle_residency_ms", 700000 + 1800)
    small, large = found.sample()
    assert (small.name, small.utilization) == ("Intel GPU 8086:46a6", pytest.approx(0.75))
    assert (large.utilization, large.temperature_celsius) == (pytest.approx(0.1), 47.0)


def test_intel_that_may_not_sleep_is_unknown_and_not_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [50.0]
    monkeypatch.setattr(sysfs.time, "monotonic", lambda: now[0])
    found = of(lay_out(tmp_path, "intel"))
    write(tmp_path, f"{I915}/rc6_enable", 0)
    for part in ("gt0", "gt1"):
        write(tmp_path, f"{XE}/{part}/gtidle/idle_residency_ms", 0)
    found.sample()
    now[0] += 2.0
    assert [gpu.utilization for gpu in found.sample()] == [None, None]


def test_a_machine_without_any_has_none(tmp_path: Path) -> None:
    assert of(tmp_path).sample() == ()


def test_a_card_of_nvidia_is_read(tmp_path: Path) -> None:
    library = Nvidia({100: 30, 200: 20, 300: 25})
    (gpu,) = of(tmp_path, lambda: library, own=(100, 200)).sample()
    assert gpu == Gpu("NVIDIA GeForce RTX 4090", 0.8, 24 * GIB, 6 * GIB, 65.0, 0.5)


@pytest.mark.parametrize(
    ("running", "own", "expected"),
    [
        ((100,), (100, 200), 0.8),
        ((300,), (100,), 0.0),
        ((100, 300), (100,), None),
        ((), (100,), 0.0),
        ((300,), (), 0.0),
    ],
    ids=["all ours", "none ours", "mixed", "nobody", "we have none"],
)
def test_without_use_by_process_it_is_ours_where_all_are(
    tmp_path: Path, running: tuple[int, ...], own: tuple[int, ...], expected: float | None
) -> None:
    (gpu,) = of(tmp_path, lambda: Nvidia(None, running), own=own).sample()
    assert gpu.own_utilization == expected
    assert gpu.temperature_celsius is None  # not supported, and the rest is there


def test_a_driver_that_gives_up_is_asked_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(gpus.time, "monotonic", lambda: now[0])
    library = Nvidia({})
    found = of(tmp_path, lambda: library)
    assert len(found.sample()) == 1
    library.code = 15
    assert found.sample() == ()
    assert library.closed == 1
    library.code = 0
    assert found.sample() == ()  # not at once
    now[0] += gpus.PROBE_AGAIN_S
    assert len(found.sample()) == 1
    assert library.opened == 2


def test_a_driver_that_does_not_fit_its_library_is_none(tmp_path: Path) -> None:
    library = Nvidia({})
    library.code = 18
    assert of(lay_out(tmp_path, "amd"), lambda: library).sample()[0].name.startswith("AMD")


def test_an_old_library_lacks_functions_and_nothing_else(tmp_path: Path) -> None:
    library = Nvidia({100: 30})
    del library.nvmlDeviceGetProcessUtilization, library.nvmlDeviceGetComputeRunningProcesses_v3
    (gpu,) = of(tmp_path, lambda: library, own=(100,)).sample()
    assert (gpu.utilization, gpu.own_utilization) == (0.8, None)
