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

    __slots__ = ("_chat_message", "_estimate", "exclusion", "is_empty", "message", "sequence", "size")

    def __init__(self, message: messages_pb2.Message) -> None:
        self.message = message
        self.sequence = message.sequence
        self.size = message.ByteSize()
        """Bytes."""
        self.is_empty = not message.parts
        self.exclusion = message.exclusion if message.HasField("exclusion") else None
        self._estimate = -1
        self._chat_message: ChatMessage | None = None

    @property
    def estimate(self) -> int:
        """Its tokens, as `models.estimate` reckons them."""
        if self._estimate < 0:
            self._estimate = estimate(self.message)
        return self._estimate

    @property
    def chat_message(self) -> ChatMessage | None:
        """See `ChatRequest.plain`."""
        if self._chat_message is None:
            self._chat_message = plain_message(self.message)
        return self._chat_message


Items = Sequence[HistoryMessage]


class HistoryReader:
    """Reads a history newest first, without the messages that have no parts or are marked."""

    def __init__(
        self,
        items: Iterable[HistoryMessage],
        count: int,
        *,
        include_excluded: bool = False,
        exclusions: Mapping[int, messages_pb2.ContextExclusion] = MappingProxyType({}),
    ) -> None:
        """`count`: how many messages the history has in all. `left_out`: as if they were marked so."""
        self.exclusions: deque[executions_pb2.ExcludedMessage] = deque(maxlen=MOST_NAMED)
        """The newest of those that are marked, oldest first."""
        self.excluded_count = 0
        self._include = include_excluded
        self._extra_exclusions = exclusions
        self._count = count
        self._items: Iterator[HistoryMessage] = self._skip_marked(items)

    def __iter__(self) -> Iterator[HistoryMessage]:
        return self._items

    @property
    def count(self) -> int:
        """How many messages there are, without those that were seen to be marked."""
        return self._count - self.excluded_count

    def _skip_marked(self, items: Iterable[HistoryMessage]) -> Iterator[HistoryMessage]:
        exclusions = self._extra_exclusions
        for item in items:
            if item.sequence in exclusions:
                self._exclude(item.message, exclusions[item.sequence])
            elif item.exclusion is not None and not self._include:
                self._exclude(item.message, item.exclusion)
            elif not item.is_empty:
                yield item

    def _exclude(self, message: messages_pb2.Message, mark: messages_pb2.ContextExclusion) -> None:
        self.excluded_count += 1
        if len(self.exclusions) < MOST_NAMED:
            named = executions_pb2.ExcludedMessage(
                message_id=message.id, sequence=message.sequence, exclusion=mark
            )
            self.exclusions.appendleft(named)


@dataclass(slots=True)
class OpenTurn:
    """The turn that the input goes on with, where that brings results of tools."""

    question: list[HistoryMessage] = field(default_factory=list)
    """What the turn began with; empty where it began with none."""
    required_items: list[HistoryMessage] = field(default_factory=list)
    """The calls that the input answers, and what came after them."""
    steps: list[list[HistoryMessage]] = field(default_factory=list)
    """The calls before, each with its results, newest first."""

    @property
    def fixed_items(self) -> list[HistoryMessage]:
        """What always stays."""
        return [*self.question, *self.required_items]

    @classmethod
    def read(cls, reader: HistoryReader, given: Messages) -> OpenTurn:
        """Read it off a history, up to its question; nothing where the input is a question itself."""
        if not given or given[0].role != messages_pb2.ROLE_TOOL:
            return cls()
        question, steps = _steps(reader)
        needed = _count_needed(steps, given)
        required = [item for step in reversed(steps[:needed]) for item in step]
        return cls(question, required, steps[needed:])


