"""One turn from the command line: its session is made with it, and tools are called until it ends."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from oblix._convert.terminal_text import DIM, PLAIN
from oblix._convert.validation import invalid, text
from oblix.cli.errors import CommandError
from oblix.cli.options import models, session_ids
from oblix.cli.output import answers, wording
from oblix.cli.output.events import Completion, Event
from oblix.cli.output.screens import Screen
from oblix.cli.prompting import consent
from oblix.cli.prompting.direct_client import DirectClient, new_id
from oblix.errors import OblixError
from oblix.limits import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from oblix.cli.prompting.toolbox import Toolbox
    from oblix.documents import Passage
    from oblix.v1 import executions_pb2, messages_pb2

CALL_CHARACTERS = 200
MOST_ROUNDS = 20
"""So often the model may ask for tools before it has to answer."""


class Options(NamedTuple):
    """How a prompt is answered."""

    temperature: float | None = None
    max_tokens: int | None = None
    reasoning: str | None = None
    """off, on, low, medium, high or max; None: the model's server decides."""
    is_local_only: bool = False
    is_background: bool = False
    timeout_s: float | None = None
    is_detached: bool = False
    """Whether it goes on when this command has ended."""


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
    options: Options = Options()

    def request(self) -> executions_pb2.ExecuteRequest:
        """Return the request for it, still without a session. Raises OblixError for what can't be one."""
        from oblix.v1 import executions_pb2, routing_pb2

        options = self.options
        request = executions_pb2.ExecuteRequest(
            request_id=new_id(),
            local_only=options.is_local_only,
            on_disconnect=executions_pb2.ON_DISCONNECT_CONTINUE
            if options.is_detached
            else executions_pb2.ON_DISCONNECT_CANCEL,
            priority=executions_pb2.PRIORITY_BACKGROUND
            if options.is_background
            else executions_pb2.PRIORITY_INTERACTIVE,
            policy=routing_pb2.RoutingPolicy(name=text(self.policy or "", "policy")),
            options=executions_pb2.GenerationOptions(
                temperature=options.temperature, max_tokens=options.max_tokens
            ),
        )
        if options.reasoning:
            request.options.reasoning = executions_pb2.ReasoningEffort.Value(
                f"REASONING_EFFORT_{options.reasoning.upper()}"
            )
        if options.timeout_s:
            request.timeout.FromMicroseconds(max(round(options.timeout_s * 1e6), 1))
        if self.schema or self.tools:
            self._add_forms(request)
        return request

    def _add_forms(self, request: executions_pb2.ExecuteRequest) -> None:
        from oblix._convert.tools import schema_of, tools_of

        request.options.response_schema = schema_of(self.schema, "response_schema")
        if self.tools:
            request.tools.extend(tools_of(self.tools.definitions()))

    def message(self) -> messages_pb2.Message:
        """Return what is asked as the contract has it. Raises InvalidArgumentError where it is too long."""
        from oblix.v1 import messages_pb2

        parts = [messages_pb2.Part(text=text(self.prompt, "prompt"))] if self.prompt.strip() else []
        if self.images:
            from oblix._convert.messages import image_of

            parts += [image_of(image, "images") for image in self.images]
        size = sum(part.ByteSize() for part in parts)
        if size > MAX_MESSAGE_BYTES:
            limit = f"at most {MAX_MESSAGE_BYTES:,} bytes a message"
            raise invalid("prompt", limit, f"{size:,} bytes", "MESSAGE_TOO_LARGE")
        return messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=parts)


