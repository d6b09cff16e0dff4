"""A prompt and its options as the request that runs it."""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from oblix._convert.messages import input_of, messages_in, results_of
from oblix._convert.tools import CHOICES, schema_of, tools_of
from oblix._convert.validation import describe, invalid, session_id_of, text, whole_number
from oblix.answers import Answer
from oblix.errors import InvalidArgumentError
from oblix.limits import MAX_MESSAGE_BYTES, MAX_TIMEOUT_S, MAX_TOKENS
from oblix.options import EMBED_OPTIONS, OPTIONS, ToolResult
from oblix.v1 import embeddings_pb2, executions_pb2, messages_pb2, routing_pb2

ON_DISCONNECT = {
    "cancel": executions_pb2.ON_DISCONNECT_CANCEL,
    "continue": executions_pb2.ON_DISCONNECT_CONTINUE,
}
ON_BREAK = {"keep": executions_pb2.ON_BREAK_KEEP, "restart": executions_pb2.ON_BREAK_RESTART}
CONTEXT_POLICY = {
    "omit": executions_pb2.CONTEXT_POLICY_OMIT,
    "refuse": executions_pb2.CONTEXT_POLICY_REFUSE,
    "longer": executions_pb2.CONTEXT_POLICY_LONGER,
}
PRIORITY = {
    "interactive": executions_pb2.PRIORITY_INTERACTIVE,
    "background": executions_pb2.PRIORITY_BACKGROUND,
}
WHEN_BUSY = {"wait": executions_pb2.WHEN_BUSY_WAIT, "fail": executions_pb2.WHEN_BUSY_FAIL}
REASONING = {
    "off": executions_pb2.REASONING_EFFORT_OFF,
    "on": executions_pb2.REASONING_EFFORT_ON,
    "low": executions_pb2.REASONING_EFFORT_LOW,
    "medium": executions_pb2.REASONING_EFFORT_MEDIUM,
    "high": executions_pb2.REASONING_EFFORT_HIGH,
    "max": executions_pb2.REASONING_EFFORT_MAX,
}
MAX_WHOLE = 2**63 - 1
MAX_DIMENSIONS = 65_536

N = TypeVar("N", bound=int)


@dataclass(frozen=True, slots=True)
class Prompted:
    """What a program asks, as it came in."""

    prompt: object
    session_id: object
    options: Mapping[str, Any]
    """Those of ExecuteOptions, and `regenerate_message_id`."""

    def with_schema(self, schema: Mapping[str, Any]) -> Prompted:
        """Return the prompt with the form that its answer has to have."""
        return Prompted(self.prompt, self.session_id, {**self.options, "response_schema": schema})

    def going_on(self, answer: Answer, results: Sequence[ToolResult]) -> Prompted:
        """Return the prompt that tells the model what its tools gave."""
        once = ("request_id", "images", "tool_results", "regenerate_message_id")
        options = {name: value for name, value in self.options.items() if name not in once}
        if answer.session_id:
            return Prompted("", self.session_id, options | {"tool_results": results})
        said = [*results_of(self.options), *messages_in(self.prompt), answer.message]
        told = [{"role": "tool", **result} for result in results]
        return Prompted([*said, *told], None, options)


def prompt_of(prompt: object, session: object, options: Mapping[str, Any]) -> Prompted:
    """Return a prompt of a program. Raises InvalidArgumentError for an option that is not known."""
    for name in options:
        if name not in OPTIONS:
            raise unknown_option(name)
    return Prompted(prompt, session_id_of(session) if session else None, options)


def embed_request(
    texts: str | Sequence[str], candidates: Sequence[str], options: Mapping[str, Any]
) -> embeddings_pb2.EmbedTextsRequest:
    """Return the request that turns texts into vectors. Raises InvalidArgumentError."""
    for name in options:
        if name not in EMBED_OPTIONS:
            raise unknown_option(name, EMBED_OPTIONS)
    request = embeddings_pb2.EmbedTextsRequest(
        texts=_texts(texts, "texts"),
        model=text(options.get("model") or "", "model"),
        candidates=candidates,
        local_only=_flag(options.get("local_only", False), "local_only"),
        policy=_policy(options),
        dimensions=_optional_whole_number(options.get("dimensions"), "dimensions", 1, MAX_DIMENSIONS),
        priority=_choice(options, "priority", PRIORITY, "interactive"),
    )
    if (timeout_s := _timeout(options.get("timeout"))) is not None:
        request.timeout.FromMicroseconds(max(round(timeout_s * 1e6), 1))
    return request


def unknown_option(name: str, names: Collection[str] = OPTIONS) -> InvalidArgumentError:
    """Return the error for an option that is not known, with the one that was probably meant."""
    import difflib  # noqa: PLC0415 - options are seldom wrong

    near = difflib.get_close_matches(name, [*names, *_ELSEWHERE], 1)
    meant = _ELSEWHERE.get(near[0], near[0]) if near else ""
    hint = f"did you mean {meant}?" if meant else f"known are {', '.join(sorted(names))}."
    error = invalid(name, "nothing", "a value")
    return InvalidArgumentError(
        f"There is no option {error.metadata['field']}: {hint}", reason=error.reason, metadata=error.metadata
    )


