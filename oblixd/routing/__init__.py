"""Where a prompt goes: a pure function from needs, candidates, situation and policy to a reasoned ranking.

Imports nothing of the other rooms but the errors: execution fills the inputs and
reads the output.
"""

from oblixd.routing.limits import machine_limits, machine_state, network_limits, network_state
from oblixd.routing.policy import (
    NAMED,
    ConnectivityThresholds,
    Order,
    Policy,
    ResourceThresholds,
    policy_from,
)
from oblixd.routing.ranking import decide
from oblixd.routing.states import NOTHING, Held, Limit, follow
from oblixd.routing.types import (
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

__all__ = [
    "NAMED",
    "NOTHING",
    "Candidate",
    "ConnectivityState",
    "ConnectivityThresholds",
    "Decision",
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
    "Situation",
    "Verdict",
    "decide",
    "follow",
    "machine_limits",
    "machine_state",
    "network_limits",
    "network_state",
    "policy_from",
]
