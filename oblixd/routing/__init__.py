"""Where a prompt goes: a pure function from needs, candidates, machine and policy to a reasoned ranking.

Imports nothing of the other rooms but the errors: execution fills the inputs and
reads the output.
"""

from oblixd.routing.policy import (
    ConnectivityThresholds,
    Policy,
    ResourceThresholds,
    policy_from,
)
from oblixd.routing.ranking import decide
from oblixd.routing.types import (
    Candidate,
    ConnectivityState,
    Decision,
    Location,
    Machine,
    Needs,
    Reading,
    ResourceState,
    Verdict,
)

__all__ = [
    "Candidate",
    "ConnectivityState",
    "ConnectivityThresholds",
    "Decision",
    "Location",
    "Machine",
    "Needs",
    "Policy",
    "Reading",
    "ResourceState",
    "ResourceThresholds",
    "Verdict",
    "decide",
    "policy_from",
]
