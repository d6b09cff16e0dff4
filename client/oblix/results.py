"""What a client returns of conversations: sessions, messages and their parts, search hits.

Every result is frozen and typed. `to_dict()` gives it as JSON values, in the shape of Oblix's own files.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import msgspec

RoleName = Literal["system", "user", "assistant", "tool"]
StatusName = Literal["complete", "streaming", "cancelled", "failed", "interrupted"]
RetentionAction = Literal["archive", "delete"]


class Result(msgspec.Struct, frozen=True):
    """Something that a client returns. It can't be changed."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict of JSON values. Times are ISO 8601 in UTC, bytes are base64."""
        return {name: json_value(getattr(self, name)) for name in self.__struct_fields__}


def json_value(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    match value:
        case Result():
            return value.to_dict()
        case datetime():
            return time_text(value)
        case bytes():
            return b64encode(value).decode()
        case list() | tuple():
            return [json_value(item) for item in value]
        case dict():
            return {key: json_value(item) for key, item in value.items()}
    return value


def time_text(moment: datetime) -> str:
    """Write an instant with six fraction digits and Z: `2026-01-31T12:00:00.000000Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class Retention(Result, frozen=True):
    """What becomes of a session to which nothing is added for long."""

    days: int
    """Days after the last change, at most 36,500. 0: it stays for ever."""
    action: RetentionAction = "archive"


class Session(Result, frozen=True):
    """A conversation's header. `client.sessions.messages(session)` reads what was said."""

    id: str
    title: str
    created_at: datetime
    updated_at: datetime
    """When a message or an update last changed it."""
    message_count: int = 0
    metadata: Mapping[str, Any] = {}
    """The program's labels, to filter by."""
    context: Mapping[str, Any] = {}
    """The program's own data. Models see the text under `system` only."""
    etag: str = ""
    """Changes whenever the header changes: `update(etag=...)` holds only on the header that was read."""
    archived: bool = False
    local_only: bool = False
    """True: no cloud model ever sees it."""
    running_request_id: str | None = None
    """The execution whose answer is being written, for `executions.attach`."""
    parent_id: str | None = None
    """The session that this one is a copy of."""
    parent_sequence: int = 0
    """The last message that was copied from the parent."""
    routing_policy: str = ""
    """The policy that its prompts are routed by where they name none."""
    retention: Retention | None = None
    """None: what the daemon's configuration says."""
    deleted_at: datetime | None = None
    purged_at: datetime | None = None
    """When a deleted session is gone for good."""
    damaged: str | None = None
    """What is wrong, where its records are damaged on disk. Then only `id` is known."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as `OblixClient.get_session` does. A mark is there where it is set."""
        if self.damaged:
            shown = dict.fromkeys(("title", "created_at", "updated_at"), "")
            return {"id": self.id} | shown | {"message_count": 0, "metadata": {}, "damaged": self.damaged}
        always = {
            **self.summary(),
            "context": json_value(self.context),
            "etag": self.etag,
        }
        marks = {
            "local_only": self.local_only,
            "routing_policy": self.routing_policy,
            "retention": json_value(self.retention),
        }
        return always | {name: mark for name, mark in marks.items() if mark}

    def summary(self) -> dict[str, Any]:
        """Return what a list of sessions shows of it, as `OblixClient.list_sessions` does."""
        if self.damaged:
            return self.to_dict()
        names = ("id", "title", "created_at", "updated_at", "message_count", "metadata")
        marks = ("archived", "running_request_id", "parent_id", "deleted_at", "purged_at")
        shown = {name: json_value(getattr(self, name)) for name in names}
        return shown | {name: json_value(value) for name in marks if (value := getattr(self, name))}


class TextPart(Result, frozen=True):
    """Text that a person reads."""

    text: str


class ImagePart(Result, frozen=True):
    """An image, encoded as its media type says."""

    media_type: str
    data: bytes

    def to_dict(self) -> dict[str, Any]:
        """Return it as `{"image": {"media_type": ..., "data": base64}}`."""
        return {"image": {"media_type": self.media_type, "data": json_value(self.data)}}


class ToolCall(Result, frozen=True):
    """A tool that the model wants called."""

    call_id: str
    name: str
    arguments: Mapping[str, Any] | None
    """None where the model wrote something else than a JSON object."""
    arguments_json: str
    """The arguments as the model wrote them."""


class ToolCallPart(Result, frozen=True):
    """A call of a tool, in a message."""

    call: ToolCall

    def to_dict(self) -> dict[str, Any]:
        """Return it as `{"tool_call": {...}}`, with the arguments as the model wrote them."""
        call = {
            "call_id": self.call.call_id,
            "name": self.call.name,
            "arguments_json": self.call.arguments_json,
        }
        return {"tool_call": {name: value for name, value in call.items() if value}}


class ToolResultPart(Result, frozen=True):
    """What a tool answered."""

    call_id: str
    content: str
    is_error: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as `{"tool_result": {...}}`."""
        result = {"call_id": self.call_id, "content": self.content, "is_error": self.is_error}
        return {"tool_result": {name: value for name, value in result.items() if value}}


class ReasoningPart(Result, frozen=True):
    """The model's thinking, apart from its answer."""

    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as `{"reasoning": text}`."""
        return {"reasoning": self.text}


Part: TypeAlias = TextPart | ImagePart | ToolCallPart | ToolResultPart | ReasoningPart


class Usage(Result, frozen=True):
    """What an answer consumed, as the model's server counted it."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int | None = None
    """Of the input. None: the server did not say; so with the next two."""
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Of the output."""
    cost: float | None = None
    """In the configuration's currency. None: the model has no price there."""

    def to_dict(self) -> dict[str, Any]:
        """Return the counts that are known."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


class Timings(Result, frozen=True):
    """How long an answer took, in seconds."""

    total: float
    """From the request's arrival to the end."""
    queued: float = 0.0
    """From the request's arrival to the start of its turn."""
    time_to_first_token: float | None = None
    """From the start of the turn. None: no content came."""
    tokens_per_second: float | None = None
    """Output tokens, from the first content to the end. None: not known."""


class Exclusion(Result, frozen=True):
    """Why a message is left out of the contexts that models are sent."""

    reason: str
    """UPPER_SNAKE."""
    detail: str
    """The same for a person."""
    marked_at: datetime


class ProviderState(Result, frozen=True):
    """What the server that wrote an answer wants back with it. It means nothing to anybody else."""

    author: str
    json: str


class Message(Result, frozen=True):
    """One message of a conversation."""

    id: str
    role: RoleName
    content: str
    """Its text parts, joined."""
    parts: tuple[Part, ...] = ()
    """What was said, in order: texts, images, calls of tools and their results, reasoning."""
    sequence: int = 0
    """Its place in the session, from 1. 0: it is in none."""
    timestamp: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    status: StatusName = "complete"
    model: str | None = None
    """The model that wrote it, as `provider:name`."""
    usage: Usage | None = None
    timings: Timings | None = None
    request_id: str | None = None
    """The execution that recorded it."""
    version: int = 0
    """How often it was edited or answered anew."""
    exclusion: Exclusion | None = None
    """Set: it is left out of contexts."""
    client_data: bytes = b""
    """The program's own data. Never sent to a model, searched or shown."""
    source_session_id: str | None = None
    """The session that a merge took it from."""
    provider_state: ProviderState | None = None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that it calls."""
        return tuple(part.call for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def reasoning(self) -> str:
        """The model's thinking, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, ReasoningPart))

    def to_dict(self) -> dict[str, Any]:
        """Return it as `OblixClient.load_session` does. A mark is there where it is set."""
        always = {
            "id": self.id,
            "role": self.role,
            "content": self.content,
            "timestamp": time_text(self.timestamp),
        }
        marks = {
            "status": "" if self.status == "complete" else self.status,
            "parts": self._told_parts(),
            "model": self.model,
            "usage": json_value(self.usage),
            "provider_state": json_value(self.provider_state),
            "version": self.version,
            "excluded": json_value(self.exclusion),
            "client_data": json_value(self.client_data),
        }
        return always | {name: mark for name, mark in marks.items() if mark}

    def _told_parts(self) -> list[dict[str, Any]]:
        """Return the parts; nothing where the content says it all."""
        if all(isinstance(part, TextPart) for part in self.parts):
            return []
        return [part.to_dict() for part in self.parts]


class Conversation(Result, frozen=True):
    """A session with its messages."""

    session: Session
    messages: tuple[Message, ...]


class SearchHit(Result, frozen=True):
    """A message, or a session's title, that was found."""

    session_id: str
    title: str
    """The session's."""
    message_id: str | None
    """None: it is the title that was found."""
    sequence: int
    """The message's place in the session. 0: it is the title."""
    role: RoleName | None
    timestamp: datetime
    """When it was said; of a title when the session last changed."""
    snippet: str
    """The text around the best place, at most about 200 characters."""
    spans: tuple[tuple[int, int], ...]
    """Where the words are in the snippet: start and length, in characters."""
    score: float
    """Higher is better. To be compared within one search only."""
