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
    """Create, find, read, change, export and delete sessions. Changes are on disk before a call returns."""

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
        `initial_context`: the program's own data; models see only the text under the
        key `system`. Both: JSON values, at most 16 levels, 256 keys, 64 KiB.
        `local_only`: no cloud model ever sees the session; this can't be undone.
        `routing_policy`: the policy for prompts that name none, at most 64 characters.

        `session_id`: an id of the program's own, 1 to 128 characters of A-Z a-z 0-9 . _
        -; without one, the daemon makes an id. `get_or_create=True`: if a session has
        that id, it is returned unchanged, in one atomic step; only `local_only=True`
        makes an existing session local-only.

        Raises InvalidArgumentError, and AlreadyExistsError: SESSION_EXISTS if a session
        has the id, unless `get_or_create` is set; SESSION_DELETED if a deleted session
        has it that can be undeleted.
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
        """Make a session the current one. Return False, and change nothing, for an unknown id."""
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
        """Return sessions, the most recently changed first: at most `limit`.

        `filter_metadata`: equalities that must all hold, at most 16; a key is a
        metadata key or a dotted path, a value is text, a number, a bool or None.
        `archived`: False for those that are not archived, True for those that are, None
        for both. `updated_from` and `updated_before`: a datetime or ISO 8601 text, in
        UTC if it has no offset; the first is included. `deleted=True`: sessions that
        can be undeleted, the last deleted first, without a filter; the times are then
        those of the deletion.

        Each dict has `id`, `title`, `created_at`, `updated_at`, `message_count` and
        `metadata`, and if they apply `archived`, `running_request_id`, `parent_id`,
        `deleted_at` and `purged_at`. A session with damaged records has `id` and
        `damaged`: what is wrong, and what to do. Raises InvalidArgumentError.
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
        """Return a whole session, or None for an unknown id.

        The dict has `id`, `title`, `created_at`, `updated_at`, `messages`, `context`
        and `metadata`; a message has `id`, `role`, `content` and `timestamp`, and if
        they apply `status`, `parts`, `model` and `usage`. A running answer is included
        as far as its last checkpoint.
        """
        request = sessions_pb2.GetSessionRequest(session_id=text(session_id, "session_id"))
        try:
            answer = self._transport.call(lambda link: link.sessions.GetSession, request, repeatable=True)
            return document_of(answer.session, self._sync.sessions.raw(session_id))
        except NotFoundError:
            return None

    def delete_session(self, session_id: str, *, purge: bool = False) -> bool:
        """Delete a session with its messages, and cancel its running answer. False for an unknown id.

        `undelete_session` restores it for as long as the daemon keeps deleted sessions,
        by default thirty days. Its id stays taken for as long. `purge=True`: it can't
        be undeleted, and its id is free at once; this also purges a session that was
        deleted before.
        """
        try:
            self._sync.sessions.delete(session_id, purge=purge)
        except NotFoundError:
            return False
        if self.current_session_id == session_id:
            self.current_session_id = None
        return True

    def update_session_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> bool:
        """Merge keys into a session's metadata; the other keys stay. False for an unknown id."""
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
        """Return a session's metadata, or None for an unknown id. Reads no messages."""
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

        The file is written as a whole or not at all; missing directories are made.
        `export_path` is the first Oblix's name for `file_path`. Raises NotFoundError,
        and InvalidArgumentError for a path that can't be written.
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
        """Import a session from a JSON file, also of the first Oblix, and return its id.

        `import_path` is the first Oblix's name for `file_path`. `new_id=False` keeps
        the file's id; AlreadyExistsError if it exists. Raises NotFoundError for a
        missing file, and InvalidArgumentError, with the file and the problem, for a
        file that is not a session or is larger than 128 MiB.
        """
        path = one_of(file_path=file_path, import_path=import_path)
        imported = await self._async.sessions.import_document(path, new_id=new_id)
        return self._use(imported, use_immediately)

    async def copy_session(
        self, session_id: str, new_title: str | None = None, use_immediately: bool = False
    ) -> str:
        """Copy a session with its messages, metadata and context, and return the copy's id.

        By default the copy has the old title. Raises NotFoundError.
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
        """Make a new session from the messages of several, in order of time, and return its id.

        1 to 1,000 sessions. Metadata and context are merged; if two sessions have the
        same key, the value of the first one is used. `source_ids` is the first Oblix's
        name for `session_ids`. Raises NotFoundError.
        """
        sources = one_of(session_ids=session_ids, source_ids=source_ids)
        merged = await self._async.sessions.merge(sources, title=title)
        return self._use(merged.id, use_immediately)


Action = Literal["archive", "delete"]
Retention = Mapping[str, Any]


class HousekeepingCalls(FacadePart):
    """Update, restore, fork and prune sessions."""

    def get_session(self, session_id: str) -> dict[str, Any] | None:
        """Return a session without its messages, or None for an unknown id.

        The dict has the keys of `list_sessions`, `context`, `etag`, and if they are set
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
        """Change the given fields, and return the header; None for an unknown id.

        `metadata` and `context` are merged key by key. `archived`: whether it is
        archived. `retention`: `{"days": 90, "action": "archive"}` (or "delete"; 0 days:
        it stays forever), or "configured" for the setting of the daemon.
        `routing_policy`: as in `create_session`, "" for none. `etag`: of the header
        that the program read; if the header has changed since, nothing is done.

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
        """Restore a deleted session as it was. False if there is none or it is purged.

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

        `up_to_message`: a message's id, or its sequence number, from 1; None for all.
        The copy has a `parent_id`. Raises NotFoundError, also for an unknown message,
        and InvalidArgumentError for a place past the end.
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
        """Archive or delete the sessions to which nothing was added for this number of days.

        Without `days`, it applies the retention of each session or of the daemon's
        configuration, as the daemon does every hour. `dry_run`: only return which
        sessions it would be. Sessions with a running answer stay. `filter_metadata`
        None: with any metadata; an empty filter is refused. Raises
        InvalidArgumentError.
        """
        from oblix.reports import PruneReport

        pruned = await self._async.sessions.prune(
            days=days, action=action, metadata=self._filter(filter_metadata), dry_run=dry_run
        )
        sessions = [one.session.summary() | {"action": one.action} for one in pruned.sessions]
        return PruneReport(sessions, pruned.total_count)
