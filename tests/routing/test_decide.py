"""What a decision says, and what holds of it for every input."""

from __future__ import annotations

import dataclasses
import math

from hypothesis import given
from hypothesis import strategies as st
from support.data.routing_inputs import machine, network, situation, with_network

from oblixd.routing import (
    NAMED,
    Candidate,
    ConnectivityState,
    ConnectivityThresholds,
    Location,
    MachineState,
    Needs,
    NetworkState,
    Order,
    Policy,
    Reading,
    ResourceState,
    ResourceThresholds,
    Situation,
    decide,
)

LOCAL, CLOUD = Location.LOCAL, Location.CLOUD
LLAMA = Candidate("h1", "ollama:llama2", LOCAL)
GPT = Candidate("h2", "openai:gpt-4o", CLOUD)
MINI = Candidate("h3", "openai:gpt-4o-mini", CLOUD)
ALL = (LLAMA, GPT, MINI)

IDLE = {"cpu_percent": 12.0, "memory_percent": 40.0, "load_average": 0.5}
BUSY = IDLE | {"cpu_percent": 84.0}
DROWNING = IDLE | {"cpu_percent": 99.0}
GOOD_NET = {"reachable": True, "latency_ms": 40.0}
SLOW_NET = GOOD_NET | {"latency_ms": 350.0}
NO_NET = {"reachable": False}
BALANCED = NAMED["balanced"]


def keys(decision):
    return [verdict.key for verdict in decision.verdicts if verdict.rank]


def verdict_of(decision, candidate):
    return next(verdict for verdict in decision.verdicts if verdict.key == candidate.key)


def test_a_pin_of_nothing_that_is_there_leaves_nothing():
    decision = decide(Needs(pin="ollama:mistral"), ALL, Situation(), BALANCED)
    assert (decision.rule, keys(decision)) == ("NO_MODEL_ALLOWED", [])
    assert [verdict.rank for verdict in decision.verdicts] == [0, 0, 0]
    assert all("ollama:mistral" in verdict.reason for verdict in decision.verdicts)


def test_an_overloaded_machine_with_nothing_but_local_models_uses_them():
    decision = decide(Needs(), [LLAMA], situation(DROWNING, GOOD_NET), BALANCED)
    assert (decision.rule, keys(decision)) == ("ONLY_CHOICE", [LLAMA.key])


def test_a_limited_network_with_nothing_local_takes_the_small_cloud_model():
    candidates = with_network([GPT, MINI], network(SLOW_NET))
    decision = decide(Needs(), candidates, situation(IDLE, SLOW_NET), BALANCED)
    assert (decision.rule, keys(decision)) == ("LIMITED_NETWORK", [MINI.key, GPT.key])


def test_each_cloud_model_is_judged_by_the_way_to_its_own_server():
    far = dataclasses.replace(GPT, network=network(SLOW_NET))
    near = dataclasses.replace(MINI, network=network(GOOD_NET))
    gone = dataclasses.replace(GPT, key="h4", network=network(NO_NET))
    decision = decide(Needs(), [gone, far, LLAMA, near], situation(BUSY, GOOD_NET), BALANCED)
    assert keys(decision) == [near.key, LLAMA.key, far.key, gone.key]
    assert [verdict.rule for verdict in decision.verdicts] == [
        "MACHINE_UNDER_LOAD",
        "MACHINE_UNDER_LOAD",
        "LIMITED_NETWORK",
        "OFFLINE",
    ]
    assert decision.network.state is ConnectivityState.OPTIMAL


def test_when_nothing_can_answer_the_tables_choice_is_tried():
    candidates = [dataclasses.replace(candidate, available=False) for candidate in (GPT, LLAMA)]
    decision = decide(Needs(), candidates, situation(IDLE, {}), BALANCED)
    assert (decision.rule, keys(decision)) == ("LAST_RESORT", [LLAMA.key, GPT.key])


def test_among_equals_the_model_with_a_free_slot_goes_first():
    second = dataclasses.replace(LLAMA, key="h4", model="ollama:mistral")
    waiting = dataclasses.replace(LLAMA, ahead=2)
    decision = decide(Needs(), [waiting, second], Situation(), BALANCED)
    assert keys(decision) == [second.key, waiting.key]
    assert "wait for 2 before it" in verdict_of(decision, waiting).reason


