"""How long one routing decision takes at 20 candidates. Limit: 200 microseconds."""

from __future__ import annotations

import timeit

from oblixd.routing import Candidate, Location, Machine, Needs, Policy, decide

LIMIT_US = 200.0
ROUNDS = 2_000


def main() -> int:
    """Print the best of five rounds; 1 where it is over the limit."""
    candidates = [
        Candidate(str(i), f"openai:gpt-4o-{i}", Location.CLOUD if i % 2 else Location.LOCAL)
        for i in range(20)
    ]
    machine = Machine(cpu_percent=95.0, memory_percent=60.0, load_average=3.0, age_s=0.4, latency_ms=350.0)
    needs, policy = Needs(), Policy()
    times = timeit.repeat(lambda: decide(needs, candidates, machine, policy), number=ROUNDS, repeat=5)
    took_us = min(times) / ROUNDS * 1e6
    print(f"routing decision, 20 candidates: {took_us:.0f} us (limit {LIMIT_US:.0f})")
    return 0 if took_us <= LIMIT_US else 1


if __name__ == "__main__":
    raise SystemExit(main())
