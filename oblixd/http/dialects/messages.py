"""Anthropic's Messages (`/v1/messages`), as the official SDKs' types have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.http import prompt as prompts
from oblixd.http.body import Body, compact, image, invalid, schema_text, unsupported_error
from oblixd.http.failures import OVERFLOW, Failure
from oblixd.http.prompt import Prompt
from oblixd.models import ANY_CLAUDE, MessageState, arguments_of, claude_thoughts

_STOP_REASON = {
    executions_pb2.FINISH_REASON_LENGTH: "max_tokens",
    executions_pb2.FINISH_REASON_TOOL_CALLS: "tool_use",
    executions_pb2.FINISH_REASON_CONTENT_FILTER: "refusal",
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_CHOICE = {
    "auto": executions_pb2.TOOL_CHOICE_AUTO,
    "any": executions_pb2.TOOL_CHOICE_REQUIRED,
    "none": executions_pb2.TOOL_CHOICE_NONE,
}
_BLOCKS = {
    executions_pb2.DELTA_KIND_TEXT: {"type": "text", "text": ""},
    executions_pb2.DELTA_KIND_REASONING: {"type": "thinking", "thinking": "", "signature": ""},
}
_DELTAS = {
    executions_pb2.DELTA_KIND_TEXT: ("text_delta", "text"),
    executions_pb2.DELTA_KIND_REASONING: ("thinking_delta", "thinking"),
    executions_pb2.DELTA_KIND_TOOL_CALL: ("input_json_delta", "partial_json"),
}
_REFUSED = ("container", "mcp_servers")


class Messages:
    """The dialect."""

    @property
    def fields(self) -> Mapping[str, str]:
        """See `Dialect.fields`."""
        return {"input": "messages", "options": ""}

    def prompt(self, body: Body) -> Prompt:
        """Translate a request."""
        for name in _REFUSED:
            if body.values.get(name):
                raise unsupported_error(name, "leave it out")
        result = Prompt(
            body.required_text("model"),
            executions_pb2.ExecuteRequest(),
            stream=body.flag("stream"),
            body=body.values,
        )
        request = result.request
        system = _system(body)
        if system:
            request.input.append(prompts.text_message(messages_pb2.ROLE_SYSTEM, system))
        for message in body.objects("messages"):
            request.input.extend(_messages(message, result))
        if body.has("top_k"):
            result.ignored_fields.append("top_k")
        _set_options(body, request.options)
        _set_tools(body, result)
        return result

    def reply(self, prompt: Prompt, request_id: str) -> Reply:
        """Make the writer of one answer."""
        return Reply(prompt, request_id)

    def error(self, failure: Failure) -> dict[str, Any]:
        """Return an error's body."""
        return _error(failure)


def _system(body: Body) -> str:
    value = body.values.get("system")
    if value is None or isinstance(value, str):
        return value or ""
    return "\n\n".join(block.text("text") for block in body.objects("system"))


def _messages(body: Body, prompt: Prompt) -> Iterator[messages_pb2.Message]:
    """Tool results go into messages of their own, before what the person says beside them."""
    role = body.text("role")
    if role == "system":
        yield prompts.text_message(messages_pb2.ROLE_SYSTEM, _text_of(body))
        return
    if role not in ("user", "assistant"):
        raise invalid(body.field("role"), "user or assistant", role)
    spoken = messages_pb2.Message(
        role=messages_pb2.ROLE_USER if role == "user" else messages_pb2.ROLE_ASSISTANT
    )
    for block in _blocks(body):
        if block.text("type") == "tool_result":
            yield prompts.tool_result(
                block.text("tool_use_id"), _text_of(block), is_error=block.flag("is_error")
            )
            spoken.parts.extend(part for part in _parts(block, prompt) if part.HasField("image"))
        else:
            part = _part(block, prompt)
            if part is not None:
                spoken.parts.append(part)
    if role == "assistant":
        _keep_thinking(body, spoken)
    if spoken.parts:
        yield spoken


def _keep_thinking(body: Body, message: messages_pb2.Message) -> None:
    """Take over what Claude signed, at its places in the answer: it wants that back unchanged."""
    state = MessageState()
    for block in _blocks(body):
        kind = block.text("type")
        if kind in ("thinking", "redacted_thinking"):
            state.begin(block.values)
        elif kind == "text":
            state.say(block.text("text"))
        elif kind == "tool_use":
            state.called()
    if written := state.to_json():
        message.provider_state.CopyFrom(messages_pb2.ProviderState(author=ANY_CLAUDE, json=written))


