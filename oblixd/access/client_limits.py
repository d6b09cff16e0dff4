"""What one client may do at once: executions, calls a second, bytes of one request.

A client is the token that it carries, or over the socket the name that it gives itself. There it is for
fairness and against mistakes, not for security.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from oblixd.errors import ResourceExhaustedError

REMEMBERED = 1024
"""Clients whose calls are counted; who called longest ago is forgotten."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may do. 0: no limit."""

    executions: int = 0
    """Executions that run or wait at the same time."""
    calls_per_second: int = 0
    """Calls, of any kind, in a second; as many may come at once after a quiet second."""
    request_bytes: int = 0
    """Bytes of one request, where that is less than the daemon takes at all."""


class ClientLimits:
    """Counts what clients do, and refuses what is too much. Belongs to one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        """May be replaced at any time."""
        self._calls: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By client: the calls that are left to it, and when that was counted."""
        self._executions: dict[str, int] = {}

    def count_call(self, client: str) -> None:
        """Count one call. Raises ResourceExhaustedError TOO_MANY_CALLS with when to come again."""
        rate = self.limits.calls_per_second
        if not rate:
            return
        now = time.monotonic()
        left, then = self._calls.pop(client, (float(rate), now))
        left = min(float(rate), left + (now - then) * rate)
        allowed = left >= 1
        self._calls[client] = (left - 1 if allowed else left, now)
        if len(self._calls) > REMEMBERED:
            self._calls.popitem(last=False)
        if not allowed:
            wait_s = (1 - left) / rate
            message = (
                f"This client calls more than {rate} times a second, the most that [limits] calls_per_second "
                f"allows: call again in {wait_s:.2f} s."
            )
            raise ResourceExhaustedError("TOO_MANY_CALLS", message, limit=rate, retry_after_s=f"{wait_s:.3f}")

    @contextmanager
    def execution(self, client: str) -> Generator[None, None, None]:
        """Count one execution for as long as it has a stream. Raises TOO_MANY_EXECUTIONS."""
        running, most = self._executions.get(client, 0), self.limits.executions
        if most and running >= most:
            message = (
                f"This client has {running} executions that run or wait, the most that [limits] executions "
                "allows: wait for one to end."
            )
            raise ResourceExhaustedError("TOO_MANY_EXECUTIONS", message, limit=most)
        self._executions[client] = running + 1
        try:
            yield
        finally:
            self._executions[client] -= 1
            if not self._executions[client]:
                del self._executions[client]

    def check_size(self, size: int) -> None:
        """Raise ResourceExhaustedError REQUEST_TOO_LARGE for a request of so many bytes."""
        most = self.limits.request_bytes
        if most and size > most:
            message = "The request is larger than [limits] request_mib allows: send less at once."
            raise ResourceExhaustedError("REQUEST_TOO_LARGE", message, limit=most, given=size)
