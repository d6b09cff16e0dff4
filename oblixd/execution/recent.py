"""Where prompts went lately, for those who watch."""

from __future__ import annotations

import time
from collections import OrderedDict

from oblix.v1 import executions_pb2, monitor_pb2

from oblixd.execution.decisions import LOCATION
from oblixd.routing import Decision

REMEMBERED_S = 900.0
REMEMBERED = 1000


class RecentPrompts:
    """The last prompts by their request's id: 1,000 of the last 15 minutes."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[str, monitor_pb2.RoutedPrompt] = OrderedDict()

    def routed(self, request: executions_pb2.ExecuteRequest, decision: Decision) -> None:
        """Note where a prompt goes."""
        if not decision.ranked or not decision.ranked[0].rank:
            return
        first = decision.ranked[0]
        prompt = monitor_pb2.RoutedPrompt(
            request_id=request.request_id,
            session_id=request.session_id,
            model=first.model,
            location=LOCATION[first.location],
            rule=decision.rule,
        )
        prompt.route_time.FromMicroseconds(round(time.time() * 1e6))
        self._prompts.pop(request.request_id, None)
        self._prompts[request.request_id] = prompt
        self._forget()

    def outcome(self, request_id: str, model: str, first_token_s: float | None) -> None:
        """Note who answered in the end, and how many seconds its first content took; None: none came."""
        prompt = self._prompts.get(request_id)
        if prompt is None:
            return
        prompt.answered_by = model
        if first_token_s is not None:
            prompt.time_to_first_token.FromMicroseconds(round(first_token_s * 1e6))

    def recent(self, seconds: float) -> list[monitor_pb2.RoutedPrompt]:
        """Those of the last seconds, oldest first."""
        since_us = (time.time() - min(seconds, REMEMBERED_S)) * 1e6
        return [prompt for prompt in self._prompts.values() if prompt.route_time.ToMicroseconds() >= since_us]

    def _forget(self) -> None:
        oldest_us = (time.time() - REMEMBERED_S) * 1e6
        while self._prompts:
            oldest = next(iter(self._prompts.values()))
            if len(self._prompts) <= REMEMBERED and oldest.route_time.ToMicroseconds() >= oldest_us:
                break
            self._prompts.popitem(last=False)
