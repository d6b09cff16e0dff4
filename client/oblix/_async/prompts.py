"""Everything that asks a model."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from oblix._async.models import AsyncModels
from oblix._async.resumable import Responses, ResumableStream
from oblix._convert.events import EventDecoder, decision_of, embeddings_of
from oblix._resources.core import Core
from oblix._resources.requests import Prompted, embed_request, request_of
from oblix._transport.streams import in_thread, run_awaitable
from oblix.answers import Answer, Decision, Embeddings
from oblix.errors import FailedPreconditionError, InvalidAnswerError, UnavailableError
from oblix.events import Completed, Event
from oblix.options import EmbedOptions
from oblix.results import ToolCall
from oblix.v1 import executions_pb2, routing_pb2

if TYPE_CHECKING:
    from oblix._resources import functions

HANDLE_UNKNOWN = "HANDLE_UNKNOWN"
T = TypeVar("T")
Wakes = Callable[[executions_pb2.ExecuteResponse], bool]
"""Which events an event loop is woken for: the others come with the next of these."""


class AsyncPrompts:
    """Runs prompts: the request, the agents, the stream that survives a lost connection, the tools."""

    def __init__(self, core: Core, models: AsyncModels) -> None:
        self._core = core
        self._models = models

    async def stream(self, prompted: Prompted) -> AsyncGenerator[Event, None]:
        """Ask, and yield what happens."""
        request = await self._check(prompted)
        decoder = EventDecoder(self._core.agents, list(request.agent_checks))
        async with aclosing(self._responses(request)) as responses:
            async for response in responses:
                if (event := decoder.event(response)) is not None:
                    yield event

    async def texts(self, prompted: Prompted) -> AsyncGenerator[str, None]:
        """Ask, and yield the text of the answer."""
        request = await self._check(prompted)
        async with aclosing(self._responses(request, _is_delta)) as responses:
            async for response in responses:
                delta = response.delta
                if delta.kind == executions_pb2.DELTA_KIND_TEXT and delta.text:
                    yield delta.text

    async def answer(self, prompted: Prompted) -> Answer:
        """Ask, and return the whole answer."""
        request = await self._check(prompted)
        decoder = EventDecoder(self._core.agents, list(request.agent_checks))
        async with aclosing(self._responses(request, _is_never)) as responses:
            async for response in responses:
                if response.HasField("delta"):
                    continue
                event = decoder.event(response)
                if isinstance(event, Completed):
                    return event.answer
        raise UnavailableError("The answer broke off without an end.", reason="ANSWER_INTERRUPTED")

    async def explain(self, prompted: Prompted) -> Decision:
        """Say where a prompt would go."""
        request = await self._check(prompted)
        try:
            decision = await self._decision(request)
        except FailedPreconditionError as error:
            if error.reason != HANDLE_UNKNOWN:
                raise
            await self._models.renew()
            decision = await self._decision(request)
        return decision_of(decision)

    async def embed(self, texts: str | Sequence[str], options: EmbedOptions) -> Embeddings:
        """Turn texts into vectors."""
        try:
            return await self._vectors(texts, options)
        except FailedPreconditionError as error:
            if error.reason != HANDLE_UNKNOWN:
                raise
        await self._models.renew()
        return await self._vectors(texts, options)

    async def _vectors(self, texts: str | Sequence[str], options: EmbedOptions) -> Embeddings:
        request = embed_request(texts, self._core.hooked.embedding_handles(), options)
        # A model may have to be loaded first, and nothing but the request's own timeout ends the wait.
        answer = await self._core.transport.acall(
            lambda link: link.embeddings.EmbedTexts, request, repeatable=True, timeout_s=None
        )
        return embeddings_of(answer)

    async def execute_typed(self, prompted: Prompted, kind: type[T]) -> T:
        """Ask for an answer of a form, and return it as an instance."""
        from oblix._resources import functions

        answer = await self.answer(prompted.with_schema(functions.schema_of_type(kind)))
        return functions.parse_answer(kind, answer.text, answer.schema_violation)

    async def with_tools(self, prompted: Prompted, rounds: int) -> Answer:
        """Ask, run the functions that the model calls, tell it what they gave, until it answers."""
        from oblix._resources import functions

        known = functions.functions_of(prompted.options.get("tools") or ())
        for _ in range(rounds):
            answer = await self.answer(prompted)
            # A call of a tool that is no function is the program's to answer.
            if not answer.tool_calls or any(call.name not in known for call in answer.tool_calls):
                return answer
            results = [await self._result(known[call.name], call) for call in answer.tool_calls]
            prompted = prompted.going_on(answer, results)
        message = f"The model called tools {rounds} times without an answer: allow more max_rounds."
        raise InvalidAnswerError(message, answer=answer.text, reason="TOO_MANY_ROUNDS")

    async def _result(self, function: functions.Function, call: ToolCall) -> Any:
        """Call a function. What it raises is told to the model."""
        from oblix._resources import functions

        try:
            values = function.values(call)
            value = await in_thread(lambda: function.call(**values))
            if inspect.isawaitable(value):
                value = await run_awaitable(value)
        except Exception as error:  # noqa: BLE001 - a program's own function may fail in any way
            return functions.failure_of(call, error)
        return functions.result_of(call, value)

    async def _decision(self, request: executions_pb2.ExecuteRequest) -> routing_pb2.RoutingDecision:
        request.candidates[:] = self._core.hooked.handles()
        explain = executions_pb2.ExplainRouteRequest(request=request)
        answer = await self._core.transport.acall(
            lambda link: link.executions.ExplainRoute, explain, repeatable=True
        )
        return answer.decision

    async def _check(self, prompted: Prompted) -> executions_pb2.ExecuteRequest:
        """Return the request for a prompt, with what this client's agents say of it."""
        self._core.transport.check_open()
        request = request_of(prompted)
        agents = self._core.agents
        if agents.has_any:
            about = _about(prompted, request)
            if agents.has_checks:
                request.agent_checks.extend(await run_awaitable(agents.check(**about)))
            request.policy.MergeFrom(agents.policy())
        return request

    async def _responses(
        self, request: executions_pb2.ExecuteRequest, wakes: Wakes | None = None
    ) -> Responses:
        """Run a request. A daemon that has forgotten the hooked models is told again, unseen."""
        following = ResumableStream(
            self._core.transport,
            request.request_id,
            session_id=request.session_id,
            cancels=request.on_disconnect == executions_pb2.ON_DISCONNECT_CANCEL,
        )
        for is_last in (False, True):
            try:
                async with aclosing(following.responses(lambda: self._execute(request, wakes))) as responses:
                    async for response in responses:
                        yield response
            except FailedPreconditionError as error:
                if error.reason != HANDLE_UNKNOWN or is_last:
                    raise
                await self._models.renew()
            else:
                return

    def _execute(self, request: executions_pb2.ExecuteRequest, wakes: Wakes | None) -> Responses:
        # The request's id makes it safe to send it again: it is never run twice.
        request.candidates[:] = self._core.hooked.handles()
        return self._core.transport.stream(
            lambda link: link.executions.Execute(request, metadata=link.metadata),
            repeatable=True,
            wakes=wakes,
        )


def _is_delta(response: executions_pb2.ExecuteResponse) -> bool:
    return response.HasField("delta")


def _is_never(_: executions_pb2.ExecuteResponse) -> bool:
    """Wake nobody before the end."""
    return False


def _about(prompted: Prompted, request: executions_pb2.ExecuteRequest) -> Mapping[str, Any]:
    """Return what agents are told of a prompt."""
    return {
        "prompt": prompted.prompt,
        "session_id": prompted.session_id,
        "request_id": request.request_id,
        "temperature": prompted.options.get("temperature"),
        "max_tokens": prompted.options.get("max_tokens"),
    }
