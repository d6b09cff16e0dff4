"""Reads chat completions as OpenAI and the servers that follow it write them.

What they agree on is little more than `choices`: text comes as a text, as a list of blocks or as an
object, in `delta`, in `message` or in `text`, in pieces, in one event or as one document; reasoning
has half a dozen names. Everything that is read of a chunk is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from oblixd.models.base import ContentKind, Finish, Finished
from oblixd.models.http.event_stream import EventSplitter, PlainEvent, PlainEvents
from oblixd.models.http.server import ServerErrors
from oblixd.models.providers.finish_reasons import FinishReasons, first_reason
from oblixd.models.providers.provider_state import CompletionState
from oblixd.models.providers.token_usage import UsageReader
from oblixd.models.streaming import (
    Channel,
    Piece,
    ToolCallAssembler,
    decode_event,
    flat,
    indexes,
    object_of,
    text_of,
)

_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thinking_content")
"""What servers call the reasoning beside an answer. Some send the same under two of these names."""
_THOUGHTS = {"thinking", "reasoning", "thought", "reasoning_text", "summary_text", "thinking_delta"}
"""Types of blocks of content that hold reasoning."""
_ERRORS = {
    *("detail", "details", "errors", "error_msg", "error_message", "errorMessage", "message", "msg"),
    *("Message", "err"),
}
"""Where an error is that comes without the name of one."""
_NO_FAILURE = re.compile(r"\W*(ok|succe\w+|processing|queued|pending|working)\W*", re.IGNORECASE)
"""Messages of events that tell no failure, and no content either."""
_CALLS = {"tool_calls", "function_call"}


class _PlainDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning_content: None = None
    reasoning: None = None


class _PlainChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _PlainDelta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None


class _PlainChunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A chunk that is a piece of text and nothing else, as nearly all of a long answer are."""

    choices: tuple[_PlainChoice]
    object: Literal["chat.completion.chunk"]
    id: str | None = None
    created: float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: None = None


def _plain_texts(chunks: list[_PlainChunk]) -> list[str]:
    return [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].index == _PLAIN_INDEX]


_PLAIN_INDEX = 0
_PLAIN = PlainEvents((ContentKind.TEXT, PlainEvent(_PlainChunk, _plain_texts)))


