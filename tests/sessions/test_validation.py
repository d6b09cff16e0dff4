"""Bad input: refused with the field, the limit and what was given; the store unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import say, struct

from oblixd.errors import InvalidArgumentError
from oblixd.sessions import Sessions


def _nested_dict(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def _list_nested(levels: int) -> dict[str, Any]:
    value: list[Any] = []
    for _ in range(levels - 2):
        value = [value]
    return {"a": value}


GOOD = [
    {},
    {"a": "x\0y"},
    {"a": 2**53, "b": -(2**53), "c": 0.1, "d": None, "e": True, "f": []},
    _nested_dict(16),
    _list_nested(16),
    {f"{n}": n for n in range(256)},
    {"a": "x" * (65536 - len('{"a":""}'))},
    {"a": "é" * ((65536 - len('{"a":""}')) // 2)},
    {"a": ["x"] * 1000, "b": {"c": [1, {"d": False}]}},
]

BAD: list[tuple[dict[str, Any], str, str, str]] = [
    ({"a": float("nan")}, "NOT_JSON", ".a", ""),
    ({"a": {"b": [0, float("-inf")]}}, "NOT_JSON", ".a.b[1]", ""),
    ({"a": 2**53 + 2}, "INTEGER_TOO_LARGE", ".a", str(2**53)),
    ({"a": -1e300}, "INTEGER_TOO_LARGE", ".a", str(2**53)),
    (_nested_dict(17), "TOO_DEEP", "", "16"),
    (_list_nested(17), "TOO_DEEP", "", "16"),
    ({f"{n}": n for n in range(257)}, "TOO_MANY_KEYS", "", "256"),
    (
        {"a": {f"{n}": n for n in range(128)}, "b": {f"{n}": n for n in range(127)}},
        "TOO_MANY_KEYS",
        "",
        "256",
    ),
    ({"a": "x" * (65536 - len('{"a":""}') + 1)}, "TOO_LARGE", "", "65536"),
    ({"a": "\n" * 32768}, "TOO_LARGE", "", "65536"),
    ({"a": [1] * 32768}, "TOO_LARGE", "", "65536"),
]


@pytest.mark.parametrize("content", GOOD)
async def test_metadata_and_context_within_the_limits_are_kept(
    sessions: Sessions, content: dict[str, Any]
) -> None:
    made = await sessions.create(Session(metadata=struct(**content), context=struct(**content)))
    kept = sessions.get(made.id)
    assert kept.metadata == kept.context == struct(**content)


@pytest.mark.parametrize("field", ["metadata", "context"])
@pytest.mark.parametrize("case", BAD)
async def test_metadata_and_context_beyond_the_limits_are_refused(
    sessions: Sessions, case: tuple[dict[str, Any], str, str, str], field: str
) -> None:
    content, reason, path, limit = case
    with pytest.raises(InvalidArgumentError) as caught:
        await sessions.create(Session(**{field: struct(**content)}))
    told = caught.value
    assert (told.reason, told.metadata["field"]) == (reason, f"session.{field}{path}")
    assert told.metadata["limit"] == limit
    assert told.metadata["given"]
    assert told.message.startswith(f"session.{field}")
    assert sessions.count() == 0


@pytest.mark.parametrize("value", [Value(), Value(list_value=ListValue(values=[Value()]))])
async def test_a_value_of_no_kind_is_refused(sessions: Sessions, value: Value) -> None:
    with pytest.raises(InvalidArgumentError, match="null is a value"):
        await sessions.create(Session(metadata=Struct(fields={"a": value})))


def _image(media_type: str) -> messages_pb2.Message:
    return messages_pb2.Message(
        role=messages_pb2.ROLE_USER,
        parts=[messages_pb2.Part(image=messages_pb2.ImagePart(media_type=media_type))],
    )


def _call(name: str) -> messages_pb2.Message:
    return messages_pb2.Message(
        role=messages_pb2.ROLE_ASSISTANT,
        parts=[messages_pb2.Part(tool_call=messages_pb2.ToolCallPart(name=name))],
    )


@pytest.mark.parametrize(
    ("messages", "reason", "field"),
    [
        ([], "INVALID_MESSAGE_COUNT", "messages"),
        ([say("x")] * 1001, "INVALID_MESSAGE_COUNT", "messages"),
        ([say("x"), messages_pb2.Message()], "INVALID_ROLE", "messages[1].role"),
        ([say("x", role=99)], "INVALID_ROLE", "messages[0].role"),
        ([say("x", status=99)], "INVALID_STATUS", "messages[0].status"),
        ([say("x", status=messages_pb2.MESSAGE_STATUS_STREAMING)], "INVALID_STATUS", "messages[0].status"),
        ([say("x", create_time=Timestamp(seconds=2**60))], "INVALID_TIME", "messages[0].create_time"),
        ([say("x", create_time=Timestamp(nanos=10**9))], "INVALID_TIME", "messages[0].create_time"),
        ([say("x", model="m" * 1025)], "MODEL_TOO_LONG", "messages[0].model"),
        ([say("x" * (8 * 2**20))], "MESSAGE_TOO_LARGE", "messages[0].parts"),
        (
            [messages_pb2.Message(role=1, parts=[messages_pb2.Part(text="")] * 257)],
            "TOO_MANY_PARTS",
            "messages[0].parts",
        ),
        ([messages_pb2.Message(role=1, parts=[messages_pb2.Part()])], "EMPTY_PART", "messages[0].parts[0]"),
        ([_image("")], "INVALID_MEDIA_TYPE", "messages[0].parts[0].image.media_type"),
        ([_image("x" * 128)], "INVALID_MEDIA_TYPE", "messages[0].parts[0].image.media_type"),
        ([_call("")], "INVALID_TOOL_NAME", "messages[0].parts[0].tool_call.name"),
        ([_call("x" * 129)], "INVALID_TOOL_NAME", "messages[0].parts[0].tool_call.name"),
    ],
)
async def test_messages_beyond_the_limits_are_refused(
    sessions: Sessions, messages: list[messages_pb2.Message], reason: str, field: str
) -> None:
    made = await sessions.create(Session())
    with pytest.raises(InvalidArgumentError) as caught:
        await sessions.append(made.id, messages)
    assert (caught.value.reason, caught.value.metadata["field"]) == (reason, field)
    assert sessions.get(made.id) == made


async def test_the_largest_messages_are_kept(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    large = say("x" * (8 * 2**20 - 10))
    many = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="")] * 256)
    recorded = await sessions.append(made.id, [large, many])
    assert sessions.messages(made.id, page_size=0, page_token="", newest_first=False)[0] == recorded[:1]


@pytest.mark.parametrize("title", ["x" * 1025, "é" * 2**20])
async def test_a_title_that_is_too_long_is_refused_everywhere(sessions: Sessions, title: str) -> None:
    made = await sessions.create(Session(title="x" * 1024))
    calls = [
        sessions.create(Session(title=title)),
        sessions.update(Session(id=made.id, title=title), ["title"]),
        sessions.copy(made.id, title),
        sessions.merge([made.id], title),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError, match=r"title must be at most 1,024 characters") as caught:
            await call
        assert caught.value.metadata["given"] == str(len(title))
    assert sessions.get(made.id) == made
    assert sessions.count() == 1


async def test_an_error_repeats_the_value_in_short(sessions: Sessions) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        sessions.get("x" * 10**6)
    told = caught.value
    assert len(told.message) + sum(len(value) for value in told.metadata.values()) < 500
