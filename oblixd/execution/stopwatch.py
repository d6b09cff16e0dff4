"""How long an answer took, on the monotonic clock."""

from __future__ import annotations

import time

from google.protobuf.duration_pb2 import Duration
from oblix.v1 import messages_pb2 as pb


class Stopwatch:
    """Runs from the request's arrival."""

    def __init__(self) -> None:
        self._received = time.monotonic()
        self._started: float | None = None
        self._first: float | None = None
        self._waited = 0.0

    def start(self) -> None:
        """The turn has come."""
        self._started = time.monotonic()

    def waited(self, since_s: float) -> None:
        """The turn waited for a place at a model, since this moment: before content that is queueing."""
        if self._first is None:
            self._waited += time.monotonic() - since_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request's arrival."""
        return time.monotonic() - self._received

    @property
    def first_token_s(self) -> float | None:
        """Seconds from the turn's start to the first content, less the waits for a place. None: none came."""
        if self._first is None or self._started is None:
            return None
        return self._first - self._started - self._waited

    def tokens_per_second(self, output_tokens: int | None) -> float | None:
        """How fast the answer has come since its first content. None: not known."""
        spent_s = 0.0 if self._first is None else time.monotonic() - self._first
        return output_tokens / spent_s if output_tokens and spent_s > 0 else None

    def content(self) -> None:
        """Content has come; only the first counts."""
        if self._first is None:
            self._first = time.monotonic()

    def timings(self, output_tokens: int | None) -> pb.Timings:
        """What was measured up to now."""
        now = time.monotonic()
        started = (self._started if self._started is not None else now) + self._waited
        result = pb.Timings(queued=_duration(started - self._received), total=_duration(now - self._received))
        if self.first_token_s is not None:
            result.time_to_first_token.CopyFrom(_duration(self.first_token_s))
            result.tokens_per_second = self.tokens_per_second(output_tokens) or 0.0
        return result


def _duration(seconds: float) -> Duration:
    result = Duration()
    result.FromMicroseconds(round(seconds * 1e6))
    return result
