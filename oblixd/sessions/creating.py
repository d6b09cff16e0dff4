"""New sessions."""

from __future__ import annotations

from oblix.v1.sessions_pb2 import Session

from oblixd.sessions.catalog import Entry
from oblixd.sessions.ids import new_id
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.structs import check_struct
from oblixd.sessions.validation import check_routing_policy, check_title
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records


async def create(ledger: Ledger, session: Session) -> Session:
    """Makes an empty session. See `Sessions.create`."""
    check_title(session.title)
    check_routing_policy(session.routing_policy)
    check_struct(session.metadata, "session.metadata")
    check_struct(session.context, "session.context")
    now = ledger.clock()

    def write(txn: Transaction) -> Session:
        progress = records.ProgressRecord(update_us=now, next_sequence=1)
        entry = Entry(ledger.catalog.new_number(txn), _header(session, now), progress)
        ledger.catalog.publish(txn, entry)
        return entry.session()

    return await ledger.store.write(write)


def _header(session: Session, now: int) -> records.SessionRecord:
    return records.SessionRecord(
        id=new_id(),
        title=session.title,
        create_us=now,
        metadata=session.metadata,
        context=session.context,
        local_only=session.local_only,
        routing_policy=session.routing_policy,
    )
