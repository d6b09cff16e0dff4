"""Python's values as a Struct, and times as text."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from oblix import InvalidArgumentError
from oblix._convert.records import from_text, to_text
from oblix._convert.values import from_struct, to_struct

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(-(2**53), 2**53, allow_subnormal=True)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=3), max_leaves=8
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_values_come_back_as_they_were(values: dict[str, object]) -> None:
    assert from_struct(Struct.FromString(to_struct(values, "metadata").SerializeToString())) == values


def test_whole_numbers_come_back_as_int_and_others_as_float() -> None:
    back = from_struct(
        to_struct({"whole": 3, "written_as_float": 3.0, "half": 0.5, "most": 2**53}, "metadata")
    )
    assert back == {"whole": 3, "written_as_float": 3, "half": 0.5, "most": 2**53}
    assert {name: type(value) for name, value in back.items()} == {
        "half": float,
        "most": int,
        "whole": int,
        "written_as_float": int,
    }


def test_true_stays_true_and_tuples_become_lists() -> None:
    back = from_struct(to_struct({"flag": True, "pair": (1, None)}, "metadata"))
    assert back["flag"] is True
    assert back["pair"] == [1, None]


def nested_dict(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def circular() -> dict[str, object]:
    value: dict[str, object] = {}
    value["again"] = value
    return value


@pytest.mark.parametrize(
    ("value", "field", "limit", "given", "reason"),
    [
        ("text", "metadata", "a dict", "str 'text'", "INVALID_VALUE"),
        ({"a": {"b": {1, 2}}}, "metadata.a.b", "a list or a dict", "set {1, 2}", "NOT_JSON"),
        ({"a": [1, b"x"]}, "metadata.a[1]", "a list or a dict", "bytes b'x'", "NOT_JSON"),
        ({"a": math.nan}, "metadata.a", "finite", "nan", "NOT_JSON"),
        ({"a": [math.inf]}, "metadata.a[0]", "finite", "inf", "NOT_JSON"),
        ({"a": -math.inf}, "metadata.a", "finite", "-inf", "NOT_JSON"),
        ({"a": 2**53 + 1}, "metadata.a", "2^53", str(2**53 + 1), "INTEGER_TOO_LARGE"),
        ({"a": -(2**53) - 1}, "metadata.a", "2^53", str(-(2**53) - 1), "INTEGER_TOO_LARGE"),
        ({"a": 1e300}, "metadata.a", "2^53", "one of 997 bits", "INTEGER_TOO_LARGE"),
        ({"a": 10**10_000}, "metadata.a", "2^53", "one of 33220 bits", "INTEGER_TOO_LARGE"),
        ({"a": "x\ud800"}, "metadata.a", "lone surrogates", "'\\ud800' at character 1", "NOT_JSON"),
        ({"\udfff": 1}, "a key of metadata", "lone surrogates", "at character 0", "NOT_JSON"),
        ({"a": {1: 2}}, "a key of metadata.a", "text", "int 1", "INVALID_VALUE"),
        (nested_dict(17), "metadata", "16 levels", "more", "TOO_DEEP"),
        (circular(), "metadata", "16 levels", "more", "TOO_DEEP"),
        ({str(n): n for n in range(257)}, "metadata", "256 keys in all", "more", "TOO_MANY_KEYS"),
        ({"a": "x" * 65_536}, "metadata", "65536 bytes of JSON", "65544 bytes", "TOO_LARGE"),
    ],
)
def test_values_that_json_lacks_are_refused_by_name(
    value: object, field: str, limit: str, given: str, reason: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        to_struct(value, "metadata")
    error = caught.value
    assert error.metadata["field"] == field
    assert limit in error.metadata["limit"]
    assert given in error.metadata["given"].encode("ascii", "backslashreplace").decode()
    assert error.reason == reason
    assert field in error.message
    assert error.metadata["limit"] in error.message


@pytest.mark.parametrize(
    "value", [nested_dict(16), {str(n): n for n in range(256)}, {"a": "x" * (65_536 - len('{"a":""}'))}]
)
def test_the_limits_themselves_are_taken(value: dict[str, object]) -> None:
    assert from_struct(to_struct(value, "metadata")) == value


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))
def test_times_come_back_as_they_were(moment: datetime) -> None:
    text = moment.isoformat(timespec="microseconds") + "Z"
    assert to_text(from_text(text, "timestamp")) == text


def test_a_time_is_written_with_six_digits_and_z() -> None:
    assert to_text(Timestamp(seconds=0, nanos=999)) == "1970-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-05T14:00:00+02:00",
        "2024-03-05T12:00:00Z",
        "2024-03-05T12:00:00",
        "2024-03-05 12:00:00.000+00:00",
    ],
)
def test_any_offset_is_read_and_none_means_utc(text: str) -> None:
    expected = datetime(2024, 3, 5, 12, tzinfo=UTC)
    assert from_text(text, "timestamp").ToDatetime(UTC) == expected


@pytest.mark.parametrize("value", ["yesterday", "", 17, None, "0001-01-01T00:00:00+23:59"])
def test_a_malformed_time_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        from_text(value, "messages[3].timestamp")
    assert caught.value.metadata["field"] == "messages[3].timestamp"
    assert json.dumps(caught.value.metadata)
