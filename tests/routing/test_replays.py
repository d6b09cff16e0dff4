"""Long series of samples through the states: no flapping, and nothing that lasts is missed."""

from __future__ import annotations

import csv
import random
from itertools import pairwise
from pathlib import Path

import pytest
from support.data.routing_inputs import states_after

from oblixd.routing import MachineSample, ResourceState, ResourceThresholds, machine_limits

RECORDED = Path(__file__).with_name("recorded") / "busy_hour.csv"
LIMITS = machine_limits(ResourceThresholds())
AVAILABLE = ResourceState.AVAILABLE
SHORTEST_S = 10
"""No state is left and come back to faster than this."""


def raw(sample: MachineSample) -> int:
    """The state of one sample by itself."""
    values = ((limit, limit.value(sample)) for limit in LIMITS)
    return max(
        (limit.state for limit, value in values if value is not None and limit.is_beyond(value, limit.at)),
        default=AVAILABLE,
    )


def changes(samples: list[MachineSample], states: list[int]) -> list[tuple[float, int]]:
    return [
        (sample.time_s, state)
        for (before, state), sample in zip(pairwise(states), samples[1:], strict=True)
        if state != before
    ]


def quickest_return_s(changed: list[tuple[float, int]]) -> float:
    """The shortest time in which a state was left and come back to."""
    returns = [
        back_s - left_s
        for (_, state), (left_s, _), (back_s, again) in zip(changed, changed[1:], changed[2:], strict=False)
        if again == state
    ]
    return min(returns, default=float("inf"))


def test_a_recorded_busy_hour_is_calm():
    with RECORDED.open() as lines:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    samples = [
        MachineSample(
            row["second"],
            cpu_percent=row["cpu_percent"],
            memory_percent=row["memory_percent"],
            load_average=row["load_1m"],
        )
        for row in rows
    ]
    states = [one.state for one in states_after(samples, LIMITS)]
    changed = changes(samples, states)
    by_itself = changes(samples, [raw(sample) for sample in samples])
    assert len(samples) >= 3600
    assert len(by_itself) > 150, "the hour was not busy: nothing is shown by it"
    assert len(changed) <= len(by_itself) / 5
    assert quickest_return_s(changed) >= SHORTEST_S


def day() -> list[tuple[MachineSample, str]]:
    """A day of samples, each with what happens at that time. The same on every run."""
    chance = random.Random(20240229)
    return [
        (MachineSample(float(second), cpu_percent=min(100.0, max(0.0, cpu + chance.gauss(0.0, 4.0)))), what)
        for second in range(86_400)
        for what, cpu in [_at(second, chance)]
    ]


def _at(second: int, chance: random.Random) -> tuple[str, float]:
    """What the machine does, and its mean CPU use then."""
    hour, in_hour = divmod(second, 3600)
    match hour:
        case 9:
            return "sawtooth", 40.0 + 60.0 * (in_hour % 20) / 20
        case 10:
            return "spikes", 100.0 if chance.random() < 0.03 else 20.0
        case 11:
            return "at the threshold", 80.0
        case 14 | 16:
            return "load", 97.0
    return "rest", 8.0


@pytest.fixture(scope="module")
def whole_day() -> tuple[list[tuple[MachineSample, str]], list[int]]:
    """A day, and the state at each of its seconds."""
    told = day()
    return told, [one.state for one in states_after([sample for sample, _ in told], LIMITS)]


def test_a_day_has_as_many_changes_as_things_happen(whole_day):
    told, states = whole_day
    samples = [sample for sample, _ in told]
    assert len(changes(samples, [raw(sample) for sample in samples])) > 1000
    assert len(changes(samples, states)) <= 24
    spikes = [state for state, (_, what) in zip(states, told, strict=True) if what == "spikes"]
    assert set(spikes[60:]) == {AVAILABLE}


def test_lasting_load_of_a_recorded_day_is_followed_within_seconds(whole_day):
    _, states = whole_day
    for begin, end in ((14 * 3600, 15 * 3600), (16 * 3600, 17 * 3600)):
        assert set(states[begin + 20 : end]) == {ResourceState.CRITICAL}
        assert set(states[end + 40 : end + 3600]) == {AVAILABLE}
