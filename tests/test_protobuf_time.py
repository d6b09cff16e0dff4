"""Times as the contract has them, held against protobuf's own way to write them."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from oblixd.protobuf_time import duration, seconds_of, timestamp

SECONDS = st.floats(-1e9, 1e9, allow_nan=False)


@given(SECONDS)
def test_a_duration_is_what_protobuf_makes_of_it(seconds: float) -> None:
    expected = Duration()
    expected.FromMicroseconds(round(seconds * 1e6))
    assert duration(seconds) == expected
    assert abs(seconds_of(expected) - seconds) <= 1e-6


@given(SECONDS)
def test_an_instant_is_what_protobuf_makes_of_it(seconds: float) -> None:
    expected = Timestamp()
    expected.FromMicroseconds(round(seconds * 1e6))
    assert timestamp(seconds) == expected
