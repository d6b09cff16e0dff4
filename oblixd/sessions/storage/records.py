"""Messages of the contract to records on disk, and back.

A routing decision lies on disk in the bytes that it was told in; older records have one of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from oblix.v1 import messages_pb2, routing_pb2

from oblixd.sessions.storage.keys import duration, duration_us, pack, timestamp, timestamp_us, unpack
from oblixd.store.v1 import records_pb2 as records


def _older_decision(record: records.DecisionRecord) -> routing_pb2.RoutingDecision:
    """Return the decision of a record that was written before decisions were kept as they are told."""
    return routing_pb2.RoutingDecision(
        model=record.model,
        rule=record.rule,
        reason=record.reason,
        resource_state=routing_pb2.ResourceState.ValueType(record.resource_state),
        resource_target=record.resource_target,
        connectivity_state=routing_pb2.ConnectivityState.ValueType(record.connectivity_state),
        connectivity_target=record.connectivity_target,
        readings=[_reading_from(reading) for reading in record.readings],
        candidates=[_verdict_from(verdict) for verdict in record.candidates],
        policy=record.policy,
        policy_source=record.policy_source,
        adaptations=record.adaptations,
    )


def _reading_from(record: records.ReadingRecord) -> routing_pb2.Reading:
    return routing_pb2.Reading(
        name=record.name,
        value=record.value,
        threshold=record.threshold,
        age=duration(record.age_us) if record.HasField("age_us") else None,
    )


def _verdict_from(record: records.VerdictRecord) -> routing_pb2.CandidateVerdict:
    return routing_pb2.CandidateVerdict(
        model=record.model,
        handle=record.handle,
        location=routing_pb2.Location.ValueType(record.location),
        rank=record.rank,
        rule=record.rule,
        reason=record.reason,
        readings=[_reading_from(reading) for reading in record.readings],
    )


Role = records.RoleRecord.ValueType
Status = records.StatusRecord.ValueType


def message_record(message: messages_pb2.Message) -> records.MessageRecord:
    """Return the record of a message; its sequence is not in it. Roles and statuses have the same numbers."""
    record = records.MessageRecord(
        id=pack(message.id),
        role=records.RoleRecord.ValueType(message.role),
        parts=part_records(message.parts),
        create_us=timestamp_us(message.create_time),
        status=records.StatusRecord.ValueType(message.status),
        model=message.model,
        request_id=pack(message.request_id),
        source_session_id=pack(message.source_session_id),
        client_data=message.client_data,
        version=message.version,
    )
    if message.HasField("usage"):
        _copy_usage(message.usage, record.usage)
    if message.HasField("timings"):
        record.timings.CopyFrom(_timings_record(message.timings))
    if message.HasField("decision"):
        record.routing = message.decision.SerializeToString()
    if message.HasField("exclusion"):
        record.exclusion.CopyFrom(exclusion_record(message.exclusion))
    if message.HasField("provider_state"):
        state = message.provider_state
        record.provider_state.CopyFrom(records.ProviderStateRecord(author=state.author, json=state.json))
    return record


def message_from(record: records.MessageRecord, sequence: int) -> messages_pb2.Message:
    """Return the message that a record holds."""
    message = messages_pb2.Message(
        id=unpack(record.id),
        sequence=sequence,
        role=messages_pb2.Role.ValueType(record.role),
        parts=[part_from(part) for part in record.parts],
        create_time=timestamp(record.create_us),
        status=messages_pb2.MessageStatus.ValueType(record.status),
        model=record.model,
        request_id=unpack(record.request_id),
        source_session_id=unpack(record.source_session_id),
        client_data=record.client_data,
        version=record.version,
    )
    if record.HasField("usage"):
        _copy_usage(record.usage, message.usage)
    if record.HasField("timings"):
        message.timings.CopyFrom(_timings_from(record.timings))
    if record.HasField("routing"):
        message.decision.MergeFromString(record.routing)
    elif record.HasField("decision"):
        message.decision.CopyFrom(_older_decision(record.decision))
    if record.HasField("exclusion"):
        message.exclusion.CopyFrom(_exclusion_from(record.exclusion))
    if record.HasField("provider_state"):
        state = record.provider_state
        message.provider_state.CopyFrom(messages_pb2.ProviderState(author=state.author, json=state.json))
    return message


def context_message(record: records.MessageRecord, sequence: int) -> messages_pb2.Message:
    """Return what a model gets to read of the message that a record holds, and what it is told by.

    Times, usage, decision and the program's own data are left out: a long history costs what they cost.
    """
    message = messages_pb2.Message(
        id=unpack(record.id),
        sequence=sequence,
        role=messages_pb2.Role.ValueType(record.role),
        parts=[part_from(part) for part in record.parts],
        model=record.model,
    )
    if record.HasField("exclusion"):
        message.exclusion.CopyFrom(_exclusion_from(record.exclusion))
    if record.HasField("provider_state"):
        state = record.provider_state
        message.provider_state.CopyFrom(messages_pb2.ProviderState(author=state.author, json=state.json))
    return message


_UsageT = messages_pb2.Usage | records.UsageRecord


def _copy_usage(source: _UsageT, target: _UsageT) -> None:
    """Both have the same fields. What is not set stays so: it is not known."""
    target.SetInParent()
    for field, value in source.ListFields():
        setattr(target, field.name, value)


def part_records(parts: Iterable[messages_pb2.Part]) -> list[records.PartRecord]:
    """Return the records of a message's parts."""
    return [_part_record(part) for part in parts]


