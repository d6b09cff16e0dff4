"""The daemon's limits on sessions and messages: what is beyond them is divided or left out, with a note."""

from __future__ import annotations

from collections.abc import Iterator

from oblix.formats.conversations import Conversation, clean
from oblix.limits import MAX_ID_CHARACTERS, MAX_MESSAGE_BYTES, MAX_PARTS, MAX_TITLE_CHARACTERS
from oblix.v1 import messages_pb2

_ROOM = MAX_MESSAGE_BYTES - 4096
"""For the parts of one message. Their own framing counts, too."""
MAX_MODEL = 1024

DIVIDED = "messages divided, since one has at most 256 parts and 8 MiB"


def fit(conversation: Conversation) -> None:
    """Bring a conversation within the daemon's limits."""
    session = conversation.session
    if len(session.title) > MAX_TITLE_CHARACTERS:
        session.title = session.title[: MAX_TITLE_CHARACTERS - 1] + "…"
        conversation.note("titles cut to 1,024 characters")
    messages = [each for message in conversation.messages for each in _fit(message, conversation)]
    conversation.messages[:] = messages


def _fit(message: messages_pb2.Message, conversation: Conversation) -> Iterator[messages_pb2.Message]:
    message.model = message.model[:MAX_MODEL]
    message.id = message.id[:MAX_ID_CHARACTERS]
    if len(message.parts) <= MAX_PARTS and message.ByteSize() <= _ROOM:
        yield message
        return
    parts = [piece for part in message.parts for piece in _pieces(part, conversation)]
    for index, group in enumerate(_groups(_join_texts(parts))):
        more = messages_pb2.Message()
        more.CopyFrom(message)
        del more.parts[:]
        more.parts.extend(group)
        if index:
            conversation.note(DIVIDED)
            more.id = f"{message.id[: MAX_ID_CHARACTERS - 6]}-{index + 1}" if message.id else ""
            more.ClearField("usage")
        yield more


def _join_texts(parts: list[messages_pb2.Part]) -> list[messages_pb2.Part]:
    """Return the parts, with neighbours of text as one where there are too many parts."""
    if len(parts) <= MAX_PARTS:
        return parts
    joined: list[messages_pb2.Part] = []
    for part in parts:
        if (
            joined
            and part.HasField("text")
            and joined[-1].HasField("text")
            and joined[-1].ByteSize() < MAX_MESSAGE_BYTES // 8
        ):
            joined[-1] = messages_pb2.Part(text=joined[-1].text + part.text)
        else:
            joined.append(part)
    return joined


def _groups(parts: list[messages_pb2.Part]) -> Iterator[list[messages_pb2.Part]]:
    group: list[messages_pb2.Part] = []
    size = 0
    for part in parts:
        added = part.ByteSize() + 8
        if group and (len(group) == MAX_PARTS or size + added > _ROOM):
            yield group
            group, size = [], 0
        group.append(part)
        size += added
    yield group


def _pieces(part: messages_pb2.Part, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    """Yield a part as ones that fit into a message."""
    if part.ByteSize() + 16 <= _ROOM:
        yield part
        return
    kind = part.WhichOneof("kind")
    if kind == "text":
        yield from (messages_pb2.Part(text=piece) for piece in _cut_text(part.text))
    elif kind == "reasoning":
        yield from (messages_pb2.Part(reasoning=piece) for piece in _cut_text(part.reasoning))
    elif kind == "tool_result":
        for piece in _cut_text(part.tool_result.content):
            result = messages_pb2.ToolResultPart(
                call_id=part.tool_result.call_id, content=piece, is_error=part.tool_result.is_error
            )
            yield messages_pb2.Part(tool_result=result)
    else:
        conversation.note(f"parts of more than 8 MiB left out ({kind})")
        yield messages_pb2.Part(text=f"[{kind} of more than 8 MiB, left out]")


def _cut_text(text: str) -> Iterator[str]:
    step = _ROOM // 4 - 64
    """A character has at most 4 bytes."""
    for start in range(0, len(text), step):
        yield clean(text[start : start + step])
