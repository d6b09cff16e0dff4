"""One turn from the command line: its session is made with it, and tools are called until it ends."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import oblix
from oblix._convert.terminal_text import DIM, PLAIN
from oblix.cli.errors import CommandError
from oblix.cli.options import models, session_ids
from oblix.cli.output import answers, wording
from oblix.cli.output.screens import Screen
from oblix.cli.prompting import consent
from oblix.errors import OblixError

if TYPE_CHECKING:
    from oblix.cli.prompting.toolbox import Toolbox
    from oblix.documents import Passage

CALL_CHARACTERS = 200
MOST_ROUNDS = 20
"""So often the model may ask for tools before it has to answer."""


class Asking(NamedTuple):
    """What is asked, and how."""

    prompt: str
    title: str = ""
    """What a new session is called by."""
    system: str | None = None
    model: str | None = None
    """As `--model` takes it. None: routing chooses."""
    policy: str | None = None
    session_id: str | None = None
    """As a person names it. None: a new one, or none."""
    images: Sequence[bytes] = ()
    schema: Mapping[str, Any] | None = None
    tools: Toolbox | None = None
    passages: Sequence[Passage] = ()
    """What the prompt quotes of documents."""
    is_kept: bool = True
    """Whether it is recorded."""
    request_id: str | None = None
    options: Mapping[str, Any] = {}
    """Further options of `OblixClient.stream`."""


class Turn:
    """A question that is on its way."""

    def __init__(
        self,
        client: oblix.OblixClient,
        prompt: Asking,
        *,
        model: str | None,
        session_id: str | None,
        is_new: bool,
    ) -> None:
        self._client, self._asked, self._model = client, prompt, model
        self.session_id = session_id
        """None: nothing is recorded."""
        self._is_new = is_new
        self.recorded = answers.Recorded()
        """What is kept of it so far."""
        self._messages = _messages(prompt)

    def events(self, results: Sequence[Mapping[str, Any]] = ()) -> AsyncGenerator[oblix.Event, None]:
        """Send the question, or the results of tools, and return what happens."""
        asked = self._asked
        options = dict(asked.options) | {"policy": asked.policy, "model": self._model}
        if asked.schema:
            options["response_schema"] = asked.schema
        if asked.tools:
            options["tools"] = asked.tools.definitions()
        if self.session_id is None:
            # Nothing is recorded: what was said goes along each time.
            return self._client.stream(
                self._messages,
                request_id=None if results else asked.request_id,
                images=[] if results else list(asked.images),
                **options,
            )
        if results:
            return self._client.stream("", session_id=self.session_id, tool_results=list(results), **options)
        return self._client.stream(
            asked.prompt,
            request_id=asked.request_id,
            session_id=self.session_id,
            images=list(asked.images),
            **options,
        )

    async def answer(self, screen: Screen | None, summary: answers.Summary | None) -> oblix.Completed:
        """Show the answer, and call the tools that it asks for. Returns the last end."""
        results: list[dict[str, Any]] = []
        for _ in range(MOST_ROUNDS):
            completed = await answers.show(
                self.events(results), screen=screen, summary=None, recording=self.recorded
            )
            calls = completed.response.get("tool_calls", [])
            if not calls or self._asked.tools is None:
                if summary:
                    answers.note(summary(completed))
                return completed
            results = [await _result(self._asked.tools, call) for call in calls]
            self._messages += [
                {"role": "assistant", "content": completed.response["response"], "tool_calls": calls},
                *({"role": "tool", **result} for result in results),
            ]
        raise CommandError(f"the model called tools {MOST_ROUNDS} times and gave no answer.")

    def discard(self, error: OblixError) -> None:
        """Remove the session that was made for a question without an answer. The error no longer names it."""
        if self.session_id is None or not self._is_new or self.recorded.has_answer:
            return
        self._client.delete_session(self.session_id)
        error.message = error.message.replace(f" Your message is kept in session {self.session_id}.", "")


async def begin(client: oblix.OblixClient, prompt: Asking, arguments: argparse.Namespace) -> Turn:
    """Find the model and the session, ask a person where a cloud model was not named, and make the session.

    Raises CommandError and OblixError, and leaves nothing behind then.
    """
    model = await models.hook(client, prompt.model, arguments)
    session_id = session_ids.resolve_id(prompt.session_id) if prompt.session_id else None
    is_new = prompt.is_kept and session_id is None
    is_choice_open = model is None and not prompt.options.get("local_only")
    if is_new or (is_choice_open and consent.can_ask()):
        routes = await client.explain(
            prompt.prompt or "-", session_id=session_id, **_explanation(prompt), model=model
        )
        if is_choice_open:
            consent.check(routes)
        # What is refused must leave no session behind: it is asked without one, and says why.
        is_new = is_new and bool(routes["model_routing"]["target"])
    if is_new:
        session_id = await client.create_session(
            wording.title(prompt.title),
            {"system": prompt.system} if prompt.system else None,
            local_only=bool(prompt.options.get("local_only")),
        )
    elif session_id and prompt.system:
        client.update_session(session_id, context={"system": prompt.system})
    return Turn(client, prompt, model=model, session_id=session_id, is_new=is_new)


def _explanation(prompt: Asking) -> dict[str, Any]:
    options = dict(prompt.options) | {"policy": prompt.policy, "images": list(prompt.images)}
    if prompt.schema:
        options["response_schema"] = prompt.schema
    if prompt.tools:
        options["tools"] = prompt.tools.definitions()
    return options


def _messages(prompt: Asking) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*system, *([{"role": "user", "content": prompt.prompt}] if prompt.prompt else [])]


async def _result(tools: Toolbox, call: Mapping[str, Any]) -> dict[str, Any]:
    shown = f"{call['name']}({call['arguments_json']})"
    answers.note(f"{DIM}→ {shown[:CALL_CHARACTERS]}{PLAIN}")
    result = await tools.result(call)
    text = " ".join(result["content"].split())
    answers.note(f"{DIM}← {'failed: ' if result.get('is_error') else ''}{text[:CALL_CHARACTERS]}{PLAIN}")
    return result