def _blocks(body: Body) -> Iterator[Body]:
    value = body.values.get("content")
    if isinstance(value, str):
        yield Body({"type": "text", "text": value}, body.field("content"))
    else:
        yield from body.objects("content")


def _parts(body: Body, prompt: Prompt) -> Iterator[messages_pb2.Part]:
    for block in _blocks(body):
        part = _part(block, prompt)
        if part is not None:
            yield part


def _text_of(body: Body) -> str:
    return "\n".join(block.text("text") for block in _blocks(body) if block.text("type") == "text")


def _part(block: Body, prompt: Prompt) -> messages_pb2.Part | None:
    kind = block.text("type")
    if kind == "text":
        return messages_pb2.Part(text=block.text("text")) if block.text("text") else None
    if kind == "thinking":
        return messages_pb2.Part(reasoning=block.text("thinking")) if block.text("thinking") else None
    if kind == "tool_use":
        arguments = compact(block.child("input").values)
        return prompts.tool_call(block.text("id"), block.required_text("name"), arguments)
    if kind == "image":
        source = block.child("source")
        if source.text("type") != "base64":
            raise unsupported_error(source.field("type"), "send the image itself, with base64")
        return image(source.field("data"), source.text("media_type"), source.text("data"))
    if kind == "document":
        return _document(block)
    if kind == "redacted_thinking":
        # Part of the provider's state, and nothing to read.
        return None
    # What a provider adds of its own (server tools' results) no other model can read.
    prompt.ignored_fields.append(f"content:{kind}")
    return None


def _document(block: Body) -> messages_pb2.Part:
    source = block.child("source")
    if source.text("type") != "text":
        raise unsupported_error(source.field("type"), "send a document's text")
    return messages_pb2.Part(text=source.text("data"))


def _set_options(body: Body, options: executions_pb2.GenerationOptions) -> None:
    most = body.integer("max_tokens")
    if most is not None:
        options.max_tokens = most
    for name in ("temperature", "top_p"):
        value = body.number(name)
        if value is not None:
            setattr(options, name, value)
    prompts.set_stops(options, body.list("stop_sequences"))
    thinking = body.child("thinking")
    if thinking.text("type"):
        prompts.set_effort(options, "thinking.type", thinking.text("type") != "disabled")
    effort = body.child("output_config").values.get("effort")
    prompts.set_effort(options, "output_config.effort", effort)
    form = body.child("output_format") if body.has("output_format") else body.child("output_config")
    form = form.child("format") if form.has("format") else form
    options.response_schema = schema_text(form.child("schema").values)


def _set_tools(body: Body, prompt: Prompt) -> None:
    for tool in body.objects("tools"):
        kind = tool.text("type", "custom")
        if kind != "custom":
            prompt.ignored_fields.append(f"tools:{kind}")
            continue
        prompt.request.tools.add(
            name=tool.required_text("name"),
            description=tool.text("description"),
            parameters_schema=schema_text(tool.child("input_schema").values),
        )
    choice = body.child("tool_choice")
    kind = choice.text("type")
    if kind == "tool":
        prompts.choose_tool(prompt.request, choice.required_text("name"))
    elif kind:
        if kind not in _CHOICE:
            raise invalid(choice.field("type"), "auto, any, tool or none", kind)
        if prompt.request.tools:
            prompt.request.tool_choice = _CHOICE[kind]


