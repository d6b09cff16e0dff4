"""What is shown: the daemon's answers, as they came last."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from oblix._transport.channel import Transport
from oblix.v1 import executions_pb2, models_pb2, monitor_pb2

DECISIONS = 100
"""Kept to be shown, the newest."""


@dataclass(slots=True)
class State:
    """The latest of everything."""

    snapshot: monitor_pb2.Snapshot = field(default_factory=monitor_pb2.Snapshot)
    models: Sequence[models_pb2.Model] = ()
    executions: Sequence[executions_pb2.Execution] = ()
    prompts: dict[str, monitor_pb2.RoutedPrompt] = field(default_factory=dict)
    """Where prompts went, by request id, oldest first."""
    waiting: str = "It was not asked yet."
    """Why there is no daemon to ask. Empty: there is."""
    moment_s: float = field(default_factory=time.time)
    """When this was so, seconds since the epoch."""

    def take(self, prompts: Iterable[monitor_pb2.RoutedPrompt]) -> None:
        """Take in where prompts went: a known one may have been answered by now."""
        for prompt in prompts:
            self.prompts.pop(prompt.request_id, None)
            self.prompts[prompt.request_id] = prompt
        for request_id in list(self.prompts)[:-DECISIONS]:
            del self.prompts[request_id]


def once(transport: Transport) -> State:
    """Ask for everything now. Raises CommandError or OblixError where no daemon answers."""
    state = State(waiting="")
    state.snapshot = transport.call(
        lambda link: link.monitor.GetSnapshot, monitor_pb2.GetSnapshotRequest()
    ).snapshot
    state.models = transport.call(lambda link: link.models.ListModels, models_pb2.ListModelsRequest()).models
    state.executions = transport.call(
        lambda link: link.executions.ListExecutions, executions_pb2.ListExecutionsRequest()
    ).executions
    history = transport.call(lambda link: link.monitor.GetHistory, monitor_pb2.GetHistoryRequest())
    state.take(history.prompts)
    return state
