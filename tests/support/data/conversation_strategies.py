"""Conversations as hypothesis makes them, and as other programs write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st
from oblix._convert.values import to_struct
from oblix.v1 import messages_pb2, sessions_pb2

SECONDS = {"min_value": -62_135_596_800, "max_value": 253_402_300_799}
TRICKS = ["\0", "\x1b[2J", "\u202eabc", "שלום", "\u2028", "\x85", "\r\n", '"}]', "```", "👩\u200d👧"]
"""What texts may hold and programs trip over."""

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.lists(st.sampled_from(TRICKS), max_size=5).map("".join),
    st.just("long " * 2000),
)
short = texts.map(lambda text: text[:1024])
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
times = st.builds(
    Timestamp, seconds=st.integers(**SECONDS), nanos=st.integers(0, 999_999).map(lambda us: us * 1000)
).filter(lambda time: time.ByteSize() > 0)  # what is set and empty is told as a note
# Minus zero comes back as zero: whole numbers are `int` in Python.
numbers = st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15).map(lambda number: number + 0.0)
plain = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
labels = st.dictionaries(names, plain, max_size=3).map(lambda value: to_struct(value, "labels"))
images = st.builds(messages_pb2.ImagePart, media_type=names, data=st.binary(max_size=20))
calls = st.builds(messages_pb2.ToolCallPart, call_id=texts, name=names, arguments_json=texts)
results = st.builds(messages_pb2.ToolResultPart, call_id=texts, content=texts, is_error=st.booleans())
parts = st.one_of(
    st.builds(messages_pb2.Part, text=texts),
    st.builds(messages_pb2.Part, reasoning=texts),
    st.builds(messages_pb2.Part, image=images),
    st.builds(messages_pb2.Part, tool_call=calls),
    st.builds(messages_pb2.Part, tool_result=results),
)
messages = st.builds(
    messages_pb2.Message,
    id=st.text("abc-123", max_size=8),
    role=st.sampled_from(
        [
            messages_pb2.ROLE_SYSTEM,
            messages_pb2.ROLE_USER,
            messages_pb2.ROLE_ASSISTANT,
            messages_pb2.ROLE_TOOL,
        ]
    ),
    parts=st.lists(parts, max_size=4),
    create_time=times,
    status=st.sampled_from(
        sorted(set(messages_pb2.MessageStatus.values()) - {0, messages_pb2.MESSAGE_STATUS_STREAMING})
    ),
    model=short,
    usage=st.none()
    | st.builds(
        messages_pb2.Usage,
        input_tokens=st.integers(0, 2**50),
        output_tokens=st.integers(0, 2**50),
        cache_read_tokens=st.none() | st.integers(0, 2**50),
        reasoning_tokens=st.none() | st.integers(0, 2**50),
    ),
    provider_state=st.none()
    | st.builds(
        messages_pb2.ProviderState, author=st.just("custom:m at http://x:1"), json=st.just('{"a":1}')
    ),
    request_id=st.text("abc-123", max_size=8),
)
sessions = st.builds(
    sessions_pb2.Session,
    id=st.text("abc-._123", min_size=1, max_size=20),
    title=short,
    create_time=times,
    update_time=times,
    metadata=labels,
    context=labels,
    local_only=st.booleans(),
    archived=st.booleans(),
)
conversations = st.tuples(sessions, st.lists(messages, max_size=5))


def node(name: str, parent: str | None, role: str = "user", text: str = "", **more: Any) -> dict[str, Any]:
    """A node of ChatGPT's tree. `more` goes into its message."""
    content = {"content_type": "text", "parts": [text]}
    message = {"id": name, "author": {"role": role}, "create_time": 1.5, "content": content, "metadata": {}}
    return {"id": name, "parent": parent, "children": [], "message": message | more}


def chatgpt(nodes: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A conversation of ChatGPT; the last node is the one that was read last."""
    tree = {each["id"]: each for each in nodes}
    return {
        "title": "A chat",
        "conversation_id": "chat-1",
        "create_time": 1_700_000_000.123456,
        "update_time": 1_700_000_100,
        "current_node": nodes[-1]["id"],
        "mapping": tree,
    } | more


def openwebui(nodes: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A chat of Open WebUI; the last node is the one that was read last."""
    history = {"messages": {each["id"]: each for each in nodes}, "currentId": nodes[-1]["id"]}
    return {
        "id": "webui-1",
        "title": "A chat",
        "created_at": 1_700_000_000,
        "updated_at": 1_700_000_100,
        "chat": {"title": "A chat", "history": history},
    } | more


def lines(*values: object) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def spoil(value: Any, data: st.DataObject) -> Any:
    """A copy in which something, somewhere, is something else."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 5)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = data.draw(st.sampled_from(keys))
        copy = value.copy()
        copy[key] = spoil(value[key], data)
        return copy
    return data.draw(JSON)