class CompletionDecoder:
    """Reads server-sent chunks, or one document: content, a finish reason, counts, [DONE]."""

    def __init__(self, server_errors: ServerErrors) -> None:
        self.complete = False
        self._server_errors = server_errors
        self._events = EventSplitter()
        self._reasons = FinishReasons(server_errors)
        self._calls = ToolCallAssembler(server_errors)
        self._usage = UsageReader()
        self._state = CompletionState()
        self._texts = _TextSoFar()
        self._is_refused = False
        self._answer_index: int | None = None
        """The choice that is the answer. None: none came yet."""

    @property
    def is_stopped(self) -> bool:
        """See `Decoder.is_stopped`."""
        return self._reasons.finish is not None

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """See `Decoder.pieces`."""
        events = self._events.feed(read) if read else self._events.rest()
        for kind, data in _PLAIN.parts(events):
            if self.complete:
                return
            if isinstance(data, str):
                if self._is_answer(_PLAIN_INDEX):
                    self._texts.note(kind, data)
                    yield kind, data
            elif data.strip(b' \t"').upper() == b"[DONE]":
                yield from self._calls.rest()
                self.complete = True
            else:
                yield from decode_event(self, self._chunk, data, self._server_errors)

    def finish(self) -> Finished:
        """See `Decoder.finish`."""
        self._calls.check()
        reason = self._calls.why(self._reasons.finish or Finish.STOP)
        if self._is_refused and reason is Finish.STOP:
            reason = Finish.CONTENT_FILTER
        return Finished(reason, self._usage.counts(), self._state.to_json(self._calls.extras()))

    def _chunk(self, chunk: dict[str, Any]) -> Iterator[Piece]:
        self._usage.take(chunk.get("usage"))
        self._usage.take(object_of(chunk, "x_groq").get("usage"))
        if self._is_error(chunk):
            raise self._server_errors.error_event(chunk)
        choices = chunk.get("choices")
        # A failure of one choice names itself there; of several choices the first is the answer.
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            if not self._is_answer(choices[0].get("index")):
                return
            yield from self._choice(choices[0])
            yield from self._calls_of_others(choices[1:])
            if chunk.get("object") == "chat.completion" and "delta" not in choices[0]:
                self.complete = True
        elif choices is None and (text := text_of(chunk, "response")):
            # Cloudflare's models answer so where a gateway hands their own format on.
            yield ContentKind.TEXT, text
        if not self._usage.has_output:
            self._usage.take(chunk.get("timings"))

    def _is_answer(self, index: object) -> bool:
        """Return whether a choice is the answer: the first one, unless a lower one comes before text."""
        number = index if isinstance(index, int) else 0
        if self._answer_index is None or (number < self._answer_index and not self._texts):
            self._answer_index = number
        return number == self._answer_index

    def _is_error(self, chunk: Mapping[str, Any]) -> bool:
        if chunk.get("error") or "error" in (chunk.get("object"), chunk.get("type")):
            return True
        # MiniMax and Groq say it where others tell other things.
        if object_of(chunk, "base_resp").get("status_code") or object_of(chunk, "x_groq").get("error"):
            return True
        if chunk.get("choices"):
            return False
        told = [chunk[key] for key in _ERRORS & chunk.keys() if chunk[key]]
        inner = any(object_of(chunk, key).get(name) for key in chunk for name in ("error", "Error"))
        return inner or any(not (isinstance(one, str) and _NO_FAILURE.fullmatch(one)) for one in told)

    def _calls_of_others(self, choices: Sequence[object]) -> Iterator[Piece]:
        """Take the calls of further choices: Copilot puts the text of one answer and its calls in two."""
        if self._calls:
            return
        for choice in choices:
            if isinstance(choice, dict):
                message = object_of(choice, "message") or object_of(choice, "delta")
                yield from self._content({key: message[key] for key in _CALLS & message.keys()})

    def _choice(self, choice: dict[str, Any]) -> Iterator[Piece]:
        self._usage.take(choice.get("usage"))
        delta, message = object_of(choice, "delta"), object_of(choice, "message")
        if delta:
            yield from self._texts.note_all(self._content(delta))
        if message:
            yield from self._message(message)
        elif not delta.get("content") and (text := text_of(choice, "text", "delta")):
            # Together sends each piece in both places; small servers write a text in place of the object.
            yield ContentKind.TEXT, text
        if error := choice.get("error"):
            raise self._server_errors.error_event({"error": error})
        details = object_of(choice, "finish_details")
        # SGLang's own form of a reason is an object, with the words in it.
        words = text_of(choice, "finish_message", "finishMessage") or text_of(
            object_of(choice, "finish_reason"), "message"
        )
        native = text_of(choice, "native_finish_reason")
        self._reasons.take(
            first_reason(choice, "finish_reason", "finishReason") or details.get("type"), words, native
        )
        if self.is_stopped:
            yield from self._calls.rest()

    def _message(self, message: Mapping[str, Any]) -> Iterator[Piece]:
        """Take a message: the whole answer, a piece of it, or all of it up to here. Calls come in one."""
        if self._calls:
            message = {key: value for key, value in message.items() if key not in _CALLS}
        for channel, text in self._content(message):
            if not isinstance(channel, ContentKind):
                yield channel, text
            elif new := self._texts.new_text(channel, text):
                yield channel, new

    def _content(self, delta: Mapping[str, Any]) -> Iterator[Piece]:
        yield from self._reasoning(delta)
        yield from _blocks(delta.get("content"), ContentKind.TEXT)
        if refusal := text_of(delta, "refusal"):
            self._is_refused = True
            yield ContentKind.TEXT, refusal
        if transcript := text_of(object_of(delta, "audio"), "transcript"):
            yield ContentKind.TEXT, transcript
        if isinstance(calls := delta.get("tool_calls"), list):
            yield from self._take_calls([call for call in calls if isinstance(call, dict)])
        elif isinstance(calls, dict):
            yield from self._take_calls([calls])
        if function := object_of(delta, "function_call"):
            yield from self._calls.take(
                "function_call", "", text_of(function, "name"), function.get("arguments")
            )

    def _reasoning(self, delta: Mapping[str, Any]) -> Iterator[Piece]:
        self._state.take(delta)
        for name in _REASONING:
            if reasoning := flat(delta.get(name)):
                self._state.reasoning_field = self._state.reasoning_field or name
                yield ContentKind.REASONING, reasoning
                return
        if reasoning := flat(delta.get("reasoning_details")):
            yield ContentKind.REASONING, reasoning

    def _take_calls(self, calls: Sequence[dict[str, Any]]) -> Iterator[Piece]:
        for piece, index in zip(calls, indexes(calls), strict=True):
            function = object_of(piece, "function") or piece
            yield from self._calls.take(
                index,
                text_of(piece, "id"),
                text_of(function, "name"),
                function.get("arguments"),
                self._state.extra_of(piece),
            )


class _TextSoFar:
    """Tells what is new where a server sends `message` beside `delta`, or in its place.

    A message behind deltas repeats them. Without any, some send the pieces of an answer that way, others
    all of it up to there each time: the second shows which, as it begins with the first or does not.
    """

    def __init__(self) -> None:
        self._pieces: dict[Channel, list[str]] = {}
        self._grows: bool | None = None

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def note_all(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Give the pieces of a delta, and remember them."""
        for channel, text in pieces:
            self.note(channel, text)
            yield channel, text

    def note(self, channel: Channel, text: str) -> None:
        """Remember a piece of a delta."""
        self._grows = True
        self._pieces.setdefault(channel, []).append(text)

    def new_text(self, kind: ContentKind, text: str) -> str:
        """Give what a message says that was not said before."""
        said = "".join(self._pieces.get(kind, ()))
        if said and self._grows is None:
            self._grows = text.startswith(said)
        new = text
        if said and self._grows:
            new = text.removeprefix(said) if text.startswith(said) else ""
        self._pieces[kind] = [said, new]
        return new


def _blocks(content: object, kind: ContentKind) -> Iterator[Piece]:
    """Give the text of content: a text, an object, or a list of blocks of text and of reasoning."""
    if isinstance(content, str):
        if content:
            yield kind, content
        return
    for block in content if isinstance(content, list) else [content]:
        named = block.get("type") if isinstance(block, dict) else None
        if text := flat(block):
            yield (ContentKind.REASONING if named in _THOUGHTS else kind), text
