"""An execution as a list shows it."""

from __future__ import annotations

import time

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2

from oblixd.execution.execution import Execution

EXCERPT = 80
"""Characters of the prompt that a list shows."""


def summary(execution: Execution) -> pb.Execution:
    """Where the execution is in its life."""
    request, error = execution.request, execution.log.error
    result = pb.Execution(
        request_id=request.request_id,
        session_id=request.session_id,
        state=execution.state,
        model=execution.model,
        delta_bytes=execution.log.size,
        attached_streams=execution.attached,
        place=execution.place,
        waits_for_model=execution.waits_for,
        client=execution.caller.shown,
        priority=request.priority or pb.PRIORITY_INTERACTIVE,
        error_reason=error.reason if error else "",
        prompt_excerpt=_excerpt(request),
    )
    result.create_time.FromMicroseconds(round(execution.created_s * 1e6))
    if execution.ended_s is not None:
        ended_s = time.time() - (time.monotonic() - execution.ended_s)
        result.end_time.FromMicroseconds(round(ended_s * 1e6))
    return result


def _excerpt(request: pb.ExecuteRequest) -> str:
    said = (message for message in reversed(request.input) if message.role == messages_pb2.ROLE_USER)
    texts = [part.text for message in said for part in message.parts if part.WhichOneof("kind") == "text"]
    return " ".join(texts[0][: 4 * EXCERPT].split())[:EXCERPT] if texts else ""
