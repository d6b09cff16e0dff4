"""How an execution ends: its answer is priced, counted and recorded, and only then sent.

`UsageAccounting` writes the cost into the answer, and counts it as usage.
"""

from __future__ import annotations

import logging

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.errors import NotFoundError, OblixdError
from oblixd.execution import errors
from oblixd.execution.answer import TurnRecorder
from oblixd.execution.context import ContextBuilder
from oblixd.execution.refused_content import Mark
from oblixd.execution.schemas import violation
from oblixd.execution.services import ClientInfo, Services
from oblixd.models import Finish, Finished, Hook, Location, ModelError
from oblixd.router import price_of
from oblixd.scheduling import CancelScope, StopReason
from oblixd.sessions import TurnCompletion
from oblixd.usage import Usage, UsageEntry


class UsageAccounting:
    """The usage of one execution."""

    def __init__(self, usage: Usage, request: executions_pb2.ExecuteRequest, client: ClientInfo) -> None:
        self._usage = usage
        self._request = request
        self._client = client
        self._cost: float | None = None
        """What the answer cost. A free model costs nothing, also where nobody counted its tokens."""

    def price(self, message: messages_pb2.Message, hook: Hook) -> None:
        """Write into an answer what it cost, where that is known."""
        usage = message.usage
        is_known = message.HasField("usage")
        self._cost = self._usage.cost(
            hook.id,
            usage.input_tokens if is_known else None,
            usage.output_tokens if is_known else None,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            is_local=_is_local(hook),
            own=price_of(hook),
        )
        if self._cost is not None and is_known:
            usage.cost = self._cost

    def entry(self, message: messages_pb2.Message) -> UsageEntry | None:
        """Return what an answer is counted as; None: no model gave it."""
        if not message.model:
            return None
        usage = message.usage if message.HasField("usage") else None
        return UsageEntry(
            request_id=self._request.request_id,
            model=message.model,
            program=self._client.program_name,
            session_id=self._request.session_id,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cost=self._cost,
        )


def _is_local(hook: Hook) -> bool:
    return hook.connection.location is Location.LOCAL


logger = logging.getLogger(__name__)
MANY = 4
"""From so many executions at the same time on, the ends of answers wait for other writes, for one sync."""
_COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
_FAILED = messages_pb2.MESSAGE_STATUS_FAILED
_REASON = {
    Finish.STOP: executions_pb2.FINISH_REASON_STOP,
    Finish.LENGTH: executions_pb2.FINISH_REASON_LENGTH,
    Finish.TOOL_CALLS: executions_pb2.FINISH_REASON_TOOL_CALLS,
    Finish.CONTENT_FILTER: executions_pb2.FINISH_REASON_CONTENT_FILTER,
}
_STOPPED = {
    StopReason.CANCELLED: messages_pb2.MESSAGE_STATUS_CANCELLED,
    StopReason.INTERRUPTED: messages_pb2.MESSAGE_STATUS_INTERRUPTED,
    StopReason.EXPIRED: _FAILED,
}


