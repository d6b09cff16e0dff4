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

from oblixd.models import TokenCounter

STEP = 32
"""Messages that are read and measured at a time."""
SAMPLED = 256
"""Messages past the window that are read to tell the tokens left out; the rest is reckoned from them."""
MOST_NAMED = 100
"""Messages left out by their mark that a report names."""

Messages = Sequence[messages_pb2.Message]


class Source:
    """Reads a history newest first, without the messages that have no parts or are marked."""

    def __init__(
        self,
        messages: Iterable[messages_pb2.Message],
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
        self._messages: Iterator[messages_pb2.Message] = self._skip_marked(messages)

    def __iter__(self) -> Iterator[messages_pb2.Message]:
        return self._messages

    @property
    def count(self) -> int:
        """How many messages there are, without those that were seen to be marked."""
        return self._count - self.excluded_count

    def _skip_marked(self, messages: Iterable[messages_pb2.Message]) -> Iterator[messages_pb2.Message]:
        for message in messages:
            if message.sequence in self._left_out:
                self._exclude(message, self._left_out[message.sequence])
            elif message.HasField("exclusion") and not self._include:
                self._exclude(message, message.exclusion)
            elif message.parts:
                yield message

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

    question: list[messages_pb2.Message] = field(default_factory=list)
    """What the turn began with; empty where it began with none."""
    required: list[messages_pb2.Message] = field(default_factory=list)
    """The calls that the input answers, and what came after them."""
    steps: list[list[messages_pb2.Message]] = field(default_factory=list)
    """The calls before, each with its results, newest first."""

    @property
    def always(self) -> list[messages_pb2.Message]:
        """What always stays."""
        return [*self.question, *self.required]

    @classmethod
    def read(cls, source: Source, given: Messages) -> OpenTurn:
        """Read it off a history, up to its question; nothing where the input is a question itself."""
        if not given or given[0].role != messages_pb2.ROLE_TOOL:
            return cls()
        question, steps = _steps(source)
        needed = _count_needed(steps, given)
        required = [message for step in reversed(steps[:needed]) for message in step]
        return cls(question, required, steps[needed:])


def _steps(source: Source) -> tuple[list[messages_pb2.Message], list[list[messages_pb2.Message]]]:
    """Read a turn backwards: its question, and its answers with what came after each, newest first."""
    steps: list[list[messages_pb2.Message]] = []
    step: deque[messages_pb2.Message] = deque()
    for message in source:
        if message.role == messages_pb2.ROLE_USER:
            return [message], [*steps, *([[*step]] if step else [])]
        step.appendleft(message)
        if message.role == messages_pb2.ROLE_ASSISTANT:
            steps.append([*step])
            step.clear()
    return [], [*steps, *([[*step]] if step else [])]


def _count_needed(steps: Sequence[Messages], given: Messages) -> int:
    """Count the steps, newest first, with the calls that the input answers. One if that is unclear."""
    wanted = set(_result_ids(given))
    for number, step in enumerate(steps, 1):
        wanted.difference_update(_call_ids(step))
        if not wanted:
            return number
    return min(1, len(steps))


@dataclass(slots=True)
class History:
    """As much of a history as has room, in its order, and what became of the rest."""

    kept: list[messages_pb2.Message] = field(default_factory=list)
    kept_tokens: int = 0
    omitted: int = 0
    omitted_tokens: int = 0

    @classmethod
    async def read(cls, source: Source, turn: OpenTurn, gauge: TokenCounter, room: int | None) -> History:
        """Take what has room beside what always stays. `room`: in tokens; None: as much as there is."""
        history = cls()
        over = deque(turn.steps)
        while over:
            tokens = sum(await gauge.measure(over[0]))
            if room is not None and history.kept_tokens + tokens > room:
                break
            history.kept = [*over.popleft(), *history.kept]
            history.kept_tokens += tokens
        if over:
            rest = chain((message for step in over for message in reversed(step)), source)
            stays = len(turn.question) + len(turn.required) + len(history.kept)
            history.omit(
                [gauge.corrected_estimate(one) for one in islice(rest, SAMPLED)], source.count - stays
            )
            history.kept = [*turn.question, *history.kept, *turn.required]
            return history
        left = None if room is None else room - history.kept_tokens
        before = await cls._before(source, _always(turn, history.kept), gauge, left)
        before.kept = [*before.kept, *turn.question, *history.kept, *turn.required]
        before.kept_tokens += history.kept_tokens
        return before

    @classmethod
    async def _before(
        cls, source: Source, behind: Messages, gauge: TokenCounter, room: int | None
    ) -> History:
        """Take whole turns before what is kept already, newest first."""
        taken: list[tuple[messages_pb2.Message, int]] = []
        used = 0
        messages = iter(source)
        while step := list(islice(messages, STEP)):
            taken += zip(step, await gauge.measure(step), strict=True)
            used += sum(tokens for _, tokens in taken[-len(step) :])
            await asyncio.sleep(0)
            if room is not None and used > room:
                return cls._cut(taken, room, source, behind, gauge)
        return cls([message for message, _ in reversed(taken)], used)

    @classmethod
    def _cut(
        cls,
        taken: list[tuple[messages_pb2.Message, int]],
        room: int,
        source: Source,
        behind: Messages,
        gauge: TokenCounter,
    ) -> History:
        fits = _turns_that_fit(taken, room, behind)
        history = cls(
            kept=[message for message, _ in reversed(taken[:fits])],
            kept_tokens=sum(tokens for _, tokens in taken[:fits]),
        )
        over = [tokens for _, tokens in taken[fits:]]
        sampled = [gauge.corrected_estimate(message) for message in islice(iter(source), SAMPLED)]
        history.omit([*over, *sampled], source.count - fits - len(behind))
        return history

    def omit(self, over: Sequence[int], count: int) -> None:
        """Tell how much is left out: `over` are the tokens of some of it, `count` is how many there are."""
        self.omitted = max(len(over), count)
        self.omitted_tokens = sum(over) * self.omitted // len(over) if over else 0


def _always(turn: OpenTurn, kept: Messages) -> list[messages_pb2.Message]:
    return [*turn.question, *kept, *turn.required]


def _turns_that_fit(taken: Sequence[tuple[messages_pb2.Message, int]], room: int, behind: Messages) -> int:
    """Count the messages that fit, newest first: whole turns, and no result without its call."""
    fits = used = 0
    wanted = set(_result_ids(behind)) - set(_call_ids(behind))
    for count, (message, tokens) in enumerate(taken, 1):
        used += tokens
        if used > room:
            break
        wanted.update(_result_ids([message]))
        wanted.difference_update(_call_ids([message]))
        if message.role == messages_pb2.ROLE_USER and not wanted:
            fits = count
    return fits


def _result_ids(messages: Messages) -> Iterator[str]:
    return (part.tool_result.call_id for part in _parts(messages) if part.HasField("tool_result"))


def _call_ids(messages: Messages) -> Iterator[str]:
    return (part.tool_call.call_id for part in _parts(messages) if part.HasField("tool_call"))


def _parts(messages: Messages) -> Iterator[messages_pb2.Part]:
    return (part for message in messages for part in message.parts)
