"""Search at a million messages, through gRPC; and what writers notice of the index being built.

    python tests/benchmarks/bench_search.py [SESSIONS]

fills a store with SESSIONS (100,000) sessions of ten messages each, in the store's own
process because that is faster. The words are drawn as in natural language: the n-th
commonest about 1/n as often as the commonest.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from measure import Line, median_ms, report, timed_ms
from oblix.v1 import messages_pb2, sessions_pb2
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire

from oblixd.sessions import TABLE_NAMES, Sessions
from oblixd.store import Store

SESSIONS = 100_000
MESSAGES_EACH = 10
WORDS_EACH = 40
VOCABULARY = 200_000
ROUNDS = 40
AT_ONCE = 500
MAP_SIZE = 64 << 30
WEIGHTS = list(accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))

QUERIES: dict[str, tuple[int, int, float | None]] = {
    "two common words, often together": (30, 60, 50),
    "two words, seldom together": (300, 700, 50),
    "two rare words": (5_000, 9_000, 50),
    "the commonest word and a rare one": (0, 5_000, 50),
    "worst case: the two commonest words of all": (0, 1, None),
}
"""What is searched for, by the words' ranks; and the limit in milliseconds."""


def main() -> int:
    """Fill, index, measure."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        home = Path(directory)
        print(f"filled with {count * MESSAGES_EACH:,} messages in {asyncio.run(fill(home, count)):.0f} s")
        with run_daemon(home) as daemon:
            wire = Wire(daemon.channel)
            results = [report("While the index is built", building(daemon, wire))]
            results += [report(f"At {count * MESSAGES_EACH:,} messages", searches(wire))]
        sizes = [size_mb(home / "search"), size_mb(home / "store")]
    results += [report("On disk", [Line("index", sizes[0], "MB"), Line("store", sizes[1], "MB")])]
    return max(results)


async def fill(home: Path, count: int) -> float:
    """Make the sessions. Gives the seconds that took."""
    began = time.perf_counter()
    store = await Store.open(home / "store", TABLE_NAMES, map_size=MAP_SIZE)
    sessions = Sessions(store)
    texts = draw_messages(random.Random(1))
    for start in range(0, count, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, count))
        made = await asyncio.gather(*(sessions.create(session_with_label(number)) for number in numbers))
        await asyncio.gather(
            *(
                sessions.append(session.id, [user_message(next(texts)) for _ in range(MESSAGES_EACH)])
                for session in made
            )
        )
    await store.close()
    return time.perf_counter() - began


def draw_messages(chance: random.Random) -> Iterator[str]:
    """Messages without end."""
    names = [word(rank) for rank in range(VOCABULARY)]
    while True:
        some = chance.choices(names, cum_weights=WEIGHTS, k=WORDS_EACH * 1000)
        for start in range(0, len(some), WORDS_EACH):
            yield " ".join(some[start : start + WORDS_EACH])


def word(rank: int) -> str:
    """A word that can be spoken: shorter the commoner it is."""
    syllables, left = "", rank + 1
    while left:
        left, last = divmod(left, 80)
        syllables += "bcdfghklmnprstvw"[last % 16] + "aeiou"[last // 16]
    return syllables


def session_with_label(number: int) -> sessions_pb2.Session:
    """A session with a label of one in a hundred."""
    session = sessions_pb2.Session(title=f"Session {number}")
    session.metadata.update({"hundredth": number % 100})
    return session


def user_message(text: str) -> messages_pb2.Message:
    """A message of a user."""
    return messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])


def building(daemon: RunningDaemon, wire: Wire) -> list[Line]:
    """What an append takes meanwhile, and afterwards; and how long it takes."""
    session = wire.sessions.CreateSession(sessions_pb2.CreateSessionRequest()).session
    append = sessions_pb2.AppendMessagesRequest(
        session_id=session.id, messages=[user_message("a word or two")]
    )
    probe = sessions_pb2.SearchMessagesRequest(query="ba")
    began, meanwhile = time.perf_counter(), list[float]()
    while wire.sessions.SearchMessages(probe).indexing:
        meanwhile += [timed_ms(lambda: wire.sessions.AppendMessages(append)) for _ in range(100)]
    took = time.perf_counter() - began
    afterwards = [timed_ms(lambda: wire.sessions.AppendMessages(append)) for _ in range(1000)]
    return [
        Line("building", took, "s"),
        Line("append meanwhile, median", quantile(meanwhile, 0.5), "ms"),
        Line("append afterwards, median", quantile(afterwards, 0.5), "ms"),
        Line("append meanwhile, 99 of 100", quantile(meanwhile, 0.99), "ms"),
        Line("append afterwards, 99 of 100", quantile(afterwards, 0.99), "ms"),
    ]


def searches(wire: Wire) -> list[Line]:
    """The queries, and the other things that a query can hold."""
    lines = [
        Line(what, time_search(wire, f"{word(first)} {word(second)}"), "ms", limit)
        for what, (first, second, limit) in QUERIES.items()
    ]
    labels = sessions_pb2.SearchMessagesRequest()
    labels.filter.update({"hundredth": 7})
    common = word(30), word(60)
    return [
        *lines,
        Line("a phrase of two common words", time_search(wire, f'"{word(0)} {word(1)}"'), "ms"),
        Line("a beginning of one letter", time_search(wire, "b*"), "ms"),
        Line("a beginning of three letters", time_search(wire, "bab*"), "ms"),
        Line("two words in a hundredth of the sessions", time_search(wire, " ".join(common), labels), "ms"),
    ]


def time_search(wire: Wire, query: str, more: sessions_pb2.SearchMessagesRequest | None = None) -> float:
    """The median of a search for the first page, in milliseconds."""
    request = sessions_pb2.SearchMessagesRequest(query=query)
    request.MergeFrom(more or sessions_pb2.SearchMessagesRequest())
    return median_ms(lambda: wire.sessions.SearchMessages(request), ROUNDS)


def quantile(values: list[float], share: float) -> float:
    """The value that so many are at most."""
    return sorted(values)[int(len(values) * share)]


def size_mb(directory: Path) -> float:
    """What a directory's files take on disk."""
    return sum(file.stat().st_blocks for file in directory.iterdir()) * 512 / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