class Reply:
    """One message."""

    content_type = "text/event-stream"
    keep_alive = b'event: ping\ndata: {"type": "ping"}\n\n'

    def __init__(self, prompt: Prompt, request_id: str) -> None:
        self._id = f"msg_{request_id}"
        self._model = prompt.model
        self._has_begun = False
        self._index = -1
        self._block: tuple[int, str] | None = None
        """Kind and tool call of the block that is open."""

    def begin(self, model: str) -> bytes:
        """Begin the message."""
        self._model = model
        if self._has_begun:
            return b""
        self._has_begun = True
        usage = {"input_tokens": 0, "output_tokens": 0}
        message = {**self._envelope(), "content": [], "stop_reason": None, "usage": usage}
        return _event("message_start", {"message": message})

    def delta(self, delta: executions_pb2.ExecutionDelta) -> bytes:
        """Write a piece; a piece of another kind begins a block."""
        if delta.redacted:
            return self._close() + self._redacted_block(delta.redacted)
        if delta.signature:
            return self._sign(delta.signature)
        result = b""
        key = (delta.kind, delta.tool_call.call_id)
        if key != self._block:
            result = self._close() + self._block_start(delta)
            self._block = key
        kind, field = _DELTAS[delta.kind]
        if delta.text:
            piece = f'{{"type":"{kind}","{field}":{json.dumps(delta.text)}}}'
            data = f'{{"type":"content_block_delta","index":{self._index},"delta":{piece}}}'
            result += f"event: content_block_delta\ndata: {data}\n\n".encode()
        return result

    def complete(self, completion: executions_pb2.ExecutionCompleted) -> bytes:
        """Close the last block, tell the stop reason and the usage."""
        delta = {"stop_reason": _stop_reason(completion), "stop_sequence": None}
        return (
            self._close()
            + _event("message_delta", {"delta": delta, "usage": _usage(completion)})
            + _event("message_stop", {})
        )

    def fail(self, failure: Failure) -> bytes:
        """Write the error as the last event."""
        return f"event: error\ndata: {compact(_error(failure))}\n\n".encode()

    def as_object(self, completion: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
        """Return the message as one object."""
        self._model = completion.message.model or self._model
        return {
            **self._envelope(),
            "content": list(_content(completion.message)),
            "stop_reason": _stop_reason(completion),
            "usage": _usage(completion),
        }

    def _envelope(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "stop_sequence": None,
        }

    def _sign(self, signature: str) -> bytes:
        """Sign the block of thinking that is open; one without a word is opened for it."""
        thinking = executions_pb2.ExecutionDelta(kind=executions_pb2.DELTA_KIND_REASONING)
        begun = self.delta(thinking)
        delta = {"type": "signature_delta", "signature": signature}
        signed = _event("content_block_delta", {"index": self._index, "delta": delta})
        return begun + signed + self._close()

    def _redacted_block(self, data: str) -> bytes:
        self._index += 1
        block = {"type": "redacted_thinking", "data": data}
        return _event("content_block_start", {"index": self._index, "content_block": block}) + _event(
            "content_block_stop", {"index": self._index}
        )

    def _block_start(self, delta: executions_pb2.ExecutionDelta) -> bytes:
        self._index += 1
        head = delta.tool_call
        block: dict[str, Any] = _BLOCKS.get(delta.kind) or {
            "type": "tool_use",
            "id": head.call_id,
            "name": head.name,
            "input": {},
        }
        return _event("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> bytes:
        if self._block is None:
            return b""
        self._block = None
        return _event("content_block_stop", {"index": self._index})


def _event(kind: str, values: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {compact({'type': kind, **values})}\n\n".encode()


def _content(message: messages_pb2.Message) -> Iterator[dict[str, Any]]:
    """Write an answer's blocks. What Claude signed stands where it was, in place of its text alone."""
    state = message.provider_state
    thoughts = claude_thoughts(state.author, state.json)
    if not thoughts:
        yield from (block for part in message.parts if (block := _block(part)))
        return
    characters = calls = 0
    for part in message.parts:
        while thoughts and characters >= thoughts[0][1] and calls >= thoughts[0][2]:
            yield dict(thoughts.pop(0)[0])
        kind = part.WhichOneof("kind")
        characters += len(part.text)
        calls += kind == "tool_call"
        if kind != "reasoning" and (block := _block(part)):
            yield block
    yield from (dict(thought) for thought, _, _ in thoughts)


def _block(part: messages_pb2.Part) -> dict[str, Any] | None:
    kind = part.WhichOneof("kind")
    if kind == "text":
        return {"type": "text", "text": part.text, "citations": None}
    if kind == "reasoning":
        return {"type": "thinking", "thinking": part.reasoning, "signature": ""}
    if kind == "tool_call":
        call = part.tool_call
        return {
            "type": "tool_use",
            "id": call.call_id,
            "name": call.name,
            "input": arguments_of(call),
        }
    return None


def _stop_reason(completion: executions_pb2.ExecutionCompleted) -> str:
    return _STOP_REASON.get(completion.finish_reason, "end_turn")


def _usage(completion: executions_pb2.ExecutionCompleted) -> dict[str, int]:
    usage = completion.message.usage
    read = usage.input_tokens or completion.context.sent_tokens
    return {
        # In this API what went through the cache is counted beside it, not in it.
        "input_tokens": max(0, read - usage.cache_read_tokens - usage.cache_write_tokens),
        "output_tokens": usage.output_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
    }


def _error(failure: Failure) -> dict[str, Any]:
    message = failure.message
    if failure.reason == OVERFLOW:
        # The words by which clients of this API know that they have to shorten the conversation.
        message = (
            f"prompt is too long: {failure.needed_tokens} tokens > {failure.window_tokens} maximum. {message}"
        )
    kind = _TYPES.get(failure.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message, "code": failure.reason.lower()}}
