"""What all executions share."""

from __future__ import annotations

from dataclasses import dataclass

from oblixd.models import TokenCalibration
from oblixd.router import Router
from oblixd.scheduling import ModelSlots, TurnQueue
from oblixd.sessions import Sessions
from oblixd.usage import Usage


@dataclass(frozen=True, slots=True)
class Services:
    """What an execution works with."""

    sessions: Sessions
    router: Router
    turns: TurnQueue
    slots: ModelSlots
    calibration: TokenCalibration
    usage: Usage
