"""Where a prompt goes: a pure function from needs, candidates, situation and policy to a reasoned ranking.

Imports nothing of the other packages but the errors: execution fills the inputs and
reads the output.
"""

from oblixd.routing.hysteresis import NOTHING, Held, Limit, follow
from oblixd.routing.inputs import (
    Candidate,
    ConnectivityState,
    Decision,
    Location,
    MachineSample,
    MachineState,
    Needs,
    NetworkSample,
    NetworkState,
    Reading,
    ResourceState,
    Situation,
    Verdict,
)
from oblixd.routing.policy import (
    NAMED,
    ConnectivityThresholds,
    Order,
    Policy,
    ResourceThresholds,
    policy_from,
)
from oblixd.routing.policy_text import Definition, Rule, policy_named, policy_of
from oblixd.routing.ranking import decide
from oblixd.routing.thresholds import machine_limits, machine_state, network_limits, network_state

__all__ = [
    "NAMED",
    "NOTHING",
    "Candidate",
    "ConnectivityState",
    "ConnectivityThresholds",
    "Decision",
    "Definition",
    "Held",
    "Limit",
    "Location",
    "MachineSample",
    "MachineState",
    "Needs",
    "NetworkSample",
    "NetworkState",
    "Order",
    "Policy",
    "Reading",
    "ResourceState",
    "ResourceThresholds",
    "Rule",
    "Situation",
    "Verdict",
    "decide",
    "follow",
    "machine_limits",
    "machine_state",
    "network_limits",
    "network_state",
    "policy_from",
    "policy_named",
    "policy_of",
]
