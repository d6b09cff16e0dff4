"""What an execution leaves on disk: its turn, where it has a session; nothing, where it has none."""

from __future__ import annotations

from oblix.v1 import messages_pb2 as pb

from oblixd.execution.answer import Answer
from oblixd.sessions import Turn

_NOTHING_TO_KEEP = (pb.MESSAGE_STATUS_CANCELLED, pb.MESSAGE_STATUS_FAILED)
"""An answer that ended so before anything of it came leaves no message: whoever waited was told."""


class Recording:
    """A turn and its answer. `turn` is None without a session."""

    def __init__(self, turn: Turn | None) -> None:
        self.turn = turn
        self.answer = Answer(turn)

    @property
    def question_ids(self) -> list[str]:
        """The ids of the input as it was recorded."""
        return [message.id for message in self.turn.input] if self.turn else []

    async def keep(self, message: pb.Message) -> pb.Message:
        """End the turn with this answer, and return it as it was recorded."""
        if self.turn is None:
            return message
        if not self.answer.begun and message.status in _NOTHING_TO_KEEP:
            await self.turn.abandon()
            return message
        try:
            await self.answer.settle()
        finally:
            message = await self.turn.finish(message)
        return message

    def where(self, kept: pb.Message) -> dict[str, object]:
        """What an error tells of what was kept."""
        if self.turn is None:
            return {"session_id": "", "message_id": "", "kept_bytes": 0}
        return {
            "session_id": self.turn.session.id,
            "message_id": self.turn.input[-1].id,
            "answer_id": kept.id,
            "kept_bytes": self.answer.size,
        }
