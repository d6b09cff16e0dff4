"""Who may call: a web page may not, a stranger may not, and nobody may send too much."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from oblixd.access import Token, TokenStore
from oblixd.errors import PermissionDeniedError, ResourceExhaustedError
from oblixd.models.http import loops

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OF_A_RUN = re.compile(r"\.run-\d+\Z")
"""What `oblix run` adds to a tool's name for the token of one run."""
MAX_CONCURRENT = 256
"""Requests that one token may have open at once: a quarter of the endpoint's connections."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request."""

    name: str
    """The token's name; `ollama` for a request without one where the configuration lets those in."""
    local_only: bool = False
    token: Token | None = None
    """None: it needs none."""

    @property
    def owner(self) -> str:
        """Return who the sessions of its requests belong to: the same for all runs of a tool."""
        return _OF_A_RUN.sub("", self.name)

    @property
    def limited_as(self) -> str:
        """Return whose limits its calls count for: those of its token, over gRPC, too."""
        return f"token {self.name}" if self.token else self.name


class Guard:
    """Lets requests in."""

    def __init__(
        self,
        tokens: TokenStore,
        *,
        origins: Collection[str] = (),
        open_paths: Collection[str] = (),
        any_host: bool = False,
    ) -> None:
        """`origins`: web pages that may call. `open_paths`: paths that need no token.

        `any_host`: a request may name any host; otherwise this machine only.
        """
        self._any_host = any_host
        self._tokens = tokens
        self._origins = frozenset(origins)
        self._open_paths = frozenset(open_paths)
        self._running_counts: dict[str, int] = {}

    def admit(self, request: web.Request) -> Visitor:
        """Check a request's host, origin and token, in constant time and before its body is read.

        Raises PermissionDeniedError.
        """
        if not self._any_host:
            self._check_host(request)
        self._check_origin(request)
        _check_loop(request)
        text = _token(request)
        if request.path in self._open_paths and self._tokens.find(text) is None:
            return Visitor("ollama" if request.path.startswith("/api/") else "")
        token = self._tokens.authorize(text)
        return Visitor(token.name, token.local_only, token)

    def enter(self, visitor: Visitor) -> None:
        """Count a request in. Raises ResourceExhaustedError where the visitor has too many open."""
        open_now = self._running_counts.get(visitor.name, 0)
        if open_now >= MAX_CONCURRENT:
            message = f"This token has {open_now} requests open, the most it may have: wait for one to end."
            raise ResourceExhaustedError("TOO_MANY_REQUESTS", message, limit=MAX_CONCURRENT)
        self._running_counts[visitor.name] = open_now + 1

    def leave(self, visitor: Visitor) -> None:
        """Count it out."""
        left = self._running_counts[visitor.name] - 1
        if left:
            self._running_counts[visitor.name] = left
        else:
            del self._running_counts[visitor.name]

    @property
    def origins(self) -> Collection[str]:
        """Return the web pages that may call."""
        return self._origins

    def _check_host(self, request: web.Request) -> None:
        """Refuse a name that only DNS made ours: a page that rebinds its own name to this machine."""
        host = request.headers.get("Host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name.strip("[]").lower() not in _LOCAL_NAMES:
            message = f"The request is for host {host[:80]!r}, and this endpoint is for localhost only."
            raise PermissionDeniedError("HOST_REFUSED", message, host=host[:80])

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._origins:
            message = (
                f"Web pages may not call oblixd, and this request came from {origin[:80]!r}. "
                "If you trust that page, add it to [http] origins in the configuration."
            )
            raise PermissionDeniedError("ORIGIN_REFUSED", message, origin=origin[:80])


def _check_loop(request: web.Request) -> None:
    if loops.came_from_here({loops.HEADER: request.headers.get(loops.HEADER, "")}):
        message = (
            "This request came from this daemon itself: the endpoint of a model leads back to it. "
            "Name the server that the model runs on."
        )
        raise PermissionDeniedError("REQUEST_LOOP", message)


def _token(request: web.Request) -> str:
    """Read the token where each API's clients put their key."""
    bearer = request.headers.get("Authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return request.headers.get("x-api-key", "") or request.headers.get("api-key", "")