def join_parts(parts: Iterable[records.PartRecord]) -> list[records.PartRecord]:
    """Parts in which neighbours are joined where both are text, or both reasoning."""
    result: list[records.PartRecord] = []
    texts: list[str] = []
    kind = ""
    for part in parts:
        now = part.WhichOneof("kind") or ""
        if now != kind:
            _close_run(result, kind, texts)
        kind = now
        if now in {"text", "reasoning"}:
            texts.append(getattr(part, now))
        else:
            result.append(part)
    _close_run(result, kind, texts)
    return result


def _close_run(result: list[records.PartRecord], kind: str, texts: list[str]) -> None:
    if not texts:
        return
    text = "".join(texts)
    result.append(records.PartRecord(text=text) if kind == "text" else records.PartRecord(reasoning=text))
    texts.clear()


def _part_record(part: messages_pb2.Part) -> records.PartRecord:
    match part.WhichOneof("kind"):
        case "text":
            return records.PartRecord(text=part.text)
        case "reasoning":
            return records.PartRecord(reasoning=part.reasoning)
        case "image":
            image = part.image
            return records.PartRecord(image=records.ImageRecord(media_type=image.media_type, data=image.data))
        case "tool_call":
            call = part.tool_call
            return records.PartRecord(
                tool_call=records.ToolCallRecord(
                    call_id=call.call_id, name=call.name, arguments_json=call.arguments_json
                )
            )
        case "tool_result":
            told = part.tool_result
            return records.PartRecord(
                tool_result=records.ToolResultRecord(
                    call_id=told.call_id, content=told.content, is_error=told.is_error
                )
            )
        case _:
            return records.PartRecord()


def part_from(record: records.PartRecord) -> messages_pb2.Part:
    """Return the part that a record holds."""
    match record.WhichOneof("kind"):
        case "text":
            return messages_pb2.Part(text=record.text)
        case "reasoning":
            return messages_pb2.Part(reasoning=record.reasoning)
        case "image":
            image = record.image
            return messages_pb2.Part(
                image=messages_pb2.ImagePart(media_type=image.media_type, data=image.data)
            )
        case "tool_call":
            call = record.tool_call
            return messages_pb2.Part(
                tool_call=messages_pb2.ToolCallPart(
                    call_id=call.call_id, name=call.name, arguments_json=call.arguments_json
                )
            )
        case "tool_result":
            told = record.tool_result
            return messages_pb2.Part(
                tool_result=messages_pb2.ToolResultPart(
                    call_id=told.call_id, content=told.content, is_error=told.is_error
                )
            )
        case _:
            return messages_pb2.Part()


def exclusion_record(exclusion: messages_pb2.ContextExclusion) -> records.ExclusionRecord:
    """Return the record of a mark."""
    return records.ExclusionRecord(
        reason=exclusion.reason, detail=exclusion.detail, marked_us=timestamp_us(exclusion.mark_time)
    )


def _exclusion_from(record: records.ExclusionRecord) -> messages_pb2.ContextExclusion:
    return messages_pb2.ContextExclusion(
        reason=record.reason, detail=record.detail, mark_time=timestamp(record.marked_us)
    )


def _timings_record(timings: messages_pb2.Timings) -> records.TimingsRecord:
    record = records.TimingsRecord(tokens_per_second=timings.tokens_per_second)
    if timings.HasField("queued"):
        record.queued_us = duration_us(timings.queued)
    if timings.HasField("time_to_first_token"):
        record.time_to_first_token_us = duration_us(timings.time_to_first_token)
    if timings.HasField("total"):
        record.total_us = duration_us(timings.total)
    return record


def _timings_from(record: records.TimingsRecord) -> messages_pb2.Timings:
    timings = messages_pb2.Timings(tokens_per_second=record.tokens_per_second)
    if record.HasField("queued_us"):
        timings.queued.CopyFrom(duration(record.queued_us))
    if record.HasField("time_to_first_token_us"):
        timings.time_to_first_token.CopyFrom(duration(record.time_to_first_token_us))
    if record.HasField("total_us"):
        timings.total.CopyFrom(duration(record.total_us))
    return timings
