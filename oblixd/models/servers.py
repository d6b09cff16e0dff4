"""Where a model's server is, how it is spoken to, and how long it is waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from oblixd.models.failures import Peer
from oblixd.models.options import ModelOptions
from oblixd.models.outbound import Way


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server, in seconds. There is no limit to a whole answer."""

    connect_s: float = 5.0
    """For the connection, TLS included."""
    first_s: float = 300.0
    """From the request to the first content: a server may load the model and read a long prompt."""
    stall_s: float = 120.0
    """From content to content."""


PATIENCE = Patience()
PROBE_PATIENCE = Patience(connect_s=2.0, first_s=3.0, stall_s=3.0)
"""For what is asked beside prompts."""


def patience_of(options: ModelOptions, default: Patience) -> Patience:
    """What a model's options say of waiting, and the default for the rest."""
    given = {
        "connect_s": options.connect_timeout_s,
        "first_s": options.first_token_timeout_s,
        "stall_s": options.idle_timeout_s,
    }
    return replace(default, **{name: seconds for name, seconds in given.items() if seconds is not None})


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
    max_connections: int = 64
    """Open at once. A request beyond waits for a place."""
