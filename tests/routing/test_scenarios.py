"""Where prompts go and why, scenario by scenario."""

from __future__ import annotations

import dataclasses

import pytest
from support.data.routing_inputs import situation, with_network
from support.data.routing_scenarios import GPT, LLAMA, MACHINES, MINI, NAMES, NETWORKS, SCENARIOS, Scenario

from oblixd.routing import NAMED, Decision, Needs, decide

NAMED_SCENARIOS = [pytest.param(scenario, id=scenario.situation) for scenario in SCENARIOS]


def decide_scenario(scenario: Scenario) -> Decision:
    now = situation(MACHINES[scenario.machine], NETWORKS[scenario.network])
    if LLAMA.key in scenario.known and "memory_bytes" in scenario.known[LLAMA.key]:
        now = dataclasses.replace(
            now, machine=dataclasses.replace(now.machine, memory_available_bytes=2 << 30)
        )
    candidates = [
        dataclasses.replace(candidate, **scenario.known.get(candidate.key, {}))
        for candidate in with_network((LLAMA, GPT, MINI), now.network)
    ]
    return decide(Needs(**scenario.needs), candidates, now, NAMED[scenario.policy])


@pytest.mark.parametrize("scenario", NAMED_SCENARIOS)
def test_where_the_prompt_goes(scenario: Scenario) -> None:
    decision = decide_scenario(scenario)
    order = ", ".join(NAMES[verdict.key] for verdict in decision.verdicts if verdict.rank)
    assert (decision.rule, order) == (scenario.rule, scenario.order), decision.reason


@pytest.mark.parametrize("scenario", NAMED_SCENARIOS)
def test_every_candidate_says_why(scenario: Scenario) -> None:
    decision = decide_scenario(scenario)
    assert len(decision.verdicts) == 3
    assert all(verdict.rule and verdict.reason.endswith(".") for verdict in decision.verdicts)
    assert decision.reason[0].isupper() or decision.reason.startswith(("ollama:", "openai:"))
    assert decision.reason.endswith(".")
