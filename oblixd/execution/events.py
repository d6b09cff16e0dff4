"""The events of an execution, as the contract has them."""

from __future__ import annotations

from collections.abc import Sequence

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import routing_pb2

from oblixd.execution.fallback import Restart
from oblixd.models.base import Content, ContentKind

KIND = {
    ContentKind.TEXT: pb.DELTA_KIND_TEXT,
    ContentKind.REASONING: pb.DELTA_KIND_REASONING,
    ContentKind.TOOL_CALL: pb.DELTA_KIND_TOOL_CALL,
}


def queued(request_id: str, place: int, model: str) -> pb.ExecuteResponse:
    """It waits: for a model, or for its session's turn where none is named."""
    return pb.ExecuteResponse(queued=pb.ExecutionQueued(request_id=request_id, place=place, model=model))


def started(
    request: pb.ExecuteRequest, message_ids: Sequence[str], decision: routing_pb2.RoutingDecision
) -> pb.ExecuteResponse:
    """Its turn has begun, and where it goes is decided."""
    event = pb.ExecutionStarted(
        request_id=request.request_id,
        session_id=request.session_id,
        message_ids=message_ids,
        decision=decision,
        agent_checks=request.agent_checks,
    )
    return pb.ExecuteResponse(started=event)


def head(content: Content) -> pb.ToolCallHead | None:
    """What a tool call's deltas begin with; None for other content."""
    call = content.call
    return pb.ToolCallHead(call_id=call.call_id, name=call.name) if call else None


def rerouted(restart: Restart) -> pb.ExecuteResponse:
    """The answer begins anew on another model."""
    event = pb.ExecutionRerouted(
        from_model=restart.from_model,
        to_model=restart.to_model,
        reason=restart.error.kind.value,
        detail=restart.error.message,
    )
    return pb.ExecuteResponse(rerouted=event)
