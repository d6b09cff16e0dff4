"""What executions know of a model at this moment."""

from __future__ import annotations

from dataclasses import dataclass

from oblixd.execution.places import Places
from oblixd.execution.speeds import Speeds
from oblixd.models.registry import Hook
from oblixd.monitor import Snapshot


@dataclass(frozen=True, slots=True)
class Live:
    """A model's queue and speed."""

    queued: int
    """Prompts that wait for a place at it."""
    tokens_per_second: float
    """Of the answers it gave lately. 0: not known."""
    time_to_first_token_s: float | None
    """Of its last answer. None: there was none lately."""
    cut_off: str
    """Why its server can't be reached, as the network showed. Empty: it can, or that is not known."""


def live(hook: Hook, places: Places, speeds: Speeds, now: Snapshot) -> Live:
    """Of the model at its server, whoever hooked it."""
    way = now.endpoints.get(hook.connection.origin)
    return Live(
        cut_off=way.reason or "It can't be reached." if way is not None and way.reachable is False else "",
        queued=places.waiting(hook.backend),
        tokens_per_second=speeds.tokens_per_second(hook.backend) or 0.0,
        time_to_first_token_s=speeds.last_first_token_s(hook.backend),
    )
