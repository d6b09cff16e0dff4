"""Turn texts into vectors: routed, queued, retried and paid for as prompts are, and recorded nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from oblix.v1 import embeddings_pb2, executions_pb2, messages_pb2

from oblixd.errors import DeadlineExceededError, FailedPreconditionError, out_of_range
from oblixd.execution.completion import UsageAccounting
from oblixd.execution.errors import attempt, to_client
from oblixd.execution.fallback import wait_for_rate_limit
from oblixd.execution.retry import RetryBudget
from oblixd.execution.services import ClientInfo, Services
from oblixd.execution.validation import MAX_CANDIDATES, MAX_TIMEOUT_S, new_request_id
from oblixd.models import Embeddings, EmbedRequest, Hook, ModelError, estimate
from oblixd.router import RouteQuery, ranked_hooks
from oblixd.routing import Decision
from oblixd.scheduling import Priority, Ticket

MAX_TEXTS = 2048
MAX_DIMENSIONS = 65_536


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """What came of it."""

    vectors: Sequence[Sequence[float]]
    """One for each text, in their order."""
    hook: Hook
    """The model that made them."""
    usage: messages_pb2.Usage | None
    """None: the model's server did not say."""
    decision: Decision
    candidates: Sequence[Hook]
    """The models that it chose from."""
    failed_attempts: Sequence[executions_pb2.FailedAttempt]
    """What failed before, in order."""


def check(request: embeddings_pb2.EmbedTextsRequest) -> None:
    """Raise InvalidArgumentError with the field that is wrong."""
    if not 1 <= len(request.texts) <= MAX_TEXTS:
        raise out_of_range("INVALID_REQUEST", "texts", f"1 to {MAX_TEXTS:,} texts", len(request.texts))
    for number, text in enumerate(request.texts):
        if not text.strip():
            raise out_of_range("INVALID_REQUEST", f"texts[{number}]", "a text", "an empty one")
    if len(request.candidates) > MAX_CANDIDATES:
        limit = f"at most {MAX_CANDIDATES}"
        raise out_of_range("INVALID_REQUEST", "candidates", limit, len(request.candidates))
    if request.HasField("dimensions") and not 1 <= request.dimensions <= MAX_DIMENSIONS:
        limit = f"1 to {MAX_DIMENSIONS:,}"
        raise out_of_range("INVALID_REQUEST", "dimensions", limit, request.dimensions)
    seconds = _seconds(request)
    if seconds is not None and not 0 < seconds <= MAX_TIMEOUT_S:
        limit = f"over 0 s to {MAX_TIMEOUT_S:,} s"
        raise out_of_range("INVALID_REQUEST", "timeout", limit, f"{seconds:g} s")


@dataclass(slots=True)
class Embedding:
    """One request on its way through the models of its route."""

    request: embeddings_pb2.EmbedTextsRequest
    client: ClientInfo
    hooks: Sequence[Hook]
    """The models to choose from."""
    services: Services
    _failed_attempts: list[executions_pb2.FailedAttempt] = field(default_factory=list)
    _budget: RetryBudget = field(default_factory=RetryBudget)

    async def run(self) -> EmbeddedTexts:
        """Run it. Raises OblixdError."""
        seconds = _seconds(self.request)
        try:
            async with asyncio.timeout(seconds):
                return await self._run()
        except TimeoutError:
            message = (
                f"The texts were not embedded within their timeout of {seconds:g} s; the model was freed. "
                "Ask again with a longer timeout, or with fewer texts."
            )
            raise DeadlineExceededError("EXECUTION_TIMED_OUT", message) from None

    async def _run(self) -> EmbeddedTexts:
        if not self.hooks:
            raise _no_model()
        decision = self._decide()
        hook, embeddings = await self._first_answer(ranked_hooks(decision, self.hooks), decision)
        usage = await self._count(hook, embeddings)
        return EmbeddedTexts(embeddings.vectors, hook, usage, decision, self.hooks, self._failed_attempts)

    def _decide(self) -> Decision:
        """Route the texts as a prompt of their size that asks for no answer."""
        given = self.request
        prompt = executions_pb2.ExecuteRequest(
            model=given.model, local_only=given.local_only, policy=given.policy
        )
        prompt.options.max_tokens = 0
        tokens = sum(estimate(_message(text)) for text in given.texts)
        return self.services.router.explain(RouteQuery(prompt, self.hooks, None, None, lambda: tokens))

    async def _first_answer(self, ranked: Sequence[Hook], decision: Decision) -> tuple[Hook, Embeddings]:
        for hook in ranked:
            try:
                return hook, await self._with_retries(hook, decision, is_last=hook is ranked[-1])
            except ModelError as error:
                if hook is ranked[-1]:
                    raise to_client(error, self._failed_attempts) from error
        raise AssertionError("a route has at least one model")

    async def _with_retries(self, hook: Hook, decision: Decision, *, is_last: bool) -> Embeddings:
        tried = 0
        while True:
            tried += 1
            try:
                return await self._once(hook, decision, is_last=is_last)
            except ModelError as error:
                wait_s = self._budget.wait_before(error, tried)
                self._failed_attempts[-1].retried = wait_s is not None
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)

    async def _once(self, hook: Hook, decision: Decision, *, is_last: bool) -> Embeddings:
        cooldowns = self.services.router.cooldowns
        try:
            await wait_for_rate_limit(hook.connection, self._budget, is_last=is_last)
            async with self._slot(hook):
                embeddings = await hook.connection.embed(self._texts(decision))
        except ModelError as error:
            self._failed_attempts.append(attempt(hook.id, error))
            cooldowns.record_failure(hook.key, error, hook.connection.origin)
            raise
        cooldowns.record_answer(hook.key)
        return embeddings

    def _slot(self, hook: Hook) -> AbstractAsyncContextManager[None]:
        priority = Priority(self.request.priority or Priority.INTERACTIVE)
        ticket = Ticket(self.client.name, priority, lambda _position: None)
        return self.services.slots.acquire(hook.backend, hook.most_running, ticket)

    def _texts(self, decision: Decision) -> EmbedRequest:
        given = self.request
        dimensions = given.dimensions if given.HasField("dimensions") else None
        return EmbedRequest(given.texts, dimensions, is_local_only=lambda: decision.local_only)

    async def _count(self, hook: Hook, embeddings: Embeddings) -> messages_pb2.Usage | None:
        """Price and count what was used, durably."""
        request = executions_pb2.ExecuteRequest(request_id=new_request_id())
        accounting = UsageAccounting(self.services.usage, request, self.client)
        message = messages_pb2.Message(model=hook.id)
        if embeddings.input_tokens is not None:
            message.usage.input_tokens = embeddings.input_tokens
        accounting.price(message, hook)
        if (entry := accounting.entry(message)) is not None:
            await self.services.usage.add(entry)
        return message.usage if message.HasField("usage") else None


def _message(text: str) -> messages_pb2.Message:
    return messages_pb2.Message(parts=[messages_pb2.Part(text=text)])


def _seconds(request: embeddings_pb2.EmbedTextsRequest) -> float | None:
    timeout = request.timeout
    return timeout.seconds + timeout.nanos / 1e9 if request.HasField("timeout") else None


def _no_model() -> FailedPreconditionError:
    message = (
        "No model for embeddings is there. Name one in the configuration, as in "
        '[[models]] name = "nomic-embed-text", provider = "ollama", task = "embedding"; '
        "or hook one with the option task."
    )
    return FailedPreconditionError("NO_EMBEDDING_MODEL", message)
