"""OpenAI's chat completions (`/v1/chat/completions`), as the official SDKs' types have them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.http import prompt as prompts
from oblixd.http.body import Body, compact, inline_image, invalid, schema_text, unsupported_error
from oblixd.http.dialects import openai
from oblixd.http.failures import Failure
from oblixd.http.prompt import Prompt

_ROLES = {
    "system": messages_pb2.ROLE_SYSTEM,
    "developer": messages_pb2.ROLE_SYSTEM,
    "user": messages_pb2.ROLE_USER,
    "assistant": messages_pb2.ROLE_ASSISTANT,
    "tool": messages_pb2.ROLE_TOOL,
    "function": messages_pb2.ROLE_TOOL,
}
_FINISH = {
    executions_pb2.FINISH_REASON_LENGTH: "length",
    executions_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
    executions_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
_CHOICE = {
    "auto": executions_pb2.TOOL_CHOICE_AUTO,
    "required": executions_pb2.TOOL_CHOICE_REQUIRED,
    "none": executions_pb2.TOOL_CHOICE_NONE,
}
_DONE = b"data: [DONE]\n\n"


class ChatCompletions:
    """The dialect."""

    @property
    def fields(self) -> Mapping[str, str]:
        """See `Dialect.fields`."""
        return {"input": "messages", "options": ""}

    def prompt(self, body: Body) -> Prompt:
        """Translate a request."""
        openai.refuse_unsupported(body)
        request = executions_pb2.ExecuteRequest()
        for message in body.objects("messages"):
            request.input.append(_message(message))
        result = Prompt(
            body.required_text("model"),
            request,
            stream=body.flag("stream"),
            include_usage=body.child("stream_options").flag("include_usage"),
            body=body.values,
        )
        _set_options(body, request.options)
        _set_tools(body, result)
        return result

    def reply(self, prompt: Prompt, request_id: str) -> Reply:
        """Make the writer of one answer."""
        return Reply(prompt, request_id)

    def error(self, failure: Failure) -> dict[str, Any]:
        """Return an error's body."""
        return openai.error(failure)


def _message(body: Body) -> messages_pb2.Message:
    role = _ROLES.get(body.text("role"))
    if role is None:
        raise invalid(body.field("role"), "one of " + ", ".join(_ROLES), body.values.get("role"))
    if role == messages_pb2.ROLE_TOOL:
        call_id = body.text("tool_call_id") or body.text("name")
        return prompts.tool_result(call_id, _plain_text(body))
    message = messages_pb2.Message(role=role, parts=_content(body))
    if role == messages_pb2.ROLE_ASSISTANT:
        _add_answer_parts(body, message)
    return message


def _add_answer_parts(body: Body, message: messages_pb2.Message) -> None:
    reasoning = body.text("reasoning_content") or body.text("reasoning")
    if reasoning:
        message.parts.insert(0, messages_pb2.Part(reasoning=reasoning))
    if body.has("refusal"):
        message.parts.append(messages_pb2.Part(text=body.text("refusal")))
    for call in body.objects("tool_calls"):
        function = call.child("function")
        message.parts.append(
            prompts.tool_call(call.text("id"), function.required_text("name"), function.text("arguments"))
        )
    if body.has("function_call"):
        function = body.child("function_call")
        name = function.required_text("name")
        message.parts.append(prompts.tool_call(name, name, function.text("arguments")))


def _content(body: Body) -> Iterator[messages_pb2.Part]:
    value = body.values.get("content")
    if value is None or isinstance(value, str):
        if value:
            yield messages_pb2.Part(text=value)
        return
    for part in body.objects("content"):
        kind = part.text("type")
        if kind in ("text", "refusal"):
            yield messages_pb2.Part(text=part.text(kind))
        elif kind == "image_url":
            address = part.child("image_url")
            yield inline_image(address.field("url"), address.required_text("url"))
        else:
            raise unsupported_error(part.field("type"), f"{kind!r} is neither text nor image_url")


def _plain_text(body: Body) -> str:
    return "\n".join(part.text for part in _content(body) if part.WhichOneof("kind") == "text")


def _set_options(body: Body, options: executions_pb2.GenerationOptions) -> None:
    openai.set_sampling(body, options)
    most = body.integer("max_completion_tokens") or body.integer("max_tokens")
    if most is not None:
        options.max_tokens = most
    seed = body.integer("seed")
    if seed is not None:
        options.seed = seed
    stop = body.values.get("stop")
    prompts.set_stops(options, [stop] if isinstance(stop, str) else body.list("stop"))
    prompts.set_effort(options, "reasoning_effort", body.values.get("reasoning_effort"))
    form = body.child("response_format")
    options.response_schema = openai.response_schema(form, form.child("json_schema").child("schema"))


