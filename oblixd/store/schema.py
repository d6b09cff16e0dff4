"""The number of the schema that a file was written in."""

from __future__ import annotations

import lmdb

from oblixd.errors import FailedPreconditionError
from oblixd.store.table import Table, Transaction
from oblixd.store.v1 import records_pb2 as records

VERSION = 1
"""The schema that this daemon writes. It counts up with every change that an older one can't read."""

TABLE = "schema"
KEY = b"version"


def check(environment: lmdb.Environment, txn: Transaction) -> None:
    """Writes the version into a new file; refuses one that a newer daemon wrote."""
    table = Table(TABLE, environment.open_db(TABLE.encode(), txn=txn))
    payload = table.get(txn, KEY)
    if payload is None:
        table.put(txn, KEY, records.SchemaRecord(version=VERSION).SerializeToString())
        return
    found = records.SchemaRecord.FromString(payload).version
    if found > VERSION:
        raise FailedPreconditionError(
            "SCHEMA_TOO_NEW",
            f"The store was written by a newer daemon (schema {found}; this one reads up to {VERSION}). "
            "Install that version again; nothing was changed.",
            found=found,
            supported=VERSION,
        )
