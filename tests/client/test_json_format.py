"""Sessions as JSON text."""

from __future__ import annotations

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from oblix import InvalidArgumentError
from oblix._convert.values import to_struct
from oblix.formats import oblix_json as session_json
from oblix.v1 import messages_pb2, sessions_pb2

TIME = Timestamp(seconds=1_700_000_000, nanos=123_456_000)


def session(**fields: object) -> sessions_pb2.Session:
    return sessions_pb2.Session(
        id="some-id",
        title="A title",
        create_time=TIME,
        update_time=TIME,
        metadata=to_struct({"b": 1, "a": [True]}, "metadata"),
        context=to_struct({"system": "Be brief."}, "context"),
        **fields,
    )


def message(*parts: messages_pb2.Part, **fields: object) -> messages_pb2.Message:
    given = {
        "role": messages_pb2.ROLE_USER,
        "status": messages_pb2.MESSAGE_STATUS_COMPLETE,
        "id": "m1",
    } | fields
    return messages_pb2.Message(parts=parts, create_time=TIME, **given)


def test_a_session_is_written_in_the_documented_shape_with_sorted_keys() -> None:
    text = session_json.dump(session(), [message(messages_pb2.Part(text="Grüße 👋"))])
    document = json.loads(text)
    assert document == {
        "id": "some-id",
        "title": "A title",
        "created_at": "2023-11-14T22:13:20.123456Z",
        "updated_at": "2023-11-14T22:13:20.123456Z",
        "messages": [
            {
                "id": "m1",
                "role": "user",
                "content": "Grüße 👋",
                "timestamp": "2023-11-14T22:13:20.123456Z",
            }
        ],
        "context": {"system": "Be brief."},
        "metadata": {"a": [True], "b": 1},
    }
    assert list(document) == sorted(document)
    assert list(document["metadata"]) == ["a", "b"]
    assert list(document["messages"][0]) == sorted(document["messages"][0])


PARTS = [
    messages_pb2.Part(text="Look:"),
    messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"\x89PNG\x00")),
    messages_pb2.Part(
        tool_call=messages_pb2.ToolCallPart(call_id="c", name="add", arguments_json='{"a": 1}')
    ),
    messages_pb2.Part(tool_result=messages_pb2.ToolResultPart(call_id="c", content="2", is_error=True)),
    messages_pb2.Part(reasoning="Hm."),
    messages_pb2.Part(text=""),
]


def test_everything_that_was_said_comes_back() -> None:
    kept = session(local_only=True, archived=True)
    messages = [
        message(*PARTS),
        message(
            messages_pb2.Part(text="Half an ans"),
            id="m2",
            role=messages_pb2.ROLE_ASSISTANT,
            status=messages_pb2.MESSAGE_STATUS_INTERRUPTED,
            model="ollama:llama2",
            usage=messages_pb2.Usage(input_tokens=5, output_tokens=3),
        ),
        message(id="m3", role=messages_pb2.ROLE_SYSTEM),
    ]
    assert session_json.load(session_json.dump(kept, messages).encode(), "file") == (kept, messages)


OLD = {
    "id": "5f3e9a7b-6c1d-4d8e-9e7a-9b8c7d6e5f4a",
    "created_at": "2024-07-15T14:30:22.123000+00:00",
    "updated_at": "2024-07-15T14:35:46.789000",
    "title": "Chat Session 2024-07-15 14:30",
    "messages": [
        {"id": "1", "role": "user", "content": "Hello", "timestamp": "2024-07-15T14:30:22.123000+00:00"},
        {
            "id": "2",
            "role": "assistant",
            "content": "Hi!",
            "timestamp": "2024-07-15T14:30:25",
            "source_session_id": "x",
        },
    ],
    "context": {},
    "metadata": {"merged": True, "source_sessions": ["a", "b"]},
    "imported_at": "2024-07-16T00:00:00",
}


def test_a_file_of_the_first_oblix_is_read() -> None:
    header, messages = session_json.load(json.dumps(OLD, indent=2).encode(), "old.json")
    assert header.id == OLD["id"]
    assert header.update_time.ToJsonString() == "2024-07-15T14:35:46.789Z"
    assert [(m.role, m.parts[0].text) for m in messages] == [
        (messages_pb2.ROLE_USER, "Hello"),
        (messages_pb2.ROLE_ASSISTANT, "Hi!"),
    ]
    assert messages[1].create_time.ToJsonString() == "2024-07-15T14:30:25Z"


def test_a_file_may_lack_all_but_its_messages() -> None:
    header, messages = session_json.load(b'{"messages": [{"role": "user", "content": "Hi"}]}', "file")
    assert header == sessions_pb2.Session(metadata=to_struct({}, "m"), context=to_struct({}, "c"))
    assert not messages[0].HasField("create_time")


def changed_document(**changes: object) -> bytes:
    return json.dumps(OLD | changes).encode()


def plain_document(**changes: object) -> bytes:
    return changed_document(messages=[OLD["messages"][0], OLD["messages"][0] | changes])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is not JSON"),
        (b"\x00\x01\xff", "it is not JSON"),
        (json.dumps(OLD).encode()[:-20], "it is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"messages": [], "metadata": {"a": NaN}}', "NaN is not a number in JSON"),
        (b"[]", "it is not a session"),
        (b'{"mapping": {}, "title": "of another program"}', "it is not a session"),
        (b'{"messages": "Hello"}', "it is not a session"),
        (changed_document(messages=["Hello"]), "messages[0] takes an object"),
        (changed_document(title=17), "title takes text"),
        (changed_document(created_at="yesterday"), "created_at takes an ISO 8601 time"),
        (changed_document(metadata=[1]), "metadata takes a dict"),
        (changed_document(metadata={"a": 2**60}), "metadata.a takes whole numbers"),
        (changed_document(local_only="yes"), "local_only takes true or false"),
        (plain_document(role="human"), "messages[1].role takes one of system, user, assistant, tool"),
        (plain_document(content=None), "messages[1].content takes text"),
        (plain_document(content="\ud800"), "messages[1].content takes text without lone surrogates"),
        (plain_document(timestamp=12), "messages[1].timestamp takes text"),
        (plain_document(status="done"), "messages[1].status takes one of"),
        (plain_document(parts={}), "messages[1].parts takes a list"),
        (plain_document(parts=[{"video": {}}]), "messages[1].parts[0] takes what Part of oblix.v1 holds"),
        (plain_document(parts=[{"text": "\ud800"}]), "messages[1].parts[0] takes"),
        (plain_document(usage={"input_tokens": "many"}), "messages[1].usage takes what Usage"),
    ],
)
def test_a_broken_or_foreign_file_is_refused_by_name_and_problem(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        session_json.load(data, "chats/one.json")
    assert caught.value.message.startswith("chats/one.json can't be imported: ")
    assert problem in caught.value.message
    assert caught.value.metadata["file"] == "chats/one.json"
    assert problem in caught.value.metadata["problem"]


def test_a_file_that_is_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_json, "MAX_BYTES", 2**20)
    with pytest.raises(InvalidArgumentError, match="more than 1 MiB"):
        session_json.load(b" " * (2**20 + 1), "file")
