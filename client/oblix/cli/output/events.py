"""What happens while an answer comes, as far as a terminal shows it.

`of_client` translates the events of `OblixClient`; `Decoder` translates the daemon's own, without loading the
classes of the Python client: `oblix ask` lives for one answer, and its start is measured.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import oblix
    from oblix.v1 import executions_pb2, routing_pb2

UNKNOWN_PLACE = "unknown place"


class Waiting(NamedTuple):
    """The prompt waits."""

    place: int
    """Its position, from 1."""
    is_for_session: bool
    """Whether it waits for its session's turn, and nothing is recorded yet; else for a model."""


class Begun(NamedTuple):
    """Its turn has come."""

    session_id: str | None
    """None where nothing is recorded."""


class Piece(NamedTuple):
    """A piece of what the model writes."""

    text: str
    is_text: bool
    """Whether it is the answer's own text, and no reasoning and no call of a tool."""


class Restart(NamedTuple):
    """The answer starts anew on another model."""

    model: str
    detail: str


class Completion(NamedTuple):
    """The end. Nothing follows."""

    model: str
    """As `provider:name`; empty where it was cancelled before its turn."""
    location: str
    reason: str
    """Why this model was chosen."""
    session_id: str | None
    text: str
    latency_s: float
    output_tokens: int | None
    """None: the model's server did not say."""
    finish_reason: str
    omitted_messages: int
    excluded: Sequence[tuple[int, str]]
    """Marked messages that the context left out: the number of each, and why."""
    schema_violation: str | None
    candidates: Sequence[tuple[str, str]]
    """Each model that could have answered, and what spoke for or against it."""
    response: Callable[[], dict[str, Any]]
    """Gives the whole of it as `OblixClient.execute` returns it."""


Event: TypeAlias = Waiting | Begun | Piece | Restart | Completion


async def of_client(events: AsyncGenerator[oblix.Event, None]) -> AsyncGenerator[Event, None]:
    """Yield what a client's events tell."""
    import oblix

    async with aclosing(events):
        async for event in events:
            match event:
                case oblix.Queued():
                    yield Waiting(event.position, event.model is None)
                case oblix.Started():
                    yield Begun(event.session_id)
                case oblix.Delta():
                    yield Piece(event.text, event.kind == "text")
                case oblix.Rerouted():
                    yield Restart(event.to_model, event.detail)
                case oblix.Completed():
                    yield _completion_of(event)


def _completion_of(event: oblix.Completed) -> Completion:
    answer = event.answer
    places: Mapping[str, str] = {one.model: one.location for one in answer.decision.candidates}
    return Completion(
        model=answer.model,
        location=places.get(answer.model, UNKNOWN_PLACE),
        reason=answer.decision.reason,
        session_id=event.session_id,
        text=answer.text,
        latency_s=answer.timings.total,
        output_tokens=answer.usage.output_tokens if answer.usage else None,
        finish_reason=event.finish_reason,
        omitted_messages=answer.context.omitted_messages,
        excluded=[(one.sequence, one.reason) for one in answer.context.excluded],
        schema_violation=answer.schema_violation,
        candidates=[(one.model, one.reason) for one in answer.decision.candidates],
        response=lambda: event.response,
    )


class Decoder:
    """Translates the daemon's events of one execution. Remembers the beginning, which the end needs."""

    def __init__(self) -> None:
        self._started: executions_pb2.ExecuteResponse | None = None

    def event(self, response: executions_pb2.ExecuteResponse) -> Event | None:
        """Return the event, or None for one that shows nothing."""
        match response.WhichOneof("event"):
            case "delta":
                return _piece(response.delta)
            case "queued":
                return Waiting(response.queued.place, not response.queued.model)
            case "started":
                self._started = response
                return Begun(response.started.session_id or None)
            case "rerouted":
                return Restart(response.rerouted.to_model, response.rerouted.detail)
            case "completed":
                return self._completion(response)
        return None

    def _completion(self, response: executions_pb2.ExecuteResponse) -> Completion:
        completed = response.completed
        message, context = completed.message, completed.context
        decision = self._started.started.decision if self._started else message.decision
        return Completion(
            model=message.model,
            location=_location(decision, message.model),
            reason=decision.reason,
            session_id=completed.session_id or None,
            text="".join(part.text for part in message.parts),
            latency_s=message.timings.total.seconds + message.timings.total.nanos / 1e9,
            output_tokens=message.usage.output_tokens if message.HasField("usage") else None,
            finish_reason=_finish_reason(completed),
            omitted_messages=context.omitted_messages,
            excluded=[(one.sequence, one.exclusion.reason) for one in context.excluded],
            schema_violation=completed.schema_violation or None,
            candidates=[(one.model, one.reason) for one in decision.candidates],
            response=lambda: self._response(response),
        )

    def _response(self, response: executions_pb2.ExecuteResponse) -> dict[str, Any]:
        from oblix._convert.events import EventDecoder
        from oblix._resources.agents import Agents

        decoder = EventDecoder(Agents(), [])
        if self._started is not None:
            decoder.event(self._started)
        # What ends an execution is a completion.
        return decoder.event(response).response  # type: ignore[union-attr]


def _piece(delta: executions_pb2.ExecutionDelta) -> Piece | None:
    from oblix.v1 import executions_pb2

    # A provider's signature of its reasoning is nothing to show.
    if delta.signature or delta.redacted:
        return None
    return Piece(delta.text, delta.kind == executions_pb2.DELTA_KIND_TEXT)


def _location(decision: routing_pb2.RoutingDecision, model: str) -> str:
    from oblix.v1 import routing_pb2

    names = {routing_pb2.LOCATION_LOCAL: "local", routing_pb2.LOCATION_CLOUD: "cloud"}
    found = (names.get(one.location) for one in decision.candidates if one.model == model)
    return next(found, None) or UNKNOWN_PLACE


def _finish_reason(completed: executions_pb2.ExecutionCompleted) -> str:
    from oblix.v1 import executions_pb2

    name = executions_pb2.FinishReason.Name(completed.finish_reason)
    return name.removeprefix("FINISH_REASON_").lower()
