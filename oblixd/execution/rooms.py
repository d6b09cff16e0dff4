"""What all executions share."""

from __future__ import annotations

from dataclasses import dataclass

from oblixd.execution.places import Places
from oblixd.execution.route import Router
from oblixd.execution.tokens import Corrections
from oblixd.execution.turns import TurnQueue
from oblixd.sessions import Sessions
from oblixd.usage import Usage


@dataclass(frozen=True, slots=True)
class Rooms:
    """What an execution works with."""

    sessions: Sessions
    router: Router
    turns: TurnQueue
    places: Places
    corrections: Corrections
    usage: Usage