class Turn:
    """A question that is on its way."""

    def __init__(
        self,
        client: DirectClient,
        prompt: Asking,
        request: executions_pb2.ExecuteRequest,
        *,
        is_new: bool,
    ) -> None:
        self._client, self._asked, self._request = client, prompt, request
        self._is_new = is_new
        self.recorded = answers.Recorded()
        """What is kept of it so far."""

    @property
    def request_id(self) -> str:
        """What `oblix attach` takes."""
        return self._request.request_id

    @property
    def session_id(self) -> str:
        """Where it is kept; empty: nothing is recorded."""
        return self._request.session_id

    def events(self) -> AsyncGenerator[Event, None]:
        """Send the question, or the results of tools, and return what happens."""
        return self._client.stream(self._request)

    async def answer(self, screen: Screen | None, summary: answers.Summary | None) -> Completion:
        """Show the answer, and call the tools that it asks for. Returns the last end."""
        for _ in range(MOST_ROUNDS):
            completed = await answers.show(
                self.events(), screen=screen, summary=None, recording=self.recorded
            )
            if self._asked.tools is None or not (calls := completed.response().get("tool_calls")):
                if summary:
                    answers.note(summary(completed))
                return completed
            self._go_on(completed.text, calls, [_result(self._asked.tools, call) for call in calls])
        raise CommandError(f"the model called tools {MOST_ROUNDS} times and gave no answer.")

    def _go_on(self, said: str, calls: Sequence[Any], results: Sequence[Mapping[str, Any]]) -> None:
        """Make the next request: it tells the model what its tools gave."""
        from oblix._convert.messages import input_of, messages_of

        if self.session_id:
            del self._request.input[:]
        else:
            # Nothing is recorded: what was said goes along each time.
            asked = {"role": "assistant", "content": said, "tool_calls": calls}
            self._request.input.extend(messages_of([asked], "messages"))
        self._request.input.extend(input_of("", {"tool_results": results}))
        self._request.request_id = new_id()

    def discard(self, error: OblixError) -> None:
        """Remove the session that was made for a question without an answer. The error no longer names it."""
        if not self._is_new or self.recorded.has_answer:
            return
        self._client.delete_session(self.session_id)
        error.message = error.message.replace(f" Your message is kept in session {self.session_id}.", "")


def begin(client: DirectClient, prompt: Asking, arguments: argparse.Namespace) -> Turn:
    """Find the model and the session, ask a person where a cloud model was not named, and make the session.

    Raises CommandError and OblixError, and leaves nothing behind then.
    """
    model = answers.complete(models.hook(client, prompt.model, arguments))
    request = prompt.request()
    request.input.append(prompt.message())
    request.model = model or ""
    if prompt.session_id:
        request.session_id = session_ids.resolve_id(prompt.session_id)
    is_new = prompt.is_kept and not prompt.session_id
    is_choice_open = model is None and not prompt.options.is_local_only
    if is_new or (is_choice_open and consent.can_ask()):
        decision = client.explain(request)
        if is_choice_open:
            consent.check(consent.destination_of(decision))
        # What is refused must leave no session behind: it is asked without one, and says why.
        is_new = is_new and bool(decision.model)
    if is_new:
        request.session_id = client.create_session(
            wording.title(prompt.title), prompt.system, local_only=prompt.options.is_local_only
        )
    elif request.session_id and prompt.system:
        client.instruct(request.session_id, prompt.system)
    elif prompt.system:
        request.input.insert(0, _system_message(prompt.system))
    return Turn(client, prompt, request, is_new=is_new)


def _system_message(system: str) -> messages_pb2.Message:
    from oblix.v1 import messages_pb2

    return messages_pb2.Message(
        role=messages_pb2.ROLE_SYSTEM, parts=[messages_pb2.Part(text=text(system, "system"))]
    )


def _result(tools: Toolbox, call: Mapping[str, Any]) -> dict[str, Any]:
    shown = f"{call['name']}({call['arguments_json']})"
    answers.note(f"{DIM}→ {shown[:CALL_CHARACTERS]}{PLAIN}")
    result = tools.result(call)
    content = " ".join(result["content"].split())
    answers.note(f"{DIM}← {'failed: ' if result.get('is_error') else ''}{content[:CALL_CHARACTERS]}{PLAIN}")
    return result
