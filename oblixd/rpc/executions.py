"""ExecutionService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from oblix.v1 import executions_pb2, executions_pb2_grpc

from oblixd.access import ClientLimits
from oblixd.errors import OblixdError
from oblixd.execution import Executions, new_request_id
from oblixd.rpc.edge import Context, caller_of, limit_key
from oblixd.rpc.guard import is_local_only


class ExecutionServicer(executions_pb2_grpc.ExecutionServiceServicer):
    """Translates; the execution package does the work."""

    def __init__(self, executions: Executions, limits: ClientLimits) -> None:
        self._executions = executions
        self._limits = limits

    async def Execute(
        self, request: executions_pb2.ExecuteRequest, context: Context
    ) -> AsyncIterator[executions_pb2.ExecuteResponse]:
        # It is ours alone, so it need not be copied for an id.
        request.request_id = request.request_id or new_request_id()
        request.local_only |= is_local_only()
        has_begun = False
        with self._limits.execution(limit_key(context)):
            answering = self._executions.execute(request, caller_of(context))
            del request
            try:
                async with aclosing(answering) as events:
                    async for event in events:
                        yield event
                        has_begun = True
            except OblixdError as error:
                if has_begun:
                    yield _failure(error)
                raise

    async def AttachExecution(
        self, request: executions_pb2.AttachExecutionRequest, context: Context
    ) -> AsyncIterator[executions_pb2.AttachExecutionResponse]:
        has_begun = False
        try:
            async with aclosing(self._executions.attach(request.request_id, request.offset)) as events:
                async for event in events:
                    yield executions_pb2.AttachExecutionResponse(event=event)
                    has_begun = True
        except OblixdError as error:
            if has_begun:
                yield executions_pb2.AttachExecutionResponse(event=_failure(error))
            raise

    async def CancelExecution(
        self, request: executions_pb2.CancelExecutionRequest, context: Context
    ) -> executions_pb2.CancelExecutionResponse:
        return executions_pb2.CancelExecutionResponse(
            execution=await self._executions.cancel(request.request_id)
        )

    async def ListExecutions(
        self, request: executions_pb2.ListExecutionsRequest, context: Context
    ) -> executions_pb2.ListExecutionsResponse:
        return executions_pb2.ListExecutionsResponse(executions=self._executions.list(request.session_id))

    async def ExplainRoute(
        self, request: executions_pb2.ExplainRouteRequest, context: Context
    ) -> executions_pb2.ExplainRouteResponse:
        request.request.local_only |= is_local_only()
        return executions_pb2.ExplainRouteResponse(decision=self._executions.explain(request.request))


def _failure(error: OblixdError) -> executions_pb2.ExecuteResponse:
    """Return the event that goes before a failing status, for readers that lose what is unread then."""
    failed = executions_pb2.ExecutionFailed(
        reason=error.reason, message=error.message, metadata=error.metadata
    )
    return executions_pb2.ExecuteResponse(failed=failed)
