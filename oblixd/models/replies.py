"""The answer of a server: its head, and its body read by read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus

import aiohttp

from oblixd.models.base import ModelError
from oblixd.models.exchanges import Course, Failure
from oblixd.models.failures import Peer
from oblixd.models.servers import Patience

LONGEST_DOCUMENT = 16 * 1024 * 1024
"""Bytes of a body that is read as one document."""
LONGEST_EXCERPT = 64 * 1024
"""Bytes that are read of an error's body."""
EXCERPT_S = 5.0
"""How long an error's body is waited for."""
DRAIN_S = 0.1
"""How long the end of the body may follow a complete answer, for the connection to be kept."""

_REDIRECTS = 3


class Reply:
    """The head of a server's answer, and its body read by read."""

    def __init__(
        self, peer: Peer, response: aiohttp.ClientResponse, patience: Patience, left_s: float, course: Course
    ) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.complete = False
        """Set once the answer is whole: the connection is then kept, though its end was not read."""
        self._peer = peer
        self._patience = patience
        self._left_s = left_s
        self._course = course
        self._begun = False
        self._aborted = False
        if self.is_web_page or response.status // 100 == _REDIRECTS:
            course.failure = Failure.ELSEWHERE

    @property
    def is_web_page(self) -> bool:
        """Whether somebody answers for people to read, though the status is that of a good answer."""
        content_type = self.headers.get("Content-Type", "")
        return self.status == HTTPStatus.OK and content_type.startswith("text/html")

    def progress(self) -> None:
        """Say that content came: from here on the server has `stall_s`."""
        self._begun = True
        self._left_s = self._patience.stall_s

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for the rest."""
        self._left_s = min(self._left_s, seconds)

    async def read(self) -> bytes:
        """Give what has arrived, at least a byte; nothing at the end of the body. Raises ModelError.

        Only the time spent waiting here counts against the server, not what the reader takes.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                return await self._response.content.readany()
        except TimeoutError:
            raise self._late() from None
        except (aiohttp.ClientError, RuntimeError) as error:
            # aiohttp has no error of its own for a connection that we closed ourselves.
            raise self._lost(error) from None
        finally:
            self._left_s -= time.monotonic() - started

    async def document(self, limit: int = LONGEST_DOCUMENT) -> bytes:
        """Read the body as one piece, of at most so many bytes. Raises ModelError."""
        document = bytearray()
        while read := await self.read():
            document += read
            if len(document) > limit:
                raise self._peer.broken(f"it sent more than {limit} bytes")
        self._course.carried(len(document))
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
        self._aborted = True
        self._response.close()

    async def let_go(self) -> None:
        """Keep the connection where the answer is complete and its body ends now; close it otherwise."""
        try:
            if self.complete:
                async with asyncio.timeout(DRAIN_S):
                    while await self._response.content.readany():
                        pass
        except (TimeoutError, aiohttp.ClientError, RuntimeError):
            # Nobody waits for the rest of a complete answer: all that is lost is the connection.
            return
        finally:
            self._response.close()

    def refuse_compression(self) -> None:
        """Raise ModelError where the body is compressed: it was not asked for, and can be a bomb."""
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise self._peer.broken(f"it is compressed ({encoding[:40]}) though we do not accept that")

    def _late(self) -> ModelError:
        self._course.failure = Failure.STALLED
        if self._begun:
            return self._peer.stalled(self._patience.stall_s)
        return self._peer.silent(self._patience.first_s)

    def _lost(self, error: Exception) -> ModelError:
        if not self._aborted:
            self._course.failure = Failure.LOST
        if self._begun or isinstance(error, aiohttp.ClientPayloadError):
            return self._peer.broken("the connection was lost in the middle")
        return self._peer.unreachable("the connection was lost before an answer came")
