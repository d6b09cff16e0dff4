"""Ollama's `/api/chat` and `/api/generate`, one JSON object a line, as its API page and client have them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.http import prompt as prompts
from oblixd.http.body import Body, compact, image, invalid, schema_text
from oblixd.http.dialects.openai import ANY_OBJECT
from oblixd.http.failures import Failure
from oblixd.http.prompt import Prompt
from oblixd.models import arguments_of

_ROLES = {
    "system": messages_pb2.ROLE_SYSTEM,
    "user": messages_pb2.ROLE_USER,
    "assistant": messages_pb2.ROLE_ASSISTANT,
    "tool": messages_pb2.ROLE_TOOL,
}
_HONOURED = ("temperature", "top_p", "seed", "num_predict", "stop")


class Chat:
    """`/api/chat`."""

    @property
    def fields(self) -> Mapping[str, str]:
        """See `Dialect.fields`."""
        return {"input": "messages"}

    def prompt(self, body: Body) -> Prompt:
        """Translate a request."""
        result = _prompt(body)
        pending: list[str] = []
        for message in body.objects("messages"):
            result.request.input.append(_message(message, pending))
        for tool in body.objects("tools"):
            function = tool.child("function")
            result.request.tools.add(
                name=function.required_text("name"),
                description=function.text("description"),
                parameters_schema=schema_text(function.child("parameters").values),
            )
        return result

    def reply(self, prompt: Prompt, request_id: str) -> Reply:
        """Make the writer of one answer."""
        return Reply(prompt, _chat_piece)

    def error(self, failure: Failure) -> dict[str, Any]:
        """Return an error's body."""
        return {"error": failure.message}


class Generate(Chat):
    """`/api/generate`: one prompt instead of messages."""

    @property
    def fields(self) -> Mapping[str, str]:
        """See `Dialect.fields`."""
        return {"input": "prompt"}

    def prompt(self, body: Body) -> Prompt:
        """Translate a request."""
        result = _prompt(body)
        if body.text("system"):
            result.request.input.append(prompts.text_message(messages_pb2.ROLE_SYSTEM, body.text("system")))
        message = prompts.text_message(messages_pb2.ROLE_USER, body.text("prompt"))
        message.parts.extend(_images(body))
        result.request.input.append(message)
        return result

    def reply(self, prompt: Prompt, request_id: str) -> Reply:
        """Make the writer of one answer."""
        return Reply(prompt, _generate_piece)


def _prompt(body: Body) -> Prompt:
    result = Prompt(
        body.required_text("model"),
        executions_pb2.ExecuteRequest(),
        stream=body.flag("stream", default=True),
        body=body.values,
    )
    given, options = body.child("options"), result.request.options
    for name in ("temperature", "top_p"):
        value = given.number(name)
        if value is not None:
            setattr(options, name, value)
    most, seed = given.integer("num_predict"), given.integer("seed")
    # -1 and -2 ask for no limit.
    if most is not None and most > 0:
        options.max_tokens = most
    if seed is not None:
        options.seed = seed
    stop = given.values.get("stop")
    prompts.set_stops(options, [stop] if isinstance(stop, str) else given.list("stop"))
    prompts.set_effort(options, "think", body.values.get("think"))
    form = body.values.get("format")
    if isinstance(form, dict):
        options.response_schema = compact(form)
    elif form == "json":
        options.response_schema = ANY_OBJECT
    elif form:
        raise invalid("format", '"json" or a JSON Schema', form)
    if body.has("keep_alive"):
        result.ignored_fields.append("keep_alive")
    result.ignored_fields.extend(f"options.{name}" for name in given.values if name not in _HONOURED)
    return result


def _message(body: Body, pending: list[str]) -> messages_pb2.Message:
    """Translate a message. Ollama's tool calls have no ids: results answer them in order."""
    role = _ROLES.get(body.text("role"))
    if role is None:
        raise invalid(body.field("role"), "system, user, assistant or tool", body.values.get("role"))
    if role == messages_pb2.ROLE_TOOL:
        given = body.text("tool_call_id")
        call_id = given or (pending.pop(0) if pending else body.text("tool_name"))
        return prompts.tool_result(call_id, body.text("content"))
    message = prompts.text_message(role, body.text("content"))
    if body.text("thinking"):
        message.parts.insert(0, messages_pb2.Part(reasoning=body.text("thinking")))
    message.parts.extend(_images(body))
    for number, call in enumerate(body.objects("tool_calls")):
        function = call.child("function")
        call_id = call.text("id") or f"call_{len(pending)}_{number}"
        pending.append(call_id)
        arguments = compact(function.child("arguments").values)
        message.parts.append(prompts.tool_call(call_id, function.required_text("name"), arguments))
    return message


