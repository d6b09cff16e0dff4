"""What an execution is given: who sends it, and what it works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oblixd.execution.history import HistoryMessage
from oblixd.models import TokenCalibration
from oblixd.router import Router
from oblixd.scheduling import ModelSlots, TurnQueue
from oblixd.sessions import Sessions, Tails
from oblixd.usage import Usage


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """A client, as it calls itself: for fairness and for people, not for security."""

    name: str = ""
    """Unique for a client object. Fairness goes by it; those that give none are one client."""
    program: str = ""
    """Program and process id, for example `chat.py/4711`. Empty: not known."""
    trace_parent: str = ""
    """The caller's span, as W3C Trace Context writes it in `traceparent`. Empty: not known."""

    @property
    def label(self) -> str:
        """What a person recognises it by."""
        return self.program or self.name

    @property
    def program_name(self) -> str:
        """The program without its process id."""
        return self.program.rpartition("/")[0] or self.program


@dataclass(frozen=True, slots=True)
class Services:
    """What all executions share."""

    sessions: Sessions
    router: Router
    turns: TurnQueue
    slots: ModelSlots
    calibration: TokenCalibration
    usage: Usage
    histories: Tails[HistoryMessage]
    """What models get to read of the sessions in use."""
    running_count: Callable[[], int]
    """How many executions wait or run."""
