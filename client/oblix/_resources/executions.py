"""The executions of the daemon, whoever started them, and why past turns went where they went."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from oblix._convert import records
from oblix._convert.events import Answer, decision_of, name_of
from oblix._convert.records import text_of
from oblix._convert.validation import describe, invalid, text
from oblix._resources.core import Core
from oblix._resources.sessions import SessionCalls
from oblix._transport.channel import CALL_TIMEOUT_S, Transport
from oblix._transport.resumable import ResumableStream
from oblix.errors import NotFoundError, OblixError
from oblix.events import Event
from oblix.limits import LARGEST_PAGE
from oblix.v1 import executions_pb2, messages_pb2, routing_pb2

MAX_OFFSET = 2**63 - 1
MOST_TURNS = 100


class ExecutionCalls(Core):
    """Going on with executions, seeing them, ending them."""

    async def attach(self, request_id: str, offset: int = 0) -> AsyncGenerator[Event, None]:
        """Go on with an execution that runs, or that ended: yield what `stream` yields, from the start.

        `offset`: how many bytes of UTF-8 of deltas are here already, as
        `delta.offset + len(delta.text.encode())` of the last one says; they are
        not sent again. Any number of programs may attach to one execution. An
        execution of a session can be attached to for the session's life, another
        one for ten minutes after its end.

        Closing the generator lets it run on where it was started with
        `on_disconnect="continue"` or somebody else reads it, else it cancels it.
        Raises NotFoundError where no such execution is known, InvalidArgumentError
        for an offset past its end, and what ended it: UnavailableError
        EXECUTION_INTERRUPTED where the daemon ended in the middle, with
        `session_id` and `kept_bytes` in its metadata.
        """
        if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset <= MAX_OFFSET:
            raise invalid("offset", "a whole number of bytes, 0 or more", describe(offset))
        following = ResumableStream(self._transport, _id(request_id), offset=offset)
        answer = Answer(self._agents, [])
        async with aclosing(following.responses()) as responses:
            async for response in responses:
                if (event := answer.event(response)) is not None:
                    yield event

    async def cancel(self, request_id: str) -> dict[str, Any]:
        """Cancel an execution, and return it as `list_executions` shows it. What had come is kept.

        One that has ended stays as it was. Raises NotFoundError where no such
        execution runs or ended within the last ten minutes.
        """
        request = executions_pb2.CancelExecutionRequest(request_id=_id(request_id))
        answer = await self._transport.acall(
            lambda link: link.executions.CancelExecution, request, repeatable=True
        )
        return _shape(answer.execution)

    def list_executions(self, session_id: str | None = None) -> list[dict[str, Any]]:
        """Return what waits, runs, or ended within the last ten minutes, for all programs; the oldest first.

        `session_id`: only those of one session. Each dict has `request_id`,
        `session_id`, `state` (`queued`, `running`, `completed`, `failed` or
        `cancelled`), `model_id`, `created_at`, `ended_at`, `delta_bytes`,
        `attached_streams`, `place` (among those that wait, from 1), `waits_for`
        (the model; None: its session's turn), `priority`, `client`, `error_reason`
        and `prompt_excerpt` (at most 80 characters). What does not apply is None.
        """
        return executions_of(self._transport, session_id)


def executions_of(transport: Transport, session_id: str | None) -> list[dict[str, Any]]:
    """As `list_executions`, over any way to the daemon."""
    request = executions_pb2.ListExecutionsRequest(session_id=text(session_id or "", "session_id"))
    answer = transport.call(lambda link: link.executions.ListExecutions, request, repeatable=True)
    return [_shape(execution) for execution in answer.executions]


def _id(request_id: object) -> str:
    if not text(request_id, "request_id"):
        raise invalid("request_id", "the id of an execution", "an empty one")
    return str(request_id)


def _shape(execution: executions_pb2.Execution) -> dict[str, Any]:
    ended = execution.HasField("end_time")
    return {
        "request_id": execution.request_id,
        "session_id": execution.session_id or None,
        "state": name_of(executions_pb2.ExecutionState.DESCRIPTOR, execution.state),
        "model_id": execution.model or None,
        "created_at": records.to_text(execution.create_time),
        "ended_at": records.to_text(execution.end_time) if ended else None,
        "delta_bytes": execution.delta_bytes,
        "attached_streams": execution.attached_streams,
        "place": execution.place or None,
        "waits_for": execution.waits_for_model or None,
        "priority": "background"
        if execution.priority == executions_pb2.PRIORITY_BACKGROUND
        else "interactive",
        "client": execution.client or None,
        "error_reason": execution.error_reason or None,
        "prompt_excerpt": execution.prompt_excerpt,
    }


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
    model: str = ""
    """That answered, also where the answer was replaced since."""
    error: OblixError | None = None


class ExplainCalls(SessionCalls):
    """What a session remembers of its routing. Of a prompt to come `explain` tells."""

    def explain_session(self, session_id: str, limit: int = MOST_TURNS) -> list[dict[str, Any]] | None:
        """Return a session's newest turns with their routing, oldest first; None where there is no session.

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
        """Return what runs in the other sessions: this one may be a copy of one of them, made meanwhile."""
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
    """Return the turns by their request's id; an answer without one stands for its own."""
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
        ending.model = event.completed.message.model
        # What was changed of the request is known only now.
        changed = event.completed.message.decision.adaptations
        ending.decision.adaptations[:] = changed or ending.decision.adaptations


def _turn_dict(turn: _Turn, ending: _Ending) -> dict[str, Any]:
    message, error = turn.message, ending.error
    return {
        "request_id": message.request_id or None,
        "prompt": turn.prompt,
        "timestamp": records.to_text(message.create_time),
        "model": message.model or ending.model or None,
        "routing_decision": decision_of(ending.decision, ending.failed) if ending.decision.rule else None,
        "error": {"reason": error.reason, "message": error.message} if error else None,
    }
