"""What of a session's history goes into a context: whole turns, newest first, as far as there is room.

A call and its results are never parted. Of a turn that goes on with results of tools, the question,
the calls that are answered now and their results always stay; older steps of it go before the question
does. What is marked as left out of contexts is no part of a history, unless the request asks for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from types import MappingProxyType

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.models import ChatMessage, TokenCounter, estimate, plain_message

STEP = 128
"""Messages that are measured at a time."""
SAMPLED = 256
"""Messages past the window that are read to tell the tokens left out; the rest is reckoned from them."""
MOST_NAMED = 100
"""Messages left out by their mark that a report names."""

Messages = Sequence[messages_pb2.Message]


class HistoryMessage:
    """A message of a session, with what each context needs to know of it. It is shared: do not change it."""

    __slots__ = ("_estimate", "_plain", "exclusion", "is_empty", "message", "sequence", "size")

    def __init__(self, message: messages_pb2.Message) -> None:
        self.message = message
        self.sequence = message.sequence
        self.size = message.ByteSize()
        """Bytes."""
        self.is_empty = not message.parts
        self.exclusion = message.exclusion if message.HasField("exclusion") else None
        self._estimate = -1
        self._plain: ChatMessage | None = None

    @property
    def estimate(self) -> int:
        """Its tokens, as `models.estimate` reckons them."""
        if self._estimate < 0:
            self._estimate = estimate(self.message)
        return self._estimate

    @property
    def plain(self) -> ChatMessage | None:
        """See `ChatRequest.plain`."""
        if self._plain is None:
            self._plain = plain_message(self.message)
        return self._plain


Items = Sequence[HistoryMessage]


class Source:
    """Reads a history newest first, without the messages that have no parts or are marked."""

    def __init__(
        self,
        items: Iterable[HistoryMessage],
        count: int,
        *,
        include_excluded: bool = False,
        left_out: Mapping[int, messages_pb2.ContextExclusion] = MappingProxyType({}),
    ) -> None:
        """`count`: how many messages the history has in all. `left_out`: as if they were marked so."""
        self.excluded: deque[executions_pb2.ExcludedMessage] = deque(maxlen=MOST_NAMED)
        """The newest of those that are marked, oldest first."""
        self.excluded_count = 0
        self._include = include_excluded
        self._left_out = left_out
        self._count = count
        self._items: Iterator[HistoryMessage] = self._skip_marked(items)

    def __iter__(self) -> Iterator[HistoryMessage]:
        return self._items

    @property
    def count(self) -> int:
        """How many messages there are, without those that were seen to be marked."""
        return self._count - self.excluded_count

    def _skip_marked(self, items: Iterable[HistoryMessage]) -> Iterator[HistoryMessage]:
        left_out = self._left_out
        for item in items:
            if item.sequence in left_out:
                self._exclude(item.message, left_out[item.sequence])
            elif item.exclusion is not None and not self._include:
                self._exclude(item.message, item.exclusion)
            elif not item.is_empty:
                yield item

    def _exclude(self, message: messages_pb2.Message, mark: messages_pb2.ContextExclusion) -> None:
        self.excluded_count += 1
        if len(self.excluded) < MOST_NAMED:
            named = executions_pb2.ExcludedMessage(
                message_id=message.id, sequence=message.sequence, exclusion=mark
            )
            self.excluded.appendleft(named)


@dataclass(slots=True)
class OpenTurn:
    """The turn that the input goes on with, where that brings results of tools."""

    question: list[HistoryMessage] = field(default_factory=list)
    """What the turn began with; empty where it began with none."""
    required: list[HistoryMessage] = field(default_factory=list)
    """The calls that the input answers, and what came after them."""
    steps: list[list[HistoryMessage]] = field(default_factory=list)
    """The calls before, each with its results, newest first."""

    @property
    def always(self) -> list[HistoryMessage]:
        """What always stays."""
        return [*self.question, *self.required]

    @classmethod
    def read(cls, source: Source, given: Messages) -> OpenTurn:
        """Read it off a history, up to its question; nothing where the input is a question itself."""
        if not given or given[0].role != messages_pb2.ROLE_TOOL:
            return cls()
        question, steps = _steps(source)
        needed = _count_needed(steps, given)
        required = [item for step in reversed(steps[:needed]) for item in step]
        return cls(question, required, steps[needed:])


def _steps(source: Source) -> tuple[list[HistoryMessage], list[list[HistoryMessage]]]:
    """Read a turn backwards: its question, and its answers with what came after each, newest first."""
    steps: list[list[HistoryMessage]] = []
    step: deque[HistoryMessage] = deque()
    for item in source:
        if item.message.role == messages_pb2.ROLE_USER:
            return [item], [*steps, *([[*step]] if step else [])]
        step.appendleft(item)
        if item.message.role == messages_pb2.ROLE_ASSISTANT:
            steps.append([*step])
            step.clear()
    return [], [*steps, *([[*step]] if step else [])]


def _count_needed(steps: Sequence[Items], given: Messages) -> int:
    """Count the steps, newest first, with the calls that the input answers. One if that is unclear."""
    wanted = set(_result_ids(given))
    for number, step in enumerate(steps, 1):
        wanted.difference_update(_call_ids(messages_of(step)))
        if not wanted:
            return number
    return min(1, len(steps))


@dataclass(slots=True)
class History:
    """As much of a history as has room, in its order, and what became of the rest."""

    kept: list[HistoryMessage] = field(default_factory=list)
    kept_tokens: int = 0
    omitted: int = 0
    omitted_tokens: int = 0

    @classmethod
    async def read(cls, source: Source, turn: OpenTurn, gauge: TokenCounter, room: int | None) -> History:
        """Take what has room beside what always stays. `room`: in tokens; None: as much as there is."""
        history = cls()
        over = deque(turn.steps)
        while over:
            tokens = sum(await measure(over[0], gauge))
            if room is not None and history.kept_tokens + tokens > room:
                break
            history.kept = [*over.popleft(), *history.kept]
            history.kept_tokens += tokens
        if over:
            rest = chain((item for step in over for item in reversed(step)), source)
            stays = len(turn.question) + len(turn.required) + len(history.kept)
            history.omit(
                [gauge.correct(item.estimate) for item in islice(rest, SAMPLED)], source.count - stays
            )
            history.kept = [*turn.question, *history.kept, *turn.required]
            return history
        left = None if room is None else room - history.kept_tokens
        before = await cls._before(source, _always(turn, history.kept), gauge, left)
        before.kept = [*before.kept, *turn.question, *history.kept, *turn.required]
        before.kept_tokens += history.kept_tokens
        return before

    @classmethod
    async def _before(cls, source: Source, behind: Items, gauge: TokenCounter, room: int | None) -> History:
        """Take whole turns before what is kept already, newest first."""
        taken: list[HistoryMessage] = []
        tokens: list[int] = []
        used, items = 0, iter(source)
        while step := list(islice(items, STEP)):
            measured = await measure(step, gauge)
            taken += step
            tokens += measured
            used += sum(measured)
            await asyncio.sleep(0)
            if room is not None and used > room:
                return cls._cut(taken, tokens, room, source, behind=behind, gauge=gauge)
        return cls(taken[::-1], used)

    @classmethod
    def _cut(
        cls,
        taken: Items,
        tokens: Sequence[int],
        room: int,
        source: Source,
        *,
        behind: Items,
        gauge: TokenCounter,
    ) -> History:
        fits = _turns_that_fit(taken, tokens, room, behind)
        history = cls(kept=[*reversed(taken[:fits])], kept_tokens=sum(tokens[:fits]))
        sampled = [gauge.correct(item.estimate) for item in islice(iter(source), SAMPLED)]
        history.omit([*tokens[fits:], *sampled], source.count - fits - len(behind))
        return history

    def omit(self, over: Sequence[int], count: int) -> None:
        """Tell how much is left out: `over` are the tokens of some of it, `count` is how many there are."""
        self.omitted = max(len(over), count)
        self.omitted_tokens = sum(over) * self.omitted // len(over) if over else 0


async def measure(items: Items, gauge: TokenCounter) -> list[int]:
    """Return the tokens of each message."""
    if not gauge.is_counted:
        return [gauge.correct(item.estimate) for item in items]
    return await gauge.measure(messages_of(items))


def messages_of(items: Iterable[HistoryMessage]) -> list[messages_pb2.Message]:
    """Return the messages alone."""
    return [item.message for item in items]


def _always(turn: OpenTurn, kept: Items) -> list[HistoryMessage]:
    return [*turn.question, *kept, *turn.required]


def _turns_that_fit(taken: Items, tokens: Sequence[int], room: int, behind: Items) -> int:
    """Count the messages that fit, newest first: whole turns, and no result without its call."""
    fits = used = 0
    after = messages_of(behind)
    wanted = set(_result_ids(after)) - set(_call_ids(after))
    for count, (item, its_tokens) in enumerate(zip(taken, tokens, strict=True), 1):
        used += its_tokens
        if used > room:
            break
        wanted.update(_result_ids([item.message]))
        wanted.difference_update(_call_ids([item.message]))
        if item.message.role == messages_pb2.ROLE_USER and not wanted:
            fits = count
    return fits


def _result_ids(messages: Messages) -> Iterator[str]:
    return (part.tool_result.call_id for part in _parts(messages) if part.HasField("tool_result"))


def _call_ids(messages: Messages) -> Iterator[str]:
    return (part.tool_call.call_id for part in _parts(messages) if part.HasField("tool_call"))


def _parts(messages: Messages) -> Iterator[messages_pb2.Part]:
    return (part for message in messages for part in message.parts)
