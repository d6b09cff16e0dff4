"""What executions came to, for the people who look inside: a line in the log, counters, the last problems.

No prompt and no answer is in any of it.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.app.logging_setup import add_request
from oblixd.execution.execution import Execution
from oblixd.redaction import clean

logger = logging.getLogger(__name__)

MOST_MODELS = 200
"""Models that have numbers of their own. Further ones share those of `other`."""
OTHER = "other"
KEPT_PROBLEMS = 50
_STOPPING = "DAEMON_STOPPING"
DURATION_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
FIRST_TOKEN_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(slots=True)
class Histogram:
    """How often a time was below each bound."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    """Of each bound, not summed up; the last one is above all bounds."""
    total: float = 0.0

    def observe(self, value: float) -> None:
        """Count a time, in seconds."""
        self.counts = self.counts or [0] * (len(self.bounds) + 1)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class ModelNumbers:
    """What one model's executions came to."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """By finish reason, or by the reason of the error."""
    tokens: Counter[str] = field(default_factory=Counter)
    """By direction: input, output."""
    cost: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    """Attempts that failed and were followed by another one, by reason."""
    duration: Histogram = field(default_factory=lambda: Histogram(DURATION_BOUNDS_S))
    first_token: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_BOUNDS_S))


class Observer:
    """Hears of each execution that ended."""

    def __init__(self) -> None:
        self.models: dict[str, ModelNumbers] = {}
        """By provider:name; empty: no model was reached."""

    def ended(self, execution: Execution) -> None:
        """Count an execution, and write its line into the log."""
        numbers = self._of(execution.model)
        error, completed = execution.log.error, execution.log.completed
        duration_s = time.time() - execution.created_s
        numbers.duration.observe(max(0.0, duration_s))
        if completed is not None:
            self._count_completed(numbers, completed)
        if error is not None:
            numbers.outcomes[error.reason] += 1
            if error.reason == _STOPPING:
                # There may be ten thousand of them: how many are told is in one line.
                return
            text = "execution %s failed with %s after %.2f s: %s"
            request_id = execution.request.request_id
            logger.warning(text, request_id, error.reason, duration_s, error.message)
        elif completed is not None:
            _log_answer(execution, completed, duration_s)

    def _count_completed(self, numbers: ModelNumbers, completion: executions_pb2.ExecutionCompleted) -> None:
        usage, timings = completion.message.usage, completion.message.timings
        numbers.outcomes[_finish_reason(completion)] += 1
        numbers.tokens["input"] += usage.input_tokens
        numbers.tokens["output"] += usage.output_tokens
        numbers.cost += usage.cost
        if timings.HasField("time_to_first_token"):
            numbers.first_token.observe(timings.time_to_first_token.ToMicroseconds() / 1e6)
        for attempt in completion.failed_attempts:
            self._of(attempt.model).failures[attempt.reason or "UNKNOWN"] += 1

    def _of(self, model: str) -> ModelNumbers:
        if model not in self.models and len(self.models) >= MOST_MODELS:
            model = OTHER
        return self.models.setdefault(model, ModelNumbers())


def _log_answer(
    execution: Execution, completion: executions_pb2.ExecutionCompleted, duration_s: float
) -> None:
    usage: messages_pb2.Usage = completion.message.usage
    logger.info(
        "execution %s ended (%s): %s, %d tokens in, %d out, %.2f s",
        execution.request.request_id,
        _finish_reason(completion),
        execution.model or "no model",
        usage.input_tokens,
        usage.output_tokens,
        duration_s,
    )


def _finish_reason(completion: executions_pb2.ExecutionCompleted) -> str:
    name = executions_pb2.FinishReason.Name(completion.finish_reason)
    return name.removeprefix("FINISH_REASON_").lower()


@dataclass(frozen=True, slots=True)
class Problem:
    """A warning or an error of the log."""

    time_s: float
    """Seconds since the Unix epoch."""
    level: str
    text: str
    request_id: str


class RecentProblems(logging.Handler):
    """Keeps the last warnings and errors, for who asks how the daemon is."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(add_request)
        self._problems: deque[Problem] = deque(maxlen=KEPT_PROBLEMS)
        self._clock = clock

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's message, without secrets and control characters."""
        text = " ".join(clean(record.getMessage()).split())
        about = str(record.__dict__["request_id"])
        self._problems.append(Problem(self._clock(), record.levelname.lower(), text, about))

    def __iter__(self) -> Iterator[Problem]:
        """Newest first."""
        return reversed(self._problems)
