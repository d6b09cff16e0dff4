"""Reads a model's streamed answer: what all wire formats have in common.

A provider brings a `Decoder` for its format; `answer` drives it over the HTTP
seam and holds the rules of every stream: what arrives together leaves
together, and an answer without its terminal signal is a failure.

Tool calls as answers stream them: told apart, named once, each with an id.

Servers tell the calls of one answer apart by index, by id, by name, or by none of them, and
write arguments as text in pieces, as one text, or as an object. The rules, each after a report
of users: another id or another name begins another call, and so does a name behind arguments
that are whole; a piece with neither goes on with the call of its index, else with the last one.
What fits none of them is a failure: half of one call and half of another is never made a third.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from oblix.v1 import messages_pb2

from oblixd.models.base import (
    ChatRequest,
    Content,
    ContentKind,
    Finish,
    Finished,
    ModelError,
    Seal,
    ToolCall,
)
from oblixd.models.egress import Egress
from oblixd.models.http.client import HttpClient, Write
from oblixd.models.http.event_stream import LONGEST_LINE, TooLongError
from oblixd.models.http.server import LONGEST_EXCERPT, ServerErrors

if TYPE_CHECKING:
    from oblixd.models.http.response import Response

_GOOD = 2
"""The first digit of a good status. Some gateways answer every POST with 201."""
AFTER_STOP_S = 5.0
"""How long the counts are waited for once the model said why it stopped."""

_BLOCK_TEXTS = ("text", "thinking", "reasoning", "content", "refusal", "value", "summary", "transcript")
"""Where the text of a block is, the most usual first."""
_SILENT = {"reference", "image_url", "document_url", "tool_reference", "file", "redacted_thinking"}
"""Types of blocks of content that hold no words of the model's."""
_DEEPEST = 5
"""Levels of blocks in blocks that text is looked for in."""

Channel = ContentKind | ToolCall | Seal
"""What a piece goes on with: the text, the reasoning, or a tool call's arguments. A seal ends reasoning."""
Piece = tuple[Channel, str]


class Decoder(Protocol):
    """Reads one answer in one wire format."""

    @property
    def complete(self) -> bool:
        """Whether the format's last word was read: nothing more will come."""

    @property
    def is_stopped(self) -> bool:
        """Whether the model said why it stopped. Its text is whole, though the stream may go on."""

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """Take a read and give its content; nothing read means that the stream ended. Raises ModelError."""

    def finish(self) -> Finished:
        """Give the terminal signal, once `is_stopped` or `complete`. Raises ModelError: it is no good end."""


async def answer(
    http: HttpClient, path: str, body: Write, decoder: Decoder, egress: Egress, *, request: ChatRequest
) -> AsyncGenerator[Content | Finished, None]:
    """Post a request, which `body` writes, and yield the answer, as `Connection.stream` promises it."""
    server_errors, speech = http.server.errors, Speech(partial(_asks_for, request))
    beginning, is_begun, halves = b"", False, HalfCharacters()
    async with await http.send(path, body, egress) as reply:
        if reply.status // 100 != _GOOD:
            url = http.server.base_url + path
            raise server_errors.error_response(reply.status, reply.headers, await reply.excerpt(), url)
        if reply.is_web_page:
            raise server_errors.broken_stream(
                "it sent a web page, so the endpoint is wrong or a portal is in between"
            )
        while not decoder.complete:
            read = await _read(reply, decoder)
            contents, failure = gather(decoder.pieces(read), server_errors, halves)
            is_end = decoder.complete or failure is not None or not read
            contents += halves.rest() if is_end else []
            if contents:
                reply.progress()
            is_begun = is_begun or bool(contents)
            beginning = _gather_beginning(beginning, read, is_begun=is_begun)
            for content in [*speech.without_leading_blanks(contents), *(speech.rest() if is_end else ())]:
                yield content
            if failure is not None and not decoder.is_stopped:
                raise failure if is_begun else server_errors.with_head(failure, reply.headers)
            if failure is not None or not read:
                break
        if not is_begun and (refused := server_errors.no_answer(reply.headers, beginning)):
            raise refused
        if not (decoder.complete or decoder.is_stopped):
            raise server_errors.broken_stream(_why_not_done(beginning))
        finished = decoder.finish()
        speech.check(finished.reason, server_errors)
        reply.complete = True
        yield finished


