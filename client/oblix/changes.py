"""What a watch tells: first the sessions as they are, then each change of them.

SessionChanged*  Synced  (SessionChanged | SessionRemoved | Synced)*  ResyncRequired?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A session is there, is new, or changed. Several changes in a row may come as one."""

    session: dict[str, Any]
    """Its header as it is now, as `OblixClient.get_session` tells it."""
    revision: int


@dataclass(frozen=True, slots=True)
class SessionRemoved:
    """A session was deleted or archived, or no longer matches. It may be one that was never told."""

    session_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything up to here has come: once at first, and whenever a reader that was behind caught up."""

    revision: int
    """Where to go on after the watch was lost: `OblixClient.watch(from_revision=…)`."""


@dataclass(frozen=True, slots=True)
class ResyncRequired:
    """The changes in between are no longer known: forget what you have and watch anew. Nothing follows."""

    oldest_revision: int
    """The oldest revision that can be gone on from."""


Change = SessionChanged | SessionRemoved | Synced | ResyncRequired
