"""What an execution makes and leaves behind: its answer, and on disk its turn, where it has a session."""

from __future__ import annotations

from dataclasses import asdict

from oblix.v1 import executions_pb2, routing_pb2
from oblix.v1 import messages_pb2 as pb

from oblixd.execution.answer import Answer
from oblixd.execution.stopwatch import Stopwatch
from oblixd.models.base import Content, Finished
from oblixd.models.registry import Hook
from oblixd.sessions import Outcome, Turn

_NOTHING_TO_KEEP = (pb.MESSAGE_STATUS_CANCELLED, pb.MESSAGE_STATUS_FAILED)
"""An answer that ended so before anything of it came leaves no message: whoever waited was told."""


class Recording:
    """An answer while it comes. Without a turn nothing of it is kept."""

    def __init__(self, watch: Stopwatch) -> None:
        self.turn: Turn | None = None
        self.hook: Hook | None = None
        """The model that answers; None before one did."""
        self.decision = routing_pb2.RoutingDecision()
        """Why that model."""
        self.failed: list[executions_pb2.FailedAttempt] = []
        """What was tried before, in order."""
        self._answer = Answer(None)
        self._watch = watch

    def begin(self, turn: Turn) -> None:
        """Its turn has begun: what comes from now on is kept in it."""
        self.turn = turn
        self._answer = Answer(turn)

    @property
    def model(self) -> str:
        """provider:name of the model that answers; empty before one did."""
        return self.hook.id if self.hook else ""

    @property
    def size(self) -> int:
        """Bytes of UTF-8 so far."""
        return self._answer.size

    @property
    def is_full(self) -> bool:
        """Whether no more of the answer fits."""
        return self._answer.is_full

    @property
    def question_ids(self) -> list[str]:
        """The ids of the input as it was recorded."""
        return [message.id for message in self.turn.input] if self.turn else []

    def take(self, content: Content) -> bytes:
        """Take in the next piece of the answer, or what fits of it, and return that as UTF-8."""
        self._watch.content()
        return self._answer.add(content)

    async def restart(self) -> None:
        """Forget what came: another model begins anew."""
        await self._answer.restart()

    def message(self, status: pb.MessageStatus.ValueType, finished: Finished | None = None) -> pb.Message:
        """The answer as it stands; `finished` where it came to its end."""
        message = pb.Message(
            role=pb.ROLE_ASSISTANT,
            parts=self._answer.parts(whole=finished is not None),
            status=status,
            model=self.model,
            decision=self.decision,
            timings=self._watch.timings(finished.counts.output_tokens if finished else None),
        )
        if finished:
            self._tell(message, finished)
        return message

    def _tell(self, message: pb.Message, finished: Finished) -> None:
        """Write down what the model's server told at the end."""
        message.decision.adaptations.extend(finished.adaptations)
        for name, count in asdict(finished.counts).items():
            if count is not None:
                setattr(message.usage, name, count)
        if finished.state and self.hook is not None:
            author = self.hook.connection.author
            message.provider_state.CopyFrom(pb.ProviderState(author=author, json=finished.state))

    async def keep(self, message: pb.Message, outcome: Outcome) -> pb.Message:
        """End the turn with this answer, and return it as it was recorded."""
        if self.turn is None:
            return message
        if self._leaves_nothing(message.status):
            await self.turn.abandon(outcome)
            return message
        try:
            await self._answer.settle()
        finally:
            message = await self.turn.finish(message, outcome)
        return message

    def where(self, status: pb.MessageStatus.ValueType) -> dict[str, object]:
        """What an error tells of what is kept of an answer that ends so."""
        if self.turn is None:
            return {"session_id": "", "message_id": "", "kept_bytes": 0}
        return {
            "session_id": self.turn.session.id,
            "message_id": self.turn.input[-1].id,
            "answer_id": "" if self._leaves_nothing(status) else self.turn.answer_id,
            "kept_bytes": self.size,
        }

    def _leaves_nothing(self, status: pb.MessageStatus.ValueType) -> bool:
        return not self._answer.begun and status in _NOTHING_TO_KEEP
