"""The session half of a client.

Keeping sessions in order: changed, put away, brought back, forked, pruned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from itertools import islice
from os import PathLike
from typing import Any, Literal

from oblix._convert import file_io, records
from oblix._convert.records import (
    ACTION_NAMES,
    action_of,
    damaged_summary,
    document_of,
    header_of,
    summary_of,
)
from oblix._convert.validation import describe, invalid, text
from oblix._convert.values import from_struct, to_struct
from oblix._resources.core import Core
from oblix._resources.import_stream import import_one
from oblix._transport.streams import in_thread
from oblix.errors import NotFoundError
from oblix.formats import oblix_json
from oblix.limits import LARGEST_PAGE, MAX_DAYS
from oblix.reports import PruneReport
from oblix.v1 import messages_pb2, sessions_pb2

MessageName = str | int
"""A message's id; its place in the session, from 1; or, below 0, counted from the end: -1 is the last."""
_ARCHIVED = {
    False: sessions_pb2.ARCHIVED_FILTER_EXCLUDE,
    True: sessions_pb2.ARCHIVED_FILTER_ONLY,
    None: sessions_pb2.ARCHIVED_FILTER_INCLUDE,
}


class SessionCalls(Core):
    """Everything about sessions. What was acknowledged is on disk."""

    async def create_session(
        self,
        title: str | None = None,
        initial_context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        local_only: bool = False,
        routing_policy: str = "",
        *,
        session_id: str | None = None,
        get_or_create: bool = False,
    ) -> str:
        """Make an empty session and return its id.

        `title`: at most 1,024 characters. `metadata`: labels to filter by.
        `initial_context`: the program's own data; models see none of it but the
        text under the key `system`. Both: JSON values, 16 levels, 256 keys,
        64 KiB. `local_only`: no cloud model ever sees the session; it can't be
        taken back. `routing_policy`: the name of the one that its prompts are routed
        by where they name none, at most 64 characters.

        `session_id`: a name of the program's own, 1 to 128 characters of A-Z a-z 0-9
        . _ -; without one the daemon makes an id. `get_or_create=True`: where a
        session has that id already, it is used as it is, in one atomic step with
        making it. Nothing of it changes, except that `local_only=True` makes an
        open session local-only.

        Raises InvalidArgumentError, and AlreadyExistsError: SESSION_EXISTS where a
        session has the id, unless `get_or_create` is set; SESSION_DELETED where it is
        that of a deleted session that can be brought back.
        """
        session = sessions_pb2.Session(
            id=text(session_id or "", "session_id"),
            title=text(title or "", "title"),
            metadata=to_struct(metadata or {}, "metadata"),
            context=to_struct(initial_context or {}, "initial_context"),
            local_only=local_only,
            routing_policy=text(routing_policy, "routing_policy"),
        )
        request = sessions_pb2.CreateSessionRequest(session=session, get_existing=get_or_create)
        answer = await self._transport.acall(
            lambda link: link.sessions.CreateSession, request, repeatable=get_or_create
        )
        return answer.session.id

    async def create_and_use_session(
        self,
        title: str | None = None,
        initial_context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        local_only: bool = False,
        routing_policy: str = "",
        *,
        session_id: str | None = None,
        get_or_create: bool = False,
    ) -> str:
        """Make a session, as `create_session` does, and make it the current one."""
        made = await self.create_session(
            title,
            initial_context,
            metadata,
            local_only,
            routing_policy,
            session_id=session_id,
            get_or_create=get_or_create,
        )
        return self._use(made, True)

    def use_session(self, session_id: str) -> bool:
        """Make a session the current one. False, and nothing changes, where there is none of that id."""
        if self._header(session_id) is None:
            return False
        self.current_session_id = session_id
        return True

    def list_sessions(
        self,
        limit: int = 50,
        filter_metadata: Mapping[str, Any] | None = None,
        *,
        archived: bool | None = False,
        updated_from: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        deleted: bool = False,
    ) -> list[dict[str, Any]]:
        """List sessions, the most recently changed first: at most `limit`, however many there are.

        `filter_metadata`: equalities that must all hold, at most 16; a key is a
        metadata key or a dotted path, a value is text, a number, a bool or None.
        `archived`: False for those that are not put away, True for those that
        are, None for both. `updated_from` and `updated_before`: a datetime or ISO
        8601 text, UTC without an offset; the first is included. `deleted=True`:
        those that can still be brought back, the last deleted first, without a
        filter; the times are then those of the deletion.

        Each dict has `id`, `title`, `created_at`, `updated_at`, `message_count`
        and `metadata`, and where it applies `archived`, `running_request_id`,
        `parent_id`, `deleted_at` and `purged_at`. A session whose records are damaged on
        disk has `id` and `damaged`: what is wrong, and what to do. Raises InvalidArgumentError.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise invalid("limit", "a whole number of 0 or more", describe(limit))
        request = sessions_pb2.ListSessionsRequest(
            filter=to_struct(filter_metadata, "filter_metadata") if filter_metadata else None,
            archived=_ARCHIVED[archived],
            deleted=deleted,
        )
        if updated_from is not None:
            request.updated_from.CopyFrom(records.from_moment(updated_from, "updated_from"))
        if updated_before is not None:
            request.updated_before.CopyFrom(records.from_moment(updated_before, "updated_before"))
        return list(self._summaries(limit, request))

    def load_session(self, session_id: str) -> dict[str, Any] | None:
        """Read a whole session, or None where there is none of that id.

        The dict has `id`, `title`, `created_at`, `updated_at`, `messages`,
        `context` and `metadata`; a message has `id`, `role`, `content` and
        `timestamp`, and where there is more to say `status`, `parts`, `model`
        and `usage`. A running answer is there as far as it was checkpointed.
        """
        session = self._header(session_id)
        try:
            return document_of(session, self._messages(session_id)) if session else None
        except NotFoundError:  # deleted in between
            return None

    def delete_session(self, session_id: str, *, purge: bool = False) -> bool:
        """Delete a session with its messages, and cancel its running answer. False where there is none.

        `undelete_session` brings it back for as long as the daemon's configuration
        keeps deleted sessions: thirty days, unless it says otherwise. Its id stays
        taken for as long. `purge=True`: it can't be brought back, and its id is
        free at once; a session that was deleted before is purged, too.
        """
        request = sessions_pb2.DeleteSessionRequest(session_id=text(session_id, "session_id"), purge=purge)
        try:
            self._transport.call(lambda link: link.sessions.DeleteSession, request)
        except NotFoundError:
            return False
        if self.current_session_id == session_id:
            self.current_session_id = None
        return True

    def update_session_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> bool:
        """Merge keys into a session's metadata; the other keys stay. False where there is none of that id."""
        session = sessions_pb2.Session(
            id=text(session_id, "session_id"), metadata=to_struct(metadata, "metadata")
        )
        request = sessions_pb2.UpdateSessionRequest(session=session)
        try:
            self._transport.call(lambda link: link.sessions.UpdateSession, request, repeatable=True)
        except NotFoundError:
            return False
        return True

    def get_session_metadata(self, session_id: str) -> dict[str, Any] | None:
        """Return a session's metadata, or None where there is none of that id. Reads no messages."""
        session = self._header(session_id)
        return None if session is None else dict(from_struct(session.metadata))

    async def export_session(self, session_id: str, file_path: str | PathLike[str]) -> bool:
        """Write a session to a JSON file, which only its owner can read, and return True.

        The file is there whole or not at all; missing directories are made.
        Raises NotFoundError, and InvalidArgumentError for a path that can't be written.
        """
        path = file_io.path_of(file_path)
        session, messages = await self._export(session_id)
        await in_thread(lambda: file_io.write(path, oblix_json.dump(session, messages)))
        return True

    async def import_session(
        self, file_path: str | PathLike[str], new_id: bool = True, use_immediately: bool = False
    ) -> str:
        """Read a session from a JSON file, also one that the first Oblix wrote, and return its id.

        `new_id=False` keeps the file's id; one that exists is AlreadyExistsError.
        Raises NotFoundError for a missing file, InvalidArgumentError with the
        file and the problem for one that is no session or over 128 MiB.
        """
        path = file_io.path_of(file_path)
        session, messages = await in_thread(
            lambda: oblix_json.load(file_io.read(path, oblix_json.MAX_BYTES), str(path))
        )
        imported = await import_one(self._transport, session, messages, keep_id=not new_id)
        return self._use(imported.id, use_immediately)

    async def copy_session(
        self, session_id: str, new_title: str | None = None, use_immediately: bool = False
    ) -> str:
        """Copy a session with its messages, metadata and context, and return the copy's id.

        Without a new title it has the old one. Raises NotFoundError.
        """
        request = sessions_pb2.CopySessionRequest(session_id=text(session_id, "session_id"))
        if new_title is not None:
            request.title = text(new_title, "new_title")
        answer = await self._transport.acall(lambda link: link.sessions.CopySession, request, timeout_s=None)
        return self._use(answer.session.id, use_immediately)

    async def merge_sessions(
        self, session_ids: Sequence[str], title: str | None = None, use_immediately: bool = False
    ) -> str:
        """Make a new session of the messages of several, in order of time, and return its id.

        1 to 1,000 sessions. Metadata and context are united; of two values for
        a key, that of the session named first stays. Raises NotFoundError.
        """
        if isinstance(session_ids, str) or not isinstance(session_ids, Sequence):
            raise invalid("session_ids", "a list of ids", describe(session_ids))
        request = sessions_pb2.MergeSessionsRequest(
            session_ids=[text(session_id, "session_ids") for session_id in session_ids]
        )
        if title is not None:
            request.title = text(title, "title")
        answer = await self._transport.acall(
            lambda link: link.sessions.MergeSessions, request, timeout_s=None
        )
        return self._use(answer.session.id, use_immediately)

    def _use(self, session_id: str, use_immediately: bool) -> str:
        if use_immediately:
            self.current_session_id = session_id
        return session_id

    def _header(self, session_id: str) -> sessions_pb2.Session | None:
        request = sessions_pb2.GetSessionRequest(session_id=text(session_id, "session_id"))
        try:
            return self._transport.call(
                lambda link: link.sessions.GetSession, request, repeatable=True
            ).session
        except NotFoundError:
            return None

    def _summaries(self, limit: int, request: sessions_pb2.ListSessionsRequest) -> Iterator[dict[str, Any]]:
        while limit > 0:
            request.page_size = min(limit, LARGEST_PAGE)
            page = self._transport.call(lambda link: link.sessions.ListSessions, request, repeatable=True)
            yield from (summary_of(session) for session in page.sessions[:limit])
            yield from (damaged_summary(one) for one in page.damaged_sessions)
            limit -= len(page.sessions)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    def _found(self, session_id: str, name: MessageName) -> messages_pb2.Message:
        """Return the message of a name. By its id it is looked for from the end. Raises NotFoundError."""
        text(session_id, "session_id")
        if isinstance(name, bool) or not isinstance(name, int):
            message_id = text(name, "message")
            messages = self._messages(session_id, newest_first=True)
            found = next((message for message in messages if message.id == message_id), None)
        elif name < 0:
            messages = self._messages(session_id, newest_first=True, page_size=min(-name, LARGEST_PAGE))
            found = next(islice(messages, -name - 1, None), None)
        else:
            messages = self._messages(session_id, page_size=1, from_sequence=name)
            found = next(messages, None)
            found = found if found is not None and found.sequence == name else None
        if found is None:
            raise NotFoundError(f"Session {session_id} has no message {name}.", reason="MESSAGE_NOT_FOUND")
        return found

    def _messages(
        self,
        session_id: str,
        newest_first: bool = False,
        page_size: int = LARGEST_PAGE,
        from_sequence: int = 0,
    ) -> Iterator[messages_pb2.Message]:
        request = sessions_pb2.ListMessagesRequest(
            session_id=session_id,
            page_size=page_size,
            newest_first=newest_first,
            from_sequence=from_sequence,
        )
        while True:
            page = self._transport.call(lambda link: link.sessions.ListMessages, request, repeatable=True)
            yield from page.messages
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    async def _export(self, session_id: str) -> tuple[sessions_pb2.Session, list[messages_pb2.Message]]:
        request = sessions_pb2.ExportSessionsRequest(session_ids=[text(session_id, "session_id")])
        session, messages = sessions_pb2.Session(), list[messages_pb2.Message]()
        steps = self._transport.stream(
            lambda link: link.sessions.ExportSessions(request, metadata=link.metadata), repeatable=True
        )
        async with aclosing(steps):
            async for step in steps:
                messages.extend(step.messages.messages)
                if step.HasField("session"):
                    session = step.session
        return session, messages


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
        """Return a message's place. One that is named by its id is looked for from the end."""
        if isinstance(message, int) and not isinstance(message, bool):
            if message < 1:
                raise invalid("up_to_message", "a place from 1 on", message)
            return message
        return self._found(session_id, text(message, "up_to_message")).sequence


def _retention(given: Mapping[str, Any]) -> sessions_pb2.Retention:
    days = _days(given.get("days"), "retention.days", least=0)
    return sessions_pb2.Retention(
        days=days, action=action_of(given.get("action", "archive"), "retention.action")
    )


def _days(days: object, field: str, least: int) -> int:
    if isinstance(days, bool) or not isinstance(days, int) or not least <= days <= MAX_DAYS:
        raise invalid(field, f"a whole number of {least} to {MAX_DAYS:,} days", describe(days))
    return days
