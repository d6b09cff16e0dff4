"""An execution's events and the answer that ends them, routing decisions, executions."""

from __future__ import annotations

from typing import Any, Literal

from oblix import answers, events, results
from oblix._convert.decoding import message_of, moment_of, name_of, timings_of, usage_of
from oblix._convert.records import seconds_of
from oblix._resources.agents import Agents, check_report
from oblix.v1 import embeddings_pb2, executions_pb2, routing_pb2

_KINDS: dict[int, Literal["reasoning", "tool_call"]] = {
    executions_pb2.DELTA_KIND_REASONING: "reasoning",
    executions_pb2.DELTA_KIND_TOOL_CALL: "tool_call",
}
_NOTHING_DECIDED = answers.Decision("", "", "")


class EventDecoder:
    """Translates one execution's events. Remembers of the first what the last has to repeat."""

    def __init__(self, agents: Agents, checks: list[routing_pb2.AgentCheck]) -> None:
        self._agents = agents
        self._checks = checks
        self._decision = _NOTHING_DECIDED
        self._reports = answers.AgentChecks()

    def event(self, response: executions_pb2.ExecuteResponse) -> events.Event | None:
        """Return the event, or None for one of a kind that this client does not know."""
        match response.WhichOneof("event"):
            case "delta":
                # A provider's signature of its reasoning is nothing to show.
                is_seal = response.delta.signature or response.delta.redacted
                return None if is_seal else _delta(response.delta)
            case "started":
                return self._start(response.started)
            case "completed":
                return self._completion(response.completed)
            case "queued":
                waits = response.queued
                return events.Queued(waits.request_id, waits.place, waits.model or None)
            case "rerouted":
                moved = response.rerouted
                return events.Rerouted(moved.from_model, moved.to_model, moved.reason, moved.detail)
        return None

    def _start(self, start: executions_pb2.ExecutionStarted) -> events.Started:
        self._decision = decision_of(start.decision)
        if self._agents.has_any or start.agent_checks:
            self._reports = self._report(start)
        session_id = start.session_id or None
        model = start.decision.model
        return events.Started(start.request_id, session_id, model, self._decision, self._reports)

    def _report(self, start: executions_pb2.ExecutionStarted) -> answers.AgentChecks:
        routing = self._decision.to_dict()
        reports = self._agents.report(routing, self._checks)
        ours = {report["agent"] for report in reports}
        # Those of the program that started it, where it is another one.
        others: list[dict[str, Any]] = [
            {"agent": check.agent, "result": check_report(check, routing)}
            for check in start.agent_checks
            if check.agent not in ours
        ]
        return answers.AgentChecks([*reports, *others])

    def _completion(self, completion: executions_pb2.ExecutionCompleted) -> events.Completed:
        answer = self._answer(completion)
        return events.Completed(answer.request_id, answer.session_id, answer.finish_reason, answer)

    def _answer(self, completion: executions_pb2.ExecutionCompleted) -> answers.Answer:
        message = message_of(completion.message)
        adaptations = tuple(completion.message.decision.adaptations)
        decision = with_adaptations(self._decision, adaptations) if adaptations else self._decision
        return answers.Answer(
            text=message.content,
            model=completion.message.model,
            request_id=completion.request_id,
            session_id=completion.session_id or None,
            finish_reason=name_of(executions_pb2.FinishReason.DESCRIPTOR, completion.finish_reason),
            message=message,
            decision=decision,
            timings=timings_of(completion.message) or results.Timings(0.0),
            usage=message.usage,
            context=_context(completion.context),
            failed_attempts=tuple(map(attempt_of, completion.failed_attempts)),
            agent_checks=self._reports,
            schema_violation=completion.schema_violation or None,
        )


def with_adaptations(decision: answers.Decision, adaptations: tuple[str, ...]) -> answers.Decision:
    """Return a decision with what was changed of the request, which is known only at the end."""
    import msgspec  # noqa: PLC0415 - few answers have any

    return msgspec.structs.replace(decision, adaptations=adaptations)


