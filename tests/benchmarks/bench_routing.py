"""How long one routing decision takes at 20 candidates, and what following one more sample takes."""

from __future__ import annotations

import timeit

from measure import Line, report

from oblixd.routing import (
    NAMED,
    NOTHING,
    Candidate,
    ConnectivityState,
    Location,
    MachineSample,
    MachineState,
    Needs,
    NetworkState,
    Policy,
    Reading,
    ResourceState,
    Situation,
    decide,
    follow,
    machine_limits,
)

LIMIT_US = 200.0
ROUNDS, REPEATS = 1_000, 7


def _situation() -> Situation:
    readings = (
        Reading("cpu_percent", 95.0, 90.0, 0.4, beyond=True),
        Reading("memory_percent", 60.0, 85.0, 0.4),
    )
    slow = (Reading("latency_ms", 350.0, 200.0, 2.0, beyond=True),)
    machine = MachineState(ResourceState.CRITICAL, 12.0, readings, 8 << 30)
    return Situation(machine, NetworkState(ConnectivityState.DEGRADED, 4.0, slow))


def _candidate(number: int, network: NetworkState) -> Candidate:
    location = Location.CLOUD if number % 2 else Location.LOCAL
    return Candidate(
        str(number),
        f"openai:gpt-4o-{number}",
        location,
        network=network,
        waiting_count=1,
        ahead=1,
        cost=0.01,
        seconds=3.0,
    )


def _decision_us(policy: Policy) -> float:
    """The best of several rounds: what the code takes, without what else the machine did."""
    situation = _situation()
    candidates = [_candidate(number, situation.network) for number in range(20)]
    needs = Needs(tools=True, deadline_s=60.0, max_cost=1.0)
    times = timeit.repeat(lambda: decide(needs, candidates, situation, policy), number=ROUNDS, repeat=REPEATS)
    return min(times) / ROUNDS * 1e6


def _sample_us() -> float:
    limits = machine_limits(Policy().resources)
    held = follow(NOTHING, MachineSample(0.0, 50.0, 50.0, 1.0, 50.0), limits)
    sample = MachineSample(1.0, 95.0, 50.0, 1.0, 50.0)
    times = timeit.repeat(lambda: follow(held, sample, limits), number=ROUNDS, repeat=REPEATS)
    return min(times) / ROUNDS * 1e6


def main() -> int:
    """Print the figures; 1 where a decision is over its limit."""
    lines = [
        Line(f"decision, 20 candidates, {name}", _decision_us(policy), "us", LIMIT_US)
        for name, policy in NAMED.items()
    ]
    return report("routing", [*lines, Line("one more sample followed", _sample_us(), "us")])


if __name__ == "__main__":
    raise SystemExit(main())
