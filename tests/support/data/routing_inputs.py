"""Situations and candidates for routing, put together from the numbers that a test is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from oblixd.routing import (
    NOTHING,
    Candidate,
    Held,
    Limit,
    MachineSample,
    MachineState,
    NetworkSample,
    NetworkState,
    Policy,
    Situation,
    follow,
    machine_limits,
    machine_state,
    network_limits,
    network_state,
)

S = TypeVar("S", MachineSample, NetworkSample)
BALANCED = Policy()
LONG_S = 120
"""Longer than any gate takes."""


def states_after(samples: Iterable[S], limits: Sequence[Limit[S]], before: Held = NOTHING) -> list[Held]:
    """What is held after each sample."""
    found = []
    for sample in samples:
        before = follow(before, sample, limits)
        found.append(before)
    return found


def machine(numbers: Mapping[str, Any], policy: Policy = BALANCED) -> MachineState:
    """The state of a machine that has had these numbers for two minutes, measured 0.4 s ago."""
    samples = [MachineSample(time_s=float(second), **numbers) for second in range(LONG_S)]
    limits = machine_limits(policy.resources)
    return machine_state(states_after(samples, limits)[-1], limits, samples[-1], samples[-1].time_s + 0.4)


def network(numbers: Mapping[str, Any], policy: Policy = BALANCED) -> NetworkState:
    """The state of a network that has had these numbers for two minutes, observed 2 s ago."""
    samples = [
        NetworkSample(time_s=float(second), observed_s=second - 1.6, **numbers) for second in range(LONG_S)
    ]
    limits = network_limits(policy.connectivity)
    return network_state(states_after(samples, limits)[-1], limits, samples[-1], samples[-1].time_s + 0.4)


def situation(
    machine_numbers: Mapping[str, Any],
    network_numbers: Mapping[str, Any],
    policy: Policy = BALANCED,
) -> Situation:
    """Both of them."""
    return Situation(machine(machine_numbers, policy), network(network_numbers, policy))


def with_network(candidates: Iterable[Candidate], way: NetworkState) -> list[Candidate]:
    """The candidates, all of them behind the same network."""
    return [dataclasses.replace(candidate, network=way) for candidate in candidates]
