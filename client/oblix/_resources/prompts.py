"""The prompting half of a client.

Older spellings of `execute`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from oblix._convert.events import Answer, decision_of
from oblix._resources.requests import Prompt, request_of
from oblix._resources.sessions import SessionCalls
from oblix._resources.terminal import Printer, converse
from oblix._transport.resumable import Responses, ResumableStream
from oblix.errors import FailedPreconditionError
from oblix.events import Event
from oblix.v1 import executions_pb2, routing_pb2

HANDLE_UNKNOWN = "HANDLE_UNKNOWN"
Said = str | Sequence[Mapping[str, Any]]
"""A prompt: a text, or several messages."""


class PromptCalls(SessionCalls):
    """Everything that asks a model."""

    async def execute(  # noqa: PLR0917 - the documented signature
        self,
        prompt: Said = "",
        temperature: float | None = None,
        max_tokens: int | None = None,
        request_id: str | None = None,
        display_metrics: bool = True,
        session_id: str | None = None,
        stream: bool = True,
        chat: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Ask, and return the answer once it is whole.

        The session is `session_id`, else the current one; without either nothing
        is recorded. `stream` writes the answer to standard output as it arrives
        and, with `display_metrics`, a line about it; without `stream` nothing is
        written. `chat` goes on as a conversation at the terminal until `exit`,
        in a new session where there is none; the response is then the last one,
        with `session_id`.

        `temperature`: 0 to 2. `max_tokens`: 1 to 1,000,000. `request_id`: 1 to 128
        printable ASCII characters; the same again gives the same answer. Further
        options, each with its default first:

        - how it is written: `top_p` (over 0 to 1), `seed`, `stop` (a text, or up to
          16), `reasoning` (how much the model thinks before it answers: `off`, `on`,
          `low`, `medium`, `high` or `max`); left out, the model's server decides;
        - what is shown with it: `images`, paths or bytes of PNG, JPEG, GIF or WebP
          pictures of at most 8 MiB;
        - where it goes: `model` pins `provider:name`; `local_only=True` lets no cloud
          model see it; `policy` is one of `balanced`, `prefer-local`, `prefer-cloud`,
          `cheapest`, `fastest`, `private` or of the daemon's configuration;
          `max_cost` is the most that it may cost, in the configuration's currency;
        - when: `priority` is `interactive`, or `background` to go behind all others
          that wait for the same model; `when_busy` is `wait`, or `fail` at once where
          the session's turn runs already; `timeout` in seconds, waiting included, at
          most a day; None: no limit;
        - what becomes of it: `on_disconnect` is `cancel`, or `continue` when this
          program goes away; `on_break` is `keep` for what came of an answer that
          breaks off, or `restart` on the next model; `context_policy` is `omit` for
          the oldest turns of a history that does not fit, `refuse`, or `longer` to
          prefer a model with a longer window; `include_excluded=True` sends also the
          messages that are marked as left out of contexts;
        - instead of a prompt: `regenerate_message_id` answers a question of the
          session anew, see `regenerate`.

        Tools: `tools` is a list of dicts with `name`, `description` and `parameters`
        (a JSON Schema), or OpenAI's around them; `tool_choice` is `auto`, `required`
        or `none`. The response then may have `tool_calls`: dicts with `call_id`,
        `name`, `arguments` (a dict; None where the model wrote something else) and
        `arguments_json`. Answer them in the same session with `tool_results`, dicts
        with `call_id`, `content` and `is_error`, and the tools again; the prompt may
        be left out. `response_schema` (a JSON Schema) makes the answer JSON that fits
        it. Instead of a text the prompt may be a list of messages: dicts with `role`
        and `content`, `tool_calls` as in a response, or `call_id` of role `tool`. The
        content is a text, or a list of dicts: `type` `text` with `text`; `image` with
        `path` or `data`; OpenAI's `image_url` with a `data:` URL.

        A connection that drops in the middle is taken up again where it broke; with
        `on_disconnect="continue"` the answer has gone on meanwhile.

        The response has `request_id`, `model_id`, `response` (the text),
        `metrics` (in seconds and tokens; also what the context left out),
        `routing_decision` and `agent_checks`.

        Raises InvalidArgumentError; AgentRefusedError; NotFoundError for an
        unknown session or picture; FailedPreconditionError where no model may
        answer; AbortedError where the session is busy; DeadlineExceededError where
        the timeout is over; UnavailableError where no model can be reached, or the
        daemon ended in the middle: the question, and the part that had come, are in
        the session, and its metadata says how much.
        """
        session_id = session_id or self.current_session_id
        if chat and session_id is None:
            session_id = await self.create_session()
        is_shown = stream or chat
        printer = Printer(live=stream, whole=is_shown and not stream, metrics=is_shown and display_metrics)

        async def ask(said: Said, request_id: str | None = None) -> dict[str, Any]:
            events = self.stream(said, temperature, max_tokens, request_id, session_id, **kwargs)
            return await printer.response_of(events)

        response = await ask(prompt, request_id)
        # Results and pictures are given once; the tools stay for the rest of a conversation.
        for once in ("tool_results", "images"):
            kwargs.pop(once, None)
        if chat:
            return (await converse(ask) or response) | {"session_id": session_id}
        return response

    async def stream(
        self,
        prompt: Said = "",
        temperature: float | None = None,
        max_tokens: int | None = None,
        request_id: str | None = None,
        session_id: str | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[Event, None]:
        """Ask, and yield what happens: Queued, Started, Delta, Rerouted, and Completed at the end.

        Takes what `execute` takes, raises what it raises, and writes nothing.
        Closing the generator, or cancelling the task that reads it, cancels the
        answer, and the part that had come is kept; with `on_disconnect="continue"`
        it goes on, and `attach` comes back to it.
        """
        session_id = session_id or self.current_session_id
        prompted = Prompt(prompt, session_id, request_id, temperature, max_tokens, kwargs)
        request = await self._check(prompted)
        answer = Answer(self._agents, list(request.agent_checks))
        async with aclosing(self._responses(request)) as responses:
            async for response in responses:
                if (event := answer.event(response)) is not None:
                    yield event

    async def explain(
        self, prompt: Said = "", session_id: str | None = None, **kwargs: Any
    ) -> dict[str, dict[str, Any]]:
        """Where a prompt would go now, and why: the `routing_decision` of `execute`.

        Takes the further options of `execute` and raises what it raises before a
        model is asked. Nothing is sent to a model or recorded.
        """
        session_id = session_id or self.current_session_id
        options = dict(kwargs)
        numbers = (options.pop("temperature", None), options.pop("max_tokens", None))
        request = await self._check(Prompt(prompt, session_id, None, *numbers, options))
        try:
            decision = await self._decision(request)
        except FailedPreconditionError as error:
            if error.reason != HANDLE_UNKNOWN:
                raise
            await self._hooks.renew()
            decision = await self._decision(request)
        return decision_of(decision)

    async def _decision(self, request: executions_pb2.ExecuteRequest) -> routing_pb2.RoutingDecision:
        request.candidates[:] = self._hooks.handles()
        explain = executions_pb2.ExplainRouteRequest(request=request)
        answer = await self._transport.acall(
            lambda link: link.executions.ExplainRoute, explain, repeatable=True
        )
        return answer.decision

    async def _check(self, prompt: Prompt) -> executions_pb2.ExecuteRequest:
        """Return the request for a prompt, with what this client's agents say of it."""
        request = request_of(prompt)
        checks = await self._agents.check(
            prompt=prompt.prompt,
            session_id=prompt.session_id,
            request_id=request.request_id,
            temperature=prompt.temperature,
            max_tokens=prompt.max_tokens,
        )
        request.policy.MergeFrom(self._agents.policy())
        request.agent_checks.extend(checks)
        return request

    async def _responses(self, request: executions_pb2.ExecuteRequest) -> Responses:
        """Run a request. A daemon that has forgotten the hooked models is told again, unseen."""
        following = ResumableStream(
            self._transport,
            request.request_id,
            session_id=request.session_id,
            cancels=request.on_disconnect == executions_pb2.ON_DISCONNECT_CANCEL,
        )
        for is_last in (False, True):
            try:
                async with aclosing(following.responses(lambda: self._execute(request))) as responses:
                    async for response in responses:
                        yield response
            except FailedPreconditionError as error:
                if error.reason != HANDLE_UNKNOWN or is_last:
                    raise
                await self._hooks.renew()
            else:
                return

    def _execute(self, request: executions_pb2.ExecuteRequest) -> Responses:
        # The request's id makes it safe to send it again: it is never run twice.
        request.candidates[:] = self._hooks.handles()
        return self._transport.stream(
            lambda link: link.executions.Execute(request, metadata=link.metadata), repeatable=True
        )


class ChatCalls(PromptCalls):
    """Calls that older programs make. New ones say `execute`."""

    async def execute_streaming(
        self,
        prompt: str,
        temperature: float | None = None,
        max_tokens: int | None = None,
        request_id: str | None = None,
        display_metrics: bool = True,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """`execute` with `stream=True`."""
        return await self.execute(prompt, temperature, max_tokens, request_id, display_metrics, **kwargs)

    async def chat_once(self, prompt: str, session_id: str | None = None) -> dict[str, Any]:
        """Ask once in a session, or in a new one; writes nothing. The response has `session_id`, too."""
        session_id = session_id or await self.create_session()
        response = await self.execute(prompt, session_id=session_id, stream=False)
        return response | {"session_id": session_id}

    async def start_chat(self, session_id: str | None = None) -> str:
        """Talk at the terminal until `exit`, in a session or in a new one, and return its id."""
        return await self._talk(session_id, Printer(live=False, whole=True, metrics=True))

    async def chat_streaming(self, session_id: str | None = None) -> str:
        """`start_chat`, with the answers written as they arrive."""
        return await self._talk(session_id, Printer(live=True, whole=False, metrics=True))

    async def _talk(self, session_id: str | None, printer: Printer) -> str:
        session_id = session_id or await self.create_session()

        async def ask(said: str) -> dict[str, Any]:
            return await printer.response_of(self.stream(said, session_id=session_id))

        await converse(ask)
        return session_id
