"""New sessions."""

from __future__ import annotations

from oblix.v1.sessions_pb2 import Session

from oblixd.sessions.catalog import Entry
from oblixd.sessions.ids import new_id
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.refs import Ref
from oblixd.sessions.structs import check_struct
from oblixd.sessions.validation import check_routing_policy, check_session_id, check_title, invalid
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records


async def create(ledger: Ledger, session: Session, get_existing: bool) -> tuple[Session, bool]:
    """Makes an empty session, or gets the one of its id. See `Sessions.create`."""
    _check_id(session.id, get_existing)
    check_title(session.title)
    check_routing_policy(session.routing_policy)
    check_struct(session.metadata, "session.metadata")
    check_struct(session.context, "session.context")
    now = ledger.clock()

    def write(txn: Transaction) -> tuple[Session, bool]:
        if get_existing and (found := ledger.catalog.find(txn, session.id)):
            return _existing(ledger, txn, found, session.local_only, now), False
        progress = records.ProgressRecord(update_us=now, next_sequence=1)
        entry = Entry(ledger.catalog.new_number(txn), _header(session, now), progress)
        ledger.catalog.publish(txn, entry)
        return entry.session(), True

    return await ledger.store.write(write)


def _check_id(session_id: str, get_existing: bool) -> None:
    if session_id:
        check_session_id(session_id, "session.id")
    elif get_existing:
        raise invalid("INVALID_SESSION_ID", "session.id", "must be set where get_existing is.")


def _existing(ledger: Ledger, txn: Transaction, ref: Ref, local_only: bool, now_us: int) -> Session:
    """The session as it is. Whoever asks for a local-only one must not be given one that may leave."""
    entry = ledger.catalog.entry(txn, ref)
    if local_only and not entry.header.local_only:
        entry.header.local_only = True
        ledger.catalog.rewrite(txn, entry, now_us)
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
