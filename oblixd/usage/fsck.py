"""Whether the books in a store's file that nobody has open agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from oblixd.store import offline, schema
from oblixd.store.v1 import records_pb2 as records
from oblixd.usage.entries import Row
from oblixd.usage.tables import TABLE_NAMES, VIEWS, view_of


def problems(path: Path) -> Iterator[str]:
    """Yield what is wrong with the usage in a file whose records are sound. May crash."""
    with offline.opened(path) as file:
        if not file.tables or not schema.is_current(file):
            return
        if missing := [name for name in TABLE_NAMES if name not in file.tables]:
            yield f"the tables {', '.join(missing)} are gone"
            return
        totals = {view.prefix: Row("") for view in VIEWS}
        for key, payload in file.tables["usage"].ascending(file.txn, b""):
            record = records.ConsumptionRecord.FromString(payload)
            totals[view_of(key)] = totals.get(view_of(key), Row("")).plus(record)
        if len(set(totals.values())) > 1:
            yield "usage is not the same by model, program and session"
