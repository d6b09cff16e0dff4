"""The fold from samples to states: calm, and never slower than it says."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data.routing_inputs import states_after

from oblixd.routing import (
    NOTHING,
    ConnectivityState,
    ConnectivityThresholds,
    MachineSample,
    NetworkSample,
    ResourceState,
    ResourceThresholds,
    follow,
    machine_limits,
    machine_state,
    network_limits,
)

UNKNOWN, AVAILABLE, CONSTRAINED, CRITICAL = ResourceState
OPTIMAL, DEGRADED, DISCONNECTED = (
    ConnectivityState.OPTIMAL,
    ConnectivityState.DEGRADED,
    ConnectivityState.DISCONNECTED,
)
MACHINE = machine_limits(ResourceThresholds())
NETWORK = network_limits(ConnectivityThresholds())


def machine(name, values, limits=MACHINE):
    """The state after each second of a series of one value."""
    samples = [MachineSample(float(second), **{name: value}) for second, value in enumerate(values)]
    return [one.state for one in states_after(samples, limits)]


def network(name, values, limits=NETWORK):
    samples = [NetworkSample(float(second), **{name: value}) for second, value in enumerate(values)]
    return [one.state for one in states_after(samples, limits)]


def changes(states):
    return [(second, state) for second, (before, state) in enumerate(pairwise(states)) if state != before]


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("cpu_percent", 79.9, AVAILABLE),
        ("cpu_percent", 80.1, CONSTRAINED),
        ("cpu_percent", 90.1, CRITICAL),
        ("memory_percent", 84.9, AVAILABLE),
        ("memory_percent", 85.0, CONSTRAINED),
        ("memory_percent", 95.0, CRITICAL),
        ("load_average", 3.9, AVAILABLE),
        ("load_average", 4.0, CONSTRAINED),
        ("load_average", 400.0, CONSTRAINED),
        ("gpu_percent", 84.9, AVAILABLE),
        ("gpu_percent", 85.1, CONSTRAINED),
        ("gpu_percent", 95.1, CRITICAL),
        ("cpu_percent", math.nan, UNKNOWN),
        ("memory_percent", math.inf, UNKNOWN),
        ("cpu_percent", None, UNKNOWN),
    ],
)
def test_the_machine_is_held_against_the_documented_thresholds(name, value, state):
    assert machine(name, [value] * 60)[-1] == state


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("reachable", True, OPTIMAL),
        ("reachable", False, DISCONNECTED),
        ("latency_ms", 200.0, OPTIMAL),
        ("latency_ms", 200.1, DEGRADED),
        ("packet_loss_percent", 10.0, OPTIMAL),
        ("packet_loss_percent", 10.1, DEGRADED),
        ("bandwidth_mbps", 5.0, OPTIMAL),
        ("bandwidth_mbps", 4.9, DEGRADED),
        ("latency_ms", math.inf, ConnectivityState.UNKNOWN),
        ("reachable", None, ConnectivityState.UNKNOWN),
    ],
)
def test_the_network_is_held_against_the_documented_thresholds(name, value, state):
    assert network(name, [value] * 60)[-1] == state


def test_load_that_stays_is_followed_and_so_is_its_end():
    states = machine("cpu_percent", [10.0] * 60 + [100.0] * 60 + [10.0] * 60)
    seconds = {state: second for second, state in reversed(changes(states))}
    assert [state for _, state in changes(states)] == [CONSTRAINED, CRITICAL, CONSTRAINED, AVAILABLE]
    assert seconds[CONSTRAINED] - 60 <= 13
    assert seconds[CRITICAL] - 60 <= 18
    assert seconds[AVAILABLE] - 120 <= 34


@pytest.mark.parametrize("busy_s", [1, 2, 5])
def test_a_moment_of_load_changes_nothing(busy_s):
    assert changes(machine("cpu_percent", [30.0] * 60 + [100.0] * busy_s + [30.0] * 60)) == []


def test_a_moment_of_rest_changes_nothing():
    states = machine("cpu_percent", [100.0] * 60 + [0.0] * 5 + [100.0] * 60)
    assert states[60:] == [CRITICAL] * 65


def test_around_the_threshold_it_changes_once():
    noise = [80.0 + 15.0 * math.sin(second * 1.7) for second in range(600)]
    assert len(changes(machine("cpu_percent", noise))) <= 1


def test_a_first_rate_is_not_believed_and_a_first_level_is():
    assert machine("cpu_percent", [100.0] * 5) == [AVAILABLE] * 5
    assert machine("memory_percent", [97.0]) == [CRITICAL]
    assert network("latency_ms", [900.0]) == [DEGRADED]


def test_a_threshold_of_zero_is_always_reached():
    assert machine("cpu_percent", [0.0], machine_limits(ResourceThresholds(cpu_threshold=0.0))) == [
        CONSTRAINED
    ]
    limits = network_limits(ConnectivityThresholds(latency_threshold=0.0))
    assert network("latency_ms", [0.1] * 30, limits) == [DEGRADED] * 30


def test_offline_counts_at_once_and_online_after_two_seconds():
    states = network("reachable", [True] * 10 + [False] * 10 + [True] * 10)
    assert [second for second, _ in changes(states)] == [9, 21]


def test_one_slow_handshake_is_not_a_slow_network():
    assert changes(network("latency_ms", [40.0] * 30 + [900.0] * 2 + [40.0] * 30)) == []


def test_an_unknown_reading_stops_degrading_after_a_while():
    states = network("bandwidth_mbps", [1.0] * 5 + [None] * 30)
    assert (states[4], states[10], states[-1]) == (DEGRADED, DEGRADED, ConnectivityState.UNKNOWN)


def test_it_is_known_since_when():
    samples = [
        MachineSample(float(second), memory_percent=97.0 if second > 20 else 20.0) for second in range(60)
    ]
    last = states_after(samples, MACHINE)[-1]
    found = machine_state(last, MACHINE, samples[-1], 60.0)
    assert (found.state, found.for_s) == (CRITICAL, 60.0 - 23.0)


def test_a_sample_that_is_not_newer_changes_nothing():
    once = follow(NOTHING, MachineSample(5.0, memory_percent=97.0), MACHINE)
    assert follow(once, MachineSample(5.0, memory_percent=1.0), MACHINE) is once
    assert follow(once, MachineSample(math.nan, memory_percent=1.0), MACHINE) is once


def test_after_a_gap_the_time_that_passed_counts():
    busy = [MachineSample(float(second), cpu_percent=100.0) for second in range(60)]
    later = [MachineSample(600.0 + second, cpu_percent=10.0) for second in (0, 5, 31)]
    assert [one.state for one in states_after([*busy, *later], MACHINE)[-3:]] == [
        CRITICAL,
        CRITICAL,
        AVAILABLE,
    ]


series = st.lists(
    st.tuples(st.floats(0.1, 20.0), st.floats(0, 100), st.floats(0, 30)), min_size=1, max_size=40
)


@given(series, st.sampled_from(["cpu_percent", "memory_percent", "load_average", "gpu_percent"]))
def test_more_load_at_every_moment_is_never_a_better_state(steps, name):
    time_s, calm, loaded = 0.0, NOTHING, NOTHING
    for pause_s, value, more in steps:
        time_s += pause_s
        calm = follow(calm, MachineSample(time_s, **{name: value}), MACHINE)
        loaded = follow(loaded, MachineSample(time_s, **{name: value + more}), MACHINE)
        assert loaded.state >= calm.state


anything = st.none() | st.floats()


@given(st.lists(st.tuples(anything, anything, anything, anything, anything), max_size=10))
def test_any_measurements_have_a_state(samples):
    state = NOTHING
    for time_s, cpu, own, memory, load in samples:
        sample = MachineSample(time_s if time_s is not None else 0.0, cpu, memory, load, own_cpu_percent=own)
        state = follow(state, sample, MACHINE)
        readings = machine_state(state, MACHINE, sample, 0.0).readings
        assert all(math.isfinite(reading.value) for reading in readings)
