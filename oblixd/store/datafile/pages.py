"""Reads an LMDB data file page by page, without liblmdb, and without trust in it.

liblmdb maps a file and follows its pointers. On a damaged page it may abort, crash or
loop, and it may skip records without an error. This reader checks each page before it
uses it, so it can do none of that: it passes over what is damaged and says so.

The format is that of LMDB 0.9 (data version 1) as 64-bit hosts write it, little-endian;
the source is `mdb.c` of OpenLDAP's LMDB 0.9. A page has a header of 16 bytes: its number
(8), padding (2), flags (2), and the ends of its free space, `lower` and `upper` (2 each).
From byte 16 to `lower` are the offsets of its nodes, 2 bytes each, in order of key. A node
is 8 bytes, then the key, then the data. In a leaf the 8 bytes are the data's size (4), flags
(2) and the key's size (2); in a branch they are the child's page number (6) and the key's size.
Data that does not fit lies in overflow pages, in a row, and the node holds the first one's number.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

MAGIC = 0xBEEFC0DE
DATA_VERSION = 1
HEADER_BYTES = 16
META_PAGES = 2
BRANCH, LEAF, OVERFLOW = 0x01, 0x02, 0x04
BIG_DATA, SUB_DATABASE = 0x01, 0x02
NO_ROOT = 2**64 - 1
MAX_DEPTH = 32
"""Of a tree; liblmdb's own limit."""
MAX_PROBLEMS = 1000
"""How many problems are kept."""
PAGE_SIZES = {2**exponent for exponent in range(8, 16)}

_HEADER = struct.Struct("<QHHHH")
_OVERFLOW_HEADER = struct.Struct("<QHHI")
_NODE = struct.Struct("<IHH")
_PAGE_NUMBER = struct.Struct("<Q")
_TREE = struct.Struct("<IHHQQQQQ")
_META = struct.Struct("<16xII16x48s48sQQ")
_META_BYTES = _META.size
_NODE_BYTES = _NODE.size
_LOOK_AT_CLOCK = 64
"""After how many nodes the time is looked at."""


class Tree(NamedTuple):
    """One table's B-tree, as its record in the file describes it."""

    page_size: int
    """Bytes. Only set for the list of free pages."""
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int


class Meta(NamedTuple):
    """One of the two pages that say where the newest transaction's trees begin."""

    page_size: int
    last_page: int
    transaction: int
    free: Tree
    main: Tree


class Node(NamedTuple):
    """One record of a leaf."""

    key: bytes
    size: int
    """Bytes of its data."""
    flags: int
    data: bytes
    """The data, or the number of its first overflow page."""


