"""How an execution ends: its answer is priced, counted and recorded, and only then told."""

from __future__ import annotations

import asyncio

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2

from oblixd.errors import NotFoundError, OblixdError
from oblixd.execution import failures
from oblixd.execution.billing import Billing
from oblixd.execution.briefing import Briefing
from oblixd.execution.caller import Caller
from oblixd.execution.recording import Recording
from oblixd.execution.rooms import Rooms
from oblixd.execution.scope import Stop, StopScope
from oblixd.models.base import Finish, Finished, ModelError
from oblixd.models.registry import Hook
from oblixd.sessions import Outcome

_COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
_FAILED = messages_pb2.MESSAGE_STATUS_FAILED
_REASON = {
    Finish.STOP: pb.FINISH_REASON_STOP,
    Finish.LENGTH: pb.FINISH_REASON_LENGTH,
    Finish.TOOL_CALLS: pb.FINISH_REASON_TOOL_CALLS,
    Finish.CONTENT_FILTER: pb.FINISH_REASON_CONTENT_FILTER,
}
_STOPPED = {
    Stop.CANCELLED: messages_pb2.MESSAGE_STATUS_CANCELLED,
    Stop.INTERRUPTED: messages_pb2.MESSAGE_STATUS_INTERRUPTED,
    Stop.EXPIRED: _FAILED,
}


class Ending:
    """Ends one execution, once, in one of its ways. What each returns is what those who wait are told."""

    def __init__(
        self,
        request: pb.ExecuteRequest,
        caller: Caller,
        rooms: Rooms,
        *,
        recording: Recording,
        briefing: Briefing,
        scope: StopScope,
    ) -> None:
        self._request = request
        self._router = rooms.router
        self._billing = Billing(rooms.usage, request, caller)
        self._recording = recording
        self._briefing = briefing
        self._scope = scope

    async def answered(self, finished: Finished) -> pb.ExecutionCompleted:
        """The answer came to its end."""
        self._briefing.learn(self._recording.model, finished)
        reason = _REASON[finished.reason]
        return self._completed(await self._record(_COMPLETE, reason, finished=finished), reason)

    async def stopped(self, stop: Stop) -> pb.ExecutionCompleted:
        """It was stopped from outside. Raises what that is to those who wait, unless somebody wanted it."""
        status, reason = _STOPPED[stop], pb.FINISH_REASON_CANCELLED
        error = self._error(stop, **self._recording.where(status))
        message = await self._record(status, reason, error)
        if error is not None:
            raise error
        return self._completed(message, reason)

    def unstarted(self, stop: Stop) -> pb.ExecutionCompleted:
        """It was stopped before its turn began: there is nothing to record. Raises as `stopped` does."""
        error = self._error(stop, session_id=self._request.session_id, message_id="", kept_bytes=0)
        if error is not None:
            raise error
        return self._completed(messages_pb2.Message(), pb.FINISH_REASON_CANCELLED)

    async def failed(self, problem: ModelError) -> OblixdError:
        """No model answered, or the answer broke off. Returns the error for those who wait."""
        recording = self._recording
        error = failures.to_client(problem, recording.failed, **recording.where(_FAILED))
        await self._record(_FAILED, error=error)
        return error

    async def broke(self, problem: Exception) -> None:
        """A defect of ours cut it off."""
        await self._record(_FAILED, error=failures.defect(problem))

    async def _record(
        self,
        status: messages_pb2.MessageStatus.ValueType,
        reason: pb.FinishReason.ValueType = pb.FINISH_REASON_UNSPECIFIED,
        error: OblixdError | None = None,
        finished: Finished | None = None,
    ) -> messages_pb2.Message:
        """The answer as it was recorded."""
        message = self._recording.message(status, finished)
        if (hook := self._recording.hook) is not None:
            self._billing.price(message, hook)
            self._tell_router(message, hook)
        outcome = Outcome(error, reason, self._report().SerializeToString())
        try:
            # At once, so that one sync of the disk can serve both.
            _, message = await asyncio.gather(
                self._billing.count(message), self._recording.keep(message, outcome)
            )
        except NotFoundError:
            # A session that was deleted under the answer, which stopped it, has no place left to keep it.
            if self._scope.stop is None:
                raise
        return message

    def _tell_router(self, message: messages_pb2.Message, hook: Hook) -> None:
        """Let routing learn from an answer."""
        sent, alone = self._briefing.report.sent_tokens, not self._recording.failed
        self._router.answered(self._request.request_id, hook, message, sent, alone=alone)

    def _error(self, stop: Stop, **where: object) -> OblixdError | None:
        """What a stop is to those who wait; None: no error, for somebody wanted it."""
        match stop:
            case Stop.INTERRUPTED:
                return failures.interrupted(**where)
            case Stop.EXPIRED:
                return failures.timed_out(self._request.timeout, **where)
            case Stop.CANCELLED:
                return None

    def _completed(
        self, message: messages_pb2.Message, reason: pb.FinishReason.ValueType
    ) -> pb.ExecutionCompleted:
        completed = self._report()
        message.request_id = self._request.request_id
        completed.request_id, completed.session_id = self._request.request_id, self._request.session_id
        completed.message.CopyFrom(message)
        completed.finish_reason = reason
        return completed

    def _report(self) -> pb.ExecutionCompleted:
        """What is told of the way to the answer, and kept for who asks again."""
        return pb.ExecutionCompleted(failed_attempts=self._recording.failed, context=self._briefing.report)
