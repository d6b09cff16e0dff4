"""Requests to a model, and the whole of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from oblix.v1 import messages_pb2

from oblixd.models.base import (
    ChatRequest,
    Connection,
    Content,
    ContentKind,
    Finished,
    Location,
    ModelError,
    Options,
    ToolCall,
)
from oblixd.models.egress import Egress, allow_all
from oblixd.models.hook_spec import HookSpec

PLAIN = Options()


@dataclass
class Heard:
    """What a stream gave until it ended, and how it ended."""

    contents: list[Content] = field(default_factory=list)
    finished: Finished | None = None
    error: ModelError | None = None

    @property
    def text(self) -> str:
        return "".join(one.text for one in self.contents if one.kind is ContentKind.TEXT)

    @property
    def reasoning(self) -> str:
        return "".join(one.text for one in self.contents if one.kind is ContentKind.REASONING)

    @property
    def calls(self) -> dict[ToolCall, str]:
        """The arguments of each tool call, joined."""
        joined: dict[ToolCall, str] = {}
        for one in self.contents:
            if one.call is not None:
                joined[one.call] = joined.get(one.call, "") + one.text
        return joined


def message(role: messages_pb2.Role.ValueType, *parts: str | messages_pb2.Part) -> messages_pb2.Message:
    """A message of texts and other parts."""
    made = [messages_pb2.Part(text=part) if isinstance(part, str) else part for part in parts]
    return messages_pb2.Message(role=role, parts=made)


def chat(messages: Sequence[messages_pb2.Message], options: Options = PLAIN, **others: Any) -> ChatRequest:
    """A request whose text may go anywhere."""
    return ChatRequest(messages, options, **{"is_local_only": allow_all, **others})


def question(text: str = "What is up?", **options: object) -> ChatRequest:
    """One question of a user's."""
    return chat([message(messages_pb2.ROLE_USER, text)], Options(**options))


def anywhere() -> Egress:
    """The way of a text that may go wherever its model runs."""
    return Egress(HookSpec("custom", "any", location=Location.CLOUD), allow_all)


async def ask(connection: Connection, request: ChatRequest | None = None) -> Heard:
    """Ask and collect everything. A ModelError is part of what was heard."""
    heard = Heard()
    try:
        async with aclosing(connection.stream(request or question())) as items:
            async for item in items:
                assert heard.finished is None, "something came after the end"
                if isinstance(item, Finished):
                    heard.finished = item
                else:
                    heard.contents.append(item)
    except ModelError as error:
        heard.error = error
    return heard
