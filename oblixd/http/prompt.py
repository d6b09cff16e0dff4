"""What the dialects have in common: a prompt as an execution takes it, and the parts of its messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Protocol

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.http.body import Body, invalid
from oblixd.http.failures import Failure
from oblixd.http.side_requests import Shape, Side


@dataclass(slots=True)
class Prompt:
    """A request of one of the APIs, translated."""

    model: str
    """As the client wrote it."""
    request: executions_pb2.ExecuteRequest
    """What is executed. Model, policy and session are set by the endpoint."""
    stream: bool = False
    include_usage: bool = True
    """Whether a stream of chat completions ends with a chunk that tells the usage."""
    ignored_fields: list[str] = field(default_factory=list)
    """Fields and tools that can't be honoured and do not change what the answer means."""
    previous_response_id: str = ""
    """The answer that this prompt goes on from. Only in Responses."""
    store: bool = False
    """Whether the client asks that the answer is kept."""
    side: Side | None = None
    """What the tool asks for itself, beside the person's conversation. Set by the endpoint."""
    shape: Shape | None = None
    """By what the conversation's own prompts are known. Set by the endpoint."""
    summarized_id: str = ""
    """The session that the tool has shortened."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """The request's body, for the APIs whose answers repeat parts of it."""


class Reply(Protocol):
    """Writes one answer in an API's form. Bytes go to the client as they are; empty: nothing to send."""

    @property
    def content_type(self) -> str:
        """Return a stream's media type."""

    @property
    def keep_alive(self) -> bytes:
        """Return what the API's clients take as a sign of life."""

    def begin(self, model: str) -> bytes:
        """Begin a stream: the model that answers was chosen."""

    def delta(self, delta: executions_pb2.ExecutionDelta) -> bytes:
        """Write a piece of the answer."""

    def complete(self, completion: executions_pb2.ExecutionCompleted) -> bytes:
        """End a stream."""

    def fail(self, failure: Failure) -> bytes:
        """End a stream that had begun with an error."""

    def as_object(self, completion: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
        """Return the answer as one object, for a client that does not stream."""


class Dialect(Protocol):
    """One API's form of requests, answers and errors."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Return what the API calls fields of the contract; empty: what they hold stands at its top."""

    def prompt(self, body: Body) -> Prompt:
        """Translate a request. Raises InvalidArgumentError with the field's name."""

    def reply(self, prompt: Prompt, request_id: str) -> Reply:
        """Make the writer of one answer."""

    def error(self, failure: Failure) -> dict[str, Any]:
        """Return an error's body."""


def put_question_last(request: executions_pb2.ExecuteRequest) -> None:
    """Move system messages that stand behind the newest question or result before it.

    Claude Code sends one there with its first prompt. A call and its results are never parted.
    """
    given = list(request.input)
    count = len(list(takewhile(lambda one: one.role == messages_pb2.ROLE_SYSTEM, reversed(given))))
    spoken, behind = given[: len(given) - count], given[len(given) - count :]
    if not behind or not spoken:
        return
    at = len(spoken) - 1
    while at > 0 and spoken[at].role == messages_pb2.ROLE_TOOL:
        at -= 1
    del request.input[:]
    request.input.extend([*spoken[:at], *behind, *spoken[at:]])


def text_message(role: messages_pb2.Role.ValueType, text: str) -> messages_pb2.Message:
    """Make a message that is one text."""
    return messages_pb2.Message(role=role, parts=[messages_pb2.Part(text=text)] if text else [])


def tool_call(call_id: str, name: str, arguments: str) -> messages_pb2.Part:
    """Make a part that calls a tool. `arguments` is JSON text."""
    call = messages_pb2.ToolCallPart(call_id=call_id, name=name, arguments_json=arguments or "{}")
    return messages_pb2.Part(tool_call=call)


def tool_result(call_id: str, content: str, *, is_error: bool = False) -> messages_pb2.Message:
    """Make the message that answers a tool call."""
    part = messages_pb2.ToolResultPart(call_id=call_id, content=content, is_error=is_error)
    return messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=[messages_pb2.Part(tool_result=part)])


def answer_text(message: messages_pb2.Message) -> str:
    """Join the answer's text."""
    return "".join(part.text for part in message.parts if part.WhichOneof("kind") == "text")


def reasoning_text(message: messages_pb2.Message) -> str:
    """Join the model's thinking."""
    return "".join(part.reasoning for part in message.parts if part.WhichOneof("kind") == "reasoning")


def tool_calls(message: messages_pb2.Message) -> list[messages_pb2.ToolCallPart]:
    """Return the tools that the answer calls, in order."""
    return [part.tool_call for part in message.parts if part.WhichOneof("kind") == "tool_call"]


def choose_tool(request: executions_pb2.ExecuteRequest, name: str) -> None:
    """Make the model call this tool: it is the only one offered, and one must be called."""
    kept = [tool for tool in request.tools if tool.name == name]
    del request.tools[:]
    request.tools.extend(kept)
    request.tool_choice = executions_pb2.TOOL_CHOICE_REQUIRED


_EFFORTS = {
    "none": executions_pb2.REASONING_EFFORT_OFF,
    "off": executions_pb2.REASONING_EFFORT_OFF,
    "minimal": executions_pb2.REASONING_EFFORT_LOW,
    "low": executions_pb2.REASONING_EFFORT_LOW,
    "medium": executions_pb2.REASONING_EFFORT_MEDIUM,
    "high": executions_pb2.REASONING_EFFORT_HIGH,
    "xhigh": executions_pb2.REASONING_EFFORT_MAX,
    "max": executions_pb2.REASONING_EFFORT_MAX,
}
"""How much the model is to think, in the words of all APIs."""


def set_effort(options: executions_pb2.GenerationOptions, field: str, value: object) -> None:
    """Set how much the model is to think. True and False turn it on and off. Raises InvalidArgumentError."""
    if value is None:
        return
    if isinstance(value, bool):
        on, off = executions_pb2.REASONING_EFFORT_ON, executions_pb2.REASONING_EFFORT_OFF
        options.reasoning = on if value else off
    elif isinstance(value, str) and value in _EFFORTS:
        options.reasoning = _EFFORTS[value]
    else:
        raise invalid(field, "one of " + ", ".join(_EFFORTS), value)


def set_stops(options: executions_pb2.GenerationOptions, stops: Iterable[Any]) -> None:
    """Take over the texts that end the answer; empty ones are left out."""
    options.stop.extend(stop for stop in stops if isinstance(stop, str) and stop)
