"""ExecutionService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import executions_pb2_grpc

from oblixd.execution import Executions
from oblixd.rpc.edge import Context, caller_of


class ExecutionServicer(executions_pb2_grpc.ExecutionServiceServicer):
    """Translates; the execution room does the work."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    async def Execute(
        self, request: pb.ExecuteRequest, context: Context
    ) -> AsyncIterator[pb.ExecuteResponse]:
        async with aclosing(self._executions.execute(request, caller_of(context))) as events:
            async for event in events:
                yield event

    async def AttachExecution(
        self, request: pb.AttachExecutionRequest, context: Context
    ) -> AsyncIterator[pb.AttachExecutionResponse]:
        async with aclosing(self._executions.attach(request.request_id, request.offset)) as events:
            async for event in events:
                yield pb.AttachExecutionResponse(event=event)

    async def CancelExecution(
        self, request: pb.CancelExecutionRequest, context: Context
    ) -> pb.CancelExecutionResponse:
        return pb.CancelExecutionResponse(execution=await self._executions.cancel(request.request_id))

    async def ListExecutions(
        self, request: pb.ListExecutionsRequest, context: Context
    ) -> pb.ListExecutionsResponse:
        return pb.ListExecutionsResponse(executions=self._executions.list(request.session_id))

    async def ExplainRoute(
        self, request: pb.ExplainRouteRequest, context: Context
    ) -> pb.ExplainRouteResponse:
        return pb.ExplainRouteResponse(decision=self._executions.explain(request.request))
