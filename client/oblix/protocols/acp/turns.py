"""One turn of an editor's session: the answer streams, tools are called, until the model is done."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from acp import Client, helpers, schema

from oblix import Completed, Delta, Event, FailedPreconditionError, OblixClient, Rerouted
from oblix.protocols.acp.editor_tools import KINDS, Call, EditorTools, Result, arguments_of

MAX_ROUNDS = 25
"""Answers of one turn: each round of tool calls asks the model once more."""
STOP_REASONS: dict[str, schema.StopReason] = {
    "length": "max_tokens",
    "content_filter": "refusal",
    "cancelled": "cancelled",
}
NO_TOOLS = "NO_MODEL_ALLOWED"
"""The reason of the refusal where no model can call tools: the prompt goes again without them."""


class Turn:
    """A prompt, until its end."""

    def __init__(
        self,
        client: OblixClient,
        editor: Client,
        session_id: str,
        tools: EditorTools,
        options: dict[str, Any],
    ) -> None:
        self._client = client
        self._editor = editor
        self._session_id = session_id
        self._tools = tools
        self._options = options
        self._definitions = tools.definitions()
        self._message_id = ""
        self._shown: dict[str, str] = {}
        self._input_tokens = self._output_tokens = 0

    async def run(self, parts: Sequence[dict[str, Any]]) -> schema.PromptResponse:
        """Ask, and go on until the model asks for no more tools. Cancelling the task cancels the answer."""
        prompt: dict[str, Any] = {"prompt": [{"role": "user", "content": list(parts)}]}
        for _ in range(MAX_ROUNDS):
            completed = await self._ask(prompt)
            calls = completed.response.get("tool_calls") or []
            if completed.finish_reason != "tool_calls" or not calls:
                reason = STOP_REASONS.get(completed.finish_reason, "end_turn")
                return self._response(reason, completed)
            prompt = {"tool_results": [await self._call(call) for call in calls]}
        return self._response("max_turn_requests", completed)

    def _response(self, reason: schema.StopReason, completion: Completed) -> schema.PromptResponse:
        counts = (self._input_tokens, self._output_tokens)
        usage = schema.Usage(input_tokens=counts[0], output_tokens=counts[1], total_tokens=sum(counts))
        about = {"model": completion.response["model_id"], "requestId": completion.request_id}
        return schema.PromptResponse(stop_reason=reason, usage=usage, field_meta={"oblix": about})

    async def _ask(self, prompt: dict[str, Any]) -> Completed:
        try:
            return await self._stream(prompt)
        except FailedPreconditionError as error:
            if error.reason != NO_TOOLS or not self._definitions:
                raise
        self._definitions = []
        return await self._stream(prompt)

    async def _stream(self, prompt: dict[str, Any]) -> Completed:
        self._message_id, self._shown = str(uuid.uuid4()), {}
        options = prompt | self._options | ({"tools": self._definitions} if self._definitions else {})
        events = self._client.stream(session_id=self._session_id, **options)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Completed):
                    self._count(event)
                    return event
                await self._show_event(event)
        raise AssertionError("a stream ends with Completed or an error")  # pragma: no cover

    def _count(self, completion: Completed) -> None:
        metrics = completion.response["metrics"]
        self._input_tokens += metrics["input_tokens"] or 0
        self._output_tokens += metrics["output_tokens"] or 0

    async def _show_event(self, event: Event) -> None:
        if isinstance(event, Rerouted):
            self._message_id = str(uuid.uuid4())
            told = f"\n\n[{event.from_model} broke off; {event.to_model} answers anew.]\n\n"
            await self._show(helpers.update_agent_message_text(told))
        elif isinstance(event, Delta) and event.kind == "tool_call":
            await self._begin(event.call_id, event.name)
        elif isinstance(event, Delta):
            is_thought = event.kind == "reasoning"
            make = helpers.update_agent_thought_text if is_thought else helpers.update_agent_message_text
            chunk = make(event.text)
            chunk.message_id = self._message_id
            await self._show(chunk)

    async def _begin(self, call_id: str, name: str) -> None:
        """Show that the model writes a call. Its arguments follow when they are whole."""
        if call_id not in self._shown:
            # A model may use its ids again; the editor's are unique in the session.
            self._shown[call_id] = shown_id = f"{self._message_id}/{call_id}"
            kind = KINDS.get(name, "other")
            await self._show(helpers.start_tool_call(shown_id, name, kind=kind, status="pending"))

    async def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        await self._begin(call["call_id"], call["name"])
        shown_id = self._shown[call["call_id"]]
        one = Call(shown_id, call["name"], arguments_of(call["arguments_json"]))
        await self._show(helpers.update_tool_call(shown_id, title=one.title, raw_input=dict(one.arguments)))
        try:
            result = await self._tools.call(one)
        except asyncio.CancelledError:
            await asyncio.shield(self._show(helpers.update_tool_call(shown_id, status="failed")))
            raise
        return _result(call["call_id"], result)

    async def _show(self, update: Any) -> None:
        await self._editor.session_update(session_id=self._session_id, update=update)


def _result(call_id: str, result: Result) -> dict[str, Any]:
    return {"call_id": call_id, "content": result.text, "is_error": result.is_error}
