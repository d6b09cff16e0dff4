"""What becomes of a turn whose model refuses it for what a message says.

The message may be the question, or one from long ago that is sent with every prompt: then each
later turn of the session would fail for it. So a refusal of content is answered by contexts with
fewer messages, those first that are most likely meant: questions whose turn failed. Where
such a context is answered, the message that it was without is the one, and is marked. Where none
is, the question is. Nothing is marked on a guess alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2

from oblixd.models import IMAGE_REFUSED, ContentRefusal, ModelError, content_refusal, share_that_fits

MOST_TRIALS = 4
"""Suspects that are left out one by one. More are left out together."""
MOST_SHORTER = 3
"""Times that a context is made shorter in one turn for one model."""
LONGEST_DETAIL = 4096
"""Characters of a mark's detail."""

Messages = Sequence[messages_pb2.Message]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a message is to be marked with."""

    sequences: tuple[int, ...]
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Trial:
    """A context with fewer messages."""

    excluded_sequences: tuple[int, ...]
    proves: int | None = None
    """The message that is the one where this context is answered. None: that can't be told."""


class RefusedContent:
    """The refusals of content in one turn, and what they come to."""

    def __init__(self) -> None:
        self._refusal: ContentRefusal | None = None
        self._detail = ""
        self._model = ""
        self._trials: Iterator[_Trial] = iter(())
        self._trial: _Trial | None = None

    def exclusions_for(self, model: str) -> Mapping[int, messages_pb2.ContextExclusion]:
        """Return what the next context for this model is without, by the messages' sequences."""
        if self._trial is None or self._refusal is None or model != self._model:
            return {}
        now = Timestamp()
        now.GetCurrentTime()
        mark = messages_pb2.ContextExclusion(reason=self._refusal.reason, detail=self._detail, mark_time=now)
        return dict.fromkeys(self._trial.excluded_sequences, mark)

    def hear(self, model: str, error: ModelError, history: Messages, given: Messages) -> bool:
        """Hear how a model failed; whether another context is worth sending to it.

        `history`: the session's messages that it was sent; `given`: the question.
        """
        refusal = content_refusal(error)
        if refusal is None:
            return False
        if model != self._model:
            self._model, self._trials = model, _trials(refusal, model, history, given)
        self._refusal, self._detail = refusal, error.message[:LONGEST_DETAIL]
        self._trial = next(self._trials, None)
        return self._trial is not None

    def hear_answer(self, model: str) -> Mark | None:
        """Hear that the turn was answered; return what that shows of an older message."""
        if self._trial is None or self._trial.proves is None or model != self._model:
            return None
        return self._mark([self._trial.proves])

    def hear_failure(self, given: Messages) -> Mark | None:
        """Hear that the turn failed; return a mark of its question where any model refused what it says."""
        if self._refusal is None:
            return None
        if self._refusal.reason == IMAGE_REFUSED and not any(map(_with_image, given)):
            return None
        return self._mark([message.sequence for message in given])

    def _mark(self, sequences: Sequence[int]) -> Mark | None:
        marked_sequences = tuple(sequence for sequence in sequences if sequence)
        return (
            Mark(marked_sequences, self._refusal.reason, self._detail)
            if self._refusal and marked_sequences
            else None
        )


@dataclass(slots=True)
class Overflows:
    """The refusals of contexts as too long, in one turn.

    The window may not be known, or an estimate was too low. Then each later prompt of the session would
    fail the same way: so the context is made shorter by what the refusal says, and sent again.
    """

    _most: dict[str, int] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=dict)

    def most(self, model: str) -> int | None:
        """Return the tokens, by our count, that a context for it may have. None: what its window takes."""
        return self._most.get(model)

    def hear(self, model: str, error: ModelError, sent_tokens: int) -> bool:
        """Hear how a model failed; whether a shorter context is worth sending to it."""
        share = share_that_fits(error)
        if share is None:
            return False
        self._tries[model] = self._tries.get(model, 0) + 1
        self._most[model] = int(sent_tokens * share)
        return self._tries[model] <= MOST_SHORTER


def _trials(refusal: ContentRefusal, model: str, history: Messages, given: Messages) -> Iterator[_Trial]:
    """Give the contexts to try, the most likely first."""
    about = _with_image if refusal.reason == IMAGE_REFUSED else _any
    older = [message for message in history if message.sequence]
    suspects = [message.sequence for message in _failed_questions(older) if about(message)]
    for number in range(1, min(len(suspects), MOST_TRIALS) + 1):
        yield _Trial(tuple(suspects[:number]), suspects[number - 1])
    if len(suspects) > MOST_TRIALS:
        yield _Trial(tuple(suspects), suspects[0])
    others = [message.sequence for message in _of_other_models(older, model) if about(message)]
    if others:
        is_one = len(others) == 1 and not refusal.is_unsupported
        yield _Trial((*suspects, *others), others[0] if is_one else None)
    # What one model took alone it may refuse beside more of the kind: Claude's limits depend on their number.
    if refusal.reason == IMAGE_REFUSED and not any(map(_with_image, given)):
        images = tuple(message.sequence for message in older if _with_image(message))
        if images and set(images) != {*suspects, *others}:
            yield _Trial(images)


def _failed_questions(older: Messages) -> list[messages_pb2.Message]:
    """Questions that nobody answered: the first of the newest row, then the others of it, then older rows.

    What made a conversation fail stands first in the row of what failed for it.
    """
    rows: list[list[messages_pb2.Message]] = [[]]
    for message, after in zip_longest(older, older[1:]):
        if message.role not in (messages_pb2.ROLE_USER, messages_pb2.ROLE_TOOL):
            rows.append([])
        elif after is None or _begins_anew(message, after):
            rows[-1].append(message)
    return [message for row in reversed(rows) for message in row]


def _begins_anew(message: messages_pb2.Message, after: messages_pb2.Message) -> bool:
    """Return whether the next message is another turn's question, so that this one had no answer."""
    same = bool(message.request_id) and message.request_id == after.request_id
    return after.role == messages_pb2.ROLE_USER and not same


def _of_other_models(older: Messages, model: str) -> Iterator[messages_pb2.Message]:
    """Questions that another model answered: this one may never have taken them."""
    waiting: list[messages_pb2.Message] = []
    for message in older:
        if message.role == messages_pb2.ROLE_ASSISTANT:
            if message.model != model:
                yield from waiting
            waiting = []
        else:
            waiting.append(message)


def _with_image(message: messages_pb2.Message) -> bool:
    return any(part.HasField("image") for part in message.parts)


def _any(_message: messages_pb2.Message) -> bool:
    return True
