"""Why past turns went where they went."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from oblix._convert import records
from oblix._convert.events import decision_of
from oblix._convert.records import text_of
from oblix._convert.validation import describe, invalid
from oblix._resources.executions import executions_of
from oblix._resources.sessions import LARGEST_PAGE, SessionCalls
from oblix._transport.channel import CALL_TIMEOUT_S
from oblix.errors import NotFoundError, OblixError
from oblix.v1 import executions_pb2, messages_pb2, routing_pb2

MOST_TURNS = 100


@dataclass(slots=True)
class _Turn:
    prompt: str
    message: messages_pb2.Message
    """Its answer; as long as none came, its question."""


@dataclass(slots=True)
class _Ending:
    """What the daemon tells of a turn beside its messages."""

    decision: routing_pb2.RoutingDecision
    failed: Iterable[executions_pb2.FailedAttempt] = ()
    error: OblixError | None = None


class ExplainCalls(SessionCalls):
    """What a session remembers of its routing. Of a prompt to come `explain` tells."""

    def explain_session(self, session_id: str, limit: int = MOST_TURNS) -> list[dict[str, Any]] | None:
        """A session's newest turns with their routing, oldest first; None where there is no session.

        `limit`: 1 to 1,000 turns. A dict has `request_id`, `prompt` (the text before the
        answer), `timestamp`, `model` (that answered; None: none did), `routing_decision`
        as `execute` gives it, with those that failed first in `failed_attempts`, and `error`: None,
        or a dict of the `reason` and `message` with which the turn failed. A turn that failed without an
        answer has lost its decision ten minutes later: None. Left out are a turn that is running,
        and messages that were imported or written without a model.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LARGEST_PAGE:
            raise invalid("limit", f"a whole number from 1 to {LARGEST_PAGE:,}", describe(limit))
        if self._header(session_id) is None:
            return None
        turns = _turns(self._messages(session_id))
        # Asked after the messages: one of theirs that it does not name as running has ended.
        if (header := self._header(session_id)) is None:
            return None
        for running in (header.running_request_id, *self._running_elsewhere(session_id)):
            turns.pop(running, None)
        return [_turn_dict(turn, self._ending(turn.message)) for turn in list(turns.values())[-limit:]]

    def _running_elsewhere(self, session_id: str) -> list[str]:
        """What runs in the other sessions: this one may be a copy of one of them, made meanwhile."""
        executions = executions_of(self._transport, None)
        live = [one for one in executions if one["ended_at"] is None and one["session_id"] != session_id]
        return [one["request_id"] for one in live]

    def _ending(self, message: messages_pb2.Message) -> _Ending:
        ending = _Ending(message.decision)
        if not message.request_id:
            return ending
        request = executions_pb2.AttachExecutionRequest(request_id=message.request_id)
        events = self._transport.read(
            lambda link: link.executions.AttachExecution(
                request, metadata=link.metadata, timeout=CALL_TIMEOUT_S
            )
        )
        try:
            for answer in events:
                _hear(ending, answer.event)
        except NotFoundError:  # a copy of a turn whose session is gone
            return ending
        except OblixError as error:
            if "session_id" not in error.metadata:
                raise  # that of the call, not of the turn
            ending.error = error
        return ending


def _turns(messages: Iterable[messages_pb2.Message]) -> dict[str, _Turn]:
    """The turns by their request's id; an answer without one stands for its own."""
    turns: dict[str, _Turn] = {}
    prompt = ""
    for message in messages:
        is_answer = message.role == messages_pb2.ROLE_ASSISTANT and message.HasField("decision")
        if message.role == messages_pb2.ROLE_USER:
            prompt = text_of(message)
        if message.request_id or is_answer:
            turns[message.request_id or message.id] = _Turn(prompt, message)
    return turns


def _hear(ending: _Ending, event: executions_pb2.ExecuteResponse) -> None:
    if event.HasField("started") and event.started.decision.rule:
        ending.decision = event.started.decision
    elif event.HasField("completed"):
        ending.failed = event.completed.failed_attempts


def _turn_dict(turn: _Turn, ending: _Ending) -> dict[str, Any]:
    message, error = turn.message, ending.error
    return {
        "request_id": message.request_id or None,
        "prompt": turn.prompt,
        "timestamp": records.to_text(message.create_time),
        "model": message.model or None,
        "routing_decision": decision_of(ending.decision, ending.failed) if ending.decision.rule else None,
        "error": {"reason": error.reason, "message": error.message} if error else None,
    }
