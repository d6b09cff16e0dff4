"""Markdown for people: a heading, then who said what and when. It is only written, never read."""

from __future__ import annotations

import re

from google.protobuf.timestamp_pb2 import Timestamp

from oblix._convert import records
from oblix._convert.records import ROLES, STATUSES
from oblix._convert.terminal_text import printable
from oblix.v1 import messages_pb2, sessions_pb2

_ROLE_NAMES = {number: name for name, number in ROLES.items()}
_STATUS_NAMES = {number: name for name, number in STATUSES.items()}
_FENCE = re.compile(r"`{3,}")


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as Markdown. Control characters, which no page shows, are left out."""
    blocks = [f"# {_line(session.title) or 'Conversation'}", f"*{_time_span(session)}*"]
    for message in messages:
        blocks += [f"## {_heading(message)}", *(_block(part) for part in message.parts)]
    return printable("\n\n".join(block for block in blocks if block)) + "\n"


def _time_span(session: sessions_pb2.Session) -> str:
    return f"{_moment(session.create_time)} to {_moment(session.update_time)}, session {session.id}"


def _moment(time: Timestamp) -> str:
    return records.to_text(time)[:16].replace("T", " ") + " UTC"


def _heading(message: messages_pb2.Message) -> str:
    said = [_ROLE_NAMES.get(message.role, "somebody").capitalize(), _line(message.model)]
    said.append(_moment(message.create_time))
    if message.status > messages_pb2.MESSAGE_STATUS_COMPLETE:
        said.append(_STATUS_NAMES.get(message.status, ""))
    return ", ".join(one for one in said if one)


def _block(part: messages_pb2.Part) -> str:
    match part.WhichOneof("kind"):
        case "text":
            return part.text.rstrip()
        case "reasoning":
            return "\n".join(f"> {line}" for line in part.reasoning.splitlines())
        case "image":
            return f"*(an image: {_line(part.image.media_type)}, {len(part.image.data):,} bytes)*"
        case "tool_call":
            return f"Calls `{_line(part.tool_call.name)}`:\n\n{_code_block(part.tool_call.arguments_json)}"
        case _:
            said = "Failed:" if part.tool_result.is_error else "Answered:"
            return f"{said}\n\n{_code_block(part.tool_result.content)}"


def _code_block(content: str) -> str:
    """Return a code block that nothing in the content ends."""
    longest = max((len(fence) for fence in _FENCE.findall(content)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{content}\n{fence}"


def _line(content: str) -> str:
    return " ".join(content.split())
