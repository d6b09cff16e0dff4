"""What an update makes of a header.

New sessions.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.struct_pb2 import Struct
from oblix.v1 import sessions_pb2
from oblix.v1.sessions_pb2 import Session

from oblixd.errors import AbortedError, FailedPreconditionError, invalid_field
from oblixd.sessions.storage.db import SessionDb
from oblixd.sessions.storage.headers import Entry
from oblixd.sessions.storage.keys import SessionKey, new_id
from oblixd.sessions.storage.retention_rules import retention_record
from oblixd.sessions.validation import (
    check_routing_policy,
    check_session_id,
    check_struct,
    check_title,
)
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

_FIELDS = ("title", "metadata", "context", "local_only", "archived", "retention", "routing_policy")
_STRUCTS = ("metadata", "context")
MAX_PATHS = 1000


def check_paths(paths: Sequence[str]) -> None:
    """InvalidArgumentError where a path names nothing that can be changed."""
    if len(paths) > MAX_PATHS:
        raise invalid_field(
            "TOO_MANY_PATHS",
            "update_mask",
            f"must name at most {MAX_PATHS:,} paths, not {len(paths):,}.",
            limit=MAX_PATHS,
            given=len(paths),
        )
    for path in paths:
        root, dot, key = path.partition(".")
        if path not in _FIELDS and not (root in _STRUCTS and dot and key):
            raise invalid_field(
                "UNKNOWN_PATH",
                "update_mask",
                f"must name {', '.join(_FIELDS)}, metadata.KEY or context.KEY, not {path[:128]!r}.",
                limit=", ".join(_FIELDS),
                given=path,
            )


def apply(entry: Entry, session: sessions_pb2.Session, paths: Sequence[str]) -> None:
    """Put the new values into the entry's header, and checks the etag and the outcome."""
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


def _replace(header: records.SessionRecord, session: sessions_pb2.Session, path: str) -> None:
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


def _merge(header: records.SessionRecord, session: sessions_pb2.Session) -> None:
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


def _set_retention(header: records.SessionRecord, session: sessions_pb2.Session) -> None:
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


async def create(db: SessionDb, session: Session, get_existing: bool) -> tuple[Session, bool]:
    """Make an empty session, or gets the one of its id. See `Sessions.create`."""
    _check_id(session.id, get_existing)
    check_title(session.title)
    check_routing_policy(session.routing_policy)
    check_struct(session.metadata, "session.metadata")
    check_struct(session.context, "session.context")
    now = db.clock()

    def write(txn: Transaction) -> tuple[Session, bool]:
        if get_existing and (found := db.headers.find(txn, session.id)):
            return _existing_session(db, txn, found, session.local_only, now), False
        progress = records.ProgressRecord(update_us=now, next_sequence=1)
        entry = Entry(db.headers.new_number(txn), _header(session, now), progress)
        db.headers.publish(txn, entry)
        return entry.session(), True

    return await db.store.write(write)


def _check_id(session_id: str, get_existing: bool) -> None:
    if session_id:
        check_session_id(session_id, "session.id")
    elif get_existing:
        raise invalid_field("INVALID_SESSION_ID", "session.id", "must be set where get_existing is.")


def _existing_session(
    db: SessionDb, txn: Transaction, ref: SessionKey, local_only: bool, now_us: int
) -> Session:
    """Return the session as it is. Whoever asks for a local-only one must not be given one that may leave."""
    entry = db.headers.entry(txn, ref)
    if local_only and not entry.header.local_only:
        entry.header.local_only = True
        db.headers.rewrite(txn, entry, now_us)
    return entry.session()


def _header(session: Session, now: int) -> records.SessionRecord:
    return records.SessionRecord(
        id=session.id or new_id(),
        title=session.title,
        create_us=now,
        metadata=session.metadata,
        context=session.context,
        local_only=session.local_only,
        routing_policy=session.routing_policy,
    )