def _steps(reader: HistoryReader) -> tuple[list[HistoryMessage], list[list[HistoryMessage]]]:
    """Read a turn backwards: its question, and its answers with what came after each, newest first."""
    steps: list[list[HistoryMessage]] = []
    step: deque[HistoryMessage] = deque()
    for item in reader:
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

    items: list[HistoryMessage] = field(default_factory=list)
    kept_tokens: int = 0
    omitted_count: int = 0
    omitted_tokens: int = 0

    @classmethod
    async def read(
        cls, reader: HistoryReader, turn: OpenTurn, counter: TokenCounter, room: int | None
    ) -> History:
        """Take what has room beside what always stays. `room`: in tokens; None: as much as there is."""
        history = cls()
        over = deque(turn.steps)
        while over:
            tokens = sum(await measure(over[0], counter))
            if room is not None and history.kept_tokens + tokens > room:
                break
            history.items = [*over.popleft(), *history.items]
            history.kept_tokens += tokens
        if over:
            rest = chain((item for step in over for item in reversed(step)), reader)
            stays = len(turn.question) + len(turn.required_items) + len(history.items)
            history.omit(
                [counter.correct(item.estimate) for item in islice(rest, SAMPLED)], reader.count - stays
            )
            history.items = [*turn.question, *history.items, *turn.required_items]
            return history
        left = None if room is None else room - history.kept_tokens
        before = await cls._before(reader, _items_that_stay(turn, history.items), counter, left)
        before.items = [*before.items, *turn.question, *history.items, *turn.required_items]
        before.kept_tokens += history.kept_tokens
        return before

    @classmethod
    async def _before(
        cls, reader: HistoryReader, behind: Items, counter: TokenCounter, room: int | None
    ) -> History:
        """Take whole turns before what is kept already, newest first."""
        newest: list[HistoryMessage] = []
        tokens: list[int] = []
        used, items = 0, iter(reader)
        while step := list(islice(items, STEP)):
            measured = await measure(step, counter)
            newest += step
            tokens += measured
            used += sum(measured)
            await asyncio.sleep(0)
            if room is not None and used > room:
                return cls._cut(newest, tokens, room, reader, behind=behind, counter=counter)
        return cls(newest[::-1], used)

    @classmethod
    def _cut(
        cls,
        newest: Items,
        tokens: Sequence[int],
        room: int,
        reader: HistoryReader,
        *,
        behind: Items,
        counter: TokenCounter,
    ) -> History:
        fits = _turns_that_fit(newest, tokens, room, behind)
        history = cls(items=[*reversed(newest[:fits])], kept_tokens=sum(tokens[:fits]))
        sampled = [counter.correct(item.estimate) for item in islice(iter(reader), SAMPLED)]
        history.omit([*tokens[fits:], *sampled], reader.count - fits - len(behind))
        return history

    def omit(self, over: Sequence[int], count: int) -> None:
        """Tell how much is left out: `over` are the tokens of some of it, `count` is how many there are."""
        self.omitted_count = max(len(over), count)
        self.omitted_tokens = sum(over) * self.omitted_count // len(over) if over else 0


async def measure(items: Items, counter: TokenCounter) -> list[int]:
    """Return the tokens of each message."""
    if not counter.is_counted:
        return [counter.correct(item.estimate) for item in items]
    return await counter.measure(messages_of(items))


def messages_of(items: Iterable[HistoryMessage]) -> list[messages_pb2.Message]:
    """Return the messages alone."""
    return [item.message for item in items]


def _items_that_stay(turn: OpenTurn, kept: Items) -> list[HistoryMessage]:
    return [*turn.question, *kept, *turn.required_items]


def _turns_that_fit(newest: Items, tokens: Sequence[int], room: int, behind: Items) -> int:
    """Count the messages that fit, newest first: whole turns, and no result without its call."""
    fits = used = 0
    after = messages_of(behind)
    wanted = set(_result_ids(after)) - set(_call_ids(after))
    for count, (item, its_tokens) in enumerate(zip(newest, tokens, strict=True), 1):
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
