"""The turns of a session, read from its messages, and how each ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oblix._convert.decoding import moment_of
from oblix._convert.events import attempt_of, decision_of
from oblix._convert.records import text_of
from oblix.answers import Turn, TurnError
from oblix.errors import OblixError
from oblix.v1 import executions_pb2, messages_pb2, routing_pb2


@dataclass(slots=True)
class RecordedTurn:
    """A turn as its session holds it."""

    prompt: str
    message: messages_pb2.Message
    """Its answer; as long as none came, its question."""


@dataclass(slots=True)
class Ending:
    """What the daemon tells of a turn beside its messages."""

    decision: routing_pb2.RoutingDecision
    failed: Iterable[executions_pb2.FailedAttempt] = ()
    model: str = ""
    """That answered, also where the answer was replaced since."""
    error: OblixError | None = None

    def hear(self, event: executions_pb2.ExecuteResponse) -> None:
        """Take in what an event of the execution says."""
        if event.HasField("started") and event.started.decision.rule:
            self.decision = event.started.decision
        elif event.HasField("completed"):
            self.failed = event.completed.failed_attempts
            self.model = event.completed.message.model
            # What was changed of the request is known only now.
            changed = event.completed.message.decision.adaptations
            self.decision.adaptations[:] = changed or self.decision.adaptations


def turns_in(messages: Iterable[messages_pb2.Message]) -> dict[str, RecordedTurn]:
    """Return the turns by their request's id; an answer without one stands for its own."""
    turns: dict[str, RecordedTurn] = {}
    prompt = ""
    for message in messages:
        is_answer = message.role == messages_pb2.ROLE_ASSISTANT and message.HasField("decision")
        if message.role == messages_pb2.ROLE_USER:
            prompt = text_of(message)
        if message.request_id or is_answer:
            turns[message.request_id or message.id] = RecordedTurn(prompt, message)
    return turns


def turn_of(turn: RecordedTurn, ending: Ending) -> Turn:
    """Return a turn with its routing."""
    message, error = turn.message, ending.error
    return Turn(
        request_id=message.request_id or None,
        prompt=turn.prompt,
        timestamp=moment_of(message.create_time),
        model=message.model or ending.model or None,
        decision=decision_of(ending.decision) if ending.decision.rule else None,
        failed_attempts=tuple(map(attempt_of, ending.failed)),
        error=TurnError(error.reason, error.message) if error else None,
    )
