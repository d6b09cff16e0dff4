"""The snapshot that is always there: what is in it, who watches it, and what can't stop it."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from itertools import pairwise

import pytest

from oblixd.monitor import Connectivity, Monitor, Resources, Snapshot, host
from oblixd.monitor import monitor as module
from oblixd.monitor.monitor import History

WAIT_S = 60.0
LONG_S = 3600.0


@pytest.fixture
async def start_monitor():
    """Starts monitors, and closes them after the test."""
    running = []

    async def start(**arguments):
        monitor = Monitor(**{"interval_s": 0.1} | arguments)
        running.append(monitor)
        await monitor.start()
        return monitor

    yield start
    for monitor in running:
        await monitor.close()


async def until(monitor, condition):
    """The first snapshot for which the condition holds."""
    async with asyncio.timeout(WAIT_S):
        async for snapshot in monitor.watch():
            if condition(snapshot):
                return snapshot
    raise AssertionError("the monitor closed")


def cpu_is_known(snapshot):
    return snapshot.resources.cpu_percent is not None


def test_before_the_first_sample_nothing_is_known():
    snapshot = Monitor().latest()
    assert snapshot.time_s is None
    assert (snapshot.resources, snapshot.connectivity) == (Resources(), Connectivity())


async def test_the_first_sample_is_there_upon_start_and_has_no_cpu_use(start_monitor):
    snapshot = (await start_monitor()).latest()
    assert snapshot.time_s is not None
    assert snapshot.resources.cpu_percent is None
    assert snapshot.resources.memory_available_bytes > 0
    assert snapshot.resources.cpu_count == os.cpu_count()


async def test_the_second_sample_has_every_figure_within_its_range(start_monitor):
    snapshot = await until(await start_monitor(), cpu_is_known)
    resources = snapshot.resources
    assert 0.0 <= resources.cpu_percent <= 100.0
    assert 0.0 < resources.memory_percent < 100.0
    assert resources.load_average >= 0.0
    assert (resources.own_cpu_percent, snapshot.own_load_average) == (0.0, 0.0)


async def test_without_a_cloud_model_only_the_way_out_is_known(start_monitor):
    snapshot = (await start_monitor()).latest()
    assert replace(snapshot.connectivity, connection_type="") == Connectivity()
    assert snapshot.endpoints == {}


async def test_our_models_use_is_told_apart(start_monitor, busy):
    monitor = await start_monitor(own_pids=lambda: [busy.pid])
    snapshot = await until(monitor, lambda s: (s.resources.own_cpu_percent or 0.0) > 5.0)
    assert snapshot.resources.own_cpu_percent <= 100.0
    assert 0.0 < snapshot.own_load_average < os.cpu_count()


async def test_a_process_that_has_gone_is_nothing_special(start_monitor, busy, caplog):
    monitor = await start_monitor(own_pids=lambda: [busy.pid])
    await until(monitor, lambda s: (s.resources.own_cpu_percent or 0.0) > 5.0)
    busy.kill()
    busy.wait()
    await until(monitor, lambda s: s.resources.own_cpu_percent == 0.0)
    assert caplog.text == ""


async def test_a_failed_source_is_unknown_and_logged_once_and_the_others_go_on(
    start_monitor, monkeypatch, caplog
):
    def broken():
        raise RuntimeError("no such counter here")

    monkeypatch.setattr(host, "memory", lambda root: broken())
    monkeypatch.setattr(os, "getloadavg", broken)
    caplog.set_level(logging.INFO)
    monitor = await start_monitor(own_pids=broken)
    first = monitor.latest()
    snapshot = await until(monitor, lambda s: cpu_is_known(s) and s is not first)
    resources = snapshot.resources
    assert (resources.memory_percent, resources.load_average, resources.own_cpu_percent) == (None, None, None)
    assert snapshot.own_load_average is None
    assert resources.cpu_percent is not None
    assert sorted(record.args[0] for record in caplog.records) == ["load average", "memory", "own models"]
    assert "no such counter here" in caplog.text


async def test_a_source_that_works_again_is_read_again(start_monitor, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(host, "memory", lambda root: 1 / 0)
        monitor = await start_monitor()
        assert monitor.latest().resources.memory_percent is None
    await until(monitor, lambda s: s.resources.memory_percent is not None)


async def test_a_watch_begins_with_the_latest(start_monitor):
    monitor = await start_monitor(interval_s=LONG_S)
    watch = monitor.watch()
    assert await anext(watch) is monitor.latest()
    await watch.aclose()


async def test_a_slow_reader_misses_some_and_never_the_last(start_monitor):
    monitor = await start_monitor()
    watch = monitor.watch()
    seen = [await anext(watch)]
    for _ in range(3):
        last = monitor.latest()
        await until(monitor, lambda s, last=last: s is not last)
    seen.append(await anext(watch))
    assert seen[1] is monitor.latest()
    await watch.aclose()


async def test_a_question_after_a_quiet_time_samples_anew(start_monitor, monkeypatch):
    monkeypatch.setattr(module, "IDLE_AFTER_S", -1.0)
    sampled = asyncio.Event()
    monitor = await start_monitor(interval_s=LONG_S, own_pids=lambda: sampled.set() or [])
    for _ in range(3):
        sampled.clear()
        monitor.latest()
        async with asyncio.timeout(WAIT_S):
            await sampled.wait()


async def test_closing_ends_every_watch_and_the_sampling(start_monitor):
    monitor = await start_monitor(interval_s=LONG_S)
    tasks = asyncio.all_tasks()
    watch = monitor.watch()
    await anext(watch)
    waiting = asyncio.create_task(anext(watch, "ended"))
    await asyncio.sleep(0)
    await monitor.close()
    await monitor.close()
    assert await waiting == "ended"
    assert [snapshot async for snapshot in monitor.watch()] == []
    assert not [task for task in tasks if task.get_name() == "monitor" and not task.done()]


async def test_the_past_is_kept_and_begins_with_the_first_sample(start_monitor):
    monitor = await start_monitor(interval_s=LONG_S)
    first = monitor.latest()
    assert monitor.history(900.0)[0] is first
    assert monitor.history(0.0) == []


def test_the_history_keeps_one_snapshot_a_second_for_fifteen_minutes():
    history = History()
    for tenth in range(20_000):
        history.add(Snapshot(None, tenth / 10, Resources(), Connectivity()))
    kept = [snapshot.monotonic_s for snapshot in history.since(0.0)]
    assert all(0.89 <= later - before <= 1.1 for before, later in pairwise(kept))
    assert kept[-1] - kept[0] == pytest.approx(900.0, abs=1.0)
    assert history.since(kept[-3]) == history.since(0.0)[-3:]


async def test_a_change_of_the_network_is_told_at_once_and_leaves_the_resources(start_monitor):
    monitor = await start_monitor(interval_s=LONG_S)
    await until(monitor, cpu_is_known)
    watch = monitor.watch()
    before = await anext(watch)
    monitor.network.on_change()
    after = await anext(watch)
    assert after is not before
    assert (after.resources, after.monotonic_s) == (before.resources, before.monotonic_s)
    await watch.aclose()
