"""Having a model's server fetch a model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from oblix._convert.validation import text
from oblix._resources.core import Core
from oblix.v1 import models_pb2


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a model's server is with fetching a model."""

    status: str
    """What it does now, in its own words."""
    completed_bytes: int
    """Of the current piece."""
    total_bytes: int | None
    """Of the current piece. None: not known."""
    digest: str
    """The current piece. Empty where there is none."""


class PullCalls(Core):
    """Pulls."""

    async def pull_model(self, model: str) -> AsyncGenerator[PullProgress, None]:
        """Have Ollama fetch a model, and yield how far it is until the model is there.

        `model`: `ollama:NAME`. One that this client hooked is pulled where it was
        hooked, another one at the endpoint of the daemon's configuration. Several
        clients that pull the same share one pull. Leaving the loop stops it where
        nobody else waits for it; a later one goes on where it stopped.

        Raises InvalidArgumentError (PULL_UNSUPPORTED for another provider),
        FailedPreconditionError where there is no such model, and UnavailableError
        where the server can't be reached or fails.
        """
        request = models_pb2.PullModelRequest(model=text(model, "model"))
        steps = self._transport.stream(
            lambda link: link.models.PullModel(request, metadata=link.metadata), repeatable=True
        )
        async with aclosing(steps):
            async for step in steps:
                total = step.total_bytes or None
                yield PullProgress(step.status, step.completed_bytes, total, step.digest)
