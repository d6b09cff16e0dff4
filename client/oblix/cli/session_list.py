"""Sessions and what is in them, without the Python client: what is read is there as soon as it can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from oblix._convert.validation import text, whole_number
from oblix.cli import daemon
from oblix.errors import NotFoundError
from oblix.limits import LARGEST_PAGE, LARGEST_SEARCH_PAGE

if TYPE_CHECKING:
    from oblix._transport.channel import Transport
    from oblix.v1 import messages_pb2, sessions_pb2


class Listed(NamedTuple):
    """A session of a list."""

    id: str
    title: str
    message_count: int
    changed_at: int
    """When a message or an update last changed it, in seconds since 1970."""
    record: sessions_pb2.Session | sessions_pb2.DamagedSession
    damage: str = ""
    """What is wrong, where its records are damaged on disk. Then only `id` is known."""

    def summary(self) -> dict[str, Any]:
        """Return what `OblixClient.list_sessions` does."""
        from oblix._convert import decoding
        from oblix.v1 import sessions_pb2

        if isinstance(self.record, sessions_pb2.DamagedSession):
            return decoding.damaged_session(self.record).summary()
        return decoding.session_of(self.record).summary()


def fetch(
    limit: int,
    *,
    metadata: Mapping[str, Any] | None = None,
    archived: bool | None = False,
    updated_from: str | None = None,
    updated_before: str | None = None,
    deleted: bool = False,
) -> list[Listed]:
    """Return sessions, the one that changed last first. The arguments are those of `list_sessions`."""
    from oblix.v1 import sessions_pb2

    which = {
        False: sessions_pb2.ARCHIVED_FILTER_EXCLUDE,
        True: sessions_pb2.ARCHIVED_FILTER_ONLY,
        None: sessions_pb2.ARCHIVED_FILTER_INCLUDE,
    }
    request = sessions_pb2.ListSessionsRequest(archived=which[archived], deleted=deleted)
    if metadata:
        from oblix._convert.values import to_struct

        request.filter.CopyFrom(to_struct(metadata, "filter_metadata"))
    for field, moment in (("updated_from", updated_from), ("updated_before", updated_before)):
        if moment is not None:
            from oblix._convert.records import from_moment

            getattr(request, field).CopyFrom(from_moment(moment, field))
    return _pages(request, whole_number(limit, "limit", 0))


def document(session_id: str) -> dict[str, Any] | None:
    """Return a whole session as `OblixClient.load_session` does, or None where there is none of that id."""
    from oblix._convert.records import document_of
    from oblix.v1 import sessions_pb2

    way = daemon.any_daemon()
    request = sessions_pb2.GetSessionRequest(session_id=session_id)
    try:
        answer = way.call(lambda link: link.sessions.GetSession, request, repeatable=True)
        return document_of(answer.session, _messages(way, session_id))
    except NotFoundError:
        return None


def _messages(way: Transport, session_id: str) -> Iterator[messages_pb2.Message]:
    from oblix.v1 import sessions_pb2

    request = sessions_pb2.ListMessagesRequest(session_id=session_id, page_size=LARGEST_PAGE)
    while True:
        page = way.call(lambda link: link.sessions.ListMessages, request, repeatable=True)
        yield from page.messages
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return


def search(
    words: str, limit: int, *, metadata: Mapping[str, Any] | None = None, session_id: str | None = None
) -> list[dict[str, Any]]:
    """Find messages and titles by their words, best first, as `OblixClient.search_messages` does."""
    from oblix.v1 import sessions_pb2

    request = sessions_pb2.SearchMessagesRequest(query=text(words, "query"), session_id=session_id or "")
    if metadata:
        from oblix._convert.values import to_struct

        request.filter.CopyFrom(to_struct(metadata, "filter_metadata"))
    left = whole_number(limit, "limit", 0)
    way = daemon.any_daemon()
    found: list[dict[str, Any]] = []
    while len(found) < left:
        request.page_size = min(left - len(found), LARGEST_SEARCH_PAGE)
        page = way.call(lambda link: link.sessions.SearchMessages, request, repeatable=True)
        found += map(_hit, page.hits)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    return found[:left]


def _hit(hit: sessions_pb2.SearchHit) -> dict[str, Any]:
    from oblix._convert.records import role_name, to_text

    return {
        "session_id": hit.session_id,
        "title": hit.title,
        "message_id": hit.message_id or None,
        "sequence": hit.sequence,
        "role": role_name(hit.role) or None,
        "timestamp": to_text(hit.create_time),
        "snippet": hit.snippet,
        "spans": [[span.start, span.length] for span in hit.spans],
        "score": hit.score,
    }


def exists(session_id: str) -> bool:
    """Return whether there is a session of that id."""
    from oblix.v1 import sessions_pb2

    request = sessions_pb2.GetSessionRequest(session_id=session_id)
    try:
        daemon.any_daemon().call(lambda link: link.sessions.GetSession, request, repeatable=True)
    except NotFoundError:
        return False
    return True


def _pages(request: sessions_pb2.ListSessionsRequest, limit: int) -> list[Listed]:
    found: list[Listed] = []
    way = daemon.any_daemon()
    while len(found) < limit:
        request.page_size = min(limit - len(found), LARGEST_PAGE)
        page = way.call(lambda link: link.sessions.ListSessions, request, repeatable=True)
        found += [
            Listed(one.id, one.title, one.message_count, one.update_time.seconds, one)
            for one in page.sessions
        ]
        found += [Listed(one.session_id, "", 0, 0, one, one.detail) for one in page.damaged_sessions]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    return found[:limit]
