"""The answer of a server: its head, and its body read by read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import aiohttp

from oblixd.models.base import ModelError
from oblixd.models.http.request_trace import Failure, RequestTrace
from oblixd.models.http.server import LONGEST_EXCERPT, ServerErrors
from oblixd.models.http.unpacking import KNOWN, PLAIN, Unpacker, UnpackError
from oblixd.models.http.waiting import Wait

LONGEST_DOCUMENT = 16 * 1024 * 1024
"""Bytes of a body that is read as one document."""
EXCERPT_S = 5.0
"""How long an error's body is waited for."""
DRAIN_S = 0.1
"""How long the end of the body may follow a complete answer, for the connection to be kept."""

_GOOD = 2
_REDIRECTS = 3
_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":", b"{", b"[")
"""What an event stream, or a JSON document, begins with."""
_LONGEST_BLANK = 4096
"""Bytes of blanks that may stand before that."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Response:
    """The head of a server's answer, and its body read by read."""

    def __init__(
        self,
        server_errors: ServerErrors,
        response: aiohttp.ClientResponse,
        wait: Wait,
        trace: RequestTrace,
        on_end: Callable[[Response], None],
    ) -> None:
        """`on_end` hears once that nothing more is read of it."""
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.complete = False
        """Set once the answer is whole: the connection is then kept, though its end was not read."""
        self.is_web_page = False
        """Whether somebody answers for people to read, though the status is that of a good answer."""
        self._server_errors = server_errors
        self.wait = wait
        self.trace = trace
        self._on_end = on_end
        self._is_aborted = False
        self._unpacker: Unpacker | None = None
        self._ahead = b""
        if response.status // 100 == _REDIRECTS:
            trace.failure = Failure.ELSEWHERE

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.let_go()

    async def begin(self) -> None:
        """Find out how the body is to be read. Raises ModelError where it can't be."""
        encoding = self.headers.get("Content-Encoding", "").strip().lower().removeprefix("x-")
        if encoding in KNOWN:
            self._unpacker = Unpacker(encoding)
        elif encoding not in PLAIN:
            known = ", ".join(KNOWN)
            raise self._server_errors.broken_stream(
                f"it is compressed as {encoding[:40]!r}, and only {known} are known here"
            )
        if self.status // 100 == _GOOD and self.headers.get("Content-Type", "").startswith("text/html"):
            await self._look_inside()

    async def _look_inside(self) -> None:
        """Tell an event stream from a page by its first bytes: some servers call both text/html."""
        while not self._ahead.removeprefix(_BYTE_ORDER_MARK).strip() and len(self._ahead) < _LONGEST_BLANK:
            if not (read := await self._next_data()):
                break
            self._ahead += read
        first = self._ahead.removeprefix(_BYTE_ORDER_MARK).lstrip()
        if not first.startswith(_BEGINNINGS):
            self.is_web_page = True
            self.trace.failure = Failure.ELSEWHERE

    def progress(self) -> None:
        """Say that content came."""
        self.wait.content()

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for the rest."""
        self.wait.hurry(seconds)

    async def read(self) -> bytes:
        """Give what has arrived, at least a byte; nothing at the end of the body. Raises ModelError.

        Only the time spent waiting here counts against the server, not what the reader takes.
        """
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        return await self._next_data()

    async def _next_data(self) -> bytes:
        unpacker = self._unpacker
        if unpacker is None:
            return await self._raw()
        try:
            while not (data := unpacker.next_step()):
                if not (read := await self._raw()):
                    unpacker.check_end()
                    return b""
                unpacker.feed(read)
        except UnpackError as error:
            raise self._server_errors.broken_stream(f"its compressed body {error}") from None
        return data

    async def _raw(self) -> bytes:
        try:
            return await self.wait.until(self._response.content.readany())
        except TimeoutError:
            raise self._late_error() from None
        except (aiohttp.ClientError, RuntimeError) as error:
            if arrived := self._buffered_data():
                return arrived
            # aiohttp has no error of its own for a connection that we closed ourselves.
            raise self._lost_error(error) from None

    def _buffered_data(self) -> bytes:
        """Give what came before the connection was lost: aiohttp raises first, and would drop it."""
        return b"" if self._is_aborted else self._response.content._read_nowait(-1)

    async def document(self, limit: int = LONGEST_DOCUMENT) -> bytes:
        """Read the body as one piece, of at most so many bytes. Raises ModelError."""
        document = bytearray()
        while read := await self.read():
            document += read
            if len(document) > limit:
                raise self._server_errors.broken_stream(f"it sent more than {limit} bytes")
        self.trace.carried(len(document))
        return bytes(document)

    async def excerpt(self) -> bytes:
        """Read the beginning of an error's body, as far as it comes."""
        self.hurry(EXCERPT_S)
        excerpt = bytearray()
        try:
            while len(excerpt) < LONGEST_EXCERPT and (read := await self.read()):
                excerpt += read
        except ModelError:
            # The status says the most; the words that came with it are a bonus.
            return bytes(excerpt)
        return bytes(excerpt[:LONGEST_EXCERPT])

    def abort(self) -> None:
        """Close the connection and wake who waits: closing the session alone does not always do that."""
        self._is_aborted = True
        self._response.close()

    async def let_go(self) -> None:
        """Keep the connection where the answer is complete and its body ends now; close it otherwise."""
        try:
            if self.complete and not self._response.content.at_eof():
                async with asyncio.timeout(DRAIN_S):
                    while await self._response.content.readany():
                        pass
        except (TimeoutError, aiohttp.ClientError, RuntimeError):
            # Nobody waits for the rest of a complete answer: all that is lost is the connection.
            return
        finally:
            self._response.close()
            self._on_end(self)

    def _late_error(self) -> ModelError:
        self.trace.failure = Failure.STALLED
        if self.wait.has_begun:
            return self._server_errors.stalled_answer(self.wait.limit_s)
        return self._server_errors.silent(self.wait.limit_s)

    def _lost_error(self, error: Exception) -> ModelError:
        if not self._is_aborted:
            self.trace.failure = Failure.LOST
        if self.wait.has_begun or isinstance(error, aiohttp.ClientPayloadError):
            return self._server_errors.broken_stream("the connection was lost in the middle")
        return self._server_errors.unreachable("the connection was lost before an answer came")