class Pages:
    """The pages of one file. `problems` says what was passed over."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self.problems: list[str] = []
        self._separators: list[bytes] = []
        """What the branches above the next leaf say about its first key."""
        self._before: Meta | None = None
        """The transaction before the newest one."""
        self._strays: dict[int, list[int]] | None = None
        """Where pages are that stand in a wrong place, by their own number. None: not looked for yet."""
        self.is_newest = True
        """False: a meta page is damaged, so that newer transactions may have been made than is known."""
        self.reached_pages = bytearray()
        """By page number: 1 when a tree leads to it."""
        self.meta = self._newest_meta()

    def tables(self) -> dict[str, Tree]:
        """Yield every named table that can be found.

        One that the newest transaction's list does not have any more is taken from the one before.
        """
        found = dict(self._tables("the list of tables", self.meta.main))
        if self._before is None:
            return found
        for name, tree in self._tables("the list of tables before", self._before.main, again=True):
            if name not in found:
                self.is_newest = False
                self._note(f"{name}: it is not listed; what the newest transaction changed in it is missing")
                found[name] = tree
        return found

    def _tables(self, name: str, main: Tree, *, again: bool = False) -> Iterator[tuple[str, Tree]]:
        # Both lists may share pages, and what is wrong with the older one is no damage.
        reader = Pages(self._descriptor) if again else self
        for node in reader.nodes(name, main):
            if node.flags == SUB_DATABASE and node.size == _TREE.size:
                yield node.key.decode(errors="replace"), Tree(*_TREE.unpack(node.data))
            else:
                reader._note(f"{name} has an entry {node.key!r} that is no table")

    def check(self, seconds: float = 0.0) -> bool:
        """Look at every page that the trees lead to. False when `seconds` (0: no limit) were not enough."""
        until = time.monotonic() + seconds if seconds else float("inf")
        trees = [("the list of free pages", self.meta.free), *self.tables().items()]
        for name, tree in trees:
            for at, node in enumerate(self.nodes(name, tree)):
                if node.flags & BIG_DATA:
                    self.overflow(name, node)
                if at % _LOOK_AT_CLOCK == 0 and time.monotonic() > until:
                    return False
        # The pages that hold this list count as reached by now: it is read once more, for what it says.
        self._check_free()
        return True

    def _check_free(self) -> None:
        """Check that no page in use is listed as free: it would be overwritten."""
        name = "the list of free pages"
        for page in self._free_pages():
            if not META_PAGES <= page <= self.meta.last_page or self.reached_pages[page]:
                self._note(f"{name}: it has page {page}, which is in use")
                return
            self.reached_pages[page] = 1

    def _free_pages(self) -> Iterator[int]:
        again = Pages(self._descriptor)
        for node in again.nodes("the list of free pages", again.meta.free):
            content = again.value("the list of free pages", node) or b""
            numbers = struct.unpack_from(f"<{len(content) // 8}Q", content)
            if not numbers or numbers[0] != len(numbers) - 1:
                self._note("the list of free pages has a damaged record")
            yield from numbers[1:]

    def records(self, name: str, tree: Tree) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a table, in order, passing over what is damaged."""
        for node in self.nodes(name, tree):
            value = self.value(name, node)
            if value is not None:
                yield node.key, value

    def nodes(self, name: str, tree: Tree) -> Iterator[Node]:
        """Yield the nodes of a table's leaves, in order. Overflow pages are not read."""
        if tree.root == NO_ROOT:
            return
        if tree.depth > MAX_DEPTH:
            self._note(f"{name}: it has {tree.depth} levels")
            return
        count, last, order = 0, b"", self._order(tree)
        for node in self._below(name, tree.root, 1, tree.depth):
            if self._separators:
                self._check_separators(name, order, last, node.key)
            if count and order(last) >= order(node.key):
                self._note(f"{name}: its keys are not in order")
            count, last = count + 1, node.key
            yield node
        self._separators.clear()
        if count != tree.entries:
            self._note(f"{name}: it counts {tree.entries} records, and {count} can be found")

    def value(self, name: str, node: Node) -> bytes | None:
        """Return a node's data, from its overflow pages where it is there. None when those are damaged."""
        if not node.flags & BIG_DATA:
            return node.data
        first = self.overflow(name, node)
        if first is None:
            return None
        data = os.pread(self._descriptor, node.size, first * self.meta.page_size + HEADER_BYTES)
        return data if len(data) == node.size else None

    def overflow(self, name: str, node: Node) -> int | None:
        """Return the first of a node's overflow pages. None when they are not its own."""
        first = _PAGE_NUMBER.unpack(node.data)[0]
        count = (HEADER_BYTES - 1 + node.size) // self.meta.page_size + 1
        if not META_PAGES <= first <= first + count - 1 <= self.meta.last_page:
            self._note(f"{name}: a record points outside the file")
            return None
        header = os.pread(self._descriptor, _OVERFLOW_HEADER.size, first * self.meta.page_size)
        if len(header) < _OVERFLOW_HEADER.size:
            self._note(f"{name}: page {first} lies beyond the end of the file")
            return None
        number, _, flags, pages = _OVERFLOW_HEADER.unpack(header)
        if (number, flags, pages) != (first, OVERFLOW, count):
            self._note(f"{name}: page {first} is not the one that belongs there")
            return None
        return first if all(self._reach(name, page) for page in range(first, first + count)) else None

    def _note(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def _order(self, tree: Tree) -> Callable[[bytes], Any]:
        # The list of free pages has numbers for keys, in the host's byte order.
        return _as_number if tree is self.meta.free else _as_it_is

    def _check_separators(self, name: str, order: Callable[[bytes], Any], last: bytes, first: bytes) -> None:
        """Check that a branch's key is above all keys before its child, and not above the child's first."""
        for separator in self._separators:
            if not order(last) < order(separator) <= order(first):
                self._note(f"{name}: its index leads to the wrong keys")
        self._separators.clear()

    def _below(self, name: str, number: int, level: int, depth: int) -> Iterator[Node]:
        """Yield the nodes of all leaves under a page."""
        page = self._page(name, number)
        if page is None:
            return
        flags = _HEADER.unpack_from(page)[2]
        if flags != (LEAF if level == depth else BRANCH):
            self._note(f"{name}: page {number} is of another kind than belongs there")
            return
        offsets = self._offsets(name, number, page)
        if flags == LEAF:
            yield from self._leaf(name, number, page, offsets)
            return
        for place, offset in enumerate(offsets):
            low, high, key_size = _NODE.unpack_from(page, offset)
            if place:
                key_at = offset + _NODE_BYTES
                self._separators.append(page[key_at : key_at + key_size])
            yield from self._below(name, low | high << 32, level + 1, depth)

    def _page(self, name: str, number: int) -> bytes | None:
        if not self._reach(name, number):
            return None
        page = os.pread(self._descriptor, self.meta.page_size, number * self.meta.page_size)
        if len(page) < self.meta.page_size:
            self._note(f"{name}: page {number} lies beyond the end of the file")
        elif _HEADER.unpack_from(page)[0] != number:
            self._note(f"{name}: page {number} is not the one that belongs there")
            return self._stray(number)
        else:
            return page
        return None

    def _stray(self, number: int) -> bytes | None:
        """Return a page that was written to a wrong place: each holds the number of its right one."""
        size = self.meta.page_size
        if self._strays is None:
            self._strays = {}
            for at in range(META_PAGES, min(self.meta.last_page + 1, self.size // size)):
                wanted, _, flags, _, _ = _HEADER.unpack(os.pread(self._descriptor, HEADER_BYTES, at * size))
                if wanted != at and flags in (BRANCH, LEAF):
                    self._strays.setdefault(wanted, []).append(at)
        places = self._strays.get(number, [])
        return os.pread(self._descriptor, size, places[0] * size) if len(places) == 1 else None

    def _reach(self, name: str, number: int) -> bool:
        """Note that a tree leads to a page. False when none may, or another one did already."""
        if not META_PAGES <= number <= self.meta.last_page:
            self._note(f"{name}: it points to page {number}, which is none")
        elif self.reached_pages[number]:
            self._note(f"{name}: page {number} is reached twice")
        else:
            self.reached_pages[number] = 1
            return True
        return False

    def _offsets(self, name: str, number: int, page: bytes) -> tuple[int, ...]:
        """Return where a page's nodes begin. Empty when its header can't be right."""
        _, _, _, lower, upper = _HEADER.unpack_from(page)
        count = (lower - HEADER_BYTES) // 2
        if not HEADER_BYTES < lower <= upper <= len(page):
            self._note(f"{name}: page {number} has a damaged header")
            return ()
        offsets = struct.unpack_from(f"<{count}H", page, HEADER_BYTES)
        if min(offsets) < upper or max(offsets) + _NODE_BYTES > len(page):
            self._note(f"{name}: page {number} has damaged offsets")
            return tuple(at for at in offsets if upper <= at <= len(page) - _NODE_BYTES)
        return offsets

    def _leaf(self, name: str, number: int, page: bytes, offsets: tuple[int, ...]) -> Iterator[Node]:
        for offset in offsets:
            size, flags, key_size = _NODE.unpack_from(page, offset)
            key_at = offset + _NODE_BYTES
            data_at = key_at + key_size
            there = _PAGE_NUMBER.size if flags & BIG_DATA else size
            if key_size and flags in (0, BIG_DATA, SUB_DATABASE) and data_at + there <= len(page):
                yield Node(page[key_at:data_at], size, flags, page[data_at : data_at + there])
            else:
                self._note(f"{name}: page {number} has a damaged record")

    def _newest_meta(self) -> Meta:
        """Return the meta page that counts. DamagedMetaError where there is none."""
        first = self._meta(0)
        # Both are of one size, and the second can't be found without it.
        metas = [first, self._meta(first.page_size)] if first else self._second_metas()
        sound = [meta for meta in metas if meta is not None]
        if not sound:
            raise DamagedMetaError
        newest = max(sound, key=lambda meta: meta.transaction)
        if len(sound) < META_PAGES or newest.transaction - min(meta.transaction for meta in sound) > 1:
            self.is_newest = False
            self._note("a meta page is damaged: the newest transactions may be missing")
        self._before = next((meta for meta in sound if meta is not newest), None)
        self.reached_pages = bytearray(newest.last_page + 1)
        return newest

    def _second_metas(self) -> list[Meta | None]:
        return [meta for size in sorted(PAGE_SIZES) if (meta := self._meta(size)) and meta.page_size == size]

    def _meta(self, at: int) -> Meta | None:
        content = os.pread(self._descriptor, _META_BYTES, at)
        if len(content) < _META_BYTES:
            return None
        magic, version, free, main, last_page, transaction = _META.unpack(content)
        free_tree, main_tree = Tree(*_TREE.unpack(free)), Tree(*_TREE.unpack(main))
        meta = Meta(free_tree.page_size, last_page, transaction, free_tree, main_tree)
        is_one = magic == MAGIC and version == DATA_VERSION and meta.page_size in PAGE_SIZES
        # A free page at the end need not be in the file, but not many of them.
        is_credible = last_page * meta.page_size <= 2 * self.size + 2**24
        return meta if is_one and is_credible and last_page >= 1 else None


def _as_number(key: bytes) -> int:
    return int.from_bytes(key, "little")


def _as_it_is(key: bytes) -> bytes:
    return key


class DamagedMetaError(Exception):
    """The file has no meta page that can be read: it is no LMDB file, or its first pages are gone."""


@contextmanager
def open_pages(path: Path) -> Iterator[Pages]:
    """Open a data file, or a backup. DamagedMetaError where it is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield Pages(descriptor)
    finally:
        os.close(descriptor)