_ELSEWHERE = {"session_id": "session", "schema": "response_schema"}
"""Words for options that have another name here."""


def request_of(prompt: Prompted) -> executions_pb2.ExecuteRequest:
    """Return the request for a prompt. Raises InvalidArgumentError for what can't be one."""
    given = prompt.options
    request = executions_pb2.ExecuteRequest(
        request_id=text(given.get("request_id") or str(uuid.uuid4()), "request_id"),
        session_id=text(prompt.session_id or "", "session_id"),
        input=_input(prompt),
        options=_generation(given),
        model=text(given.get("model") or given.get("model_id") or "", "model"),
        local_only=_flag(given.get("local_only", False), "local_only"),
        on_disconnect=_choice(given, "on_disconnect", ON_DISCONNECT, "cancel"),
        on_break=_choice(given, "on_break", ON_BREAK, "keep"),
        context_policy=_choice(given, "context_policy", CONTEXT_POLICY, "omit"),
        tools=tools_of(given.get("tools")),
        tool_choice=_tool_choice(given),
        priority=_choice(given, "priority", PRIORITY, "interactive"),
        when_busy=_choice(given, "when_busy", WHEN_BUSY, "wait"),
        policy=_policy(given),
        include_excluded=_flag(given.get("include_excluded", False), "include_excluded"),
        regenerate_message_id=text(given.get("regenerate_message_id") or "", "regenerate_message_id"),
    )
    if (timeout_s := _timeout(given.get("timeout"))) is not None:
        request.timeout.FromMicroseconds(max(round(timeout_s * 1e6), 1))
    return request


def _input(prompt: Prompted) -> list[messages_pb2.Message]:
    """Return what is said; nothing where a question of the session is answered anew."""
    if prompt.options.get("regenerate_message_id") and not prompt.prompt:
        return []
    return [_check_size(message) for message in input_of(prompt.prompt, prompt.options)]


def _check_size(message: messages_pb2.Message) -> messages_pb2.Message:
    size = sum(part.ByteSize() for part in message.parts)
    if size > MAX_MESSAGE_BYTES:
        limit = f"at most {MAX_MESSAGE_BYTES:,} bytes a message"
        raise invalid("prompt", limit, f"{size:,} bytes", "MESSAGE_TOO_LARGE")
    return message


def _generation(options: Mapping[str, Any]) -> executions_pb2.GenerationOptions:
    return executions_pb2.GenerationOptions(
        temperature=_number(options.get("temperature"), "temperature", 2),
        max_tokens=_optional_whole_number(options.get("max_tokens"), "max_tokens", 1, MAX_TOKENS),
        top_p=_number(options.get("top_p"), "top_p", 1),
        seed=_optional_whole_number(options.get("seed"), "seed", -MAX_WHOLE, MAX_WHOLE),
        stop=_texts(options.get("stop"), "stop"),
        response_schema=schema_of(options.get("response_schema"), "response_schema"),
        reasoning=_reasoning(options),
    )


def _reasoning(options: Mapping[str, Any]) -> executions_pb2.ReasoningEffort.ValueType:
    if options.get("reasoning") is None:
        return executions_pb2.REASONING_EFFORT_UNSPECIFIED
    return _choice(options, "reasoning", REASONING, "on")


def _tool_choice(options: Mapping[str, Any]) -> executions_pb2.ToolChoice.ValueType:
    if options.get("tool_choice") is None:
        return executions_pb2.TOOL_CHOICE_UNSPECIFIED
    return _choice(options, "tool_choice", CHOICES, "auto")


def _policy(options: Mapping[str, Any]) -> routing_pb2.RoutingPolicy:
    cost = options.get("max_cost")
    if cost is not None and not _is_cost(cost):
        raise invalid("max_cost", "a number of 0 or more", describe(cost))
    return routing_pb2.RoutingPolicy(name=text(options.get("policy") or "", "policy"), max_cost=cost)


def _is_cost(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _timeout(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_TIMEOUT_S:
        raise invalid("timeout", f"seconds, more than 0 and at most {MAX_TIMEOUT_S:,}", describe(value))
    return float(value)


def _number(value: object, field: str, most: int) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise invalid(field, f"a number from 0 to {most}", describe(value))
    return float(value)


def _optional_whole_number(value: object, field: str, least: int, most: int) -> int | None:
    return None if value is None else whole_number(value, field, least, most)


def _texts(value: object, field: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [text(value, field)]
    if not isinstance(value, Sequence):
        raise invalid(field, "a text or a list of texts", describe(value))
    return [text(item, f"{field}[{index}]") for index, item in enumerate(value)]


def _flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(field, "True or False", describe(value))
    return value


def _choice(options: Mapping[str, Any], field: str, choices: Mapping[str, N], default: str) -> N:
    """Return one of the words that an option takes."""
    value = options.get(field, default)
    if not isinstance(value, str) or value not in choices:
        raise invalid(field, " or ".join(choices), describe(value))
    return choices[value]
