"""Sessions, as the guide has them; and keeping them in order: changed, put away, forked, pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from oblix._convert.decoding import session_of
from oblix._convert.records import document_of
from oblix._convert.validation import one_of, text, whole_number
from oblix._convert.values import to_struct
from oblix._facade.base import FacadePart
from oblix._resources import session_requests as requests
from oblix.errors import NotFoundError
from oblix.v1 import sessions_pb2

if TYPE_CHECKING:
    from oblix.reports import PruneReport


class SessionCalls(FacadePart):
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
        request = requests.creation(
            session_id,
            title=title,
            metadata=metadata,
            context=initial_context,
            local_only=local_only,
            routing_policy=routing_policy,
            get_existing=get_or_create,
            context_field="initial_context",
        )
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
        try:
            self._sync.sessions.get(session_id)
        except NotFoundError:
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
        found = self._sync.sessions.list(
            metadata=self._filter(filter_metadata),
            archived=archived,
            updated_from=updated_from,
            updated_before=updated_before,
            deleted=deleted,
            limit=whole_number(limit, "limit", 0),
        )
        return [session.summary() for session in found]

    def load_session(self, session_id: str) -> dict[str, Any] | None:
        """Read a whole session, or None where there is none of that id.

        The dict has `id`, `title`, `created_at`, `updated_at`, `messages`,
        `context` and `metadata`; a message has `id`, `role`, `content` and
        `timestamp`, and where there is more to say `status`, `parts`, `model`
        and `usage`. A running answer is there as far as it was checkpointed.
        """
        request = sessions_pb2.GetSessionRequest(session_id=text(session_id, "session_id"))
        try:
            answer = self._transport.call(lambda link: link.sessions.GetSession, request, repeatable=True)
            return document_of(answer.session, self._sync.sessions.raw(session_id))
        except NotFoundError:
            return None

    def delete_session(self, session_id: str, *, purge: bool = False) -> bool:
        """Delete a session with its messages, and cancel its running answer. False where there is none.

        `undelete_session` brings it back for as long as the daemon's configuration
        keeps deleted sessions: thirty days, unless it says otherwise. Its id stays
        taken for as long. `purge=True`: it can't be brought back, and its id is
        free at once; a session that was deleted before is purged, too.
        """
        try:
            self._sync.sessions.delete(session_id, purge=purge)
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
        try:
            return dict(self._sync.sessions.get(session_id).metadata)
        except NotFoundError:
            return None

    async def export_session(
        self,
        session_id: str,
        file_path: str | PathLike[str] | None = None,
        *,
        export_path: str | PathLike[str] | None = None,
    ) -> bool:
        """Write a session to a JSON file, which only its owner can read, and return True.

        The file is there whole or not at all; missing directories are made. `export_path` is
        the first Oblix's name for `file_path`.
        Raises NotFoundError, and InvalidArgumentError for a path that can't be written.
        """
        path = one_of(file_path=file_path, export_path=export_path)
        await self._async.sessions.export_document(text(session_id, "session_id"), path)
        return True

    async def import_session(
        self,
        file_path: str | PathLike[str] | None = None,
        new_id: bool = True,
        use_immediately: bool = False,
        *,
        import_path: str | PathLike[str] | None = None,
    ) -> str:
        """Read a session from a JSON file, also one that the first Oblix wrote, and return its id.

        `import_path` is the first Oblix's name for `file_path`. `new_id=False` keeps the
        file's id; one that exists is AlreadyExistsError.
        Raises NotFoundError for a missing file, InvalidArgumentError with the
        file and the problem for one that is no session or over 128 MiB.
        """
        path = one_of(file_path=file_path, import_path=import_path)
        imported = await self._async.sessions.import_document(path, new_id=new_id)
        return self._use(imported, use_immediately)

    async def copy_session(
        self, session_id: str, new_title: str | None = None, use_immediately: bool = False
    ) -> str:
        """Copy a session with its messages, metadata and context, and return the copy's id.

        Without a new title it has the old one. Raises NotFoundError.
        """
        copy = await self._async.sessions.copy(session_id, title=new_title)
        return self._use(copy.id, use_immediately)

    async def merge_sessions(
        self,
        session_ids: Sequence[str] | None = None,
        title: str | None = None,
        use_immediately: bool = False,
        *,
        source_ids: Sequence[str] | None = None,
    ) -> str:
        """Make a new session of the messages of several, in order of time, and return its id.

        1 to 1,000 sessions. Metadata and context are united; of two values for
        a key, that of the session named first stays. `source_ids` is the first Oblix's
        name for `session_ids`. Raises NotFoundError.
        """
        sources = one_of(session_ids=session_ids, source_ids=source_ids)
        merged = await self._async.sessions.merge(sources, title=title)
        return self._use(merged.id, use_immediately)


Action = Literal["archive", "delete"]
Retention = Mapping[str, Any]


class HousekeepingCalls(FacadePart):
    """What becomes of sessions."""

    def get_session(self, session_id: str) -> dict[str, Any] | None:
        """Return all that a session has but its messages, or None where there is none of that id.

        As in `list_sessions`, and `context`, `etag`, and where they are set
        `local_only`, `routing_policy` and `retention`.
        """
        try:
            return self._sync.sessions.get(session_id).to_dict()
        except NotFoundError:
            return None

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
        request = requests.update(
            session_id,
            title=title,
            archived=archived,
            metadata=metadata,
            context=context,
            retention=retention,
            routing_policy=routing_policy,
            local_only=False,
            etag=etag,
        )
        try:
            answer = self._transport.call(lambda link: link.sessions.UpdateSession, request)
        except NotFoundError:
            return None
        return session_of(answer.session).to_dict()

    def undelete_session(self, session_id: str) -> bool:
        """Bring a deleted session back as it was. False where there is none, or it is gone for good.

        Raises FailedPreconditionError SESSION_NOT_DELETED.
        """
        try:
            self._sync.sessions.undelete(session_id)
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
        fork = await self._async.sessions.copy(session_id, title=new_title, up_to=up_to_message)
        return self._use(fork.id, use_immediately)

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
        from oblix.reports import PruneReport

        pruned = await self._async.sessions.prune(
            days=days, action=action, metadata=self._filter(filter_metadata), dry_run=dry_run
        )
        sessions = [one.session.summary() | {"action": one.action} for one in pruned.sessions]
        return PruneReport(sessions, pruned.total_count)
