"""Messages of the contract to records on disk, and back."""

from __future__ import annotations

from collections.abc import Iterable

from oblix.v1 import messages_pb2 as pb

from oblixd.sessions.decisions import decision_from, decision_record
from oblixd.sessions.ids import pack, unpack
from oblixd.sessions.times import duration, duration_us, timestamp, timestamp_us
from oblixd.store.v1 import records_pb2 as records

Role = records.RoleRecord.ValueType
Status = records.StatusRecord.ValueType


def message_record(message: pb.Message) -> records.MessageRecord:
    """The record of a message; its sequence is not in it. Roles and statuses have the same numbers."""
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
        record.decision.CopyFrom(decision_record(message.decision))
    if message.HasField("exclusion"):
        record.exclusion.CopyFrom(exclusion_record(message.exclusion))
    if message.HasField("provider_state"):
        state = message.provider_state
        record.provider_state.CopyFrom(records.ProviderStateRecord(author=state.author, json=state.json))
    return record


def message_from(record: records.MessageRecord, sequence: int) -> pb.Message:
    """The message that a record holds."""
    message = pb.Message(
        id=unpack(record.id),
        sequence=sequence,
        role=pb.Role.ValueType(record.role),
        parts=[part_from(part) for part in record.parts],
        create_time=timestamp(record.create_us),
        status=pb.MessageStatus.ValueType(record.status),
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
    if record.HasField("decision"):
        message.decision.CopyFrom(decision_from(record.decision))
    if record.HasField("exclusion"):
        message.exclusion.CopyFrom(_exclusion_from(record.exclusion))
    if record.HasField("provider_state"):
        state = record.provider_state
        message.provider_state.CopyFrom(pb.ProviderState(author=state.author, json=state.json))
    return message


_UsageT = pb.Usage | records.UsageRecord


def _copy_usage(source: _UsageT, target: _UsageT) -> None:
    """Both have the same fields. What is not set stays so: it is not known."""
    target.SetInParent()
    for field, value in source.ListFields():
        setattr(target, field.name, value)


def part_records(parts: Iterable[pb.Part]) -> list[records.PartRecord]:
    """The records of a message's parts."""
    return [_part_record(part) for part in parts]


def joined(parts: Iterable[records.PartRecord]) -> list[records.PartRecord]:
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


def _part_record(part: pb.Part) -> records.PartRecord:
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


def part_from(record: records.PartRecord) -> pb.Part:
    """The part that a record holds."""
    match record.WhichOneof("kind"):
        case "text":
            return pb.Part(text=record.text)
        case "reasoning":
            return pb.Part(reasoning=record.reasoning)
        case "image":
            image = record.image
            return pb.Part(image=pb.ImagePart(media_type=image.media_type, data=image.data))
        case "tool_call":
            call = record.tool_call
            return pb.Part(
                tool_call=pb.ToolCallPart(
                    call_id=call.call_id, name=call.name, arguments_json=call.arguments_json
                )
            )
        case "tool_result":
            told = record.tool_result
            return pb.Part(
                tool_result=pb.ToolResultPart(
                    call_id=told.call_id, content=told.content, is_error=told.is_error
                )
            )
        case _:
            return pb.Part()


def exclusion_record(exclusion: pb.ContextExclusion) -> records.ExclusionRecord:
    """The record of a mark."""
    return records.ExclusionRecord(
        reason=exclusion.reason, detail=exclusion.detail, marked_us=timestamp_us(exclusion.mark_time)
    )


def _exclusion_from(record: records.ExclusionRecord) -> pb.ContextExclusion:
    return pb.ContextExclusion(
        reason=record.reason, detail=record.detail, mark_time=timestamp(record.marked_us)
    )


def _timings_record(timings: pb.Timings) -> records.TimingsRecord:
    record = records.TimingsRecord(tokens_per_second=timings.tokens_per_second)
    if timings.HasField("queued"):
        record.queued_us = duration_us(timings.queued)
    if timings.HasField("time_to_first_token"):
        record.time_to_first_token_us = duration_us(timings.time_to_first_token)
    if timings.HasField("total"):
        record.total_us = duration_us(timings.total)
    return record


def _timings_from(record: records.TimingsRecord) -> pb.Timings:
    timings = pb.Timings(tokens_per_second=record.tokens_per_second)
    if record.HasField("queued_us"):
        timings.queued.CopyFrom(duration(record.queued_us))
    if record.HasField("time_to_first_token_us"):
        timings.time_to_first_token.CopyFrom(duration(record.time_to_first_token_us))
    if record.HasField("total_us"):
        timings.total.CopyFrom(duration(record.total_us))
    return timings