def _set_tools(body: Body, prompt: Prompt) -> None:
    for tool in body.objects("tools"):
        kind = tool.text("type", "function")
        if kind != "function":
            prompt.ignored_fields.append(f"tools:{kind}")
            continue
        _add_tool(prompt, tool.child("function"))
    for function in body.objects("functions"):
        _add_tool(prompt, function)
    choice = body.values.get("tool_choice", body.values.get("function_call"))
    if isinstance(choice, dict):
        named = body.child("tool_choice" if body.has("tool_choice") else "function_call")
        prompts.choose_tool(prompt.request, named.child("function").text("name") or named.text("name"))
    elif choice is not None:
        if choice not in _CHOICE:
            raise invalid("tool_choice", "auto, none, required or a function", choice)
        if prompt.request.tools:
            prompt.request.tool_choice = _CHOICE[choice]


def _add_tool(prompt: Prompt, function: Body) -> None:
    prompt.request.tools.add(
        name=function.required_text("name"),
        description=function.text("description"),
        parameters_schema=schema_text(function.child("parameters").values),
    )


class Reply:
    """One chat completion."""

    content_type = "text/event-stream"
    keep_alive = b": waiting\n\n"

    def __init__(self, prompt: Prompt, request_id: str) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._created_s = int(time.time())
        self._include_usage = prompt.include_usage
        self._model = prompt.model
        self._calls: list[str] = []
        self._prefix = b""

    def begin(self, model: str) -> bytes:
        """Name the model; the first chunk tells the role."""
        first = not self._prefix
        self._model = model
        head = compact(self._envelope("chat.completion.chunk"))[:-1]
        self._prefix = f'data: {head},"choices":[{{"index":0,"delta":'.encode()
        return self._chunk('{"role":"assistant","content":""}') if first else b""

    def delta(self, delta: executions_pb2.ExecutionDelta) -> bytes:
        """Write a piece as one chunk."""
        if delta.kind == executions_pb2.DELTA_KIND_TEXT:
            return self._chunk(f'{{"content":{json.dumps(delta.text)}}}')
        if delta.kind == executions_pb2.DELTA_KIND_REASONING:
            return self._chunk(f'{{"reasoning_content":{json.dumps(delta.text)}}}')
        return self._chunk(compact({"tool_calls": [self._call(delta)]}))

    def complete(self, completion: executions_pb2.ExecutionCompleted) -> bytes:
        """Write the finish reason, the usage where it was asked for, and the end's mark."""
        result = self._chunk("{}", _FINISH.get(completion.finish_reason, "stop"))
        if self._include_usage:
            usage = {**self._envelope("chat.completion.chunk"), "choices": [], "usage": _usage(completion)}
            result += f"data: {compact(usage)}\n\n".encode()
        return result + _DONE

    def fail(self, failure: Failure) -> bytes:
        """Write the error as the last event. No end's mark follows, so that nobody takes it for an answer."""
        return f"data: {compact(openai.error(failure))}\n\n".encode()

    def as_object(self, completion: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
        """Return the completion as one object."""
        self._model = completion.message.model or self._model
        message: dict[str, Any] = {"role": "assistant", "content": prompts.answer_text(completion.message)}
        message["refusal"] = None
        if reasoning := prompts.reasoning_text(completion.message):
            message["reasoning_content"] = reasoning
        if calls := prompts.tool_calls(completion.message):
            message["content"] = message["content"] or None
            message["tool_calls"] = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments_json},
                }
                for call in calls
            ]
        reason = _FINISH.get(completion.finish_reason, "stop")
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return {**self._envelope("chat.completion"), "choices": [choice], "usage": _usage(completion)}

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created_s, "model": self._model}

    def _chunk(self, delta: str, finish: str = "") -> bytes:
        reason = f'"{finish}"' if finish else "null"
        return b'%s%s,"finish_reason":%s}]}\n\n' % (self._prefix, delta.encode(), reason.encode())

    def _call(self, delta: executions_pb2.ExecutionDelta) -> dict[str, Any]:
        head = delta.tool_call
        if head.call_id in self._calls:
            return {"index": self._calls.index(head.call_id), "function": {"arguments": delta.text}}
        self._calls.append(head.call_id)
        function = {"name": head.name, "arguments": delta.text}
        return {
            "index": len(self._calls) - 1,
            "id": head.call_id,
            "type": "function",
            "function": function,
        }


def _usage(completion: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
    read, written = openai.token_counts(completion)
    usage = completion.message.usage
    result: dict[str, Any] = {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }
    if usage.HasField("cache_read_tokens"):
        result["prompt_tokens_details"] = {"cached_tokens": usage.cache_read_tokens}
    if usage.HasField("reasoning_tokens"):
        result["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return result