def test_without_candidates_nothing_is_allowed():
    decision = decide(Needs(), [], Situation(), BALANCED)
    assert (decision.rule, decision.verdicts) == ("NO_MODEL_ALLOWED", ())


def test_the_decision_says_its_numbers_and_their_age():
    now = situation(BUSY, GOOD_NET)
    decision = decide(Needs(), with_network(ALL, now.network), now, BALANCED)
    for words in ("CPU 84 %", "80 %", "0.4 s ago", "s now"):
        assert words in decision.reason
    assert "memory" not in decision.reason
    cpu, latency = decision.readings[0], decision.readings[-1]
    assert (cpu.name, round(cpu.value, 6), cpu.threshold, round(cpu.age_s, 6), cpu.beyond) == (
        "cpu_percent",
        84.0,
        80.0,
        0.4,
        True,
    )
    assert (latency.name, latency.threshold, round(latency.age_s, 6), latency.beyond) == (
        "latency_ms",
        200.0,
        2.0,
        False,
    )


def test_a_critical_reading_names_the_critical_threshold():
    assert machine(DROWNING).readings[0].threshold == 90.0


def test_a_candidate_tells_the_numbers_that_were_looked_at():
    candidate = dataclasses.replace(
        GPT, network=network(GOOD_NET), waiting_count=3, ahead=1, cost=0.04, seconds=2.0, memory_bytes=5e9
    )
    needs = Needs(max_cost=0.02, deadline_s=30.0)
    verdict = decide(needs, [candidate], Situation(), BALANCED).verdicts[0]
    told = {reading.name: (reading.value, reading.threshold, reading.beyond) for reading in verdict.readings}
    assert told == {
        "queue_waiting": (3, None, False),
        "memory_bytes": (5e9, None, False),
        "cost": (0.04, 0.02, True),
        "answer_seconds": (4.0, 30.0, False),
        "reachable": (1.0, 1.0, False),
        "latency_ms": (40.0, 200.0, False),
    }


def test_equals_keep_the_order_in_which_they_were_given():
    many = [Candidate(f"h{i}", "ollama:llama2", LOCAL) for i in range(20)]
    assert keys(decide(Needs(), many, Situation(), BALANCED)) == [candidate.key for candidate in many]


def test_the_decision_names_its_policy_and_who_chose_it():
    policy = dataclasses.replace(NAMED["private"], source="session")
    decision = decide(Needs(), ALL, Situation(), policy)
    assert (decision.policy, decision.policy_source, decision.local_only) == ("private", "session", True)
    assert "private" in verdict_of(decision, GPT).reason


numbers = st.none() | st.floats() | st.floats(0, 1000)
counts = st.integers(-2, 10**9)
readings = st.lists(
    st.builds(Reading, st.sampled_from(["cpu_percent", "latency_ms", "x"]), st.floats()), max_size=2
)
machines = st.builds(
    MachineState, st.sampled_from(ResourceState), numbers, readings.map(tuple), st.none() | counts
)
networks = st.builds(NetworkState, st.sampled_from(ConnectivityState), numbers, readings.map(tuple))
models = st.sampled_from(["ollama:llama2", "openai:gpt-4o", "openai:gpt-4o-mini", "", "weird"])
knowledge = st.fixed_dictionaries(
    {
        "key": st.text(max_size=3),
        "model": models,
        "location": st.sampled_from(Location),
        "available": st.booleans(),
        "unavailable_reason": st.text(max_size=3),
        "network": networks,
        "waiting_count": counts,
        "waiting_limit": st.none() | counts,
        "ahead": counts,
    }
)
more_knowledge = st.fixed_dictionaries(
    dict.fromkeys(("memory_bytes", "context_window", "cost", "seconds"), numbers)
    | {name: st.none() | st.booleans() for name in ("fits", "has_tools", "has_images")}
)
candidate_lists = st.lists(
    st.builds(lambda some, more: Candidate(**some, **more), knowledge, more_knowledge), max_size=5
)
needs = st.builds(
    Needs,
    local_only=st.booleans(),
    pin=st.just("") | models,
    tools=st.booleans(),
    images=st.booleans(),
    deadline_s=numbers,
    max_cost=numbers,
    target=st.sampled_from(["", "local", "cloud", "openai:gpt-4o"]),
    agent=st.text(max_size=3),
)
policies = st.builds(
    Policy, order=st.sampled_from(Order), local_only=st.booleans(), max_cost=numbers, name=st.text(max_size=3)
)
situations = st.builds(Situation, machines, networks)


