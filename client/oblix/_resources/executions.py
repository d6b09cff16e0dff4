"""The executions of the daemon, whoever started them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from oblix._convert import records
from oblix._convert.events import Answer, name_of
from oblix._convert.validation import describe, invalid, text
from oblix._resources.core import Core
from oblix._transport.channel import Transport
from oblix._transport.resumable import ResumableStream
from oblix.events import Event
from oblix.v1 import executions_pb2

MAX_OFFSET = 2**63 - 1


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
        """What waits, runs, or ended within the last ten minutes, for all programs; the oldest first.

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
