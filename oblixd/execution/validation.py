"""What an Execute request may hold, checked before anything is done with it."""

from __future__ import annotations

import hashlib
import math
import re
import uuid

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.errors import out_of_range
from oblixd.execution.schemas import is_schema
from oblixd.models import Options, Reasoning, Tool, ToolChoice
from oblixd.sessions import check_message

MAX_ID = 128
MAX_CANDIDATES = 100
MAX_CHECKS = 32
MAX_INPUT = 10_000
MAX_TOKENS = 1_000_000
MAX_TEMPERATURE = 2
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_TOOLS = 128
MAX_DESCRIPTION = 65_536
MAX_SCHEMA_BYTES = 64 << 10

MAX_TIMEOUT_S = 86_400
_SCHEMA = "a JSON Schema: a JSON object of whole characters (no \\ud800 to \\udfff alone), without NaN"
EXCERPT = 80
"""Characters of the prompt that a list shows."""

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOOL_CHOICE = {
    executions_pb2.TOOL_CHOICE_AUTO: ToolChoice.AUTO,
    executions_pb2.TOOL_CHOICE_REQUIRED: ToolChoice.REQUIRED,
    executions_pb2.TOOL_CHOICE_NONE: ToolChoice.NONE,
}
_REASONING = {
    executions_pb2.REASONING_EFFORT_OFF: Reasoning.OFF,
    executions_pb2.REASONING_EFFORT_ON: Reasoning.ON,
    executions_pb2.REASONING_EFFORT_LOW: Reasoning.LOW,
    executions_pb2.REASONING_EFFORT_MEDIUM: Reasoning.MEDIUM,
    executions_pb2.REASONING_EFFORT_HIGH: Reasoning.HIGH,
    executions_pb2.REASONING_EFFORT_MAX: Reasoning.MAX,
}


def check(request: executions_pb2.ExecuteRequest) -> executions_pb2.ExecuteRequest:
    """Return it with a request_id, or raise InvalidArgumentError naming the field.

    One that has none is copied, and gets one. The others can be large, and stay as they are.
    """
    result = request if request.request_id else _with_id(request)
    checked_id(result.request_id)
    _check_input(result)
    _at_most("client_context.messages", len(result.client_context.messages), MAX_INPUT)
    _at_most("candidates", len(result.candidates), MAX_CANDIDATES)
    _at_most("agent_checks", len(result.agent_checks), MAX_CHECKS)
    options(result.options)
    _check_tools(result)
    _check_timeout(result)
    return result


def _with_id(request: executions_pb2.ExecuteRequest) -> executions_pb2.ExecuteRequest:
    result = executions_pb2.ExecuteRequest()
    result.CopyFrom(request)
    result.request_id = new_request_id()
    return result


def new_request_id() -> str:
    """Return an id for a request whose client made none."""
    return str(uuid.uuid4())


def excerpt(request: executions_pb2.ExecuteRequest) -> str:
    """Return the beginning of the prompt, in one line, as lists show it."""
    questions = (message for message in reversed(request.input) if message.role == messages_pb2.ROLE_USER)
    texts = [
        part.text for message in questions for part in message.parts if part.WhichOneof("kind") == "text"
    ]
    return " ".join(texts[0][: 4 * EXCERPT].split())[:EXCERPT] if texts else ""


def remnant(request: executions_pb2.ExecuteRequest, excerpt: str) -> executions_pb2.ExecuteRequest:
    """Return what is kept of a request once it is answered: what lists show, and who it was."""
    return executions_pb2.ExecuteRequest(
        request_id=request.request_id,
        session_id=request.session_id,
        on_disconnect=request.on_disconnect,
        priority=request.priority,
        input=[messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=excerpt)])],
    )


def fingerprint(request: executions_pb2.ExecuteRequest) -> bytes:
    """Return 32 bytes over what is asked and of whom: they tell apart requests of the same request_id.

    Handles, thresholds and what the agents said are left out: a program that sends its
    prompt again after a restart has new ones.
    """
    contents = executions_pb2.ExecuteRequest(
        session_id=request.session_id,
        input=request.input,
        options=request.options,
        model=request.model,
        local_only=request.local_only,
        on_break=request.on_break,
        context_policy=request.context_policy,
        tools=request.tools,
        tool_choice=request.tool_choice,
        include_excluded=request.include_excluded,
        regenerate_message_id=request.regenerate_message_id,
        client_context=request.client_context if request.HasField("client_context") else None,
    )
    return hashlib.sha256(contents.SerializeToString(deterministic=True)).digest()


def checked_id(request_id: str) -> str:
    """Return a request's id as it was given, or InvalidArgumentError."""
    if not 1 <= len(request_id) <= MAX_ID or not (request_id.isascii() and request_id.isprintable()):
        raise out_of_range(
            "INVALID_REQUEST",
            "request_id",
            f"1 to {MAX_ID} printable ASCII characters",
            f"{len(request_id)} characters: {request_id[:40]!r}",
        )
    return request_id


