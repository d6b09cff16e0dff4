"""What a watch tells: first the sessions as they are, then each change of them.

SessionChanged*  Synced  (SessionChanged | SessionRemoved | Synced)*  ResyncRequired?
"""

from __future__ import annotations

from typing import Any, Generic, TypeAlias, TypeVar

from oblix.results import Result, Session

S = TypeVar("S", Session, dict[str, Any])


class SessionChanged(Result, Generic[S], frozen=True):
    """A session is there, is new, or changed. Several changes in a row may come as one."""

    session: S
    """Its header as it is now. `OblixClient.watch` gives it as a dict."""
    revision: int


class SessionRemoved(Result, frozen=True):
    """A session was deleted or archived, or no longer matches. It may be one that was never told."""

    session_id: str
    revision: int


class Synced(Result, frozen=True):
    """Everything up to here has come: once at first, and whenever a reader that was behind caught up."""

    revision: int
    """Where to go on after the watch was lost: `watch(from_revision=...)`."""


class ResyncRequired(Result, frozen=True):
    """The changes in between are no longer known: forget what you have and watch anew. Nothing follows."""

    oldest_revision: int
    """The oldest revision that can be gone on from."""


Change: TypeAlias = SessionChanged[S] | SessionRemoved | Synced | ResyncRequired