class Completion:
    """Records how one execution ends, once. Each method returns what those who wait are told."""

    def __init__(
        self,
        request: executions_pb2.ExecuteRequest,
        client: ClientInfo,
        services: Services,
        *,
        recorder: TurnRecorder,
        context_builder: ContextBuilder,
        scope: CancelScope,
    ) -> None:
        self._request = request
        self._router = services.router
        self._sessions = services.sessions
        self._usage = services.usage
        self._running_count = services.running_count
        self._accounting = UsageAccounting(services.usage, request, client)
        self._recorder = recorder
        self._context_builder = context_builder
        self._scope = scope
        self._violation = ""

    async def record_answer(self, finished: Finished) -> executions_pb2.ExecutionCompleted:
        """Record an answer that came to its end."""
        self._context_builder.learn(self._recorder.model, finished)
        await self._leave_out(self._context_builder.refused_content.hear_answer(self._recorder.model))
        reason = _REASON[finished.reason]
        await self._validate(finished.reason)
        return self._completion(await self._record(_COMPLETE, reason, finished=finished), reason)

    async def _validate(self, reason: Finish) -> None:
        """Hold the answer against the schema that it was to fit."""
        schema = self._request.options.response_schema
        if schema and reason is not Finish.TOOL_CALLS:
            parts = self._recorder.message(_COMPLETE).parts
            self._violation = await violation(schema, "".join(part.text for part in parts))

    async def record_stop(self, stop: StopReason) -> executions_pb2.ExecutionCompleted:
        """Record what came until it was stopped from outside.

        Raises what that is to those who wait, unless somebody wanted it.
        """
        status, reason = _STOPPED[stop], executions_pb2.FINISH_REASON_CANCELLED
        error = _stop_error(self._request, stop, **self._recorder.error_details(status))
        message = await self._record(status, reason, error)
        if error is not None:
            raise error
        return self._completion(message, reason)

    async def record_failure(self, problem: ModelError) -> OblixdError:
        """Record that no model answered, or that the answer broke off. Return the error to tell."""
        recorder = self._recorder
        given = recorder.turn.input if recorder.turn is not None else ()
        mark = self._context_builder.refused_content.hear_failure(given)
        await self._leave_out(mark)
        details = {"left_out_reason": mark.reason} if mark else {}
        error = errors.to_client(
            problem, recorder.failed_attempts, **recorder.error_details(_FAILED), **details
        )
        await self._record(_FAILED, error=error)
        return error

    async def _leave_out(self, mark: Mark | None) -> None:
        """Mark messages, before anybody hears of the turn's end: the next prompt must not meet them."""
        if mark is None or self._recorder.turn is None:
            return
        session_id = self._recorder.turn.session.id
        try:
            await self._sessions.exclude(session_id, mark.sequences, mark.reason, mark.detail)
        except NotFoundError:
            # Deleted meanwhile: it is in no context any more.
            logger.info("a message that was refused in session %s is gone", session_id)

    async def record_refusal(self, error: OblixdError) -> OblixdError:
        """Record that there was no room to go on. Return the error for those who wait."""
        details = {key: str(value) for key, value in self._recorder.error_details(_FAILED).items()}
        error.metadata.update(details)
        await self._record(_FAILED, error=error)
        return error

    async def record_defect(self, problem: Exception) -> None:
        """Record that a defect of ours cut it off."""
        await self._record(_FAILED, error=errors.defect(problem))

    async def _record(
        self,
        status: messages_pb2.MessageStatus.ValueType,
        reason: executions_pb2.FinishReason.ValueType = executions_pb2.FINISH_REASON_UNSPECIFIED,
        error: OblixdError | None = None,
        finished: Finished | None = None,
    ) -> messages_pb2.Message:
        """Return the answer as it was recorded."""
        message = self._recorder.message(status, finished)
        if (hook := self._recorder.hook) is not None:
            self._accounting.price(message, hook)
            self._tell_router(message, hook)
        completion = TurnCompletion(error, reason, self._report().SerializeToString())
        return await self._keep(message, completion, self._accounting.entry(message))

    async def _keep(
        self, message: messages_pb2.Message, completion: TurnCompletion, entry: UsageEntry | None
    ) -> messages_pb2.Message:
        """Write the answer and what it used, in one transaction, and return it as it was recorded."""
        if self._recorder.turn is None:
            await self._count(entry)
            return message
        try:
            return await self._recorder.end_turn(
                message,
                completion,
                self._usage.counting(entry) if entry else None,
                gathers=self._are_many(),
            )
        except OblixdError as error:
            # What was used was used, also where its answer has no place any more.
            await self._count(entry)
            # A session that was deleted under the answer, which stopped it, has no place left to keep it.
            if isinstance(error, NotFoundError) and self._scope.stop is not None:
                return message
            raise

    async def _count(self, entry: UsageEntry | None) -> None:
        if entry is not None:
            await self._usage.add(entry, gathers=self._are_many())

    def _are_many(self) -> bool:
        """Return whether others are about to write, too: one sync is then waited for by several."""
        return self._running_count() >= MANY

    def _tell_router(self, message: messages_pb2.Message, hook: Hook) -> None:
        """Let routing learn from an answer."""
        sent, alone = self._context_builder.report.sent_tokens, not self._recorder.failed_attempts
        self._router.learn(self._request.request_id, hook, message, sent, alone=alone)

    def _completion(
        self, message: messages_pb2.Message, reason: executions_pb2.FinishReason.ValueType
    ) -> executions_pb2.ExecutionCompleted:
        completed = self._report()
        message.request_id = self._request.request_id
        completed.request_id, completed.session_id = self._request.request_id, self._request.session_id
        completed.message.CopyFrom(message)
        completed.finish_reason = reason
        return completed

    def _report(self) -> executions_pb2.ExecutionCompleted:
        """Return what is told of the way to the answer, and kept for who asks again."""
        return executions_pb2.ExecutionCompleted(
            failed_attempts=self._recorder.failed_attempts,
            context=self._context_builder.report,
            schema_violation=self._violation,
        )


def stop_before_begin(
    request: executions_pb2.ExecuteRequest, stop: StopReason
) -> executions_pb2.ExecutionCompleted:
    """Return what those who wait are told of what was stopped before its turn began: nothing is recorded.

    Raises as `Completion.record_stop` does; but where the daemon ends, the next one may be asked the same,
    with the same id.
    """
    if stop is StopReason.INTERRUPTED:
        raise errors.stopping(request.request_id)
    error = _stop_error(request, stop, session_id=request.session_id, message_id="", kept_bytes=0)
    if error is not None:
        raise error
    return executions_pb2.ExecutionCompleted(
        request_id=request.request_id,
        session_id=request.session_id,
        message=messages_pb2.Message(request_id=request.request_id),
        finish_reason=executions_pb2.FINISH_REASON_CANCELLED,
    )


def _stop_error(
    request: executions_pb2.ExecuteRequest, stop: StopReason, **where: object
) -> OblixdError | None:
    """Return what a stop is to those who wait; None: no error, for somebody wanted it."""
    match stop:
        case StopReason.INTERRUPTED:
            return errors.interruption(**where)
        case StopReason.EXPIRED:
            return errors.timeout_error(request.timeout, **where)
        case StopReason.CANCELLED:
            return None
