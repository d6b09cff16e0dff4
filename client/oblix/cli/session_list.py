"""Lists of sessions, by one call and without the Python client: a list is there as soon as it can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from oblix._convert.validation import whole_number
from oblix.cli import daemon
from oblix.errors import NotFoundError
from oblix.limits import LARGEST_PAGE

if TYPE_CHECKING:
    from oblix.v1 import sessions_pb2


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
