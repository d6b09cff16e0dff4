"""The client for programs that use asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from oblix._convert.validation import invalid, whole_number
from oblix._launcher.address import address_of
from oblix._resources.core import Core
from oblix._resources.requests import Prompted, prompt_of
from oblix._transport.channel import Transport
from oblix._transport.streams import run_awaitable
from oblix.agents import BaseAgent
from oblix.answers import Answer, Embeddings
from oblix.events import Event
from oblix.options import EmbedOptions, ExecuteOptions, MessageRef, Prompt, RoutingOptions, SessionRef

# Each part of a client is loaded when it is first used: most programs use few of them.
if TYPE_CHECKING:
    from oblix._async.daemon import AsyncMachine, AsyncUsage
    from oblix._async.executions import AsyncExecutions
    from oblix._async.models import AsyncModels
    from oblix._async.prompts import AsyncPrompts
    from oblix._async.sessions import AsyncSessions

T = TypeVar("T")
MOST_ROUNDS = 100


class AsyncClient:
    """A client of the daemon for programs that use asyncio.

    The daemon `oblixd` keeps the connections to models and the conversations; the first call starts it
    if it does not run. A client can be used from any number of tasks, event loops and threads, and
    after a fork. It has no thread and no connection until it is used, and prints nothing.

    Every call can raise OblixError: InvalidArgumentError for wrong arguments, UnavailableError if
    there is no daemon (DaemonStartError says why), and the errors that its own description names.

        async with oblix.AsyncClient() as client:
            session = await client.sessions.create(title="Trip")
            async for text in client.stream_text("Where to?", session=session):
                print(text, end="")
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        token: str | None = None,
        agents: Sequence[BaseAgent] = (),
    ) -> None:
        """Make a client, without a connection.

        Without `host` and `port`, or with localhost and 4321, it uses this user's daemon, or the one
        of OBLIX_ADDRESS. Another address means TCP, with TLS for other machines, and needs a `token`
        or OBLIX_TOKEN (docs/how-to/listen-on-tcp.md). `agents`: they check each prompt, and give
        thresholds for routing. Raises InvalidArgumentError.
        """
        core = Core(Transport(address_of(host, port, token)))
        for agent in agents:
            core.agents.add(agent)
        self._core = core

    @classmethod
    def over(cls, core: Core) -> AsyncClient:
        """Make a client that shares the state of another one. For Oblix's own use."""
        client = cls.__new__(cls)
        client._core = core
        return client

    @cached_property
    def sessions(self) -> AsyncSessions:
        """Create, list, search, watch and import conversations, and read and change their messages."""
        from oblix._async.sessions import AsyncSessions

        return AsyncSessions(self._core)

    @cached_property
    def models(self) -> AsyncModels:
        """The models that prompts may go to."""
        from oblix._async.models import AsyncModels

        return AsyncModels(self._core)

    @cached_property
    def executions(self) -> AsyncExecutions:
        """The prompts that wait or run, and why each went to its model."""
        from oblix._async.executions import AsyncExecutions

        return AsyncExecutions(self._core, self._prompts)

    @cached_property
    def usage(self) -> AsyncUsage:
        """The usage, and its cost."""
        from oblix._async.daemon import AsyncUsage

        return AsyncUsage(self._core)

    @cached_property
    def machine(self) -> AsyncMachine:
        """This machine, its network and the daemon."""
        from oblix._async.daemon import AsyncMachine

        return AsyncMachine(self._core)

    @cached_property
    def _prompts(self) -> AsyncPrompts:
        from oblix._async.prompts import AsyncPrompts

        return AsyncPrompts(self._core, self.models)

    @overload
    async def execute(
        self,
        prompt: Prompt = "",
        *,
        session: SessionRef | None = None,
        response_model: None = None,
        run_tools: bool = False,
        max_rounds: int = 8,
        **options: Unpack[ExecuteOptions],
    ) -> Answer: ...

    @overload
    async def execute(
        self,
        prompt: Prompt = "",
        *,
        session: SessionRef | None = None,
        response_model: type[T],
        **options: Unpack[ExecuteOptions],
    ) -> T: ...

    async def execute(
        self,
        prompt: Prompt = "",
        *,
        session: SessionRef | None = None,
        response_model: type[T] | None = None,
        run_tools: bool = False,
        max_rounds: int = 8,
        **options: Unpack[ExecuteOptions],
    ) -> Answer | T:
        """Send a prompt, and return the complete answer.

        `prompt`: a text, or several messages. `session`: the conversation to continue; without one
        nothing is recorded. The other options are those of `oblix.options.ExecuteOptions`.

        `response_model`: a Pydantic model, a dataclass, a TypedDict or another type. The model gets
        a JSON Schema of it, and the call returns an instance. If the answer does not fit, it raises
        InvalidAnswerError, which has the `answer`.

        `tools`: functions, whose annotations and docstrings describe them to the model, or JSON
        Schemas. With `run_tools=True`, the client calls the functions that the model calls, and
        sends their results or errors back until the model answers, at most `max_rounds` times (1 to
        100; then InvalidAnswerError TOO_MANY_ROUNDS).
        Functions can be async; others run in a thread.
        Without `run_tools`, the answer has `tool_calls`: send `tool_results` in the same session.

        If the connection breaks, the client continues from the same byte. If the call is cancelled,
        the session keeps the part of the answer that arrived.

        Raises InvalidArgumentError; AgentRefusedError; NotFoundError for an unknown session or image;
        FailedPreconditionError if no model may answer; AbortedError if the session is busy;
        DeadlineExceededError if the timeout is over; UnavailableError if no model can be reached, or
        the daemon ended in the middle: the session then has the question and the part that arrived,
        and the error's metadata says how much.
        """
        asked = prompt_of(prompt, session, options)
        if response_model is not None:
            return await self._prompts.execute_typed(asked, response_model)
        if run_tools:
            return await self._prompts.with_tools(
                asked, whole_number(max_rounds, "max_rounds", 1, MOST_ROUNDS)
            )
        return await self._prompts.answer(asked)

    async def stream(
        self, prompt: Prompt = "", *, session: SessionRef | None = None, **options: Unpack[ExecuteOptions]
    ) -> AsyncGenerator[Event, None]:
        """Send a prompt, and yield events: Queued, Started, Delta, Rerouted, and Completed at the end.

        Takes what `execute` takes and raises what it raises. Closing the generator cancels the
        answer, and the part that arrived is kept; with `on_disconnect="continue"` the answer
        continues, and `executions.attach` reads the rest.
        """
        async with aclosing(self._prompts.stream(prompt_of(prompt, session, options))) as events:
            async for event in events:
                yield event

    async def stream_text(
        self, prompt: Prompt = "", *, session: SessionRef | None = None, **options: Unpack[ExecuteOptions]
    ) -> AsyncGenerator[str, None]:
        """Send a prompt, and yield the answer's text as it arrives. Takes what `execute` takes.

        `on_break` must be `keep`, because the text can't show that an answer starts again.
        """
        if options.get("on_break", "keep") != "keep":
            raise invalid("on_break", "keep, where only the text is read", options["on_break"])
        async with aclosing(self._prompts.texts(prompt_of(prompt, session, options))) as texts:
            async for text in texts:
                yield text

    async def embed(self, texts: str | Sequence[str], **options: Unpack[EmbedOptions]) -> Embeddings:
        """Turn texts into vectors, with an embedding model.

        `texts`: one text, or 1 to 2,048. Routing, budgets and `local_only` work as for prompts. The
        models are those that this client hooked with `task="embedding"`, or those of the
        configuration. Only the usage is recorded.

        Raises InvalidArgumentError, with the reason CONTEXT_OVERFLOW for a text that is too long for
        the model, because no text is cut; FailedPreconditionError NO_EMBEDDING_MODEL if there is no
        embedding model; and what `execute` raises if no model can answer.
        """
        return await self._prompts.embed(texts, options)

    async def regenerate(
        self, session: SessionRef, message: MessageRef = -1, **options: Unpack[RoutingOptions]
    ) -> Answer:
        """Answer the last question of a session again, and return the answer.

        `message`: the last answer, or a message of its question. The new answer replaces the old
        one, which is kept as a version; if nothing of the new one arrives, the old one stays. Raises
        what `execute` raises; also NotFoundError, and FailedPreconditionError MESSAGE_NOT_LAST if
        other messages follow.
        """
        found = await self.sessions.message(session, message)
        asked = prompt_of("", session, options)
        return await self._prompts.answer(
            Prompted("", asked.session_id, {**options, "regenerate_message_id": found.id})
        )

    async def aclose(self) -> None:
        """Unhook the models of this client, and close it. The daemon continues. Can be called twice.

        Prompts that continue without the client keep their models until they end.
        """
        if self._core.agents.has_any:
            await run_awaitable(self._core.agents.shutdown())
        await self.models.release()
        self._core.transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
