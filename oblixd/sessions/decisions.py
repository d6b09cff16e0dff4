"""Routing decisions of the contract to records on disk, and back."""

from __future__ import annotations

from oblix.v1 import routing_pb2 as pb

from oblixd.sessions.times import duration, duration_us
from oblixd.store.v1 import records_pb2 as records


def decision_record(decision: pb.RoutingDecision) -> records.DecisionRecord:
    """The record of a decision."""
    return records.DecisionRecord(
        model=decision.model,
        rule=decision.rule,
        reason=decision.reason,
        resource_state=decision.resource_state,
        resource_target=decision.resource_target,
        connectivity_state=decision.connectivity_state,
        connectivity_target=decision.connectivity_target,
        readings=[_reading_record(reading) for reading in decision.readings],
        candidates=[_verdict_record(verdict) for verdict in decision.candidates],
        policy=decision.policy,
        policy_source=decision.policy_source,
    )


def decision_from(record: records.DecisionRecord) -> pb.RoutingDecision:
    """The decision that a record holds."""
    return pb.RoutingDecision(
        model=record.model,
        rule=record.rule,
        reason=record.reason,
        resource_state=pb.ResourceState.ValueType(record.resource_state),
        resource_target=record.resource_target,
        connectivity_state=pb.ConnectivityState.ValueType(record.connectivity_state),
        connectivity_target=record.connectivity_target,
        readings=[_reading_from(reading) for reading in record.readings],
        candidates=[_verdict_from(verdict) for verdict in record.candidates],
        policy=record.policy,
        policy_source=record.policy_source,
    )


def _reading_record(reading: pb.Reading) -> records.ReadingRecord:
    return records.ReadingRecord(
        name=reading.name,
        value=reading.value,
        threshold=reading.threshold,
        age_us=duration_us(reading.age) if reading.HasField("age") else None,
    )


def _reading_from(record: records.ReadingRecord) -> pb.Reading:
    return pb.Reading(
        name=record.name,
        value=record.value,
        threshold=record.threshold,
        age=duration(record.age_us) if record.HasField("age_us") else None,
    )


def _verdict_record(verdict: pb.CandidateVerdict) -> records.VerdictRecord:
    return records.VerdictRecord(
        model=verdict.model,
        handle=verdict.handle,
        location=verdict.location,
        rank=verdict.rank,
        rule=verdict.rule,
        reason=verdict.reason,
        readings=[_reading_record(reading) for reading in verdict.readings],
    )


def _verdict_from(record: records.VerdictRecord) -> pb.CandidateVerdict:
    return pb.CandidateVerdict(
        model=record.model,
        handle=record.handle,
        location=pb.Location.ValueType(record.location),
        rank=record.rank,
        rule=record.rule,
        reason=record.reason,
        readings=[_reading_from(reading) for reading in record.readings],
    )
