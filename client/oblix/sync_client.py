# Written by tools/sync_client.py from client/oblix/async_client.py: change that file.
"""The client for programs that do not use asyncio."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from oblix._convert.validation import invalid, whole_number
from oblix._launcher.address import address_of
from oblix._resources.core import Core
from oblix._resources.requests import Prompted, prompt_of
from oblix._transport.channel import Transport
from oblix._transport.streams import run_async
from oblix.agents import BaseAgent
from oblix.answers import Answer, Embeddings
from oblix.events import Event
from oblix.options import EmbedOptions, ExecuteOptions, MessageRef, Prompt, RoutingOptions, SessionRef

# Each part of a client is loaded when it is first used: most programs use few of them.
if TYPE_CHECKING:
    from oblix._sync.daemon import Machine, Usage
    from oblix._sync.executions import Executions
    from oblix._sync.models import Models
    from oblix._sync.prompts import Prompts
    from oblix._sync.sessions import Sessions

T = TypeVar("T")
MOST_ROUNDS = 100


class Client:
    """A program's way to its models and conversations, without async.

    It holds no connection to a model and no conversation: `oblixd` does, and is started by the first
    call where it does not run. One client may be used from any number of tasks, event loops and
    threads, and after a fork. It has no thread and no connection until it is used, and prints nothing.

    Every call may raise OblixError: InvalidArgumentError for arguments that are wrong,
    UnavailableError where there is no daemon (DaemonStartError says why), and what its own
    description names.

        with oblix.Client() as client:
            session = client.sessions.create(title="Trip")
            for text in client.stream_text("Where to?", session=session):
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
        """Make a client. Nothing is connected yet.

        Without `host` and `port`, or with localhost and 4321, it is this user's daemon, or that of
        OBLIX_ADDRESS. Another address is TCP, with TLS beyond this machine, and wants a `token`, else
        OBLIX_TOKEN (docs/how-to/listen-on-tcp.md). `agents`: asked before each prompt, and the
        thresholds that prompts are routed by. Raises InvalidArgumentError.
        """
        core = Core(Transport(address_of(host, port, token)))
        for agent in agents:
            core.agents.add(agent)
        self._core = core

    @classmethod
    def over(cls, core: Core) -> Client:
        """Make a client that shares the state of another one. For Oblix's own use."""
        client = cls.__new__(cls)
        client._core = core
        return client

    @cached_property
    def sessions(self) -> Sessions:
        """The conversations: created, listed, searched, watched, imported; and their messages."""
        from oblix._sync.sessions import Sessions

        return Sessions(self._core)

    @cached_property
    def models(self) -> Models:
        """The models that prompts may go to."""
        from oblix._sync.models import Models

        return Models(self._core)

    @cached_property
    def executions(self) -> Executions:
        """The prompts that wait or run, and why they went where they went."""
        from oblix._sync.executions import Executions

        return Executions(self._core, self._prompts)

    @cached_property
    def usage(self) -> Usage:
        """What was used, and what it cost."""
        from oblix._sync.daemon import Usage

        return Usage(self._core)

    @cached_property
    def machine(self) -> Machine:
        """This machine, its network and the daemon."""
        from oblix._sync.daemon import Machine

        return Machine(self._core)

    @cached_property
    def _prompts(self) -> Prompts:
        from oblix._sync.prompts import Prompts

        return Prompts(self._core, self.models)

    @overload
    def execute(
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
    def execute(
        self,
        prompt: Prompt = "",
        *,
        session: SessionRef | None = None,
        response_model: type[T],
        **options: Unpack[ExecuteOptions],
    ) -> T: ...

    def execute(
        self,
        prompt: Prompt = "",
        *,
        session: SessionRef | None = None,
        response_model: type[T] | None = None,
        run_tools: bool = False,
        max_rounds: int = 8,
        **options: Unpack[ExecuteOptions],
    ) -> Answer | T:
        """Ask, and return the answer once it is whole.

        `prompt`: a text, or several messages. `session`: the conversation to go on with; without one
        nothing is recorded. The other options are those of `oblix.options.ExecuteOptions`.

        `response_model`: a Pydantic model, a dataclass, a TypedDict or another type. The model is
        asked for JSON of this form, and an instance is returned; what is none raises
        InvalidAnswerError, which has the `answer`.

        `tools`: functions, whose annotations and docstring become what the model reads, or JSON
        Schemas. With `run_tools=True` the functions that the model calls are called, and it is told
        what they gave or raised, until it answers, at most `max_rounds` times (1 to 100; then
        InvalidAnswerError TOO_MANY_ROUNDS). Functions may be async. Without
        `run_tools` the answer has `tool_calls`: answer them with `tool_results` in the same session.

        A connection that drops in the middle is taken up again where it broke. An answer that is
        cancelled on its way is kept in its session as far as it had come.

        Raises InvalidArgumentError; AgentRefusedError; NotFoundError for an unknown session or image;
        FailedPreconditionError where no model may answer; AbortedError where the session is busy;
        DeadlineExceededError where the timeout is over; UnavailableError where no model can be
        reached, or the daemon ended in the middle: the question, and the part that had come, are in
        the session, and its metadata says how much.
        """
        asked = prompt_of(prompt, session, options)
        if response_model is not None:
            return self._prompts.execute_typed(asked, response_model)
        if run_tools:
            return self._prompts.with_tools(asked, whole_number(max_rounds, "max_rounds", 1, MOST_ROUNDS))
        return self._prompts.answer(asked)

    def stream(
        self, prompt: Prompt = "", *, session: SessionRef | None = None, **options: Unpack[ExecuteOptions]
    ) -> Generator[Event, None, None]:
        """Ask, and yield what happens: Queued, Started, Delta, Rerouted, and Completed at the end.

        Takes what `execute` takes and raises what it raises. Closing the generator cancels the
        answer, and the part that had come is kept; with `on_disconnect="continue"` it goes on, and
        `executions.attach` comes back to it.
        """
        with closing(self._prompts.stream(prompt_of(prompt, session, options))) as events:
            yield from events

    def stream_text(
        self, prompt: Prompt = "", *, session: SessionRef | None = None, **options: Unpack[ExecuteOptions]
    ) -> Generator[str, None, None]:
        """Ask, and yield the answer's text as it arrives. Takes what `execute` takes, as `stream` does.

        An answer that would start anew on another model is refused: leave `on_break` at `keep`.
        """
        if options.get("on_break", "keep") != "keep":
            raise invalid("on_break", "keep, where only the text is read", options["on_break"])
        with closing(self._prompts.texts(prompt_of(prompt, session, options))) as texts:
            yield from texts

    def embed(self, texts: str | Sequence[str], **options: Unpack[EmbedOptions]) -> Embeddings:
        """Turn texts into vectors, by a model that is made for it.

        `texts`: one, or 1 to 2,048. Routing, budgets and `local_only` hold as for prompts. The models
        are those that this client hooked with `task="embedding"`, else those of the configuration.
        Nothing is recorded but the usage.

        Raises InvalidArgumentError, with the reason CONTEXT_OVERFLOW for a text that is longer than the
        model reads: no text is ever cut; FailedPreconditionError NO_EMBEDDING_MODEL where no model is
        made for it; and what `execute` raises where no model can answer.
        """
        return self._prompts.embed(texts, options)

    def regenerate(
        self, session: SessionRef, message: MessageRef = -1, **options: Unpack[RoutingOptions]
    ) -> Answer:
        """Answer a question of a session anew, and return the answer.

        `message`: the answer, or a message of its question; it must be the last of both. The new
        answer takes the old one's place, which is kept as a version; where nothing of it comes, the
        old one stays. Raises what `execute` raises; also NotFoundError, and FailedPreconditionError
        MESSAGE_NOT_LAST where other messages follow.
        """
        found = self.sessions.message(session, message)
        asked = prompt_of("", session, options)
        return self._prompts.answer(
            Prompted("", asked.session_id, {**options, "regenerate_message_id": found.id})
        )

    def close(self) -> None:
        """Let go of what this client hooked, and close it. The daemon lives on. Harmless when done twice.

        Prompts that go on without it keep their models until they have ended.
        """
        if self._core.agents.has_any:
            run_async(self._core.agents.shutdown())
        self.models.release()
        self._core.transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
