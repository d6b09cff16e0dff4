"""Filters: which metadata a key and a scalar find."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import all_sessions, struct

from oblixd.errors import InvalidArgumentError
from oblixd.sessions import Sessions
from oblixd.sessions.storage.index import label, labels_of

METADATA = {
    "text": "x",
    "number": 3,
    "zero": 0,
    "flag": True,
    "nothing": None,
    "list": [1],
    "deep": {"er": {"x": 1, "y.z": 2}, "": "empty"},
    "deep.er": {"x": "shadowed"},
    "a.b": "literal",
    "a": {"b": "path"},
    "": "nameless",
    "s": {"t": "hidden"},
    "s.t": {"no": "scalar"},
}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"text": "x"}, True),
        ({"text": "X"}, False),
        ({"number": 3.0}, True),
        ({"number": "3"}, False),
        ({"zero": -0.0}, True),
        ({"flag": True}, True),
        ({"flag": 1}, False),
        ({"zero": False}, False),
        ({"nothing": None}, True),
        ({"missing": None}, False),
        ({"deep.er.x": 1}, True),
        ({"deep.er.y.z": 2}, False),
        ({"deep.": "empty"}, True),
        ({"a.b": "literal"}, True),
        ({"a.b": "path"}, False),
        ({"s.t": "hidden"}, False),
        ({"": "nameless"}, True),
        ({"list": 1}, False),
        ({"text": "x", "flag": True, "deep.er.x": 1}, True),
        ({"text": "x", "flag": False}, False),
    ],
)
async def test_filters_find_the_sessions_that_match(
    sessions: Sessions, wanted: dict[str, Any], found: bool
) -> None:
    await sessions.create(Session(metadata=struct(**METADATA)))
    await sessions.create(Session(metadata=struct(unrelated=1)))
    assert len(all_sessions(sessions, **wanted)) == found


@pytest.mark.parametrize(
    ("wanted", "reason", "field"),
    [
        ({"a": [1]}, "FILTER_NOT_SCALAR", "filter.a"),
        ({"a": {"b": 1}}, "FILTER_NOT_SCALAR", "filter.a"),
        ({"a": float("nan")}, "NOT_JSON", "filter.a"),
        ({f"k{n}": n for n in range(17)}, "TOO_MANY_KEYS", "filter"),
    ],
)
async def test_an_absurd_filter_is_refused(
    sessions: Sessions, wanted: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        sessions.list(page_size=0, page_token="", filter=struct(**wanted))
    assert (caught.value.reason, caught.value.metadata["field"]) == (reason, field)


NAMES = st.sampled_from(["a", "b", "a.b", "", ".", "b.a"])
SCALARS = st.sampled_from([None, True, False, 0, 1, -1.5, "", "a", "1"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner), max_leaves=6
)


def _resolve(metadata: dict[str, Any], key: str) -> tuple[bool, Any]:
    """What a filter's key names, said as the contract says it."""
    if key in metadata:
        return True, metadata[key]
    value: Any = metadata
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            return False, None
        value = value[name]
    return True, value


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(NAMES, VALUES, max_size=5),
    st.sampled_from(["a", "b", "a.b", "b.a", "", ".", "a.b.a", ".a"]),
    SCALARS,
)
def test_labels_agree_with_the_contract(metadata: dict[str, Any], key: str, scalar: Any) -> None:
    there, value = _resolve(metadata, key)
    same = there and type(value) in _kinds(scalar) and value == scalar
    wanted = label(key, struct(key=scalar).fields["key"])
    assert (wanted in labels_of(struct(**metadata))) == same


def _kinds(scalar: Any) -> tuple[type, ...]:
    return (int, float) if type(scalar) in (int, float) else (type(scalar),)
