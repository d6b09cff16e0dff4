"""Keeping sessions in order: changed, put away, brought back, forked, pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from oblix._checks import invalid, shown, text
from oblix._records import ACTION_NAMES, action_of, header_of, summary_of
from oblix._sessions import SessionCalls
from oblix._streams import in_thread
from oblix._values import to_struct
from oblix.errors import NotFoundError
from oblix.reports import PruneReport
from oblix.v1 import sessions_pb2

MAX_DAYS = 36_500

Action = Literal["archive", "delete"]
Retention = Mapping[str, Any]


class HousekeepingCalls(SessionCalls):
    """What becomes of sessions."""

    def get_session(self, session_id: str) -> dict[str, Any] | None:
        """All that a session has but its messages, or None where there is none of that id.

        As in `list_sessions`, and `context`, `etag`, and where they are set
        `local_only`, `routing_policy` and `retention`.
        """
        session = self._header(session_id)
        return None if session is None else header_of(session)

    def update_session(
        self,
        session_id: str,
        *,
        title: str | None = None,
        archived: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        retention: Retention | Literal["configured"] | None = None,
        routing_policy: str | None = None,
        etag: str | None = None,
    ) -> dict[str, Any] | None:
        """Change what is given, leave the rest, and return the header. None where there is none of that id.

        `metadata` and `context` are merged key by key into what is there.
        `archived`: put away, or not. `retention`: `{"days": 90, "action":
        "archive"}` (or "delete"; 0 days: it stays for ever), or "configured" for
        what the daemon's configuration says. `routing_policy`: as in
        `create_session`, "" for none of its own. `etag`: of the header that the
        change was made on; where somebody changed it since, nothing is done.

        Raises InvalidArgumentError, and AbortedError ETAG_MISMATCH.
        """
        session = sessions_pb2.Session(
            id=text(session_id, "session_id"),
            title=text(title or "", "title"),
            archived=bool(archived),
            metadata=to_struct(metadata or {}, "metadata"),
            context=to_struct(context or {}, "context"),
            retention=_retention(retention) if isinstance(retention, Mapping) else None,
            routing_policy=text(routing_policy or "", "routing_policy"),
            etag=text(etag or "", "etag"),
        )
        given = {
            "title": title,
            "archived": archived,
            "retention": retention,
            "routing_policy": routing_policy,
        }
        paths = [name for name, value in given.items() if value is not None]
        paths += [f"metadata.{key}" for key in metadata or ()] + [f"context.{key}" for key in context or ()]
        return self._update(session, paths)

    def undelete_session(self, session_id: str) -> bool:
        """Bring a deleted session back as it was. False where there is none, or it is gone for good.

        Raises FailedPreconditionError SESSION_NOT_DELETED.
        """
        request = sessions_pb2.UndeleteSessionRequest(session_id=text(session_id, "session_id"))
        try:
            self._transport.call(lambda link: link.sessions.UndeleteSession, request)
        except NotFoundError:
            return False
        return True

    async def fork_session(
        self,
        session_id: str,
        up_to_message: str | int | None = None,
        new_title: str | None = None,
        use_immediately: bool = False,
    ) -> str:
        """Copy a session up to a message, which is included, and return the copy's id.

        `up_to_message`: a message's id, or its place in the session, from 1; None
        for all. The copy knows its `parent_id`. Raises NotFoundError, also for a
        message that is not there, and InvalidArgumentError for a place past the end.
        """
        request = sessions_pb2.CopySessionRequest(session_id=text(session_id, "session_id"))
        if up_to_message is not None:
            request.up_to_sequence = await in_thread(lambda: self._sequence(session_id, up_to_message))
        if new_title is not None:
            request.title = text(new_title, "new_title")
        answer = await self._transport.acall(lambda link: link.sessions.CopySession, request, timeout_s=None)
        return self._use(answer.session.id, use_immediately)

    async def prune_sessions(
        self,
        days: int | None = None,
        action: Action = "archive",
        filter_metadata: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
    ) -> PruneReport:
        """Archive or delete the sessions to which nothing was added for so many days.

        Without `days` the retention of each session, or of the daemon's
        configuration, is applied, as the daemon does every hour by itself.
        `dry_run`: only say which it would be. A session that is being answered
        in is left alone. `filter_metadata` None: whatever their metadata; an empty
        one is refused. Raises InvalidArgumentError.
        """
        request = sessions_pb2.PruneSessionsRequest(dry_run=dry_run)
        if days is not None:
            request.days = _days(days, "days", least=1)
            request.action = action_of(action, "action")
        if filter_metadata is not None:
            # An empty one is sent as it is, and refused: "every session" is said by leaving it out.
            request.filter.CopyFrom(to_struct(filter_metadata, "filter_metadata"))
        answer = await self._transport.acall(
            lambda link: link.sessions.PruneSessions, request, timeout_s=None
        )
        pruned = [
            summary_of(pruned.session) | {"action": ACTION_NAMES[pruned.action]} for pruned in answer.sessions
        ]
        return PruneReport(pruned, answer.total_count)

    def _update(self, session: sessions_pb2.Session, paths: list[str]) -> dict[str, Any] | None:
        request = sessions_pb2.UpdateSessionRequest(session=session)
        request.update_mask.paths.extend(paths)
        try:
            answer = self._transport.call(lambda link: link.sessions.UpdateSession, request)
        except NotFoundError:
            return None
        return header_of(answer.session)

    def _sequence(self, session_id: str, message: object) -> int:
        """A message's place. One that is named by its id is looked for from the end."""
        if isinstance(message, int) and not isinstance(message, bool):
            if message < 1:
                raise invalid("up_to_message", "a place from 1 on", message)
            return message
        message_id = text(message, "up_to_message")
        for found in self._messages(session_id, newest_first=True):
            if found.id == message_id:
                return found.sequence
        raise NotFoundError(f"Session {session_id} has no message {message_id}.", reason="MESSAGE_NOT_FOUND")


def _retention(given: Mapping[str, Any]) -> sessions_pb2.Retention:
    days = _days(given.get("days"), "retention.days", least=0)
    return sessions_pb2.Retention(
        days=days, action=action_of(given.get("action", "archive"), "retention.action")
    )


def _days(days: object, field: str, least: int) -> int:
    if isinstance(days, bool) or not isinstance(days, int) or not least <= days <= MAX_DAYS:
        raise invalid(field, f"a whole number of {least} to {MAX_DAYS:,} days", shown(days))
    return days
