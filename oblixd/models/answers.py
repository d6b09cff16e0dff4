"""Reads a model's streamed answer: what all wire formats have in common.

A provider brings a `Decoder` for its format; `answer` drives it over the HTTP
seam and holds the rules of every stream: what arrives together leaves
together, and an answer without its terminal signal is a failure.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from oblixd.models.base import Content, ContentKind, Finished, ModelError, ToolCall
from oblixd.models.egress import Egress
from oblixd.models.failures import Peer
from oblixd.models.framing import LONGEST_LINE, TooLongError
from oblixd.models.http import HttpClient

if TYPE_CHECKING:
    from oblixd.models.replies import Reply

AFTER_STOP_S = 5.0
"""How long the counts are waited for once the model said why it stopped."""

Channel = ContentKind | ToolCall
"""What a piece goes on with: the text, the reasoning, or the arguments of a tool call."""
Piece = tuple[Channel, str]


class Decoder(Protocol):
    """Reads one answer in one wire format."""

    complete: bool
    """The format's last word was read: nothing more will come."""
    stopped: bool
    """The model said why it stopped. Its text is whole, though the stream may go on."""

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """Take a read and give its content; nothing read means that the stream ended. Raises ModelError."""

    def finished(self) -> Finished:
        """Give the terminal signal, once `stopped` or `complete`."""


async def answer(
    http: HttpClient, path: str, body: Mapping[str, Any], decoder: Decoder, egress: Egress
) -> AsyncGenerator[Content | Finished, None]:
    """Post a request and yield the answer, as `Connection.stream` promises it."""
    peer = http.server.peer
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
            for content in contents:
                yield content
            if failure is not None:
                raise failure
            if not read:
                break
        if not (decoder.complete or decoder.stopped):
            raise peer.broken("it ended without saying that it was done")
        reply.complete = True
        yield decoder.finished()


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
    if not isinstance(value, dict):
        raise peer.broken(f"it sent what is not a JSON object ({_start(data)})")
    return value


def text_of(holder: Mapping[str, Any], *keys: str) -> str:
    """Give the first of these that is a text and not empty."""
    return next((text for key in keys if isinstance(text := holder.get(key), str) and text), "")


def object_of(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Give an object, or an empty one where there is none."""
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def count_of(holder: Mapping[str, Any], key: str) -> int | None:
    """Give a count of tokens, or None where the server did not say."""
    count = holder.get(key)
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


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
