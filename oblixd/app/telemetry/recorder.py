"""Makes the spans and the metrics of an execution once it has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oblix.v1 import executions_pb2, messages_pb2

from oblixd import __version__
from oblixd.app.telemetry import genai
from oblixd.app.telemetry.collector import NAME, Providers
from oblixd.execution.execution import Execution

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Span, SpanKind

logger = logging.getLogger(__name__)

FLUSH_S = 5.0
"""How long it may take at the daemon's end to send what was not sent yet."""
DURATION_BOUNDS_S = [0.01 * 2**step for step in range(14)]
"""As the conventions want them: 0.01 to 81.92 seconds."""

IsLocalOnly = Callable[[executions_pb2.ExecuteRequest], bool]


@dataclass(frozen=True, slots=True)
class _Request:
    """What is kept of a request until its execution ends, which lets go of it."""

    attributes: genai.Attributes
    request: executions_pb2.ExecuteRequest | None
    """The whole of it. None: prompts are not sent."""


class Telemetry:
    """Hears of each execution that begins or ends. Belongs to the event loop."""

    def __init__(self, providers: Providers, is_local_only: IsLocalOnly) -> None:
        """`is_local_only`: whether a prompt must stay on this machine; asked where prompts are sent."""
        from opentelemetry import trace  # noqa: PLC0415 - the extra `otel`

        self._trace = trace
        self._providers = providers
        self._tracer = providers.tracers.get_tracer(NAME, __version__)
        self._counters = _Counters(providers.meters.get_meter(NAME, __version__))
        self._is_local_only = is_local_only
        self._requests: dict[str, _Request] = {}

    def started(self, execution: Execution) -> None:
        """Note how it was asked."""
        request = execution.request
        kept = request if self._providers.sends_content else None
        self._requests[request.request_id] = _Request(genai.request_attributes(request), kept)

    def ended(self, execution: Execution) -> None:
        """Send its spans, and count it."""
        asked = self._requests.pop(execution.request.request_id, None)
        if asked is None:
            return
        ended_s = time.time()
        whole = self._span(
            "oblix.execution",
            self._trace.SpanKind.SERVER,
            genai.execution_attributes(execution),
            execution.created_s,
            self._parent(execution.client.trace_parent),
        )
        for attributes in genai.failed_attempts(execution.log.completed):
            whole.add_event("oblix.failed_attempt", attributes)
        if model := genai.model_of(execution):
            self._record_answer(model, execution, asked, ended_s, self._trace.set_span_in_context(whole))
        self._end(whole, execution, ended_s)

    async def close(self) -> None:
        """Send what is left, and stop. A collector that does not answer is not waited for long."""
        work = asyncio.create_task(asyncio.to_thread(self._shut_down))
        await asyncio.wait([work], timeout=FLUSH_S)
        if not work.done():
            logger.warning("the OpenTelemetry collector did not take the last executions in time")

    def _shut_down(self) -> None:
        self._providers.tracers.shutdown()
        self._providers.meters.shutdown()

    def _record_answer(
        self, model: str, execution: Execution, request: _Request, ended_s: float, within: Context
    ) -> None:
        """Make the span of the model's work: without the time for which the execution waited."""
        completed = execution.log.completed
        began_s = min(execution.created_s + genai.queued_s(completed), ended_s)
        of_model = genai.model_attributes(model, execution.origin)
        attributes = {**of_model, **request.attributes, **genai.answer_attributes(completed)}
        if request.request is not None and not self._is_local_only(request.request):
            attributes |= genai.content_attributes(request.request.input, completed)
        span = self._span(
            f"{of_model[genai.OPERATION]} {of_model[genai.MODEL]}",
            self._trace.SpanKind.CLIENT,
            attributes,
            began_s,
            within,
        )
        self._end(span, execution, ended_s)
        if execution.log.error is not None:
            of_model = {**of_model, genai.ERROR: execution.log.error.reason}
        self._counters.record(of_model, ended_s - began_s, completed)

    def _span(
        self, name: str, kind: SpanKind, attributes: genai.Attributes, began_s: float, within: Context | None
    ) -> Span:
        return self._tracer.start_span(name, within, kind, attributes, start_time=round(began_s * 1e9))

    def _end(self, span: Span, execution: Execution, ended_s: float) -> None:
        if (error := execution.log.error) is not None:
            # The message is not sent: it may quote what a server said of a prompt.
            span.set_attribute(genai.ERROR, error.reason)
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(round(ended_s * 1e9))

    def _parent(self, trace_parent: str) -> Context | None:
        """Return the span of who called, as its `traceparent` names it. None: it told none."""
        if not trace_parent:
            return None
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - the extra `otel`
            TraceContextTextMapPropagator,
        )

        return TraceContextTextMapPropagator().extract({"traceparent": trace_parent})


class _Counters:
    """The conventions' metrics of answers."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            "gen_ai.client.inference.duration",
            "s",
            "How long a model worked on an answer.",
            explicit_bucket_boundaries_advisory=DURATION_BOUNDS_S,
        )
        self._first = meter.create_histogram(
            "gen_ai.client.inference.time_to_first_chunk",
            "s",
            "From the prompt to the first content.",
            explicit_bucket_boundaries_advisory=DURATION_BOUNDS_S,
        )
        self._tokens = {
            name: meter.create_counter(f"gen_ai.client.inference.usage.{name}", "{token}", about)
            for name, about in genai.TOKENS.items()
        }

    def record(
        self,
        attributes: genai.Attributes,
        took_s: float,
        completion: executions_pb2.ExecutionCompleted | None,
    ) -> None:
        """Count an answer, or what failed in its place."""
        self._duration.record(took_s, attributes)
        message = completion.message if completion is not None else messages_pb2.Message()
        first_s = genai.first_content_s(message)
        if first_s is not None:
            self._first.record(first_s, attributes)
        # Models' servers do not tell tokens of text from those of images.
        of_tokens = {name: value for name, value in attributes.items() if name != genai.ERROR}
        for name, count in genai.usage(message):
            self._tokens[name].add(count, {**of_tokens, genai.MODALITY: "unknown"})
