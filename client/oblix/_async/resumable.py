"""One execution, followed over as many connections as it takes.

An execution belongs to the daemon. A stream that broke is opened again from the
byte up to which the answer is here, so that nothing is lost and nothing comes twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from oblix._transport.channel import Transport
from oblix._transport.errors import LOST, UNREACHABLE
from oblix.errors import InvalidArgumentError, NotFoundError, OblixError, UnavailableError
from oblix.v1 import executions_pb2

Responses = AsyncGenerator[executions_pb2.ExecuteResponse, None]

DROPPED = {LOST, UNREACHABLE, "DAEMON_STOPPING"}
"""Reasons after which the next connection may go on."""
ELSEWHERE = ("OFFSET_OUT_OF_RANGE", "OFFSET_INSIDE_CHARACTER")
"""Reasons after which what the daemon tells is not, or not any more, what was being read."""
MOST_TRIES = 5
"""Connections in a row that may break without bringing anything."""


class ResumableStream:
    """What is known here of an execution, and the way to the rest of it."""

    def __init__(
        self,
        transport: Transport,
        request_id: str,
        *,
        session_id: str = "",
        offset: int = 0,
        cancels: bool = False,
    ) -> None:
        """`offset`: bytes of UTF-8 of deltas that are here. `cancels`: what nobody reads is cancelled."""
        self._transport = transport
        self._request_id = request_id
        self._session_id = session_id
        self._offset = offset
        self._cancels = cancels
        self._base = 0
        """The offset at which the answer began anew the last time."""
        self._seen: Counter[str] = Counter()
        self._has_begun = False
        """Whether a daemon has the execution: it is then attached to, and not started."""
        self._broke = False

    async def responses(self, start: Callable[[], Responses] | None = None) -> Responses:
        """Yield what happens, each thing once, to the end.

        `start` runs the execution: it is called again while nothing has begun, for
        the request's id makes that safe. Without it, the execution is known.
        """
        tries = 0
        while True:
            opener = start if start and not self._has_begun else self._attach
            try:
                async with aclosing(self._unseen(opener())) as responses:
                    async for response in responses:
                        tries = 0
                        yield response
            except OblixError as error:
                tries += 1
                if tries > MOST_TRIES or not self._goes_on_after(error):
                    raise self._explain(error) from error
            else:
                return

    def _goes_on_after(self, error: OblixError) -> bool:
        """Return whether another connection may bring the rest, and correct where it begins."""
        if error.reason in DROPPED:
            self._broke = True
            if error.metadata.get("request_id") == self._request_id:
                # It waited until the daemon ended. No model has seen it: the next daemon runs it.
                self._has_begun = False
        elif not self._broke or error.reason not in ELSEWHERE:
            return False
        elif self._base:
            # The session's record holds the last text alone, and counts from its start.
            self._offset, self._base, self._seen["rerouted"] = self._offset - self._base, 0, 0
        elif "limit" in error.metadata:
            # The daemon died before all of it was on disk: what is there tells how it ended.
            self._offset = int(error.metadata["limit"])
        return True

    async def _attach(self) -> Responses:
        request = executions_pb2.AttachExecutionRequest(request_id=self._request_id, offset=self._offset)
        answers = self._transport.stream(
            lambda link: link.executions.AttachExecution(request, metadata=link.metadata), repeatable=True
        )
        async with aclosing(answers):
            async for answer in answers:
                yield answer.event

    async def _unseen(self, responses: Responses) -> Responses:
        """Leave out what an earlier connection brought: each repeats all but the deltas from the start."""
        repeated: Counter[str] = Counter()
        async with aclosing(responses):
            async for response in responses:
                kind = response.WhichOneof("event") or ""
                repeated[kind] += 1
                self._has_begun |= kind == "started"
                if kind in {"delta", "completed"} and repeated["rerouted"] < self._seen["rerouted"]:
                    # A record does not know that the answer began anew.
                    raise InvalidArgumentError("This is the record.", reason=ELSEWHERE[0])
                if kind == "delta":
                    self._offset = response.delta.offset + len(response.delta.text.encode())
                elif repeated[kind] <= self._seen[kind]:
                    continue
                else:
                    self._note(kind, response)
                yield response

    def _note(self, kind: str, response: executions_pb2.ExecuteResponse) -> None:
        self._seen[kind] += 1
        if kind == "started":
            self._session_id = response.started.session_id
        if kind == "rerouted":
            self._base = self._offset
        cancelled = response.completed.finish_reason == executions_pb2.FINISH_REASON_CANCELLED
        if cancelled and self._broke and self._cancels:
            raise self._unfinished_error(
                "ANSWER_INTERRUPTED",
                "The connection to oblixd broke in the middle of the answer, which cancelled it: "
                'with on_disconnect="continue" it goes on.',
            )

    def _explain(self, error: OblixError) -> OblixError:
        """Return what to raise for an error: after a break, an execution that nobody knows was lost."""
        if self._broke and isinstance(error, NotFoundError):
            return self._unfinished_error(
                "EXECUTION_INTERRUPTED", "oblixd ended in the middle of the answer."
            )
        return error

    def _unfinished_error(self, reason: str, what: str) -> UnavailableError:
        metadata = {"request_id": self._request_id, "session_id": self._session_id}
        if self._session_id:
            kept = f"Session {self._session_id} holds the question and the part that had been kept"
        else:
            kept, metadata["kept_bytes"] = "Nothing was recorded", "0"
        return UnavailableError(f"{what} {kept}; ask again.", reason=reason, metadata=metadata)
