"""Reads a model's streamed answer: what all wire formats have in common.

A provider brings a `Decoder` for its format; `answer` drives it over the HTTP
seam and holds the rules of every stream: what arrives together leaves
together, and an answer without its terminal signal is a failure.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from oblixd.models.base import Content, ContentKind, Finish, Finished, ModelError, ToolCall
from oblixd.models.egress import Egress
from oblixd.models.failures import Peer
from oblixd.models.framing import LONGEST_LINE, TooLongError
from oblixd.models.http import HttpClient

if TYPE_CHECKING:
    from oblixd.models.replies import Reply

AFTER_STOP_S = 5.0
"""How long the counts are waited for once the model said why it stopped."""

_BLOCK_TEXTS = ("text", "thinking", "reasoning", "content", "refusal", "value", "summary", "transcript")
"""Where the text of a block is, the most usual first."""
_SILENT = {"reference", "image_url", "document_url", "tool_reference", "file", "redacted_thinking"}
"""Types of blocks of content that hold no words of the model's."""
_DEEPEST = 5
"""Levels of blocks in blocks that text is looked for in."""

Channel = ContentKind | ToolCall
"""What a piece goes on with: the text, the reasoning, or the arguments of a tool call."""
Piece = tuple[Channel, str]


class Decoder(Protocol):
    """Reads one answer in one wire format."""

    @property
    def complete(self) -> bool:
        """Whether the format's last word was read: nothing more will come."""

    @property
    def stopped(self) -> bool:
        """Whether the model said why it stopped. Its text is whole, though the stream may go on."""

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """Take a read and give its content; nothing read means that the stream ended. Raises ModelError."""

    def finished(self) -> Finished:
        """Give the terminal signal, once `stopped` or `complete`. Raises ModelError: it is no good end."""


async def answer(
    http: HttpClient, path: str, body: Mapping[str, Any], decoder: Decoder, egress: Egress
) -> AsyncGenerator[Content | Finished, None]:
    """Post a request and yield the answer, as `Connection.stream` promises it."""
    peer, speech = http.server.peer, Speech()
    async with http.send(path, body, egress) as reply:
        if reply.status != HTTPStatus.OK:
            url = http.server.base_url + path
            raise peer.answered(reply.status, reply.headers, await reply.excerpt(), url)
        if reply.is_web_page:
            raise peer.broken("it sent a web page, so the endpoint is wrong or a portal is in between")
        while not decoder.complete:
            read = await _read(reply, decoder)
            contents, failure = gather(decoder.pieces(read), peer)
            if contents:
                reply.progress()
            for content in speech.worded(contents):
                yield content
            if failure is not None and not decoder.stopped:
                raise failure
            if failure is not None or not read:
                break
        if not (decoder.complete or decoder.stopped):
            raise peer.broken("it ended without saying that it was done")
        finished = decoder.finished()
        speech.check(finished.reason, peer)
        reply.complete = True
        yield finished


class Speech:
    """Holds back what is no word yet, and knows whether there was one: an answer of blanks is none."""

    def __init__(self) -> None:
        self._blanks = ""
        self._spoke = False

    def worded(self, contents: list[Content]) -> Iterator[Content]:
        """Give these without blanks at the answer's beginning, which come with its first word."""
        for content in contents:
            if content.kind is ContentKind.REASONING or self._spoke:
                yield content
            elif content.kind is ContentKind.TEXT and not content.text.strip():
                self._blanks += content.text
            else:
                self._spoke = True
                if content.kind is ContentKind.TEXT and self._blanks:
                    content = replace(content, text=self._blanks + content.text)  # noqa: PLW2901
                yield content

    def check(self, reason: Finish, peer: Peer) -> None:
        """Raise ModelError where the answer ended without a word. What a filter took away had its reason."""
        if self._spoke or reason is Finish.CONTENT_FILTER:
            return
        raise peer.empty(is_cut=reason is Finish.LENGTH)


def unspoiled(
    decoder: Decoder, take: Callable[[dict[str, Any]], Iterator[Piece]], data: bytes, peer: Peer
) -> Iterator[Piece]:
    """Give the pieces of an event. Behind the reason for the end nothing is a failure any more."""
    was_stopped = decoder.stopped
    try:
        yield from take(read_object(data, peer))
    except ModelError:
        if not was_stopped:
            raise


def gather(pieces: Iterator[Piece], peer: Peer) -> tuple[list[Content], ModelError | None]:
    """Join neighbouring pieces of one channel. A failure comes after what came before it."""
    runs: list[tuple[Channel, list[str]]] = []
    failure = None
    try:
        for channel, text in pieces:
            if not runs or runs[-1][0] is not channel:
                runs.append((channel, []))
            runs[-1][1].append(text)
    except TooLongError:
        failure = peer.broken(f"a single piece of it is longer than {LONGEST_LINE} bytes")
    except ModelError as error:
        failure = error
    return [_content(channel, _sound("".join(texts))) for channel, texts in runs], failure


def read_object(data: bytes, peer: Peer) -> dict[str, Any]:
    """Read one JSON object off the wire. Bytes that are no UTF-8 become U+FFFD. Raises ModelError."""
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # Google's servers wrap an error so.
    if not isinstance(value, dict):
        raise peer.broken(f"it sent what is not a JSON object ({_start(data)})")
    return value


def text_of(holder: Mapping[str, Any], *keys: str) -> str:
    """Give the first of these that is a text and not empty."""
    return next((text for key in keys if isinstance(text := holder.get(key), str) and text), "")


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
    return Content(channel, text)


async def _read(reply: Reply, decoder: Decoder) -> bytes:
    if not decoder.stopped:
        return await reply.read()
    reply.hurry(AFTER_STOP_S)
    try:
        return await reply.read()
    except ModelError:
        # The model's text is whole: what failed is only the counts that follow it.
        return b""


def _sound(text: str) -> str:
    """Replace half characters: JSON can write them, nothing else can hold them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _start(data: bytes) -> str:
    return repr(data[:60].decode("utf-8", "replace"))