def _gather_beginning(beginning: bytes, read: bytes, *, is_begun: bool) -> bytes:
    """Keep how a body begins, for the case that it is no answer at all: only then is it read again."""
    is_known = beginning and (is_begun or len(beginning) >= LONGEST_EXCERPT)
    return beginning if is_known else (beginning + read)[:LONGEST_EXCERPT]


def _why_not_done(first: bytes) -> str:
    """Say what is wrong with a body that ended too early, by how it began."""
    if not first.strip():
        return "it ended without saying that it was done: it sent nothing"
    if first.lstrip().startswith((b"data:", b"event:", b"id:", b":", b'{"model"')):
        return "it ended without saying that it was done"
    return f"it ended without saying that it was done, and began with {_start(first)}"


_THOUGHT_TAGS = ("think", "thinking", "thought")
"""Tags around reasoning that stands in front of an answer's text: DeepSeek's and Qwen's models where their
server has no parser for it, Amazon's Nova, Gemini's compatible endpoint."""


def _asks_for(request: ChatRequest, tag: str) -> bool:
    """Return whether a prompt names a tag: an answer with it is what was asked for, or speaks of it."""
    asking = (message for message in request.messages if message.role in _ASKING)
    return any(tag in part.text for message in asking for part in message.parts)


_ASKING = {messages_pb2.ROLE_SYSTEM, messages_pb2.ROLE_USER}


class _InlineReasoning:
    """Parts reasoning in tags from the text behind it. Only the beginning of an answer is looked at."""

    def __init__(self, asks_for: Callable[[str], bool]) -> None:
        self._asks_for = asks_for
        self._buffer = ""
        """What may be the beginning of a tag."""
        self._end: str | None = None
        """The tag that ends the reasoning; empty: there is none, or it has ended. None: not known yet."""
        self.was_there = False

    def part(self, text: str) -> Iterator[tuple[ContentKind, str]]:
        """Take text of the answer, and give what is known of it."""
        self._buffer += text
        if self._end is None:
            start = self._buffer.lstrip()
            if any(f"<{tag}>".startswith(start) and f"<{tag}>" != start for tag in _THOUGHT_TAGS):
                return
            tag = next((tag for tag in _THOUGHT_TAGS if start.startswith(f"<{tag}>")), "")
            if tag and self._asks_for(f"<{tag}>"):
                tag = ""
            self._end = f"</{tag}>" if tag else ""
            if tag:
                self.was_there, self._buffer = True, start.removeprefix(f"<{tag}>")
        if self._end:
            thought, end, rest = self._buffer.partition(self._end)
            if not end:
                keep = next((n for n in range(len(self._end), 0, -1) if thought.endswith(self._end[:n])), 0)
                thought, rest = thought[: len(thought) - keep], thought[len(thought) - keep :]
            else:
                self._end = ""
            self._buffer = rest
            if thought:
                yield ContentKind.REASONING, thought
        if not self._end:
            yield from self.rest()

    def rest(self) -> Iterator[tuple[ContentKind, str]]:
        """Give what is held, at the end of the answer or of its reasoning."""
        held, self._buffer = self._buffer, ""
        if held:
            yield (ContentKind.REASONING if self._end else ContentKind.TEXT), held


class Speech:
    """Holds back what is no word yet, and knows whether there was one: an answer of blanks is none."""

    def __init__(self, asks_for: Callable[[str], bool]) -> None:
        """`asks_for` tells whether the prompt names a tag, which is then no mark of reasoning."""
        self._blanks = ""
        self._spoke = False
        self._inline = _InlineReasoning(asks_for)

    def without_leading_blanks(self, contents: list[Content]) -> Iterator[Content]:
        """Give these without blanks at the answer's beginning, which come with its first word."""
        for content in contents:
            if content.kind is ContentKind.REASONING or self._spoke:
                yield content
            elif content.kind is ContentKind.TEXT:
                yield from self._text(self._inline.part(content.text))
            else:
                yield from self.rest()
                self._spoke = True
                yield content

    def rest(self) -> Iterator[Content]:
        """Give what was held back as the possible beginning of reasoning, at the end of the answer."""
        yield from self._text(self._inline.rest())

    def _text(self, parts: Iterator[tuple[ContentKind, str]]) -> Iterator[Content]:
        for kind, text in parts:
            if kind is ContentKind.REASONING or self._spoke:
                yield Content(kind, text)
            elif not text.strip():
                self._blanks += text
            else:
                self._spoke = True
                yield Content(kind, text.lstrip() if self._inline.was_there else self._blanks + text)

    def check(self, reason: Finish, server_errors: ServerErrors) -> None:
        """Raise ModelError where the answer ended without a word. What a filter took away had its reason."""
        if self._spoke or reason is Finish.CONTENT_FILTER:
            return
        raise server_errors.empty_answer(is_cut=reason is Finish.LENGTH)


