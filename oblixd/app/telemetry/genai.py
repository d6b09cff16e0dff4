"""An execution in the words of OpenTelemetry's conventions for generative AI, version 0.1.0.

https://github.com/open-telemetry/semantic-conventions-genai/tree/v0.1.0/docs/gen-ai lists the names that
begin with `gen_ai.`; those that begin with `oblix.` are ours. docs/how-to/send-traces.md lists all that are
sent, and a test compares. Nothing here needs an OpenTelemetry library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.execution.execution import Execution

Value = str | bool | int | float | Sequence[str]
Attributes = dict[str, Value]

OPERATION, PROVIDER, MODEL = "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"
ERROR, MODALITY = "error.type", "gen_ai.token.modality"
_FINISH = "gen_ai.response.finish_reasons"
TOKENS = {
    "input_tokens": "Tokens of contexts.",
    "output_tokens": "Tokens of answers.",
    "cache_read.input_tokens": "Of the contexts' tokens: what a server had in its cache.",
    "cache_write.input_tokens": "Of the contexts' tokens: what a server put into its cache.",
    "reasoning.output_tokens": "Of the answers' tokens: what a model wrote as reasoning.",
}
"""What is counted, and what that is."""

_PROVIDERS = {"openai": "openai", "claude": "anthropic"}
"""By our names. The conventions have none for the others, which keep ours."""
_PROVIDERS_BY_HOST = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
}
_PROVIDERS_BY_DOMAIN = {
    ".openai.azure.com": "azure.ai.openai",
    ".services.ai.azure.com": "azure.ai.inference",
}
_DEFAULT_PORTS = {"http": 80, "https": 443}

_FINISH_REASONS = {
    executions_pb2.FINISH_REASON_STOP: "stop",
    executions_pb2.FINISH_REASON_LENGTH: "length",
    executions_pb2.FINISH_REASON_TOOL_CALLS: "tool_call",
    executions_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
_ROLES = {
    messages_pb2.ROLE_SYSTEM: "system",
    messages_pb2.ROLE_USER: "user",
    messages_pb2.ROLE_ASSISTANT: "assistant",
    messages_pb2.ROLE_TOOL: "tool",
}


def model_attributes(model: str, origin: str) -> Attributes:
    """Say which model it is. `model`: provider:name. `origin`: its server; empty for an embedded one."""
    provider, _, name = model.partition(":")
    found: Attributes = {OPERATION: "chat", PROVIDER: _provider(provider, origin), MODEL: name}
    url = urlsplit(origin)
    if url.hostname:
        found["server.address"] = url.hostname
        found["server.port"] = url.port or _DEFAULT_PORTS.get(url.scheme, 0)
    return found


def _provider(provider: str, origin: str) -> str:
    host = urlsplit(origin).hostname or ""
    by_domain = (name for domain, name in _PROVIDERS_BY_DOMAIN.items() if host.endswith(domain))
    return _PROVIDERS_BY_HOST.get(host) or next(by_domain, "") or _PROVIDERS.get(provider, provider)


def request_attributes(request: executions_pb2.ExecuteRequest) -> Attributes:
    """Say how the model was asked. Nothing of the prompt is in it."""
    options = request.options
    found: Attributes = {"gen_ai.request.stream": True}
    if request.session_id:
        found["gen_ai.conversation.id"] = request.session_id
    if options.response_schema:
        found["gen_ai.output.type"] = "json"
    for name in ("temperature", "max_tokens", "top_p", "seed"):
        if options.HasField(name):
            found[f"gen_ai.request.{name}"] = getattr(options, name)
    if options.stop:
        found["gen_ai.request.stop_sequences"] = list(options.stop)
    if options.reasoning:
        effort = executions_pb2.ReasoningEffort.Name(options.reasoning)
        found["gen_ai.request.reasoning.level"] = effort.removeprefix("REASONING_EFFORT_").lower()
    return found


def answer_attributes(completion: executions_pb2.ExecutionCompleted | None) -> Attributes:
    """Say what came of it. The conventions know no cancelling: what ended before its end is `error`."""
    if completion is None:
        return {_FINISH: ["error"]}
    message = completion.message
    found: Attributes = {_FINISH: [_finish_reason(completion)]}
    if (first_s := first_content_s(message)) is not None:
        found["gen_ai.response.time_to_first_chunk"] = first_s
    found |= {f"gen_ai.usage.{name}": count for name, count in usage(message)}
    if message.usage.HasField("cost"):
        found["oblix.cost"] = message.usage.cost
    return found


def _finish_reason(completion: executions_pb2.ExecutionCompleted) -> str:
    return _FINISH_REASONS.get(completion.finish_reason, "error")


def queued_s(completion: executions_pb2.ExecutionCompleted | None) -> float:
    """Return how long it waited before a model worked on it, as far as that is known."""
    return completion.message.timings.queued.ToMicroseconds() / 1e6 if completion is not None else 0.0


def first_content_s(message: messages_pb2.Message) -> float | None:
    """Return the seconds from the turn's start to the first content. None: none came."""
    timings = message.timings
    has_one = timings.HasField("time_to_first_token")
    return timings.time_to_first_token.ToMicroseconds() / 1e6 if has_one else None


