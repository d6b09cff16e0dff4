"""What an update makes of a header."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.struct_pb2 import Struct
from oblix.v1 import sessions_pb2 as pb

from oblixd.errors import AbortedError, FailedPreconditionError
from oblixd.sessions.catalog import Entry
from oblixd.sessions.rules import retention_record
from oblixd.sessions.structs import check_struct
from oblixd.sessions.validation import check_routing_policy, check_title, invalid
from oblixd.store.v1 import records_pb2 as records

_FIELDS = ("title", "metadata", "context", "local_only", "archived", "retention", "routing_policy")
_STRUCTS = ("metadata", "context")
MAX_PATHS = 1000


def check_paths(paths: Sequence[str]) -> None:
    """InvalidArgumentError where a path names nothing that can be changed."""
    if len(paths) > MAX_PATHS:
        raise invalid(
            "TOO_MANY_PATHS",
            "update_mask",
            f"must name at most {MAX_PATHS:,} paths, not {len(paths):,}.",
            limit=MAX_PATHS,
            given=len(paths),
        )
    for path in paths:
        root, dot, key = path.partition(".")
        if path not in _FIELDS and not (root in _STRUCTS and dot and key):
            raise invalid(
                "UNKNOWN_PATH",
                "update_mask",
                f"must name {', '.join(_FIELDS)}, metadata.KEY or context.KEY, not {path[:128]!r}.",
                limit=", ".join(_FIELDS),
                given=path,
            )


def apply(entry: Entry, session: pb.Session, paths: Sequence[str]) -> None:
    """Puts the new values into the entry's header, and checks the etag and the outcome."""
    _check_etag(entry, session.etag)
    if paths:
        for path in paths:
            _replace(entry.header, session, path)
    else:
        _merge(entry.header, session)
    check_title(entry.header.title)
    check_routing_policy(entry.header.routing_policy)
    check_struct(entry.header.metadata, "session.metadata")
    check_struct(entry.header.context, "session.context")


def _check_etag(entry: Entry, etag: str) -> None:
    current = entry.session().etag
    if etag and etag != current:
        raise AbortedError(
            "ETAG_MISMATCH",
            f"Session {entry.header.id} was changed in between. Read it again, then repeat the update.",
            session_id=entry.header.id,
            given=etag,
            current=current,
        )


def _replace(header: records.SessionRecord, session: pb.Session, path: str) -> None:
    match path.partition("."):
        case ("title", _, _):
            header.title = session.title
        case ("archived", _, _):
            header.archived = session.archived
        case ("routing_policy", _, _):
            header.routing_policy = session.routing_policy
        case ("retention", _, _):
            _set_retention(header, session)
        case ("local_only", _, _):
            _set_local_only(header, session.local_only)
        case (root, "", _):
            getattr(header, root).CopyFrom(getattr(session, root))
        case (root, _, key):
            _set_key(getattr(header, root), getattr(session, root), key)


def _merge(header: records.SessionRecord, session: pb.Session) -> None:
    header.title = session.title or header.title
    header.archived = session.archived or header.archived
    header.routing_policy = session.routing_policy or header.routing_policy
    header.local_only = session.local_only or header.local_only
    if session.HasField("retention"):
        _set_retention(header, session)
    for key in session.metadata.fields:
        _set_key(header.metadata, session.metadata, key)
    for key in session.context.fields:
        _set_key(header.context, session.context, key)


def _set_key(there: Struct, given: Struct, key: str) -> None:
    if key in given.fields:
        there.fields[key].CopyFrom(given.fields[key])
    else:
        there.fields.pop(key, None)


def _set_retention(header: records.SessionRecord, session: pb.Session) -> None:
    """Unset: the configuration's again."""
    if session.HasField("retention"):
        header.retention.CopyFrom(retention_record(session.retention))
    else:
        header.ClearField("retention")


def _set_local_only(header: records.SessionRecord, wanted: bool) -> None:
    if header.local_only and not wanted:
        raise FailedPreconditionError(
            "LOCAL_ONLY_STAYS",
            f"Session {header.id} is local-only, and that is never cleared. Start a new session instead.",
            session_id=header.id,
        )
    header.local_only = wanted