def attempt_of(attempt: executions_pb2.FailedAttempt) -> answers.FailedAttempt:
    """Return a model that failed before one answered."""
    return answers.FailedAttempt(attempt.model, attempt.reason, attempt.detail)


def decision_of(decision: routing_pb2.RoutingDecision) -> answers.Decision:
    """Return a routing decision: what machine and network asked for, and what became of every candidate."""
    return answers.Decision(
        model=decision.model,
        rule=decision.rule,
        reason=decision.reason,
        resource_state=name_of(routing_pb2.ResourceState.DESCRIPTOR, decision.resource_state),
        resource_target=decision.resource_target,
        connectivity_state=name_of(routing_pb2.ConnectivityState.DESCRIPTOR, decision.connectivity_state),
        connectivity_target=decision.connectivity_target,
        readings=tuple(map(_reading, decision.readings)),
        candidates=tuple(map(_candidate, decision.candidates)),
        policy=decision.policy,
        policy_source=decision.policy_source,
        adaptations=tuple(decision.adaptations),
    )


def embeddings_of(response: embeddings_pb2.EmbedTextsResponse) -> answers.Embeddings:
    """Return the vectors of texts, and who made them."""
    return answers.Embeddings(
        vectors=tuple(tuple(embedding.values) for embedding in response.embeddings),
        model=response.model,
        usage=usage_of(response),
        decision=decision_of(response.decision),
        failed_attempts=tuple(map(attempt_of, response.failed_attempts)),
    )


def execution_of(execution: executions_pb2.Execution) -> answers.Execution:
    """Return an execution, as a list shows it."""
    is_background = execution.priority == executions_pb2.PRIORITY_BACKGROUND
    return answers.Execution(
        request_id=execution.request_id,
        session_id=execution.session_id or None,
        state=name_of(executions_pb2.ExecutionState.DESCRIPTOR, execution.state),
        model_id=execution.model or None,
        created_at=moment_of(execution.create_time),
        ended_at=moment_of(execution.end_time) if execution.HasField("end_time") else None,
        delta_bytes=execution.delta_bytes,
        attached_streams=execution.attached_streams,
        place=execution.place or None,
        waits_for=execution.waits_for_model or None,
        priority="background" if is_background else "interactive",
        client=execution.client or None,
        error_reason=execution.error_reason or None,
        prompt_excerpt=execution.prompt_excerpt,
    )


def _reading(reading: routing_pb2.Reading) -> answers.Reading:
    return answers.Reading(reading.name, reading.value, reading.threshold, seconds_of(reading.age))


def _candidate(verdict: routing_pb2.CandidateVerdict) -> answers.Candidate:
    return answers.Candidate(
        verdict.model,
        name_of(routing_pb2.Location.DESCRIPTOR, verdict.location),
        verdict.rank,
        verdict.rule,
        verdict.reason,
        tuple(map(_reading, verdict.readings)),
    )


def _context(report: executions_pb2.ContextReport) -> answers.ContextReport:
    return answers.ContextReport(
        report.sent_messages,
        report.sent_tokens,
        report.omitted_messages,
        report.omitted_tokens,
        report.excluded_messages,
        tuple(map(_excluded_message, report.excluded)),
        report.is_counted,
    )


def _excluded_message(message: executions_pb2.ExcludedMessage) -> answers.ExcludedMessage:
    mark = message.exclusion
    return answers.ExcludedMessage(message.message_id, message.sequence, mark.reason, mark.detail)


def _delta(delta: executions_pb2.ExecutionDelta) -> events.Delta:
    if delta.kind == executions_pb2.DELTA_KIND_TEXT:
        return events.Delta(delta.text, "text", delta.offset)
    call = delta.tool_call
    return events.Delta(delta.text, _KINDS.get(delta.kind, "text"), delta.offset, call.call_id, call.name)
