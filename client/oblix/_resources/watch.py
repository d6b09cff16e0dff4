"""Watching sessions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from oblix._convert.records import header_of
from oblix._convert.validation import describe, invalid
from oblix._convert.values import to_struct
from oblix._resources.core import Core
from oblix.changes import Change, ResyncRequired, SessionChanged, SessionRemoved, Synced
from oblix.v1 import sessions_pb2


class WatchCalls(Core):
    """Live updates."""

    async def watch(
        self,
        *,
        filter_metadata: Mapping[str, Any] | None = None,
        from_revision: int | None = None,
    ) -> AsyncGenerator[Change, None]:
        """Yield the sessions that match as they are, `Synced`, then each change, whoever makes it.

        `filter_metadata`: as in `list_sessions`; archived sessions are not
        watched. `from_revision`: only what changed after that one, instead of
        all that match. A slow reader holds up nobody: it is told several changes
        of a session as one. It goes on until it is closed, or `ResyncRequired`
        came. What is being answered is not told word by word: the session has a
        `running_request_id`, to attach to.

        Raises UnavailableError where the daemon ends (go on from the last
        revision), and InvalidArgumentError, also for a revision of the future.
        """
        if from_revision is not None and (
            isinstance(from_revision, bool) or not isinstance(from_revision, int)
        ):
            raise invalid("from_revision", "a whole number", describe(from_revision))
        request = sessions_pb2.WatchSessionsRequest(
            filter=to_struct(filter_metadata, "filter_metadata") if filter_metadata else None,
            from_revision=from_revision,
        )
        events = self._transport.stream(
            lambda link: link.sessions.WatchSessions(request, metadata=link.metadata), repeatable=True
        )
        async with aclosing(events):
            async for event in events:
                yield _change(event)


def _change(event: sessions_pb2.WatchSessionsResponse) -> Change:
    match event.WhichOneof("event"):
        case "session":
            return SessionChanged(header_of(event.session.session), event.session.revision)
        case "removed":
            return SessionRemoved(event.removed.session_id, event.removed.revision)
        case "synced":
            return Synced(event.synced.revision)
        case _:
            return ResyncRequired(event.resync_required.oldest_revision)