@given(needs, candidate_lists, situations, policies)
def test_for_every_input_there_is_one_sound_decision(needs, candidates, now, policy):
    decision = decide(needs, candidates, now, policy)
    assert repr(decision) == repr(decide(needs, candidates, now, policy))
    assert sorted(v.key for v in decision.verdicts) == sorted(c.key for c in candidates)
    ranks = [verdict.rank for verdict in decision.verdicts]
    allowed = [rank for rank in ranks if rank]
    assert ranks == [*range(1, len(allowed) + 1), *[0] * (len(ranks) - len(allowed))]
    assert (decision.rule == "NO_MODEL_ALLOWED") == (not allowed)
    assert decision.reason
    assert all(verdict.rule and verdict.reason for verdict in decision.verdicts)


@given(needs, candidate_lists, situations, policies)
def test_nothing_that_is_local_only_is_ever_sent_to_the_cloud(needs, candidates, now, policy):
    decision = decide(needs, candidates, now, policy)
    if needs.local_only or policy.local_only:
        assert all(verdict.location is LOCAL for verdict in decision.verdicts if verdict.rank)
    assert decision.local_only == (needs.local_only or policy.local_only)


@given(needs, candidate_lists, situations, policies)
def test_an_excluded_candidate_is_never_ranked(needs, candidates, now, policy):
    for candidate in candidates:
        verdict = decide(needs, [candidate], now, policy).verdicts[0]
        forbidden = [
            (needs.local_only or policy.local_only) and candidate.location is CLOUD,
            bool(needs.pin) and candidate.model != needs.pin,
            needs.tools and candidate.has_tools is False,
            needs.images and candidate.has_images is False,
            any(
                _is_known(cap) and _is_known(candidate.cost) and candidate.cost > cap
                for cap in (needs.max_cost, policy.max_cost)
            ),
        ]
        assert (verdict.rank == 0) == any(forbidden)


def _is_known(value):
    return value is not None and math.isfinite(value)


@given(needs, candidate_lists, situations, st.sampled_from(ResourceState), policies)
def test_more_load_never_makes_local_more_likely(needs, candidates, now, worse, policy):
    state = max(now.machine.state, worse)
    loaded = dataclasses.replace(now, machine=dataclasses.replace(now.machine, state=state))
    calm = _local_places(decide(needs, candidates, now, policy))
    assert all(
        before <= after
        for before, after in zip(calm, _local_places(decide(needs, candidates, loaded, policy)), strict=True)
    )


def _local_places(decision):
    ranked = [verdict.location for verdict in decision.verdicts if verdict.rank]
    return [place for place, location in enumerate(ranked) if location is LOCAL]


def test_our_own_models_load_is_not_held_against_them():
    own = {
        "cpu_percent": 98.0,
        "own_cpu_percent": 90.0,
        "load_average": 6.0,
        "own_load_average": 5.5,
        "gpu_percent": 99.0,
        "own_gpu_percent": 97.0,
    }
    found = machine(own)
    assert found.state is ResourceState.AVAILABLE
    told = [(reading.name, round(reading.value, 6)) for reading in found.readings]
    assert told == [("cpu_percent", 8.0), ("load_average", 0.5), ("gpu_percent", 2.0)]


def test_own_load_that_was_sampled_higher_than_the_total_leaves_nothing():
    assert machine({"cpu_percent": 50.0, "own_cpu_percent": 55.0}).readings[0].value == 0.0


def test_thresholds_are_those_of_the_policy():
    policy = Policy(ResourceThresholds(cpu_threshold=10.0), ConnectivityThresholds(latency_threshold=30.0))
    now = situation(IDLE, GOOD_NET, policy)
    assert (now.machine.state, now.network.state) == (ResourceState.CONSTRAINED, ConnectivityState.DEGRADED)
