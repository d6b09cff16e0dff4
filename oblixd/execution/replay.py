"""A turn that a session holds, told again to who sends its request once more: nothing of it is run twice."""

from __future__ import annotations

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2

from oblixd.errors import FailedPreconditionError, OblixdError
from oblixd.execution import events, failures
from oblixd.execution.log import EventLog
from oblixd.sessions import RecordedTurn

_FAILED = messages_pb2.MESSAGE_STATUS_FAILED
_STATE = {
    messages_pb2.MESSAGE_STATUS_COMPLETE: pb.EXECUTION_STATE_COMPLETED,
    messages_pb2.MESSAGE_STATUS_CANCELLED: pb.EXECUTION_STATE_CANCELLED,
}


def log_of(request_id: str, turn: RecordedTurn) -> EventLog:
    """The events of a turn as its record has them: started, the text in whole, and the end."""
    log, answer = EventLog(), turn.answer or messages_pb2.Message()
    request = pb.ExecuteRequest(request_id=request_id, session_id=turn.session_id)
    log.append(events.started(request, [message.id for message in turn.question], answer.decision))
    for part in answer.parts:
        _say(log, part)
    error = _error(request_id, turn, log.size)
    if error is None:
        log.append(pb.ExecuteResponse(completed=_completed(request_id, turn, answer)))
    log.end(error)
    return log


def offset_in(log: EventLog, turn: RecordedTurn, offset: int) -> int:
    """From where on to read. What was read of an answer that a crash cut off can be more than was on disk."""
    return min(offset, log.size) if turn.status not in (*_STATE, _FAILED) else offset


def summary_of(request_id: str, turn: RecordedTurn) -> pb.Execution:
    """A turn as a list shows an execution, as far as the record tells."""
    log, error = log_of(request_id, turn), turn.outcome.error
    result = pb.Execution(
        request_id=request_id,
        session_id=turn.session_id,
        state=_STATE.get(turn.status, pb.EXECUTION_STATE_FAILED),
        model=turn.answer.model if turn.answer else "",
        delta_bytes=log.size,
        error_reason=error.reason if error else "",
    )
    if turn.question:
        result.create_time.CopyFrom(turn.question[-1].create_time)
    return result


def is_same(turn: RecordedTurn, request: pb.ExecuteRequest, fingerprint: bytes) -> bool:
    """Whether a request asks what the turn's did. A turn from before fingerprints is told by its session."""
    return turn.fingerprint == fingerprint if turn.fingerprint else turn.session_id == request.session_id


def _say(log: EventLog, part: messages_pb2.Part) -> None:
    match part.WhichOneof("kind"):
        case "text":
            log.append_text(pb.DELTA_KIND_TEXT, part.text.encode())
        case "reasoning":
            log.append_text(pb.DELTA_KIND_REASONING, part.reasoning.encode())
        case "tool_call":
            call = part.tool_call
            head = pb.ToolCallHead(call_id=call.call_id, name=call.name)
            log.append_text(pb.DELTA_KIND_TOOL_CALL, call.arguments_json.encode(), head)


def _error(request_id: str, turn: RecordedTurn, kept_bytes: int) -> OblixdError | None:
    if turn.outcome.error is not None:
        return turn.outcome.error
    if turn.status == messages_pb2.MESSAGE_STATUS_COMPLETE and turn.answer is None:
        return _answer_deleted(request_id, turn)
    if turn.status in _STATE:
        return None
    answer_id = turn.answer.id if turn.answer else ""
    return failures.interrupted(
        session_id=turn.session_id,
        message_id=turn.question[-1].id if turn.question else "",
        answer_id=answer_id,
        kept_bytes=kept_bytes,
    )


def _answer_deleted(request_id: str, turn: RecordedTurn) -> FailedPreconditionError:
    return FailedPreconditionError(
        "ANSWER_DELETED",
        f"The answer of request {request_id} was deleted from session {turn.session_id}, and a request is "
        "not run twice. Send the prompt with a new request_id.",
        session_id=turn.session_id,
        request_id=request_id,
    )


def _completed(request_id: str, turn: RecordedTurn, answer: messages_pb2.Message) -> pb.ExecutionCompleted:
    completed = pb.ExecutionCompleted.FromString(turn.outcome.report)
    completed.request_id, completed.session_id = request_id, turn.session_id
    completed.message.CopyFrom(answer)
    cancelled = turn.status == messages_pb2.MESSAGE_STATUS_CANCELLED
    otherwise = pb.FINISH_REASON_CANCELLED if cancelled else pb.FINISH_REASON_STOP
    completed.finish_reason = turn.outcome.finish_reason or otherwise
    return completed
