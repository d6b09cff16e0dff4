"""The file that the daemon keeps: one LMDB environment with one writer.

- `Store` opens it, hands out short read transactions and takes write operations.
- `Table` is one named database in it. Every value starts with a CRC-32 over its
  key and itself, so that what was damaged or moved is found when it is read.
- The writer is one thread. It commits waiting operations in groups: one sync.

The file is opened by one process at a time. Before it is opened its size is held
against its last page, because reading past the end of a mapped file kills the
process; after an unclean death a child process reads it first, so that a page
that makes liblmdb crash crashes the child.
"""

from oblixd.store.store import Store
from oblixd.store.table import DAMAGE, Table, Transaction

__all__ = ["DAMAGE", "Store", "Table", "Transaction"]
