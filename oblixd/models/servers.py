"""Where a model's server is, how it is spoken to, and how long it is waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from oblixd.models.failures import Peer
from oblixd.models.options import ModelOptions
from oblixd.models.outbound import Way


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server, in seconds. There is no limit to a whole answer.

    Every byte that comes is a sign of life: comments, pings, reports of progress, empty lines, a chunk that
    holds only a role. Silence is measured from one to the next.
    """

    connect_s: float = 5.0
    """For the connection, TLS included."""
    first_s: float = 300.0
    """Of silence before the first content: a server may load the model and read a long prompt."""
    stall_s: float = 120.0
    """Of silence after it."""
    content_s: float | None = 3600.0
    """From content to content, whatever signs of life come in between. None: as long as they come."""
    first_token_s: float | None = None
    """From the request to the first content, whatever signs of life come. None: as `content_s`."""


PATIENCE = Patience()
PROBE_PATIENCE = Patience(connect_s=2.0, first_s=3.0, stall_s=3.0, content_s=3.0)
"""For what is asked beside prompts."""


Works = Callable[[str], Awaitable[bool]]
"""Tells whether the processes on this machine that serve an origin work now. False: not, or not known."""


def patience_of(options: ModelOptions, default: Patience, *, is_here: bool) -> Patience:
    """What a model's options say of waiting, and the default for the rest.

    `is_here`: the server is on this machine, and may take as long as it gives signs of life.
    """
    first_s = options.first_token_timeout_s
    given = {
        "connect_s": options.connect_timeout_s,
        "first_s": first_s if first_s is None or options.idle_timeout_s is None else options.idle_timeout_s,
        "first_token_s": first_s,
        "stall_s": options.idle_timeout_s,
    }
    patience = replace(default, **{name: value for name, value in given.items() if value is not None})
    return replace(patience, content_s=None) if is_here and default is PATIENCE else patience


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is and how it is spoken to."""

    peer: Peer
    base_url: str
    """Without a slash at its end."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request. May hold a key."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Parameters of every request's URL."""
    socket_path: Path | None = None
    """The Unix socket that it listens on; the URL's host is then only a name."""
    patience: Patience = PATIENCE
    way: Callable[[], Way] = Way
    """How it is reached now; the configuration may change it."""
    works: Works | None = None
    """Asked when a server on this machine was silent for too long: while it works it is waited for."""
    max_connections: int = 64
    """Open at once. A request beyond waits for a place."""