def _images(body: Body) -> Iterator[messages_pb2.Part]:
    for number, data in enumerate(body.list("images")):
        field = f"{body.field('images')}[{number}]"
        if not isinstance(data, str):
            raise invalid(field, "an image as base64", data)
        yield image(field, _media_type(data), data)


def _media_type(data: str) -> str:
    """Tell an image's type by its first bytes, which base64 shows as these letters."""
    if data.startswith("/9j/"):
        return "image/jpeg"
    if data.startswith("R0lGOD"):
        return "image/gif"
    return "image/webp" if data.startswith("UklGR") else "image/png"


def _chat_piece(
    content: str, thinking: str = "", calls: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {"message": message}


def _generate_piece(
    content: str, thinking: str = "", calls: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {"response": content, **({"thinking": thinking} if thinking else {})}


class Reply:
    """One answer, line by line. Tool calls are sent whole, as Ollama does."""

    content_type = "application/x-ndjson"

    def __init__(self, prompt: Prompt, piece: Any) -> None:
        self._model = prompt.model
        self._piece = piece
        self._started_s = time.monotonic()

    @property
    def keep_alive(self) -> bytes:
        """An empty piece."""
        return self._line(self._piece(""))

    def begin(self, model: str) -> bytes:
        """Nothing stands before the first piece. Clients of this API expect the name that they asked for."""
        return b""

    def delta(self, delta: executions_pb2.ExecutionDelta) -> bytes:
        """Write a piece."""
        if delta.kind == executions_pb2.DELTA_KIND_TEXT:
            return self._line(self._piece(delta.text))
        if delta.kind == executions_pb2.DELTA_KIND_REASONING:
            return self._line(self._piece("", delta.text))
        return b""

    def complete(self, completion: executions_pb2.ExecutionCompleted) -> bytes:
        """Write the tool calls and the line that ends the answer."""
        calls = _calls(completion)
        result = self._line(self._piece("", "", calls)) if calls else b""
        return result + self._line({**self._piece(""), **self._end(completion)}, done=True)

    def fail(self, failure: Failure) -> bytes:
        """Write the error as the last line."""
        return f"{compact({'error': failure.message})}\n".encode()

    def as_object(self, completion: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
        """Return the answer as one object."""
        message = completion.message
        piece = self._piece(prompts.answer_text(message), prompts.reasoning_text(message), _calls(completion))
        return {**self._envelope(done=True), **piece, **self._end(completion)}

    def _envelope(self, *, done: bool) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {"model": self._model, "created_at": now, "done": done}

    def _line(self, values: dict[str, Any], *, done: bool = False) -> bytes:
        return f"{compact({**self._envelope(done=done), **values})}\n".encode()

    def _end(self, completion: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
        usage, timings = completion.message.usage, completion.message.timings
        total_ns = round((time.monotonic() - self._started_s) * 1e9)
        reading_ns = timings.time_to_first_token.ToNanoseconds()
        limit = completion.finish_reason == executions_pb2.FINISH_REASON_LENGTH
        return {
            "done_reason": "length" if limit else "stop",
            "total_duration": total_ns,
            "load_duration": 0,
            "prompt_eval_count": usage.input_tokens or completion.context.sent_tokens,
            "prompt_eval_duration": reading_ns,
            "eval_count": usage.output_tokens,
            "eval_duration": max(0, timings.total.ToNanoseconds() - reading_ns),
        }


def _calls(completion: executions_pb2.ExecutionCompleted) -> list[dict[str, Any]]:
    return [
        {
            "id": call.call_id,
            "function": {
                "index": number,
                "name": call.name,
                "arguments": arguments_of(call),
            },
        }
        for number, call in enumerate(prompts.tool_calls(completion.message))
    ]
