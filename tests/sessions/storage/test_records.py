"""Records on disk: everything that the contract holds comes back from them."""

from __future__ import annotations

import itertools

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from oblix.v1 import messages_pb2, routing_pb2

from oblixd.sessions.storage import keys
from oblixd.sessions.storage.records import join_parts, message_from, message_record
from oblixd.store.v1 import records_pb2 as records

TEXT = st.text(max_size=20)
INTEGERS = st.integers(-(2**31), 2**31 - 1)
WHEN = st.builds(
    lambda us: Timestamp(seconds=us // 10**6, nanos=us % 10**6 * 1000),
    st.integers(-62_135_596_800 * 10**6, 253_402_300_800 * 10**6 - 1),
)


def _duration(us: int) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(us)
    return duration


DURATIONS = st.builds(_duration, st.integers(-(10**12), 10**12))
PARTS = st.one_of(
    st.builds(messages_pb2.Part, text=TEXT),
    st.builds(messages_pb2.Part, reasoning=TEXT),
    st.builds(
        messages_pb2.Part,
        image=st.builds(messages_pb2.ImagePart, media_type=TEXT, data=st.binary(max_size=9)),
    ),
    st.builds(
        messages_pb2.Part,
        tool_call=st.builds(messages_pb2.ToolCallPart, call_id=TEXT, name=TEXT, arguments_json=TEXT),
    ),
    st.builds(
        messages_pb2.Part,
        tool_result=st.builds(
            messages_pb2.ToolResultPart, call_id=TEXT, content=TEXT, is_error=st.booleans()
        ),
    ),
)
MAYBE_DURATION = st.none() | DURATIONS
READINGS = st.builds(
    routing_pb2.Reading,
    name=TEXT,
    value=st.floats(allow_nan=False),
    threshold=st.floats(0, 9),
    age=MAYBE_DURATION,
)
VERDICTS = st.builds(
    routing_pb2.CandidateVerdict,
    model=TEXT,
    handle=TEXT,
    location=st.sampled_from(routing_pb2.Location.values()),
    rank=INTEGERS,
    rule=TEXT,
    reason=TEXT,
    readings=st.lists(READINGS, max_size=2),
)
DECISIONS = st.builds(
    routing_pb2.RoutingDecision,
    model=TEXT,
    rule=TEXT,
    reason=TEXT,
    resource_state=st.sampled_from(routing_pb2.ResourceState.values()),
    resource_target=TEXT,
    connectivity_state=st.sampled_from(routing_pb2.ConnectivityState.values()),
    connectivity_target=TEXT,
    readings=st.lists(READINGS, max_size=2),
    candidates=st.lists(VERDICTS, max_size=2),
    policy=TEXT,
    policy_source=TEXT,
    adaptations=st.lists(TEXT, max_size=2),
)
TIMINGS = st.builds(
    messages_pb2.Timings,
    queued=MAYBE_DURATION,
    time_to_first_token=MAYBE_DURATION,
    total=MAYBE_DURATION,
    tokens_per_second=st.floats(0, 9),
)
USAGES = st.builds(
    messages_pb2.Usage,
    input_tokens=INTEGERS,
    output_tokens=INTEGERS,
    cost=st.none() | st.floats(0, 9),
    cache_read_tokens=st.none() | INTEGERS,
    cache_write_tokens=st.none() | INTEGERS,
    reasoning_tokens=st.none() | INTEGERS,
)
STATES = st.builds(messages_pb2.ProviderState, author=TEXT, json=TEXT)
EXCLUSIONS = st.builds(messages_pb2.ContextExclusion, reason=TEXT, detail=TEXT, mark_time=WHEN)
IDS = st.uuids().map(str) | st.text(max_size=40)
MESSAGES = st.builds(
    messages_pb2.Message,
    id=IDS,
    sequence=st.integers(1, 2**62),
    role=st.sampled_from(messages_pb2.Role.values()),
    parts=st.lists(PARTS, max_size=4),
    create_time=WHEN,
    status=st.sampled_from(messages_pb2.MessageStatus.values()),
    model=TEXT,
    usage=st.none() | USAGES,
    timings=st.none() | TIMINGS,
    request_id=IDS,
    decision=st.none() | DECISIONS,
    source_session_id=IDS,
    exclusion=st.none() | EXCLUSIONS,
    client_data=st.binary(max_size=9),
    version=st.integers(0, 9),
    provider_state=st.none() | STATES,
)


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_a_message_comes_back_from_its_record(message: messages_pb2.Message) -> None:
    payload = message_record(message).SerializeToString()
    assert message_from(records.MessageRecord.FromString(payload), message.sequence) == message


def test_a_decision_comes_back_from_a_record_that_was_written_before_it_lay_there_as_told() -> None:
    readings = [records.ReadingRecord(name="cpu_percent", value=97.0, threshold=90.0, age_us=1_500_000)]
    older = records.DecisionRecord(
        model="ollama:llama2",
        rule="MACHINE_BUSY",
        resource_state=3,
        readings=readings,
        candidates=[records.VerdictRecord(model="ollama:llama2", rank=1, location=1, readings=readings)],
        policy="balanced",
    )
    decision = message_from(records.MessageRecord(decision=older), 1).decision
    reading = routing_pb2.Reading(name="cpu_percent", value=97.0, threshold=90.0, age=_duration(1_500_000))
    assert decision == routing_pb2.RoutingDecision(
        model="ollama:llama2",
        rule="MACHINE_BUSY",
        resource_state=routing_pb2.RESOURCE_STATE_CRITICAL,
        readings=[reading],
        candidates=[
            routing_pb2.CandidateVerdict(
                model="ollama:llama2", rank=1, location=routing_pb2.LOCATION_LOCAL, readings=[reading]
            )
        ],
        policy="balanced",
    )


def test_the_round_trip_test_sets_every_field() -> None:
    """A field that is added to the contract must be added to the records, too."""
    covered = {
        messages_pb2.Message: 16,
        messages_pb2.ProviderState: 2,
        messages_pb2.ContextExclusion: 3,
        messages_pb2.Part: 5,
        messages_pb2.ImagePart: 2,
        messages_pb2.ToolCallPart: 3,
        messages_pb2.ToolResultPart: 3,
        messages_pb2.Usage: 6,
        messages_pb2.Timings: 4,
        routing_pb2.RoutingDecision: 12,
        routing_pb2.Reading: 4,
        routing_pb2.CandidateVerdict: 7,
    }
    assert {kind: len(kind.DESCRIPTOR.fields) for kind in covered} == covered


@pytest.mark.parametrize(
    ("wire", "disk", "prefix"),
    [
        (messages_pb2.Role, records.RoleRecord, "ROLE_"),
        (messages_pb2.MessageStatus, records.StatusRecord, "MESSAGE_STATUS_"),
    ],
)
def test_numbers_on_disk_mean_what_they_mean_in_the_contract(
    wire: AnyMessage, disk: AnyMessage, prefix: str
) -> None:
    ours = {name.removeprefix(prefix): number for name, number in wire.items()}
    kept = {name.split("_RECORD_")[1]: number for name, number in disk.items()}
    assert ours == kept


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(records.PartRecord, text=TEXT) | st.builds(records.PartRecord, reasoning=TEXT)))
def test_joining_loses_no_text_and_leaves_no_neighbours_alike(parts: list[records.PartRecord]) -> None:
    result = join_parts(parts)
    for kind in ("text", "reasoning"):
        assert "".join(getattr(part, kind) for part in result) == "".join(
            getattr(part, kind) for part in parts
        )
    kinds = [part.WhichOneof("kind") for part in result]
    assert all(one != other for one, other in itertools.pairwise(kinds))


def _texts(parts: list[records.PartRecord]) -> tuple[str, str]:
    return "".join(part.text for part in parts), "".join(part.reasoning for part in parts)


@given(IDS)
def test_an_id_comes_back_as_it_was_written(text: str) -> None:
    assert keys.unpack(keys.pack(text)) == text


def test_a_uuid_is_kept_in_17_bytes() -> None:
    assert len(keys.pack(keys.new_id())) == 17


def test_new_ids_are_different_and_in_order_of_time() -> None:
    made = [keys.new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert sorted(text[:13] for text in made) == [text[:13] for text in made]


def test_a_claimed_id_is_not_given_twice() -> None:
    unique = keys.UniqueIds()
    first, again, empty = unique.claim(b"tmine"), unique.claim(b"tmine"), unique.claim(b"")
    assert first == b"tmine"
    assert len({first, again, empty, b""}) == 4