def _check_input(request: executions_pb2.ExecuteRequest) -> None:
    if request.regenerate_message_id:
        _check_regeneration(request)
        return
    if not request.input:
        raise out_of_range(
            "INVALID_REQUEST", "input", f"1 to {MAX_INPUT:,} messages", "none: there is no prompt"
        )
    _at_most("input", len(request.input), MAX_INPUT)
    if not request.session_id:
        # A turn of a session checks them where it begins.
        for number, message in enumerate(request.input):
            check_message(message, f"input[{number}]")
    last = request.input[-1]
    if last.role not in (messages_pb2.ROLE_USER, messages_pb2.ROLE_TOOL):
        given = messages_pb2.Role.Name(last.role) if last.role in messages_pb2.Role.values() else last.role
        raise out_of_range("INVALID_REQUEST", "input", "a last message with ROLE_USER or ROLE_TOOL", given)
    if all(part.WhichOneof("kind") == "text" and not part.text.strip() for part in last.parts):
        raise out_of_range("INVALID_REQUEST", "input", "a prompt that is not empty", "an empty one")


def _check_regeneration(request: executions_pb2.ExecuteRequest) -> None:
    if not request.session_id:
        raise out_of_range(
            "INVALID_REQUEST", "session_id", "the session whose answer is to be given anew", "none"
        )
    if request.input:
        raise out_of_range(
            "INVALID_REQUEST", "input", "no messages with regenerate_message_id", len(request.input)
        )
    _at_most("regenerate_message_id", len(request.regenerate_message_id), MAX_ID)


def options(given: executions_pb2.GenerationOptions) -> Options:
    """Return the generation options as models take them, each within its range."""
    if not given.ListFields():
        return Options()
    result = Options(
        temperature=given.temperature if given.HasField("temperature") else None,
        max_tokens=given.max_tokens if given.HasField("max_tokens") else None,
        top_p=given.top_p if given.HasField("top_p") else None,
        seed=given.seed if given.HasField("seed") else None,
        stop=tuple(given.stop),
        response_schema=given.response_schema,
        reasoning=_REASONING.get(given.reasoning),
    )
    if given.reasoning and result.reasoning is None:
        raise out_of_range(
            "INVALID_REQUEST", "options.reasoning", "a value of ReasoningEffort", given.reasoning
        )
    _in_range("options.temperature", result.temperature, 0, MAX_TEMPERATURE)
    _in_range("options.max_tokens", result.max_tokens, 1, MAX_TOKENS)
    _in_range("options.top_p", result.top_p, 0, 1)
    _at_most("options.stop", len(result.stop), MAX_STOPS)
    for text in result.stop:
        if not 1 <= len(text) <= MAX_STOP_CHARACTERS:
            raise out_of_range(
                "INVALID_REQUEST",
                "options.stop",
                f"texts of 1 to {MAX_STOP_CHARACTERS} characters",
                f"{len(text)}",
            )
    return result


def tools(request: executions_pb2.ExecuteRequest) -> tuple[Tool, ...]:
    """Return the tools as models take them."""
    return tuple(Tool(tool.name, tool.description, tool.parameters_schema) for tool in request.tools)


def tool_choice(request: executions_pb2.ExecuteRequest) -> ToolChoice | None:
    """Return whether the model may call them; None leaves it to its server."""
    return _TOOL_CHOICE.get(request.tool_choice)


def _check_tools(request: executions_pb2.ExecuteRequest) -> None:
    _at_most("tools", len(request.tools), MAX_TOOLS)
    _check_schema("options.response_schema", request.options.response_schema)
    for number, tool in enumerate(request.tools):
        field = f"tools[{number}]"
        if not _TOOL_NAME.fullmatch(tool.name):
            raise out_of_range(
                "INVALID_REQUEST",
                f"{field}.name",
                "1 to 64 characters of A-Z a-z 0-9 _ -",
                repr(tool.name[:80]),
            )
        _at_most(f"{field}.description", len(tool.description), MAX_DESCRIPTION)
        _check_schema(f"{field}.parameters_schema", tool.parameters_schema)
    if request.tool_choice == executions_pb2.TOOL_CHOICE_REQUIRED and not request.tools:
        raise out_of_range("INVALID_REQUEST", "tool_choice", "TOOL_CHOICE_REQUIRED only with tools", "none")


def _check_timeout(request: executions_pb2.ExecuteRequest) -> None:
    timeout = request.timeout
    seconds = timeout.seconds + timeout.nanos / 1e9
    if request.HasField("timeout") and not 0 < seconds <= MAX_TIMEOUT_S:
        raise out_of_range("INVALID_REQUEST", "timeout", f"over 0 s to {MAX_TIMEOUT_S:,} s", f"{seconds:g} s")


def _check_schema(field: str, schema: str) -> None:
    """Check that a schema is JSON of an object; the model's server judges the rest."""
    _at_most(field, len(schema.encode()), MAX_SCHEMA_BYTES)
    if not is_schema(schema):
        raise out_of_range("INVALID_REQUEST", field, _SCHEMA, repr(schema[:80]))


def _in_range(field: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise out_of_range("INVALID_REQUEST", field, f"{low} to {high}", value)


def _at_most(field: str, count: int, limit: int) -> None:
    if count > limit:
        raise out_of_range("INVALID_REQUEST", field, f"at most {limit}", count)
