"""The ends of the sessions in use, kept in memory in the form that their reader wants.

A message that stands on disk is changed by an edit, an import that goes on, an answer anew, a mark and a
deletion, and by nothing else. Each of them counts up `ProgressRecord.rewritten` in the transaction that makes
it. A read compares that count in the transaction in which it looks for newer messages, so what is kept is
never out of date, whoever writes. What stands at or behind the sequence of a running answer is not kept.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from oblix.v1 import messages_pb2

from oblixd.errors import DataLossError
from oblixd.sessions.storage.db import BLOCK_BYTES, SessionDb
from oblixd.sessions.storage.keys import SessionKey
from oblixd.sessions.storage.messages import first_of
from oblixd.sessions.storage.records import context_message
from oblixd.store import Transaction
from oblixd.store.v1 import records_pb2 as records

BLOCK = 64
"""Messages that are read at a time."""
MOST_BYTES = 32 * 2**20
"""What is kept in all, of those sessions that were used last."""
COPIES, MESSAGE_BYTES = 2, 1536
"""A message is reckoned to take its text twice, as it is read and as servers read it, and so much beside."""
IDLE_S = 300.0
"""A session that nobody used for so long is not kept any more."""


class Placed(Protocol):
    """What a reader makes of a message."""

    @property
    def sequence(self) -> int:
        """The sequence of the message."""


T = TypeVar("T", bound=Placed)
_sequence = attrgetter("sequence")


@dataclass(slots=True)
class _Tail(Generic[T]):
    """All messages of a session from `start` (inclusive) to `end` (exclusive), oldest first."""

    rewritten: int
    start: int
    end: int
    items: list[T] = field(default_factory=list)
    """Replaced and never changed, for somebody may be reading it."""
    size: int = 0
    used_s: float = 0.0

    def before(self, sequence: int) -> Iterator[T]:
        """Yield those before a sequence, newest first."""
        items = self.items
        return islice(reversed(items), len(items) - bisect_left(items, sequence, key=_sequence), None)


@dataclass(frozen=True, slots=True)
class _Block(Generic[T]):
    """Messages that follow each other, newest first."""

    items: Sequence[T]
    start: int
    """No message that is not among them stands from here on."""
    size: int
    rewritten: int


class Tails(Generic[T]):
    """Reads sessions from their end. Of the same session `form` is asked once for each message."""

    def __init__(
        self, db: SessionDb, form: Callable[[messages_pb2.Message], T], most_bytes: int = MOST_BYTES
    ) -> None:
        self._db = db
        self._form = form
        self._most = most_bytes
        self._tails: OrderedDict[int, _Tail[T]] = OrderedDict()
        self._size = 0
        self._expiry: asyncio.TimerHandle | None = None
        db.on_removed.append(self._drop)

    @property
    def size(self) -> int:
        """Bytes that are kept now, about."""
        return self._size

    def before(self, session_id: str, sequence: int) -> Iterator[T]:
        """Yield what `form` makes of the messages before a sequence, newest first.

        It is given messages as models get to read them: only id, sequence, role, parts, model, exclusion and
        provider_state are set. Those that are not kept are read in blocks, each with one cursor in one short
        read. NotFoundError where the session is unknown or deleted in between, DataLossError where a record
        is damaged, as soon as it is reached.
        """
        ref = self._db.ref(session_id)
        with self._db.read(ref) as txn:
            progress = self._db.headers.progress(txn, ref)
            sequence = min(sequence, progress.next_sequence)
            end = min(sequence, progress.running.answer_sequence or sequence)
            tail = self._bring_up(txn, ref, progress, end)
        # Another reader may let the tail grow meanwhile: this one goes on from where it began.
        kept, start = tail.before(end), min(tail.start, end)
        yield from self._read(ref, sequence, end)
        yield from kept
        yield from self._read(ref, start, first_of(progress), tail)

    def _read(self, ref: SessionKey, end: int, start: int, tail: _Tail[T] | None = None) -> Iterator[T]:
        """Yield what stands from `start` (inclusive) to `end`, newest first, and add it to a tail."""
        while end > start:
            with self._db.read(ref) as txn:
                block = self._block(txn, ref, self._db.headers.progress(txn, ref), start, end)
            if tail is not None:
                self._add_older(ref, tail, block, end)
            yield from block.items
            end = block.start

    def _bring_up(
        self, txn: Transaction, ref: SessionKey, progress: records.ProgressRecord, end: int
    ) -> _Tail[T]:
        """Return what is kept of a session, with what has come since; else a new tail, with nothing in it."""
        tail = self._tails.get(ref.number)
        if tail is not None and tail.rewritten == progress.rewritten and tail.end < end:
            tail = self._add_newer(tail, self._block(txn, ref, progress, tail.end, end), end)
        if tail is None or tail.rewritten != progress.rewritten:
            tail = _Tail(progress.rewritten, end, end)
        self._keep(ref.number, tail)
        return tail

    def _add_newer(self, tail: _Tail[T], block: _Block[T], end: int) -> _Tail[T] | None:
        """Return a tail with newer messages in it. None: there are so many that it begins anew."""
        if block.start > tail.end or tail.size + block.size > self._most:
            return None
        items = [*tail.items, *reversed(block.items)]
        return _Tail(tail.rewritten, tail.start, end, items, tail.size + block.size)

    def _add_older(self, ref: SessionKey, tail: _Tail[T], block: _Block[T], end: int) -> None:
        """Add what stands before a tail, if it is still the one that is kept and has room."""
        is_current = self._tails.get(ref.number) is tail and tail.rewritten == block.rewritten
        if not is_current or tail.start != end or tail.size + block.size > self._most:
            return
        tail.items, tail.start = [*reversed(block.items), *tail.items], block.start
        tail.size += block.size
        self._size += block.size
        self._make_room()

    def _block(
        self,
        txn: Transaction,
        ref: SessionKey,
        progress: records.ProgressRecord,
        start: int,
        end: int,
    ) -> _Block[T]:
        """Read the newest messages before `end`, up to a block's bounds and none before `start`."""
        read_bytes, table, items = 0, self._db.message_table, list[T]()
        at = start
        try:
            for sequence, payload in table.scan_back(txn, ref.number, progress, end):
                if sequence < start:
                    break
                record = table.whole_record(txn, ref.number, sequence, payload)
                items.append(self._form(context_message(record, sequence)))
                read_bytes += len(payload)
                if read_bytes > BLOCK_BYTES or len(items) == BLOCK:
                    at = sequence
                    break
        except DataLossError:
            # What is damaged may lie past what the context has room for.
            if not items:
                raise
            at = items[-1].sequence
        size = COPIES * read_bytes + MESSAGE_BYTES * len(items)
        return _Block(items, at, size, progress.rewritten)

    def _keep(self, number: int, tail: _Tail[T]) -> None:
        before = self._tails.pop(number, None)
        self._size += tail.size - (before.size if before is not None else 0)
        self._tails[number] = tail
        tail.used_s = time.monotonic()
        self._make_room()
        if self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(IDLE_S, self._expire)

    def _make_room(self) -> None:
        while self._size > self._most and len(self._tails) > 1:
            self._drop_oldest()

    def _drop(self, ref: SessionKey) -> None:
        """Drop what is kept of a session. A read that is under way goes on with what it holds."""
        if (tail := self._tails.pop(ref.number, None)) is not None:
            self._size -= tail.size

    def _drop_oldest(self) -> None:
        _, tail = self._tails.popitem(last=False)
        self._size -= tail.size

    def _expire(self) -> None:
        """Drop what nobody used lately. A daemon at rest keeps nothing, and is not woken for it."""
        now_s, self._expiry = time.monotonic(), None
        while self._tails and now_s - next(iter(self._tails.values())).used_s >= IDLE_S:
            self._drop_oldest()
        if self._tails:
            oldest_s = next(iter(self._tails.values())).used_s
            wait_s = oldest_s + IDLE_S - now_s
            self._expiry = asyncio.get_running_loop().call_later(wait_s, self._expire)
