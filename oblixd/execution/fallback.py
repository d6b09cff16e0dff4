"""Fallback: until the first content came, a model's failure is answered by the next model of the route."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from oblix.v1 import executions_pb2 as pb

from oblixd.execution.failures import attempt
from oblixd.models.base import ChatRequest, Content, Finished, ModelError
from oblixd.models.registry import Hook


async def answers(
    ranked: Sequence[Hook],
    request_for: Callable[[Hook], ChatRequest],
    failed: list[pb.FailedAttempt],
) -> AsyncGenerator[tuple[Hook, Content | Finished], None]:
    """Stream from the first model that answers. What failed is added to `failed`.

    Raises the ModelError of the last one, or of the one whose answer broke off:
    a part that was seen is never silently begun anew.
    """
    for hook in ranked:
        started = False
        try:
            async with aclosing(hook.connection.stream(request_for(hook))) as stream:
                async for item in stream:
                    started = True
                    yield hook, item
        except ModelError as error:
            failed.append(attempt(hook.id, error))
            if started or hook is ranked[-1]:
                raise
        else:
            return
