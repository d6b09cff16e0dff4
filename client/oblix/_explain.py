"""Why past turns went where they went."""

from __future__ import annotations

from typing import Any

from oblix import _times
from oblix._answers import decision_of
from oblix._records import text_of
from oblix._sessions import SessionCalls
from oblix.v1 import messages_pb2


class ExplainCalls(SessionCalls):
    """What a session's answers remember of their routing. Of a prompt to come `explain` tells."""

    def explain_session(self, session_id: str) -> list[dict[str, Any]] | None:
        """Each turn of a session with its routing decision, oldest first; None where there is no session.

        A dict has `prompt` (the text before the answer), `timestamp`, `model` (that
        answered; another than the decision's where that failed) and `routing_decision`
        as `execute` gives it. Answers that were imported or written without a model have none.
        """
        if self._header(session_id) is None:
            return None
        turns: list[dict[str, Any]] = []
        prompt = ""
        for message in self._messages(session_id):
            if message.role == messages_pb2.ROLE_USER:
                prompt = text_of(message)
            elif message.HasField("decision"):
                turns.append(_turn(prompt, message))
        return turns


def _turn(prompt: str, message: messages_pb2.Message) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "timestamp": _times.to_text(message.create_time),
        "model": message.model,
        "routing_decision": decision_of(message.decision),
    }
