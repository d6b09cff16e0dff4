"""Where a prompt goes: fills routing's inputs from the other packages, and asks it."""

from oblixd.router.candidates import ModelStats, model_stats, price_of
from oblixd.router.convert import CONNECTIVITY, RESOURCES, reading_to_wire, to_wire
from oblixd.router.cooldown import Cooldowns
from oblixd.router.policies import Policies
from oblixd.router.router import RouteQuery, Router, ranked_hooks
from oblixd.router.states import Assessment, Snapshots, StateTracker, assessments

__all__ = [
    "CONNECTIVITY",
    "RESOURCES",
    "Assessment",
    "Cooldowns",
    "ModelStats",
    "Policies",
    "RouteQuery",
    "Router",
    "Snapshots",
    "StateTracker",
    "assessments",
    "model_stats",
    "price_of",
    "ranked_hooks",
    "reading_to_wire",
    "to_wire",
]
