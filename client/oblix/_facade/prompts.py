"""Prompts, as the guide has them: `execute`, its older spellings, and the events themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from oblix._facade.sessions import SessionCalls
from oblix._facade.terminal import Printer, converse
from oblix._resources.requests import Prompted, unknown_option
from oblix.events import Event
from oblix.options import OPTIONS

OWN_OPTIONS = ("model_id", "regenerate_message_id")
"""Options that only `OblixClient` takes."""
IGNORED = ("use_gpu",)
"""Options of the first Oblix that decide nothing here."""
Said = str | Sequence[Mapping[str, Any]]
"""A prompt: a text, or several messages."""


class PromptCalls(SessionCalls):
    """The calls that ask a model."""

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
        """Send a prompt, and return the complete answer.

        The session is `session_id`, or the current one; without either, nothing is
        recorded. `stream` writes the answer to standard output as it arrives and, with
        `display_metrics`, a line about it; without `stream` nothing is written. `chat`
        continues as a conversation at the terminal until `exit`, in a new session if
        there is none; the response is then the last one, with `session_id`.

        `temperature`: 0 to 2. `max_tokens`: 1 to 1,000,000. `request_id`: 1 to 128
        printable ASCII characters; the same id again returns the same answer. Further
        options, each with its default first:

        - how the model writes: `top_p` (over 0 to 1), `seed`, `stop` (a text, or up to
          16), `reasoning` (how much the model reasons before it answers: `off`, `on`,
          `low`, `medium`, `high` or `max`); without them, the model's server decides;
        - images with the prompt: `images`, paths or bytes of PNG, JPEG, GIF or WebP
          images of at most 8 MiB;
        - where the prompt goes: `model` names one model as `provider:name`;
          `local_only=True` lets no cloud model see it; `policy` is one of `balanced`,
          `prefer-local`, `prefer-cloud`, `cheapest`, `fastest`, `private` or of the
          daemon's configuration; `max_cost` is the maximum cost, in the configuration's
          currency;
        - when it runs: `priority` is `interactive`, or `background` to go behind all
          others that wait for the same model; `when_busy` is `wait`, or `fail` if a
          turn of the session runs already; `timeout` in seconds, including the time in
          queues, at most a day; None: no limit;
        - what happens on failures: `on_disconnect` is `cancel`, or `continue` if this
          program disconnects; `on_break` is `keep` to keep the part of an answer that
          breaks off, or `restart` on the next model; `context_policy` is `omit` to
          leave out the oldest turns of a history that does not fit, `refuse`, or
          `longer` to prefer a model with a longer window; `include_excluded=True` also
          sends messages that are marked as left out of contexts;
        - instead of a prompt: `regenerate_message_id` answers a question of the session
          again, see `regenerate`.

        Tools: `tools` is a list of dicts with `name`, `description` and `parameters` (a
        JSON Schema), also in OpenAI's form; `tool_choice` is `auto`, `required` or
        `none`. The response can then have `tool_calls`: dicts with `call_id`, `name`,
        `arguments` (a dict; None if the model wrote something else) and
        `arguments_json`. Answer them in the same session with `tool_results`, dicts
        with `call_id`, `content` and `is_error`, and the tools again; the prompt can be
        left out. `response_schema` (a JSON Schema) makes the answer JSON that fits it.
        Instead of a text, the prompt can be a list of messages: dicts with `role` and
        `content`, `tool_calls` as in a response, or `call_id` of role `tool`. The
        content is a text, or a list of dicts: `type` `text` with `text`; `image` with
        `path` or `data`; OpenAI's `image_url` with a `data:` URL.

        If the connection breaks, the client continues from the same byte; with
        `on_disconnect="continue"` the answer has continued meanwhile.

        The response has `request_id`, `model_id`, `response` (the text), `metrics` (in
        seconds and tokens; also what the context left out), `routing_decision` and
        `agent_checks`.

        Raises InvalidArgumentError; AgentRefusedError; NotFoundError for an unknown
        session or image; FailedPreconditionError if no model may answer; AbortedError
        if the session is busy; DeadlineExceededError if the timeout is over;
        UnavailableError if no model can be reached, or the daemon ended in the middle:
        the session then has the question and the part that arrived, and the error's
        metadata says how much.
        """
        session_id = session_id or self.current_session_id
        if chat and session_id is None:
            session_id = await self.create_session()
        is_shown = stream or chat
        printer = Printer(live=stream, whole=is_shown and not stream, metrics=is_shown and display_metrics)

        async def ask(text: Said, request_id: str | None = None) -> dict[str, Any]:
            events = self.stream(text, temperature, max_tokens, request_id, session_id, **kwargs)
            return await printer.response_of(events)

        response = await ask(prompt, request_id)
        # Results and images are given once; the tools stay for the rest of a conversation.
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
        """Send a prompt, and yield events: Queued, Started, Delta, Rerouted, and Completed at the end.

        Takes what `execute` takes, raises what it raises, and writes nothing. Closing
        the generator, or cancelling the task that reads it, cancels the answer, and the
        part that arrived is kept; with `on_disconnect="continue"` the answer continues,
        and `attach` reads the rest.
        """
        options = {"temperature": temperature, "max_tokens": max_tokens, "request_id": request_id, **kwargs}
        asked = _prompt_of(prompt, session_id or self.current_session_id, options)
        async with aclosing(self._prompts.stream(asked)) as events:
            async for event in events:
                yield event

    async def explain(
        self, prompt: Said = "", session_id: str | None = None, **kwargs: Any
    ) -> dict[str, dict[str, Any]]:
        """Return where a prompt would go now, and why: the `routing_decision` of `execute`.

        Takes the further options of `execute` and raises what it raises before a model
        is asked. Sends nothing to a model, and records nothing.
        """
        asked = _prompt_of(prompt, session_id or self.current_session_id, kwargs)
        return (await self._prompts.explain(asked)).to_dict()


class ChatCalls(PromptCalls):
    """Calls of older programs. New programs use `execute`."""

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

    async def chat_once(self, prompt: str, session_id: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Ask once in a session, or in a new one, and write nothing. The response also has `session_id`.

        Takes the further options of `execute`.
        """
        session_id = session_id or await self.create_session()
        response = await self.execute(prompt, session_id=session_id, stream=False, **kwargs)
        return response | {"session_id": session_id}

    async def start_chat(self, session_id: str | None = None, **kwargs: Any) -> str:
        """Talk at the terminal until `exit`, in a session or in a new one, and return its id.

        Takes the further options of `execute`, for each prompt.
        """
        return await self._talk(session_id, Printer(live=False, whole=True, metrics=True), kwargs)

    async def chat_streaming(self, session_id: str | None = None, **kwargs: Any) -> str:
        """`start_chat`, with the answers written as they arrive."""
        return await self._talk(session_id, Printer(live=True, whole=False, metrics=True), kwargs)

    async def _talk(self, session_id: str | None, printer: Printer, options: Mapping[str, Any]) -> str:
        session_id = session_id or await self.create_session()

        async def ask(text: str) -> dict[str, Any]:
            return await printer.response_of(self.stream(text, session_id=session_id, **options))

        await converse(ask)
        return session_id


def _prompt_of(prompt: object, session_id: object, options: Mapping[str, Any]) -> Prompted:
    """Return a prompt with the options that the first Oblix took and the ones of today."""
    given = {name: value for name, value in options.items() if name not in IGNORED}
    for name in given:
        if name not in OPTIONS and name not in OWN_OPTIONS:
            raise unknown_option(name)
    return Prompted(prompt, session_id, given)
