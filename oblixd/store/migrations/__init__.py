"""How a store of an older schema becomes one of this daemon's.

The schema is a number. It counts up with every change that an older daemon could not
read or would undo, and with every new table: a table that is missing is damage. A new
field that may be missing needs no new number.

A migration leads from one number to the next; there is none back. A change of the
schema is made like this:

1. Write `to_N.py` in this directory: a function `step` as `Migration.step` says.
2. Append `Migration(N, "what it does", to_N.step)` to `CHAIN`. `schema.VERSION` follows.
3. Make the fixture of the new schema (`tests/store/fixtures/README.md`). Those of the
   earlier ones stay: each is opened, migrated and read by the tests.

A migration runs as steps, each in a transaction of its own, so that a large store needs
neither much memory nor a file that grows by its size again. What the next step has to
know is written in the step's own transaction, and so is the new number, from the first
step on: a daemon that is killed half-way goes on there at its next start, and an older
one refuses the file. A step that raises leaves the store as the step before left it.
"""

from __future__ import annotations

from oblixd.store.migrations import to_2, to_3, to_4
from oblixd.store.migrations.base import Migration, Tables

__all__ = ["CHAIN", "Migration", "Tables"]

CHAIN: tuple[Migration, ...] = (
    Migration(2, "requests are found by their ids, and usage is kept", to_2.step),
    Migration(3, "numbers without a message are told from missing messages", to_3.step),
    Migration(4, "versions of messages that were replaced have a table", to_4.step),
)
"""Every migration, the oldest first, from schema 1 on."""
