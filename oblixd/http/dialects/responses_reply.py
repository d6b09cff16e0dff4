"""OpenAI's Responses: answers. Each event has the fields that the official SDKs' types demand.

An item is told as done only when the response is complete: clients that send a broken
request again (codex) put the items that were done into the next request, once for each try.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from oblix.v1 import executions_pb2

from oblixd.http.body import compact
from oblixd.http.dialects import openai
from oblixd.http.failures import OVERFLOW, Failure
from oblixd.http.prompt import Prompt

SEPARATOR = "__"
"""Between a namespace and its function, in the name that the model sees."""
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""What an answer repeats of its request, and what stands there where the request has nothing."""
_INCOMPLETE = {
    executions_pb2.FINISH_REASON_LENGTH: "max_output_tokens",
    executions_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
_FAILED_CODES = {429: "rate_limit_exceeded", 400: "invalid_prompt"}
"""The codes of a failed response by status, as the SDKs' types have them; else it is the server's error."""


@dataclass(slots=True)
class _Item:
    """An output item as far as it is written."""

    kind: executions_pb2.DeltaKind.ValueType
    id: str
    call_id: str = ""
    name: str = ""
    namespace: str = ""
    pieces: list[str] = field(default_factory=list)

    def as_dict(self, status: str) -> dict[str, Any]:
        """Return the item as the API has it; while it is in progress it is empty."""
        text = "".join(self.pieces) if status != "in_progress" else ""
        if self.kind == executions_pb2.DELTA_KIND_TEXT:
            content = [_output_text(text)] if text else []
            return _with_status(
                {"id": self.id, "type": "message", "role": "assistant", "content": content}, status
            )
        if self.kind == executions_pb2.DELTA_KIND_REASONING:
            summary = [{"type": "summary_text", "text": text}] if text else []
            return _with_status({"id": self.id, "type": "reasoning", "summary": summary}, status)
        result = {
            "id": self.id,
            "type": "function_call",
            "call_id": self.call_id,
            "name": self.name,
            "arguments": text or ("" if status == "in_progress" else "{}"),
        }
        if self.namespace:
            result["namespace"] = self.namespace
        return _with_status(result, status)


class Reply:
    """One response."""

    content_type = "text/event-stream"

    def __init__(self, prompt: Prompt, request_id: str) -> None:
        self._request_id = request_id
        self._model = prompt.model
        self._created_s = int(time.time())
        self._echo = {name: prompt.body.get(name) or value for name, value in _ECHOED.items()}
        tools = prompt.body.get("tools") or []
        self._namespaces = [tool.get("name", "") for tool in tools if tool.get("type") == "namespace"]
        self._items: list[_Item] = []
        self._sequence = -1
        self._has_begun = False

    @property
    def keep_alive(self) -> bytes:
        """An event: comment lines are no sign of life for every client of this API."""
        if not self._has_begun:
            return self.begin(self._model)
        return self._event("response.in_progress", response=self._response())

    def begin(self, model: str) -> bytes:
        """Begin the response."""
        self._model = model
        if self._has_begun:
            return b""
        self._has_begun = True
        return self._event("response.created", response=self._response()) + self._event(
            "response.in_progress", response=self._response()
        )

    def delta(self, delta: executions_pb2.ExecutionDelta) -> bytes:
        """Write a piece; a piece of another kind begins an item."""
        item = self._items[-1] if self._items else None
        result = b""
        if item is None or (item.kind, item.call_id) != (delta.kind, delta.tool_call.call_id):
            item = self._begin_item(delta)
            result = self._item_added_event(item)
        if not delta.text:
            return result
        item.pieces.append(delta.text)
        return result + self._piece(item, delta.text)

    def complete(self, completion: executions_pb2.ExecutionCompleted) -> bytes:
        """Tell each item as done, then the response with all of them."""
        status = "incomplete" if completion.finish_reason in _INCOMPLETE else "completed"
        done = b"".join(self._item_done_event(index, item, status) for index, item in enumerate(self._items))
        return done + self._event(f"response.{status}", response=self._response(completion))

    def fail(self, failure: Failure) -> bytes:
        """Tell that the response failed."""
        code = _FAILED_CODES.get(failure.status, "server_error")
        if failure.reason == OVERFLOW:
            # The types do not list it, and agents know a full context by it alone.
            code = openai.error_code(failure)
        error = {"code": code, "message": openai.error_message(failure)}
        return self._event(
            "response.failed", response={**self._response(), "status": "failed", "error": error}
        )

    def as_object(self, completion: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
        """Return the response as one object."""
        self._model = completion.message.model or self._model
        for part in completion.message.parts:
            kind = part.WhichOneof("kind")
            if kind == "text":
                self._take(executions_pb2.DELTA_KIND_TEXT, part.text)
            elif kind == "reasoning":
                self._take(executions_pb2.DELTA_KIND_REASONING, part.reasoning)
            elif kind == "tool_call":
                head = executions_pb2.ToolCallHead(call_id=part.tool_call.call_id, name=part.tool_call.name)
                self._take(executions_pb2.DELTA_KIND_TOOL_CALL, part.tool_call.arguments_json, head)
        return self._response(completion)

    def _take(
        self,
        kind: executions_pb2.DeltaKind.ValueType,
        text: str,
        head: executions_pb2.ToolCallHead | None = None,
    ) -> None:
        delta = executions_pb2.ExecutionDelta(kind=kind, text=text, tool_call=head)
        self._begin_item(delta).pieces.append(text)

    def _begin_item(self, delta: executions_pb2.ExecutionDelta) -> _Item:
        prefix = {executions_pb2.DELTA_KIND_TEXT: "msg", executions_pb2.DELTA_KIND_REASONING: "rs"}
        number = len(self._items)
        namespace, name = self._split(delta.tool_call.name)
        item = _Item(
            delta.kind,
            f"{prefix.get(delta.kind, 'fc')}_{self._request_id}_{number}",
            delta.tool_call.call_id,
            name,
            namespace,
        )
        self._items.append(item)
        return item

    def _split(self, name: str) -> tuple[str, str]:
        """Part a tool's name into namespace and function, where the request had such a namespace."""
        for namespace in self._namespaces:
            if name.startswith(namespace + SEPARATOR):
                return namespace, name[len(namespace) + len(SEPARATOR) :]
        return "", name

    def _item_added_event(self, item: _Item) -> bytes:
        place = {"output_index": len(self._items) - 1}
        result = self._event("response.output_item.added", **place, item=item.as_dict("in_progress"))
        if item.kind == executions_pb2.DELTA_KIND_TEXT:
            part = _output_text("")
            result += self._event(
                "response.content_part.added", **place, item_id=item.id, content_index=0, part=part
            )
        elif item.kind == executions_pb2.DELTA_KIND_REASONING:
            summary = {"type": "summary_text", "text": ""}
            result += self._event(
                "response.reasoning_summary_part.added",
                **place,
                item_id=item.id,
                summary_index=0,
                part=summary,
            )
        return result

    def _piece(self, item: _Item, text: str) -> bytes:
        self._sequence += 1
        kind, more = _PIECE[item.kind]
        place = (
            f'"sequence_number":{self._sequence},"item_id":"{item.id}","output_index":{len(self._items) - 1}'
        )
        data = f'{{"type":"{kind}",{place},{more}"delta":{json.dumps(text)}}}'
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def _item_done_event(self, index: int, item: _Item, status: str) -> bytes:
        place = {"output_index": index, "item_id": item.id}
        text = "".join(item.pieces)
        result = b""
        if item.kind == executions_pb2.DELTA_KIND_TEXT:
            result += self._event(
                "response.output_text.done", **place, content_index=0, text=text, logprobs=[]
            )
            result += self._event(
                "response.content_part.done", **place, content_index=0, part=_output_text(text)
            )
        elif item.kind == executions_pb2.DELTA_KIND_REASONING:
            part = {"type": "summary_text", "text": text}
            result += self._event("response.reasoning_summary_text.done", **place, summary_index=0, text=text)
            result += self._event("response.reasoning_summary_part.done", **place, summary_index=0, part=part)
        else:
            result += self._event(
                "response.function_call_arguments.done", **place, name=item.name, arguments=text or "{}"
            )
        return result + self._event(
            "response.output_item.done", output_index=index, item=item.as_dict(status)
        )

    def _event(self, kind: str, **values: Any) -> bytes:
        self._sequence += 1
        event = {"type": kind, "sequence_number": self._sequence, **values}
        return f"event: {kind}\ndata: {compact(event)}\n\n".encode()

    def _response(self, completion: executions_pb2.ExecutionCompleted | None = None) -> dict[str, Any]:
        reason = _INCOMPLETE.get(completion.finish_reason) if completion else None
        status = "in_progress" if completion is None else "incomplete" if reason else "completed"
        items = self._items if completion else []
        return {
            "id": f"resp_{self._request_id}",
            "object": "response",
            "created_at": self._created_s,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self._model,
            "output": [item.as_dict(status) for item in items],
            "usage": _usage(completion) if completion else None,
            **self._echo,
        }


_PIECE = {
    executions_pb2.DELTA_KIND_TEXT: ("response.output_text.delta", '"content_index":0,"logprobs":[],'),
    executions_pb2.DELTA_KIND_REASONING: ("response.reasoning_summary_text.delta", '"summary_index":0,'),
    executions_pb2.DELTA_KIND_TOOL_CALL: ("response.function_call_arguments.delta", ""),
}


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _with_status(item: dict[str, Any], status: str) -> dict[str, Any]:
    return {**item, "status": status}


def _usage(completion: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
    read, written = openai.token_counts(completion)
    usage = completion.message.usage
    return {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": read + written,
    }
