"""Keeps a prompt from going round: a server that is this daemon's own listener, or that leads back to it.

Every request to a server carries a marker of this daemon's, random for each start. A listener of
ours that meets it refuses the request: it came from here.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from oblixd.errors import invalid_argument
from oblixd.models.endpoints import is_loopback

HEADER = "oblix-via"
MARKER = secrets.token_hex(8)
"""This daemon's own. It says nothing of the user or the machine."""
_listeners: set[tuple[str, int]] = set()


def listening(host: str, port: int) -> None:
    """Note a listener of this daemon's, from the moment in which it is open."""
    _listeners.add((host.strip("[]").lower(), port))


def closed(host: str, port: int) -> None:
    """Forget a listener."""
    _listeners.discard((host.strip("[]").lower(), port))


def came_from_here(headers: Mapping[str, str]) -> bool:
    """Return whether this daemon sent a request that our listener got. Header names are in lower case."""
    return MARKER in headers.get(HEADER, "")


def refuse_own(endpoint: str) -> None:
    """Raise InvalidArgumentError where an endpoint is a listener of this daemon's own."""
    if not endpoint:
        return
    url = urlsplit(endpoint)
    host, port = url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    here = is_loopback(endpoint)
    own = any(port == used and (here or host == name) for name, used in _listeners)
    if own:
        message = (
            f"{url.scheme}://{url.netloc} is this daemon itself: a prompt would go round for ever. "
            "Name the server that the model runs on."
        )
        raise invalid_argument("INVALID_HOOK", message, field="endpoint", given=endpoint)
