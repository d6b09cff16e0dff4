# Written by tools/sync_client.py from client/oblix/_async/sessions.py: change that file.
"""The conversations: `client.sessions`."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Literal

from oblix._convert.decoding import change_of, damaged_session, hit_of, session_of
from oblix._convert.models import pruning_of
from oblix._convert.validation import invalid, session_id_of, text
from oblix._convert.values import to_struct
from oblix._resources import session_requests as requests
from oblix._sync.items import Items
from oblix._sync.transfer import Transfer
from oblix.changes import Change
from oblix.limits import LARGEST_SEARCH_PAGE
from oblix.options import MessageRef, SessionRef
from oblix.reports import PruneResult
from oblix.results import Retention, SearchHit, Session
from oblix.v1 import sessions_pb2


class Sessions(Transfer):
    """The conversations that the daemon keeps. Changes are on disk before a call returns.

    Every method takes a session or its id. For an unknown one it raises NotFoundError
    SESSION_NOT_FOUND.
    """

    def create(
        self,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        local_only: bool = False,
        routing_policy: str = "",
        session_id: str | None = None,
    ) -> Session:
        """Make an empty session, and return it.

        `title`: at most 1,024 characters. `metadata`: labels to filter by. `context`: the program's
        own data; models see only the text under the key `system`, which is the system message.
        Both: JSON values, at most 16 levels, 256 keys, 64 KiB; larger data belongs in the
        `client_data` of a message. `local_only`: no cloud model ever sees the session; this can't
        be undone. `routing_policy`: the policy for prompts that name none. `session_id`: an id of
        the program's own, 1 to 128 characters of A-Z a-z 0-9 . _ -; without one, the daemon makes
        an id.

        Raises InvalidArgumentError, and AlreadyExistsError: SESSION_EXISTS if a session has the id,
        SESSION_DELETED if a deleted session has it that can be undeleted.
        """
        request = requests.creation(
            session_id,
            title=title,
            metadata=metadata,
            context=context,
            local_only=local_only,
            routing_policy=routing_policy,
            get_existing=False,
        )
        answer = self._transport.call(lambda link: link.sessions.CreateSession, request)
        return session_of(answer.session)

    def get_or_create(
        self,
        session_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        local_only: bool = False,
        routing_policy: str = "",
    ) -> Session:
        """Return the session of this id, or make it, in one atomic step.

        The other arguments are for a new session, as in `create`. They do not change an existing
        one, except that `local_only=True` makes it local-only. Raises InvalidArgumentError, and
        AlreadyExistsError SESSION_DELETED.
        """
        request = requests.creation(
            session_id,
            title=title,
            metadata=metadata,
            context=context,
            local_only=local_only,
            routing_policy=routing_policy,
            get_existing=True,
        )
        answer = self._transport.call(lambda link: link.sessions.CreateSession, request, repeatable=True)
        return session_of(answer.session)

    def get(self, session: SessionRef) -> Session:
        """Return a session's header. Reads no messages. Raises NotFoundError."""
        request = sessions_pb2.GetSessionRequest(session_id=session_id_of(session))
        answer = self._transport.call(lambda link: link.sessions.GetSession, request, repeatable=True)
        return session_of(answer.session)

    def list(
        self,
        *,
        metadata: Mapping[str, Any] | None = None,
        archived: bool | None = False,
        updated_from: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        deleted: bool = False,
        limit: int | None = None,
    ) -> Items[Session]:
        """Return sessions, the most recently changed first.

        `metadata`: equalities that must all hold, at most 16; a key is a metadata key or a dotted
        path, a value is text, a number, a bool or None. `archived`: False for those that are not
        archived, True for those that are, None for both. `updated_from` and `updated_before`: a
        datetime or ISO 8601 text, in UTC if it has no offset; the first is included. `deleted=True`:
        sessions that can be undeleted, the last deleted first, without a filter; the times are
        then those of the deletion. `limit`: the maximum number.

        A session with damaged records has an `id`, and `damaged` is true.
        """
        request = requests.listing(
            metadata,
            archived=archived,
            updated_from=updated_from,
            updated_before=updated_before,
            deleted=deleted,
        )
        return Items(lambda token, most: self._list_page(request, token, most), limit)

    def update(
        self,
        session: SessionRef,
        *,
        title: str | None = None,
        archived: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        retention: Retention | Literal["configured"] | None = None,
        routing_policy: str | None = None,
        local_only: bool = False,
        etag: str | None = None,
    ) -> Session:
        """Change the given fields, and return the header.

        `metadata` and `context` are merged key by key. `archived`: whether it is archived.
        `retention`: when it is archived or deleted if nothing is added; "configured" for the
        setting of the daemon. `routing_policy`: "" for none. `local_only=True`: no cloud model sees
        it from now on; this can't be undone. `etag`: of the header that the program read; if the
        header has changed since, nothing is done.

        Raises NotFoundError, InvalidArgumentError, and AbortedError ETAG_MISMATCH.
        """
        request = requests.update(
            session,
            title=title,
            archived=archived,
            metadata=metadata,
            context=context,
            retention=retention,
            routing_policy=routing_policy,
            local_only=local_only,
            etag=etag,
        )
        answer = self._transport.call(lambda link: link.sessions.UpdateSession, request)
        return session_of(answer.session)

    def delete(self, session: SessionRef, *, purge: bool = False) -> None:
        """Delete a session with its messages, and cancel its running answer.

        `undelete` restores it for as long as the daemon keeps deleted sessions, by default thirty
        days. Its id stays taken for as long. `purge=True`: it can't be undeleted, and its id is
        free at once; this also purges a session that was deleted before. Raises NotFoundError.
        """
        request = sessions_pb2.DeleteSessionRequest(session_id=session_id_of(session), purge=purge)
        self._transport.call(lambda link: link.sessions.DeleteSession, request)

    def undelete(self, session: SessionRef) -> Session:
        """Restore a deleted session as it was, and return it.

        Raises NotFoundError if there is none or it is purged, and FailedPreconditionError
        SESSION_NOT_DELETED.
        """
        request = sessions_pb2.UndeleteSessionRequest(session_id=session_id_of(session))
        answer = self._transport.call(lambda link: link.sessions.UndeleteSession, request)
        return session_of(answer.session)

    def copy(
        self, session: SessionRef, *, title: str | None = None, up_to: MessageRef | None = None
    ) -> Session:
        """Copy a session with its messages, metadata and context, and return the copy.

        `title`: by default the old one. `up_to`: the last message to copy, which makes it a fork.
        The copy has a `parent_id`. Raises NotFoundError, also for an unknown message, and
        InvalidArgumentError for a place past the end.
        """
        request = sessions_pb2.CopySessionRequest(session_id=session_id_of(session))
        if isinstance(up_to, int) and not isinstance(up_to, bool):
            if up_to < 1:
                raise invalid("up_to", "a place from 1 on", up_to)
            request.up_to_sequence = up_to
        elif up_to is not None:
            request.up_to_sequence = (self._find(session, up_to)).sequence
        if title is not None:
            request.title = text(title, "title")
        answer = self._transport.call(lambda link: link.sessions.CopySession, request, timeout_s=None)
        return session_of(answer.session)

    def merge(self, sessions: Sequence[SessionRef], *, title: str | None = None) -> Session:
        """Make a new session from the messages of several, in order of time, and return it.

        1 to 1,000 sessions. Metadata and context are merged; if two sessions have the same key, the
        value of the first one is used. Raises NotFoundError.
        """
        request = requests.merging(sessions, title)
        answer = self._transport.call(lambda link: link.sessions.MergeSessions, request, timeout_s=None)
        return session_of(answer.session)

    def search(
        self,
        query: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        session: SessionRef | None = None,
        archived: bool | None = False,
        limit: int | None = None,
    ) -> Items[SearchHit]:
        """Return the messages and session titles that have these words, best first.

        `query`: words that must all be there, `"a phrase"`, `begin*`; 1 to 1,000 characters.
        `metadata` and `archived`: as in `list`; `session`: only in this one. The search finds every
        earlier write, unless very much was written just before.

        Reading raises InvalidArgumentError, NotFoundError, and DeadlineExceededError SEARCH_TOO_SLOW.
        """
        request = sessions_pb2.SearchMessagesRequest(
            query=text(query, "query"),
            filter=to_struct(metadata, "metadata") if metadata else None,
            session_id=session_id_of(session) if session else "",
            archived=requests.ARCHIVED[archived],
        )
        return Items(lambda token, most: self._hits(request, token, most), limit, LARGEST_SEARCH_PAGE)

    def watch(
        self, *, metadata: Mapping[str, Any] | None = None, from_revision: int | None = None
    ) -> Generator[Change[Session], None, None]:
        """Yield the matching sessions, `Synced`, then each change by any program.

        `metadata`: as in `list`; archived sessions are not watched. `from_revision`: only changes
        after this one, instead of all matching sessions. A slow reader delays nobody: it gets
        several changes of a session as one. The stream ends when it is closed, or with
        `ResyncRequired`. It does not contain the text of answers: a session with a running answer
        has a `running_request_id`, to attach to.

        Raises UnavailableError if the daemon ends (continue from the last revision), and
        InvalidArgumentError, also for a revision of the future.
        """
        request = requests.watching(metadata, from_revision, "metadata")
        events = self._transport.iterate(
            lambda link: link.sessions.WatchSessions(request, metadata=link.metadata), repeatable=True
        )
        with closing(events):
            for event in events:
                yield change_of(event)

    def prune(
        self,
        *,
        days: int | None = None,
        action: Literal["archive", "delete"] = "archive",
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> PruneResult:
        """Archive or delete the sessions to which nothing was added for this number of days.

        Without `days`, it applies the retention of each session or of the daemon's configuration,
        as the daemon does every hour. `dry_run`: only return which sessions it would be. Sessions
        with a running answer stay. `metadata` None: with any metadata; an empty filter is refused.
        Raises InvalidArgumentError.
        """
        request = requests.pruning(days, action, metadata, dry_run, "metadata")
        answer = self._transport.call(lambda link: link.sessions.PruneSessions, request, timeout_s=None)
        return pruning_of(answer)

    def _list_page(
        self, request: sessions_pb2.ListSessionsRequest, token: str, most: int
    ) -> tuple[_Sessions, str]:
        asked = requests.page_of(request, token, most)
        page = self._transport.call(lambda link: link.sessions.ListSessions, asked, repeatable=True)
        found = [session_of(session) for session in page.sessions]
        return found + [damaged_session(one) for one in page.damaged_sessions], page.next_page_token

    def _hits(self, request: sessions_pb2.SearchMessagesRequest, token: str, most: int) -> tuple[_Hits, str]:
        asked = requests.page_of(request, token, most)
        page = self._transport.call(lambda link: link.sessions.SearchMessages, asked, repeatable=True)
        return [hit_of(hit) for hit in page.hits], page.next_page_token


_Sessions = list[Session]
_Hits = list[SearchHit]
