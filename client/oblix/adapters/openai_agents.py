"""A session of the OpenAI Agents SDK that Oblix keeps: `pip install oblix[openai-agents]`.

from oblix.adapters.openai_agents import OblixSession

result = await Runner.run(agent, "Hello", session=OblixSession("user-17"))
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from agents.items import TResponseInputItem
from agents.memory import SessionABC, SessionSettings
from agents.memory.session_settings import coerce_session_settings

import oblix
from oblix import AsyncClient, Message, NotFoundError

T = TypeVar("T")
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


class OblixSession(SessionABC):
    """The items of an agent's conversation, each a message of an Oblix session.

    An item is kept as it is. What of it is text can be searched and shown like any other message, and
    what other programs say in the session is an item, too.
    """

    def __init__(
        self,
        session_id: str,
        *,
        client: AsyncClient | None = None,
        metadata: Mapping[str, Any] | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        """Name the session: 1 to 128 characters of A-Z a-z 0-9 . _ -. It is made with the first item.

        `client`: one that you have already. `metadata`: for a new session.
        """
        self.session_id = session_id
        self.session_settings = coerce_session_settings(session_settings or SessionSettings())
        self._client = client or AsyncClient()
        self._metadata = metadata

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items in order: the last `limit`, or all."""
        if limit is None:
            limit = self.session_settings.limit
        try:
            found = await self._client.sessions.messages(self.session_id, last=limit).all()
        except NotFoundError:
            return []
        return [_item(message) for message in found]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items: all of them or none."""
        if items:
            await _finish(self._add([_message(cast("Mapping[str, Any]", item)) for item in items]))

    async def _add(self, messages: list[Message]) -> None:
        try:
            await self._client.sessions.append(self.session_id, messages)
        except NotFoundError:
            await self._client.sessions.get_or_create(self.session_id, metadata=self._metadata)
            await self._client.sessions.append(self.session_id, messages)

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item and return it. None where there is none. Others' new items are never lost."""
        try:
            popped = await _finish(self._client.sessions.pop(self.session_id, 1, exact=True))
        except NotFoundError:
            return None
        return _item(popped[-1]) if popped else None

    async def clear_session(self) -> None:
        """Remove all items. The session stays, with its title and metadata."""
        try:
            await _finish(self._client.sessions.truncate(self.session_id, 1, exact=True))
        except NotFoundError:
            return


async def _finish(change: Coroutine[Any, Any, T]) -> T:
    """Await a change to its end, also where the task is cancelled meanwhile.

    The SDK takes a cancelled change back, or repeats it: it must not be half known.
    """
    task = asyncio.ensure_future(change)
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()
        raise cancelled
    return task.result()


def _message(item: Mapping[str, Any]) -> Message:
    """Return an item as a message: what can be read of it as parts, all of it as client data."""
    data = json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
    match item.get("type"):
        case "function_call":
            call = oblix.ToolCall(
                str(item.get("call_id", "")),
                str(item.get("name", "")),
                None,
                str(item.get("arguments", "{}")),
            )
            return _new_message("assistant", [oblix.ToolCallPart(call)], data)
        case "function_call_output":
            output = item.get("output")
            content = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
            return _new_message("tool", [oblix.ToolResultPart(str(item.get("call_id", "")), content)], data)
        case "reasoning":
            return _new_message(
                "assistant", [oblix.ReasoningPart(_text(item.get("summary")) or "(hidden)")], data
            )
    role = ROLES.get(str(item.get("role", "assistant")), "assistant")
    text = _text(item.get("content")) or f"[{item.get('type', 'empty')}]"
    return _new_message(role, [oblix.TextPart(text)], data)


def _new_message(role: Any, parts: Sequence[oblix.Part], data: bytes) -> Message:
    return Message("", role, "", tuple(parts), client_data=data)


def _text(content: object) -> str:
    """Return what is text of an item's content."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text"))


def _item(message: Message) -> TResponseInputItem:
    """Return a message as the item that it was, or that says what it says."""
    if message.client_data:
        try:
            item = json.loads(message.client_data)
        except ValueError:
            item = None
        if isinstance(item, dict):
            return cast("TResponseInputItem", item)
    role = "user" if message.role == "tool" else message.role
    return cast("TResponseInputItem", {"role": role, "content": message.content})
