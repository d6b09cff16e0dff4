"""The documented table, the order of the rules and the policies, as a user would say them.

The same scenarios stand in docs/reference/routing.md, which is made from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from oblixd.routing import Candidate, Location

LLAMA = Candidate("h1", "ollama:llama2", Location.LOCAL)
GPT = Candidate("h2", "openai:gpt-4o", Location.CLOUD)
MINI = Candidate("h3", "openai:gpt-4o-mini", Location.CLOUD)
NAMES = {LLAMA.key: "local", GPT.key: "large", MINI.key: "small"}

IDLE = {"cpu_percent": 12.0, "memory_percent": 40.0, "load_average": 0.5}
BUSY = IDLE | {"cpu_percent": 84.0}
DROWNING = IDLE | {"cpu_percent": 99.0}
MACHINES = {"idle": IDLE, "constrained": BUSY, "critical": DROWNING, "unknown": {}}
GOOD = {"reachable": True, "latency_ms": 40.0}
NETWORKS = {
    "good": GOOD,
    "limited": GOOD | {"latency_ms": 350.0},
    "none": {"reachable": False},
    "unknown": {},
}

COLD = {LLAMA.key: {"available": False, "unavailable_reason": "Start it: ollama serve."}}
PRICED = {GPT.key: {"cost": 0.04}, MINI.key: {"cost": 0.002}}
TIMED = {LLAMA.key: {"seconds": 30.0}, GPT.key: {"seconds": 6.0}, MINI.key: {"seconds": 3.0}}
HUGE = {LLAMA.key: {"memory_bytes": 9e9}}
FULL = {LLAMA.key: {"waiting_count": 8, "waiting_limit": 8, "ahead": 9}}
SHORT = {LLAMA.key: {"context_window": 4096, "fits": False}}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What a user would tell, and where the prompt goes then."""

    situation: str
    rule: str
    order: str
    """The models as they are tried, best first."""
    machine: str = "idle"
    network: str = "good"
    needs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    policy: str = "balanced"
    known: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """What is known of the candidates beside where they run, by key."""


SCENARIOS = (
    # The documented table.
    Scenario("all well", "ALL_WELL", "local, large, small"),
    Scenario("the machine is under load", "MACHINE_UNDER_LOAD", "large, small, local", machine="constrained"),
    Scenario("the machine is overloaded", "MACHINE_UNDER_LOAD", "large, small, local", machine="critical"),
    Scenario("the network is limited", "LIMITED_NETWORK", "local, small, large", network="limited"),
    Scenario("offline", "OFFLINE", "local, large, small", network="none"),
    # Where its lines meet.
    Scenario("offline beats load", "OFFLINE", "local, large, small", "constrained", "none"),
    Scenario("offline beats overload", "OFFLINE", "local, large, small", "critical", "none"),
    Scenario(
        "a limited network beats load", "LIMITED_NETWORK", "local, small, large", "constrained", "limited"
    ),
    Scenario(
        "overload beats a limited network",
        "OVERLOADED_AND_LIMITED",
        "small, large, local",
        "critical",
        "limited",
    ),
    Scenario("nothing is known", "ALL_WELL", "local, large, small", "unknown", "unknown"),
    Scenario(
        "an unknown network counts as good",
        "MACHINE_UNDER_LOAD",
        "large, small, local",
        "constrained",
        "unknown",
    ),
    # The rules above the table.
    Scenario("a pin beats the table", "PINNED", "large", network="none", needs={"pin": GPT.model}),
    Scenario(
        "local-only beats a pin",
        "NO_MODEL_ALLOWED",
        "",
        needs={"local_only": True, "pin": GPT.model},
    ),
    Scenario(
        "local-only beats overload", "LOCAL_ONLY", "local", machine="critical", needs={"local_only": True}
    ),
    Scenario(
        "an image for a text model",
        "ONLY_CHOICE",
        "large, small",
        needs={"images": True},
        known={LLAMA.key: {"has_images": False}},
    ),
    Scenario(
        "tools for a model without",
        "ONLY_CHOICE",
        "large, small",
        needs={"tools": True},
        known={LLAMA.key: {"has_tools": False}},
    ),
    Scenario(
        "a cap on the cost",
        "MACHINE_UNDER_LOAD",
        "small, local",
        machine="constrained",
        needs={"max_cost": 0.01},
        known=PRICED,
    ),
    Scenario(
        "a cap on spending is reached",
        "ONLY_CHOICE",
        "local",
        machine="constrained",
        needs={"spent_budget": "the day's cap of 5 USD is reached"},
        known={LLAMA.key: {"is_free": True}},
    ),
    Scenario("the local server is down", "NEXT_BEST", "large, small, local", known=COLD),
    Scenario("too little memory to load it", "NEXT_BEST", "large, small, local", known=HUGE),
    Scenario("its queue is full", "NEXT_BEST", "large, small, local", known=FULL),
    Scenario("nothing can answer", "LAST_RESORT", "local, large, small", network="none", known=COLD),
    Scenario(
        "too long for its context window",
        "NEXT_BEST",
        "large, small, local",
        known=SHORT,
    ),
    Scenario(
        "a deadline that it would miss",
        "NEXT_BEST",
        "large, small, local",
        needs={"deadline_s": 10.0},
        known=TIMED,
    ),
    Scenario(
        "an agent favours the cloud",
        "AGENT_TARGET",
        "large, small, local",
        needs={"target": "cloud", "agent": "night shift"},
    ),
    Scenario(
        "an agent favours one model",
        "AGENT_TARGET",
        "small, local, large",
        needs={"target": MINI.model, "agent": "night shift"},
    ),
    Scenario(
        "offline beats an agent",
        "OFFLINE",
        "local, large, small",
        network="none",
        needs={"target": "cloud", "agent": "night shift"},
    ),
    Scenario(
        "others wait for the local model", "ALL_WELL", "local, large, small", known={LLAMA.key: {"ahead": 1}}
    ),
    # The policies.
    Scenario("prefer-local", "PREFER_LOCAL", "local, large, small", "critical", policy="prefer-local"),
    Scenario("prefer-cloud", "PREFER_CLOUD", "large, small, local", policy="prefer-cloud"),
    Scenario(
        "prefer-cloud on a limited network",
        "PREFER_CLOUD",
        "small, large, local",
        network="limited",
        policy="prefer-cloud",
    ),
    Scenario(
        "prefer-cloud, offline", "OFFLINE", "local, large, small", network="none", policy="prefer-cloud"
    ),
    Scenario(
        "cheapest", "CHEAPEST", "local, small, large", machine="critical", policy="cheapest", known=PRICED
    ),
    Scenario("fastest", "FASTEST", "small, large, local", policy="fastest", known=TIMED),
    Scenario(
        "fastest, before a model has answered",
        "FASTEST",
        "large, small, local",
        policy="fastest",
        known={key: TIMED[key] for key in (LLAMA.key, MINI.key)},
    ),
    Scenario("private", "LOCAL_ONLY", "local", machine="critical", policy="private"),
)
