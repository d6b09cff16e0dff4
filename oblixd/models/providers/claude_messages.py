"""Reads Claude's messages as they stream, and as whole documents where a server does not stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from oblixd.models.base import ContentKind, Finish, Finished, Seal
from oblixd.models.http.event_stream import EventSplitter, PlainEvent, PlainEvents
from oblixd.models.http.server import ServerErrors
from oblixd.models.providers.finish_reasons import FinishReasons, first_reason
from oblixd.models.providers.provider_state import MessageState
from oblixd.models.providers.token_usage import UsageReader
from oblixd.models.streaming import Piece, ToolCallAssembler, arguments_text, decode_event, object_of, text_of


class _PlainText(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["text_delta"]
    text: str


class _PlainThought(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["thinking_delta"]
    thinking: str


class _PlainTextEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event that is a piece of text, as nearly all of a long answer are."""

    type: Literal["content_block_delta"]
    delta: _PlainText
    index: int | None = None


class _PlainThoughtEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The same of thinking."""

    type: Literal["content_block_delta"]
    delta: _PlainThought
    index: int | None = None


_TEXT = PlainEvent(_PlainTextEvent, lambda events: [event.delta.text for event in events])
_THOUGHT = PlainEvent(_PlainThoughtEvent, lambda events: [event.delta.thinking for event in events])
_PLAIN = PlainEvents((ContentKind.TEXT, _TEXT), (ContentKind.REASONING, _THOUGHT))


class MessageDecoder:
    """Reads typed events: message_start, content blocks in deltas, message_delta, message_stop.

    A block's text, thinking or input can stand in its start, in its deltas, or in both.
    Blocks of tools that run at the server, and of what they found, are passed over.
    """

    def __init__(self, server_errors: ServerErrors) -> None:
        self.complete = False
        self._server_errors = server_errors
        self._events = EventSplitter()
        self._reasons = FinishReasons(server_errors)
        self._calls = ToolCallAssembler(server_errors)
        self._usage = UsageReader(input_excludes_cache=True)
        self._state = MessageState()
        self._inputs: dict[str, str] = {}
        """The input that stood in the start of a tool's block: it counts where no piece of it follows."""

    @property
    def is_stopped(self) -> bool:
        """See `Decoder.is_stopped`."""
        return self.complete or self._reasons.finish is not None

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """See `Decoder.pieces`."""
        for kind, data in _PLAIN.parts(self._events.feed(read) if read else self._events.rest()):
            if self.complete:
                continue
            if isinstance(data, str):
                yield from self._text(data) if kind is ContentKind.TEXT else self._think(data)
            elif data.strip() == b"[DONE]":
                self.complete = True
            else:
                yield from decode_event(self, self._event, data, self._server_errors)
        if not read:
            yield from self._open_inputs()

    def finish(self) -> Finished:
        """See `Decoder.finish`."""
        self._calls.check()
        reason = self._calls.why(self._reasons.finish or Finish.STOP)
        return Finished(reason, self._usage.counts(), self._state.to_json())

    def _event(self, event: dict[str, Any]) -> Iterator[Piece]:
        index = str(event.get("index"))
        match event.get("type"):
            case "content_block_start":
                yield from self._begin_block(index, object_of(event, "content_block"))
            case "content_block_delta":
                yield from self._delta(index, object_of(event, "delta"))
            case "content_block_stop":
                yield from self._end_block(index)
            case "message_start":
                yield from self._message(object_of(event, "message"))
            case "message_delta":
                self._usage.take(event.get("usage"))
                self._stop(object_of(event, "delta"))
            case "message_stop":
                yield from self._open_inputs()
                self.complete = True
            case "message":
                yield from self._message(event)
                self.complete = True
            case _ if event.get("error") or text_of(event, "message", "detail"):
                raise self._server_errors.error_event(event)

    def _message(self, message: Mapping[str, Any]) -> Iterator[Piece]:
        """Take the head of a message, or a whole one."""
        self._usage.take(message.get("usage"))
        content = message.get("content")
        for place, block in enumerate(content if isinstance(content, list) else []):
            if isinstance(block, dict):
                yield from self._begin_block(str(place), block)
                yield from self._end_block(str(place))
        self._stop(message)

    def _begin_block(self, index: str, block: Mapping[str, Any]) -> Iterator[Piece]:
        match block.get("type"):
            case "tool_use":
                self._inputs[index] = arguments_text(block.get("input") or None)
                self._state.called()
                yield from self._calls.take(index, text_of(block, "id"), text_of(block, "name"))
            case "thinking" | "redacted_thinking":
                self._state.begin(block)
                if redacted := text_of(block, "data"):
                    yield Seal(redacted_data=redacted), ""
                if thinking := text_of(block, "thinking"):
                    yield ContentKind.REASONING, thinking
                if signature := text_of(block, "signature"):
                    yield Seal(signature), ""
            case "text":
                yield from self._text(text_of(block, "text"))

    def _delta(self, index: str, delta: Mapping[str, Any]) -> Iterator[Piece]:
        yield from self._think(text_of(delta, "thinking"))
        if signature := text_of(delta, "signature"):
            self._state.sign(signature)
            yield Seal(signature), ""
        yield from self._text(text_of(delta, "text"))
        if index in self._inputs and (arguments := text_of(delta, "partial_json")):
            self._inputs[index] = ""
            yield from self._calls.take(index, "", "", arguments)

    def _think(self, thinking: str) -> Iterator[Piece]:
        if thinking:
            self._state.think(thinking)
            yield ContentKind.REASONING, thinking

    def _text(self, text: str) -> Iterator[Piece]:
        if text:
            self._state.say(text)
            yield ContentKind.TEXT, text

    def _end_block(self, index: str) -> Iterator[Piece]:
        if arguments := self._inputs.pop(index, ""):
            yield from self._calls.take(index, "", "", arguments)
        yield from self._calls.rest(index)

    def _open_inputs(self) -> Iterator[Piece]:
        for index in list(self._inputs):
            yield from self._end_block(index)

    def _stop(self, message: Mapping[str, Any]) -> None:
        words = text_of(object_of(message, "stop_details"), "explanation")
        self._reasons.take(first_reason(message, "stop_reason"), words)
