"""Named points at which a test makes this process die, stop or fail: off unless the environment asks.

    OBLIX_FAILPOINTS="commit.before=kill@120,reply.before=stop@40"

has the process die when it comes to a commit for the 120th time, and stand still (SIGSTOP) at its 40th
reply. Each entry is POINT=ACTION@N; the actions are `kill`, `stop` and `fail`. Without the variable
`reach` does nothing. The robustness tests use this; nothing else should.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

VARIABLE = "OBLIX_FAILPOINTS"
POINTS = {
    "commit.before": "a group of writes is about to be committed",
    "commit.after": "it is on disk; nobody has been told",
    "answered.before": "those who wait for the group are about to be told",
    "turn.begun": "a question is on disk; no model has been called",
    "checkpoint.before": "a part of a running answer is about to be written",
    "checkpoint.after": "that part is on disk",
    "finish.before": "the whole answer is about to be written",
    "finish.after": "the whole answer is on disk; the client has not heard of it",
    "recovery": "a turn that the last process left is about to be ended",
    "reply.before": "a response is about to be sent",
    "reply.after": "a response was handed to gRPC",
}
"""Each point, and what is true there."""


def _fail() -> None:
    raise OSError(errno.EIO, "a failpoint asks for this error")


ACTIONS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "fail": _fail,
}


class Failpoints:
    """Counts how often each point is reached, and acts where an entry says so."""

    def __init__(self, text: str) -> None:
        self._actions = dict(_entry(one) for one in text.split(",") if one.strip())
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reach(self, point: str) -> None:
        """Note that the process has come to a point. Raises OSError where the plan says `fail`."""
        with self._lock:
            self._counts[point] += 1
            action = self._actions.get((point, self._counts[point]))
        if action is not None:
            action()


def _entry(text: str) -> tuple[tuple[str, int], Callable[[], None]]:
    point, _, rest = text.strip().partition("=")
    action, _, number = rest.partition("@")
    if point not in POINTS or action not in ACTIONS or not number.isdecimal():
        raise ValueError(
            f"{VARIABLE} has {text!r}; it takes POINT=ACTION@N with a point of {', '.join(POINTS)} "
            f"and an action of {', '.join(ACTIONS)}."
        )
    return (point, int(number)), ACTIONS[action]


def _nothing(_point: str) -> None:
    """Nobody asked for failures."""


_text = os.environ.get(VARIABLE)
reach: Callable[[str], None] = Failpoints(_text).reach if _text else _nothing
"""Tell that the process has come to a point of `POINTS`."""
