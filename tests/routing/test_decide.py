"""The documented table, its conflicts, and what holds for every input."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblixd.routing import (
    Candidate,
    ConnectivityState,
    ConnectivityThresholds,
    Location,
    Machine,
    Needs,
    Policy,
    ResourceState,
    ResourceThresholds,
    decide,
)

LOCAL, CLOUD = Location.LOCAL, Location.CLOUD
LLAMA = Candidate("h1", "ollama:llama2", LOCAL)
GPT = Candidate("h2", "openai:gpt-4o", CLOUD)
MINI = Candidate("h3", "openai:gpt-4o-mini", CLOUD)
ALL = (LLAMA, GPT, MINI)

IDLE = {"cpu_percent": 12.0, "memory_percent": 40.0, "load_average": 0.5, "age_s": 0.4}
BUSY = IDLE | {"cpu_percent": 84.0}
DROWNING = IDLE | {"cpu_percent": 99.0}
GOOD_NET = {"reachable": True, "latency_ms": 40.0, "network_age_s": 2.0}
SLOW_NET = GOOD_NET | {"latency_ms": 350.0}
NO_NET = {"reachable": False, "network_age_s": 0.2}


def keys(decision):
    return [verdict.key for verdict in decision.ranked if verdict.rank]


def verdict_of(decision, candidate):
    return next(verdict for verdict in decision.ranked if verdict.key == candidate.key)


# The table of the documentation, then its conflicts: machine, network, rule, order.
TABLE = [
    pytest.param(IDLE, NO_NET, "OFFLINE", [LLAMA, GPT, MINI], id="offline: local"),
    pytest.param(IDLE, SLOW_NET, "LIMITED_NETWORK", [LLAMA, MINI, GPT], id="limited: local or small cloud"),
    pytest.param(BUSY, GOOD_NET, "MACHINE_UNDER_LOAD", [GPT, MINI, LLAMA], id="constrained: cloud"),
    pytest.param(DROWNING, GOOD_NET, "MACHINE_UNDER_LOAD", [GPT, MINI, LLAMA], id="critical: cloud"),
    pytest.param(IDLE, GOOD_NET, "ALL_WELL", [LLAMA, GPT, MINI], id="all well: local"),
    pytest.param(BUSY, NO_NET, "OFFLINE", [LLAMA, GPT, MINI], id="offline beats load"),
    pytest.param(DROWNING, NO_NET, "OFFLINE", [LLAMA, GPT, MINI], id="offline beats overload"),
    pytest.param(BUSY, SLOW_NET, "LIMITED_NETWORK", [LLAMA, MINI, GPT], id="limited beats load"),
    pytest.param(
        DROWNING, SLOW_NET, "OVERLOADED_AND_LIMITED", [MINI, GPT, LLAMA], id="overload beats limited"
    ),
    pytest.param({}, {}, "ALL_WELL", [LLAMA, GPT, MINI], id="unknown never degrades"),
    pytest.param(BUSY, {}, "MACHINE_UNDER_LOAD", [GPT, MINI, LLAMA], id="unknown network counts as optimal"),
]


@pytest.mark.parametrize(("machine", "network", "rule", "order"), TABLE)
def test_the_documented_table(machine, network, rule, order):
    decision = decide(Needs(), ALL, Machine(**machine, **network), Policy())
    assert (decision.rule, keys(decision)) == (rule, [candidate.key for candidate in order])
    assert [verdict.rank for verdict in decision.ranked] == [1, 2, 3]


@pytest.mark.parametrize(
    ("machine", "state", "target"),
    [
        ({}, ResourceState.UNKNOWN, "local_cpu"),
        (IDLE, ResourceState.AVAILABLE, "local_cpu"),
        (IDLE | {"gpu_percent": 20.0}, ResourceState.AVAILABLE, "local_gpu"),
        ({"cpu_percent": 79.9}, ResourceState.AVAILABLE, "local_cpu"),
        ({"cpu_percent": 80.0}, ResourceState.CONSTRAINED, "cloud"),
        ({"cpu_percent": 90.0}, ResourceState.CRITICAL, "cloud"),
        ({"memory_percent": 84.9}, ResourceState.AVAILABLE, "local_cpu"),
        ({"memory_percent": 85.0}, ResourceState.CONSTRAINED, "cloud"),
        ({"memory_percent": 95.0}, ResourceState.CRITICAL, "cloud"),
        ({"load_average": 3.9}, ResourceState.AVAILABLE, "local_cpu"),
        ({"load_average": 4.0}, ResourceState.CONSTRAINED, "cloud"),
        ({"load_average": 400.0}, ResourceState.CONSTRAINED, "cloud"),
        ({"gpu_percent": 84.9}, ResourceState.AVAILABLE, "local_gpu"),
        ({"gpu_percent": 85.0}, ResourceState.CONSTRAINED, "cloud"),
        ({"gpu_percent": 95.0}, ResourceState.CRITICAL, "cloud"),
        (BUSY | {"memory_percent": 96.0}, ResourceState.CRITICAL, "cloud"),
        ({"cpu_percent": math.nan, "memory_percent": math.inf}, ResourceState.UNKNOWN, "local_cpu"),
    ],
)
def test_the_machine_s_state(machine, state, target):
    decision = decide(Needs(), ALL, Machine(**machine), Policy())
    assert (decision.resource_state, decision.resource_target) == (state, target)


@pytest.mark.parametrize(
    ("network", "state", "target"),
    [
        ({}, ConnectivityState.UNKNOWN, "cloud"),
        ({"reachable": True}, ConnectivityState.OPTIMAL, "cloud"),
        ({"latency_ms": 200.0}, ConnectivityState.OPTIMAL, "cloud"),
        ({"latency_ms": 200.1}, ConnectivityState.DEGRADED, "hybrid"),
        ({"packet_loss_percent": 10.0}, ConnectivityState.OPTIMAL, "cloud"),
        ({"packet_loss_percent": 10.1}, ConnectivityState.DEGRADED, "hybrid"),
        ({"bandwidth_mbps": 5.0}, ConnectivityState.OPTIMAL, "cloud"),
        ({"bandwidth_mbps": 4.9}, ConnectivityState.DEGRADED, "hybrid"),
        ({"reachable": False, "latency_ms": 20.0}, ConnectivityState.DISCONNECTED, "local"),
        ({"latency_ms": math.inf}, ConnectivityState.UNKNOWN, "cloud"),
    ],
)
def test_the_network_s_state(network, state, target):
    decision = decide(Needs(), ALL, Machine(**network), Policy())
    assert (decision.connectivity_state, decision.connectivity_target) == (state, target)


def test_a_threshold_of_zero_is_always_reached():
    policy = Policy(ResourceThresholds(cpu_threshold=0.0))
    assert decide(Needs(), ALL, Machine(cpu_percent=0.0), policy).rule == "MACHINE_UNDER_LOAD"


def test_a_latency_threshold_of_zero_degrades_any_latency():
    policy = Policy(connectivity=ConnectivityThresholds(latency_threshold=0.0))
    assert decide(Needs(), ALL, Machine(latency_ms=0.1), policy).rule == "LIMITED_NETWORK"


def test_a_pin_beats_the_table_and_everything_else_is_excluded():
    decision = decide(Needs(pin=GPT.model), ALL, Machine(**IDLE, **NO_NET), Policy())
    assert (decision.rule, keys(decision)) == ("PINNED", [GPT.key])
    assert verdict_of(decision, LLAMA).rule == "NOT_PINNED"


def test_a_pin_of_nothing_that_is_there_leaves_nothing():
    decision = decide(Needs(pin="ollama:mistral"), ALL, Machine(), Policy())
    assert (decision.rule, keys(decision)) == ("NO_MODEL_ALLOWED", [])
    assert [verdict.rank for verdict in decision.ranked] == [0, 0, 0]
    assert all("ollama:mistral" in verdict.reason for verdict in decision.ranked)


def test_local_only_beats_the_pin():
    decision = decide(Needs(local_only=True, pin=GPT.model), ALL, Machine(), Policy())
    assert (decision.rule, keys(decision)) == ("NO_MODEL_ALLOWED", [])
    assert verdict_of(decision, GPT).rule == "LOCAL_ONLY"


def test_local_only_stays_local_on_an_overloaded_machine():
    decision = decide(Needs(local_only=True), ALL, Machine(**DROWNING), Policy())
    assert (decision.rule, keys(decision)) == ("LOCAL_ONLY", [LLAMA.key])


def test_an_overloaded_machine_with_nothing_but_local_models_uses_them():
    decision = decide(Needs(), [LLAMA], Machine(**DROWNING), Policy())
    assert (decision.rule, keys(decision)) == ("ONLY_CHOICE", [LLAMA.key])


def test_a_limited_network_with_nothing_local_takes_the_small_cloud_model():
    decision = decide(Needs(), [GPT, MINI], Machine(**SLOW_NET), Policy())
    assert (decision.rule, keys(decision)) == ("LIMITED_NETWORK", [MINI.key, GPT.key])


def test_what_is_unavailable_goes_behind_what_can_answer():
    llama = dataclasses.replace(LLAMA, available=False, unavailable_reason="Start it: ollama serve")
    decision = decide(Needs(), [llama, GPT], Machine(**IDLE), Policy())
    assert (decision.rule, keys(decision)) == ("NEXT_BEST", [GPT.key, LLAMA.key])
    verdict = verdict_of(decision, LLAMA)
    assert (verdict.rule, verdict.reason) == ("UNAVAILABLE", "Start it: ollama serve")


def test_when_nothing_can_answer_the_table_s_choice_is_tried():
    candidates = [dataclasses.replace(candidate, available=False) for candidate in (GPT, LLAMA)]
    decision = decide(Needs(), candidates, Machine(**IDLE), Policy())
    assert (decision.rule, keys(decision)) == ("LAST_RESORT", [LLAMA.key, GPT.key])


def test_offline_with_only_cloud_models_tries_them_all_the_same():
    decision = decide(Needs(), [GPT], Machine(**NO_NET), Policy())
    assert (decision.rule, keys(decision)) == ("LAST_RESORT", [GPT.key])


def test_without_candidates_nothing_is_allowed():
    decision = decide(Needs(), [], Machine(), Policy())
    assert (decision.rule, decision.ranked) == ("NO_MODEL_ALLOWED", ())


def test_our_own_models_load_is_not_held_against_them():
    own = Machine(cpu_percent=98.0, own_cpu_percent=90.0, load_average=6.0, own_load_average=5.5)
    decision = decide(Needs(), ALL, own, Policy())
    assert (decision.rule, decision.resource_state) == ("ALL_WELL", ResourceState.AVAILABLE)
    assert [(r.name, r.value) for r in decision.readings] == [("cpu_percent", 8.0), ("load_average", 0.5)]


def test_own_load_that_was_sampled_higher_than_the_total_leaves_nothing():
    decision = decide(Needs(), ALL, Machine(cpu_percent=50.0, own_cpu_percent=55.0), Policy())
    assert decision.readings[0].value == 0.0


def test_the_decision_says_its_numbers_and_their_age():
    decision = decide(Needs(), ALL, Machine(**BUSY, **GOOD_NET), Policy())
    assert "CPU 84 %" in decision.reason
    assert "80 %" in decision.reason
    assert "0.4 s ago" in decision.reason
    assert "memory" not in decision.reason
    cpu, latency = decision.readings[0], decision.readings[-1]
    assert (cpu.name, cpu.value, cpu.threshold, cpu.age_s, cpu.beyond) == (
        "cpu_percent",
        84.0,
        80.0,
        0.4,
        True,
    )
    assert (latency.name, latency.threshold, latency.age_s, latency.beyond) == (
        "latency_ms",
        200.0,
        2.0,
        False,
    )


def test_a_critical_reading_names_the_critical_threshold():
    assert decide(Needs(), ALL, Machine(**DROWNING), Policy()).readings[0].threshold == 90.0


def test_equals_keep_the_order_in_which_they_were_given():
    many = [Candidate(f"h{i}", "ollama:llama2", LOCAL) for i in range(20)]
    assert keys(decide(Needs(), many, Machine(), Policy())) == [candidate.key for candidate in many]


numbers = st.none() | st.floats() | st.floats(0, 120)
machines = st.builds(Machine, *[numbers] * 7, st.none() | st.booleans(), *[numbers] * 4)
models = st.sampled_from(["ollama:llama2", "openai:gpt-4o", "openai:gpt-4o-mini", "", "weird"])
candidate_lists = st.lists(
    st.builds(
        Candidate, st.text(max_size=3), models, st.sampled_from(Location), st.booleans(), st.text(max_size=3)
    ),
    max_size=6,
)
needs = st.builds(Needs, st.booleans(), st.just("") | models)
limits = st.floats(0, 100)
policies = st.builds(
    Policy,
    st.builds(ResourceThresholds, *[limits] * 7),
    st.builds(ConnectivityThresholds, *[limits] * 3),
)


@given(needs, candidate_lists, machines, policies)
def test_for_every_input_there_is_one_sound_decision(needs, candidates, machine, policy):
    decision = decide(needs, candidates, machine, policy)
    assert decision == decide(needs, candidates, machine, policy)
    assert sorted(v.key for v in decision.ranked) == sorted(c.key for c in candidates)
    ranks = [verdict.rank for verdict in decision.ranked]
    allowed = [rank for rank in ranks if rank]
    assert ranks == [*range(1, len(allowed) + 1), *[0] * (len(ranks) - len(allowed))]
    assert (decision.rule == "NO_MODEL_ALLOWED") == (not allowed)
    assert decision.reason
    assert all(verdict.rule and verdict.reason for verdict in decision.ranked)
    assert all(math.isfinite(reading.value) for reading in decision.readings)


@given(needs, candidate_lists, machines, policies)
def test_what_is_not_allowed_is_never_ranked(needs, candidates, machine, policy):
    for verdict in decide(needs, candidates, machine, policy).ranked:
        forbidden = needs.local_only and verdict.location is CLOUD
        another = bool(needs.pin) and verdict.model != needs.pin
        assert (verdict.rank == 0) == (forbidden or another)


LOADS = ["cpu_percent", "memory_percent", "load_average", "gpu_percent"]


@st.composite
def calm_and_loaded(draw):
    """The same machine twice, the second time with more of one load."""
    machine, field = draw(machines), draw(st.sampled_from(LOADS))
    now = getattr(machine, field)
    low = now if now is not None and math.isfinite(now) else 0.0
    high = draw(st.floats(low, max(low, 200.0)))
    return dataclasses.replace(machine, **{field: low}), dataclasses.replace(machine, **{field: high})


@given(needs, candidate_lists, calm_and_loaded(), policies)
def test_more_load_never_makes_local_more_likely(needs, candidates, pair, policy):
    calm, loaded = ([v.location for v in decide(needs, candidates, m, policy).ranked if v.rank] for m in pair)
    before = [place for place, location in enumerate(calm) if location is LOCAL]
    after = [place for place, location in enumerate(loaded) if location is LOCAL]
    assert all(earlier <= later for earlier, later in zip(before, after, strict=True))
