"""Records on disk: everything that the contract holds comes back from them."""

from __future__ import annotations

import itertools

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from oblix.v1 import messages_pb2 as pb
from oblix.v1 import routing_pb2

from oblixd.sessions import ids
from oblixd.sessions.records import joined, message_from, message_record
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
    st.builds(pb.Part, text=TEXT),
    st.builds(pb.Part, reasoning=TEXT),
    st.builds(pb.Part, image=st.builds(pb.ImagePart, media_type=TEXT, data=st.binary(max_size=9))),
    st.builds(pb.Part, tool_call=st.builds(pb.ToolCallPart, call_id=TEXT, name=TEXT, arguments_json=TEXT)),
    st.builds(
        pb.Part, tool_result=st.builds(pb.ToolResultPart, call_id=TEXT, content=TEXT, is_error=st.booleans())
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
)
TIMINGS = st.builds(
    pb.Timings,
    queued=MAYBE_DURATION,
    time_to_first_token=MAYBE_DURATION,
    total=MAYBE_DURATION,
    tokens_per_second=st.floats(0, 9),
)
USAGES = st.builds(
    pb.Usage,
    input_tokens=INTEGERS,
    output_tokens=INTEGERS,
    cost=st.none() | st.floats(0, 9),
    cache_read_tokens=st.none() | INTEGERS,
    cache_write_tokens=st.none() | INTEGERS,
    reasoning_tokens=st.none() | INTEGERS,
)
STATES = st.builds(pb.ProviderState, author=TEXT, json=TEXT)
EXCLUSIONS = st.builds(pb.ContextExclusion, reason=TEXT, detail=TEXT, mark_time=WHEN)
IDS = st.uuids().map(str) | st.text(max_size=40)
MESSAGES = st.builds(
    pb.Message,
    id=IDS,
    sequence=st.integers(1, 2**62),
    role=st.sampled_from(pb.Role.values()),
    parts=st.lists(PARTS, max_size=4),
    create_time=WHEN,
    status=st.sampled_from(pb.MessageStatus.values()),
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
def test_a_message_comes_back_from_its_record(message: pb.Message) -> None:
    payload = message_record(message).SerializeToString()
    assert message_from(records.MessageRecord.FromString(payload), message.sequence) == message


def test_the_round_trip_test_sets_every_field() -> None:
    """A field that is added to the contract must be added to the records, too."""
    covered = {
        pb.Message: 16,
        pb.ProviderState: 2,
        pb.ContextExclusion: 3,
        pb.Part: 5,
        pb.ImagePart: 2,
        pb.ToolCallPart: 3,
        pb.ToolResultPart: 3,
        pb.Usage: 6,
        pb.Timings: 4,
        routing_pb2.RoutingDecision: 11,
        routing_pb2.Reading: 4,
        routing_pb2.CandidateVerdict: 7,
    }
    assert {kind: len(kind.DESCRIPTOR.fields) for kind in covered} == covered


@pytest.mark.parametrize(
    ("wire", "disk", "prefix"),
    [(pb.Role, records.RoleRecord, "ROLE_"), (pb.MessageStatus, records.StatusRecord, "MESSAGE_STATUS_")],
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
    result = joined(parts)
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
    assert ids.unpack(ids.pack(text)) == text


def test_a_uuid_is_kept_in_17_bytes() -> None:
    assert len(ids.pack(ids.new_id())) == 17


def test_new_ids_are_different_and_in_order_of_time() -> None:
    made = [ids.new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert sorted(text[:13] for text in made) == [text[:13] for text in made]


def test_a_claimed_id_is_not_given_twice() -> None:
    unique = ids.UniqueIds()
    first, again, empty = unique.claim(b"tmine"), unique.claim(b"tmine"), unique.claim(b"")
    assert first == b"tmine"
    assert len({first, again, empty, b""}) == 4