def decode_event(
    decoder: Decoder,
    take: Callable[[dict[str, Any]], Iterator[Piece]],
    data: bytes,
    server_errors: ServerErrors,
) -> Iterator[Piece]:
    """Give the pieces of an event. Behind the reason for the end nothing is a failure any more."""
    was_stopped = decoder.is_stopped
    try:
        yield from take(read_object(data, server_errors))
    except ModelError:
        if not was_stopped:
            raise


class HalfCharacters:
    """Joins characters whose halves come in two pieces. JSON can write each half; nothing else can hold one.

    Servers that cut an answer by UTF-16, as programs in JavaScript, Java and C# do, send an emoji so.
    """

    def __init__(self) -> None:
        self._first: dict[Channel, str] = {}

    def join(self, channel: Channel, text: str) -> str:
        """Give a piece with the half that waits before it, and without the half at its end, which waits."""
        if self._first:
            text = self._first.pop(channel, "") + text
        if not text or text.isascii():
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            self._first[channel] = text[-1]
            text = text[:-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def rest(self) -> list[Content]:
        """Give what the end of the answer makes of halves that wait."""
        channels, self._first = list(self._first), {}
        return [_content(channel, "\N{REPLACEMENT CHARACTER}") for channel in channels]


def gather(
    pieces: Iterator[Piece], server_errors: ServerErrors, halves: HalfCharacters | None = None
) -> tuple[list[Content], ModelError | None]:
    """Join neighbouring pieces of one channel. A failure comes after what came before it.

    `halves` keeps what waits for the next pieces of the same answer. None: there are none.
    """
    joiner = halves or HalfCharacters()
    runs: list[tuple[Channel, list[str]]] = []
    failure = None
    try:
        for channel, text in pieces:
            if not runs or runs[-1][0] is not channel:
                runs.append((channel, []))
            runs[-1][1].append(text)
    except TooLongError:
        failure = server_errors.broken_stream(f"a single piece of it is longer than {LONGEST_LINE} bytes")
    except ModelError as error:
        failure = error
    whole = [(channel, joiner.join(channel, "".join(texts))) for channel, texts in runs]
    contents = [_content(*one) for one in whole if one[1] or not isinstance(one[0], ContentKind)]
    return contents if halves else [*contents, *joiner.rest()], failure


def read_object(data: bytes, server_errors: ServerErrors) -> dict[str, Any]:
    """Read one JSON object off the wire. Bytes that are no UTF-8 become U+FFFD. Raises ModelError."""
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # Google's servers wrap an error so.
    if not isinstance(value, dict):
        raise server_errors.broken_stream(f"it sent what is not a JSON object ({_start(data)})")
    return value


def text_of(holder: Mapping[str, Any], *keys: str) -> str:
    """Give the first of these that is a text and not empty."""
    for key in keys:
        if (text := holder.get(key)) and isinstance(text, str):
            return text
    return ""


def flat(value: object, depth: int = _DEEPEST) -> str:
    """Give all text of a text, a block, or a list of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth:
        return "".join(flat(one, depth - 1) for one in value)
    if not isinstance(value, dict) or not depth or value.get("type") in _SILENT:
        return ""
    return next((text for key in _BLOCK_TEXTS if (text := flat(value.get(key), depth - 1))), "")


def object_of(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Give an object, or an empty one where there is none."""
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _content(channel: Channel, text: str) -> Content:
    if isinstance(channel, ToolCall):
        return Content(ContentKind.TOOL_CALL, text, channel)
    if isinstance(channel, Seal):
        return Content(ContentKind.REASONING, text, seal=channel)
    return Content(channel, text)


async def _read(reply: Response, decoder: Decoder) -> bytes:
    if not decoder.is_stopped:
        return await reply.read()
    reply.hurry(AFTER_STOP_S)
    try:
        return await reply.read()
    except ModelError:
        # The model's text is whole: what failed is only the counts that follow it.
        return b""


def _start(data: bytes) -> str:
    return repr(data[:60].decode("utf-8", "replace"))


_NO_IDS = {"", "null", "none"}
"""Mistral's SDK writes a missing id as the text null."""
_BLANK_ARGUMENTS = {"{}", "null"}
_SPECIAL_TOKEN = re.compile(r"\s*(?:<\|[a-z_]{3,20}\|>|</s>)\s*")
"""A model's own sign of the end. Text-generation-inference hands it on as a piece of the arguments."""


@dataclass(slots=True, eq=False)
class _Call:
    """A call as far as it has come."""

    index: str | None
    call_id: str
    name: str = ""
    text: str = ""
    """Its arguments so far."""
    tool_call: ToolCall | None = None
    """None: it is not named yet, and its arguments wait."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What else its server wrote about it."""
    is_blank: bool = False
    """It began with arguments that hold nothing. They wait: gateways send `{}` before the real ones."""

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a whole JSON object."""
        if self.is_blank and not self.text:
            return True
        if not self.text.rstrip().endswith("}"):
            return False
        try:
            return isinstance(json.loads(self.text), dict)
        except (ValueError, RecursionError):
            return False


class ToolCallAssembler:
    """The tool calls of one answer."""

    def __init__(self, server_errors: ServerErrors) -> None:
        self._server_errors = server_errors
        self._calls: list[_Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def take(
        self,
        index: object,
        call_id: str,
        name: str,
        arguments: object = "",
        extra: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[ToolCall, str]]:
        """Take a piece of a call, and give what can be told of it: the call and more of its arguments.

        Nothing is given before the call is named. The first that is given may have no
        arguments. `index` is None where the server gives none. Raises ModelError.
        """
        call_id = "" if call_id.lower() in _NO_IDS else call_id
        text = arguments_text(arguments)
        if _SPECIAL_TOKEN.fullmatch(text) and self._calls and self._calls[-1].is_whole:
            return
        call = self._call_of(None if index is None else str(index), call_id, name, text)
        new = self._new_text(call, call_id, name, text)
        if new is None:
            return
        call.call_id = call.call_id or call_id
        call.extra.update(extra or {})
        call.text += new
        if call.tool_call is not None:
            if new:
                yield call.tool_call, new
        elif name:
            call.name = name
            call.tool_call = ToolCall(self._unique(call), name)
            yield call.tool_call, call.text

    def _new_text(self, call: _Call, call_id: str, name: str, text: str) -> str | None:
        """Give what a piece of arguments adds. None: it is no piece of a call."""
        is_named = bool(call_id) and call.call_id == call_id
        if (is_named or not (call_id or name)) and call.is_whole and _is_same_object(text, call.text):
            return None  # The server repeats at the end what it streamed before.
        if not call.text and "".join(text.split()) in _BLANK_ARGUMENTS:
            call.is_blank = True
            return ""
        if call.is_blank and not call.text and not text.strip():
            return ""
        # Some send all of the arguments up to here each time. No JSON goes on with its own beginning.
        if call.text.lstrip().startswith("{") and len(text) > len(call.text) and text.startswith(call.text):
            return text.removeprefix(call.text)
        return text

    def rest(self, index: object = None) -> Iterator[tuple[ToolCall, str]]:
        """Give an empty object for calls that ended without arguments. `index`: only for this one."""
        for call in self._calls:
            ended = index is None or call.index == str(index)
            if ended and call.tool_call is not None and not call.text.strip():
                call.text = "{}"
                yield call.tool_call, call.text

    def check(self) -> None:
        """Raise ModelError where the answer ended in a call that was never named, or in two that are one."""
        if any(call.tool_call is None for call in self._calls):
            raise self._server_errors.broken_stream("it calls a tool and does not say which")
        if any(_is_several(call.text) for call in self._calls):
            raise self._unclear("the arguments of two calls came as those of one")

    def why(self, reason: Finish) -> Finish:
        """Give why the answer ended: servers that call tools may say only that they stopped.

        Raises ModelError where it ended to call a tool, and there is no call.
        """
        if reason is Finish.TOOL_CALLS and not self._calls:
            raise self._server_errors.broken_stream("it says that it calls a tool, and there is no call")
        return Finish.TOOL_CALLS if self._calls and reason is Finish.STOP else reason

    def extras(self) -> dict[str, dict[str, Any]]:
        """Give what else the server wrote about each call, by our id of it."""
        return {call.tool_call.call_id: call.extra for call in self._calls if call.tool_call and call.extra}

    def _call_of(self, index: str | None, call_id: str, name: str, text: str) -> _Call:
        call = self._find_call(index, call_id)
        if call is None or self._is_another(call, index, call_id, name, text):
            call = _Call(index, call_id)
            self._calls.append(call)
        return call

    def _find_call(self, index: str | None, call_id: str) -> _Call | None:
        """Return the call that a piece goes on with, by its index, else by its id, else the last one."""
        here = [call for call in self._calls if index is None or call.index in (None, index)]
        named = [call for call in here if call_id and call.call_id == call_id]
        if named:
            return named[-1]
        return here[-1] if here else None

    def _is_another(self, call: _Call, index: str | None, call_id: str, name: str, text: str) -> bool:
        """Return whether a piece begins another call than this one. Raises ModelError if that is unclear."""
        if call_id and call.call_id and call_id != call.call_id:
            # Some servers make up a new id for every piece of one call: then only its index tells.
            return bool(name) or index is None or call.is_whole
        if call.tool_call is None or not name or (name == call.name and not text.strip()):
            return self._goes_on(call, index, call_id, text)
        if name == call.name and (call_id or not call.is_whole):
            return self._goes_on(call, index, call_id, text)
        if not call.is_whole:
            raise self._unclear("a call begins before the arguments of the one before it are whole")
        return True

    def _goes_on(self, call: _Call, index: str | None, call_id: str, text: str) -> bool:
        """Give False: the piece belongs to this call. Raises ModelError where it may as well be another's."""
        is_whole_again = text.lstrip().startswith("{") and call.text and call.is_whole
        if is_whole_again and not _is_same_object(text, call.text):
            raise self._unclear("the arguments of two calls came as those of one")
        begun = [one for one in self._calls if one is not call and one.text and not one.is_whole]
        if index is None and not call_id and begun:
            raise self._unclear("a piece of a call does not say of which")
        return False

    def _unclear(self, why: str) -> ModelError:
        return self._server_errors.broken_stream(f"its tool calls can't be told apart: {why}")

    def _unique(self, call: _Call) -> str:
        taken = {one.tool_call.call_id for one in self._calls if one.tool_call is not None}
        if call.call_id and call.call_id not in taken:
            return call.call_id
        # Unlike any other: the conversation may go on at a server that wants its ids unique.
        return f"call_{secrets.token_hex(12)}"


def indexes(pieces: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Tell the pieces of one event apart: by the index that each has, else by its place beside the others."""
    given = [None if piece.get("index") is None else str(piece["index"]) for piece in pieces]
    if len(pieces) == 1 or len({*given} - {None}) == len(pieces):
        return given
    return [f"{index or 0}.{place}" for place, index in enumerate(given)]


def _is_same_object(text: str, other: str) -> bool:
    """Return whether two texts are the same JSON object, however it is spelled."""
    if not (text and other) or text == other:
        return text == other
    try:
        value = json.loads(text)
        return isinstance(value, dict) and value == json.loads(other)
    except (ValueError, RecursionError):
        return False


def _is_several(text: str) -> bool:
    """Return whether a text holds one JSON object behind another."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return text.lstrip()[end:].lstrip().startswith("{")


def arguments_text(arguments: object) -> str:
    """Give arguments as JSON text, which is how most servers write them; some write the object itself."""
    if arguments is None:
        return ""
    if not isinstance(arguments, str):
        return json.dumps(arguments, ensure_ascii=False)
    # Some write the text as JSON once more, as a whole.
    return _unquote(arguments) if arguments.startswith('"{') else arguments


def _unquote(text: str) -> str:
    try:
        inner = json.loads(text)
        is_object = isinstance(json.loads(inner), dict)
    except (ValueError, TypeError, RecursionError):
        return text
    return inner if is_object else text