def usage(message: messages_pb2.Message) -> Iterator[tuple[str, int]]:
    """Yield the tokens that the model's server counted, by the names in `TOKENS`."""
    if not message.HasField("usage"):
        return
    told = message.usage
    yield "input_tokens", told.input_tokens
    yield "output_tokens", told.output_tokens
    if told.HasField("cache_read_tokens"):
        yield "cache_read.input_tokens", told.cache_read_tokens
    if told.HasField("cache_write_tokens"):
        yield "cache_write.input_tokens", told.cache_write_tokens
    if told.HasField("reasoning_tokens"):
        yield "reasoning.output_tokens", told.reasoning_tokens


def model_of(execution: Execution) -> str:
    """Return provider:name of the model that answered, or was tried last; empty: none was reached."""
    error = execution.log.error
    return execution.model or (error.metadata.get("model", "") if error is not None else "")


def execution_attributes(execution: Execution) -> Attributes:
    """Say what the whole execution was: who sent it, and where it was routed."""
    found: Attributes = {"oblix.request_id": execution.request.request_id}
    if execution.client.program_name:
        found["oblix.client"] = execution.client.program_name
    if (completed := execution.log.completed) is not None:
        reason = executions_pb2.FinishReason.Name(completed.finish_reason)
        found["oblix.finish_reason"] = reason.removeprefix("FINISH_REASON_").lower()
        decision = completed.message.decision
        routed = {"oblix.routing.rule": decision.rule, "oblix.routing.policy": decision.policy}
        found |= {name: value for name, value in routed.items() if value}
    return found


def failed_attempts(completion: executions_pb2.ExecutionCompleted | None) -> Iterator[Attributes]:
    """Yield what failed before a model answered, in order."""
    for one in completion.failed_attempts if completion is not None else ():
        yield {"oblix.model": one.model, ERROR: one.reason or "_OTHER", "oblix.retried": one.retried}


def content_attributes(
    messages: Sequence[messages_pb2.Message], completion: executions_pb2.ExecutionCompleted | None
) -> Attributes:
    """Give the prompt and its answer, as the JSON of the conventions' schemas."""
    found: Attributes = {"gen_ai.input.messages": _messages_json(messages)}
    if completion is not None:
        answer = _messages_json([completion.message], _finish_reason(completion))
        found["gen_ai.output.messages"] = answer
    return found


def _messages_json(messages: Sequence[messages_pb2.Message], finish_reason: str = "") -> str:
    end = {"finish_reason": finish_reason} if finish_reason else {}
    written = [
        {"role": _ROLES.get(one.role, "user"), "parts": [_part(part) for part in one.parts], **end}
        for one in messages
    ]
    return json.dumps(written, ensure_ascii=False)


def _part(part: messages_pb2.Part) -> Mapping[str, Any]:
    match part.WhichOneof("kind"):
        case "text":
            return {"type": "text", "content": part.text}
        case "reasoning":
            return {"type": "reasoning", "content": part.reasoning}
        case "tool_call":
            call = part.tool_call
            arguments = _arguments(call.arguments_json)
            return {"type": "tool_call", "id": call.call_id, "name": call.name, "arguments": arguments}
        case "tool_result":
            result = part.tool_result
            return {"type": "tool_call_response", "id": result.call_id, "response": result.content}
        case kind:
            # What is no text is named, and left out: a picture in a trace helps nobody.
            return {"type": str(kind)}


def _arguments(text: str) -> Any:
    """Return what a model wrote as arguments: it may be no JSON."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
