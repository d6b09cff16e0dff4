"""EmbeddingService."""

from __future__ import annotations

from oblix.v1 import embeddings_pb2, embeddings_pb2_grpc

from oblixd.access import ClientLimits
from oblixd.execution import Executions
from oblixd.router import to_wire
from oblixd.rpc.edge import Context, caller_of, limit_key
from oblixd.rpc.guard import is_local_only


class EmbeddingServicer(embeddings_pb2_grpc.EmbeddingServiceServicer):
    """Translates; the execution package does the work."""

    def __init__(self, executions: Executions, limits: ClientLimits) -> None:
        self._executions = executions
        self._limits = limits

    async def EmbedTexts(
        self, request: embeddings_pb2.EmbedTextsRequest, context: Context
    ) -> embeddings_pb2.EmbedTextsResponse:
        request.local_only |= is_local_only()
        with self._limits.execution(limit_key(context)):
            found = await self._executions.embed(request, caller_of(context))
        return embeddings_pb2.EmbedTextsResponse(
            embeddings=[embeddings_pb2.Embedding(values=vector) for vector in found.vectors],
            model=found.hook.id,
            usage=found.usage,
            decision=to_wire(found.decision, found.candidates),
            failed_attempts=found.failed_attempts,
        )
