"""A transcript that Claude Code goes on with: `claude --resume ID`. Tried with Claude Code 2.1.197."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from oblix._convert import records as times
from oblix.formats.exports.handover import Step, call_id_of, child_uuid, directory_of, steps, uuid_of
from oblix.v1 import messages_pb2, sessions_pb2

_VERSION = "2.1.197"
_NO_LETTER = re.compile(r"[^a-zA-Z0-9]")


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as a transcript."""
    name, parent, lines = uuid_of(session), None, []
    directory = directory_of(session) or "/"
    for number, (moment, message) in enumerate(_messages(name, messages)):
        uuid = child_uuid(name, number)
        lines.append(
            {
                "parentUuid": parent,
                "isSidechain": False,
                "userType": "external",
                "cwd": directory,
                "sessionId": name,
                "version": _VERSION,
                "gitBranch": "",
                "type": message["role"],
                "message": message,
                "uuid": uuid,
                "timestamp": moment[:23] + "Z",
            }
        )
        parent = uuid
    if session.title:
        lines.append({"type": "custom-title", "customTitle": session.title, "sessionId": name})
    # ASCII alone: some readers of lines end one at U+2028, too.
    return "".join(json.dumps(line) + "\n" for line in lines)


def file_name(session: sessions_pb2.Session) -> str:
    """Return where Claude Code looks for it, below `~/.claude`: it goes by the working directory."""
    folder = _NO_LETTER.sub("-", directory_of(session) or "/")
    return f"projects/{folder}/{uuid_of(session)}.jsonl"


def _messages(name: str, messages: list[messages_pb2.Message]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, step in enumerate(steps(messages)):
        moment = times.to_text(step.message.create_time)
        if step.message.role != messages_pb2.ROLE_ASSISTANT:
            yield moment, {"role": "user", "content": step.text}
        else:
            yield moment, _answer(f"msg_{child_uuid(name, number).replace('-', '')}", step)
            if step.results:
                yield moment, {"role": "user", "content": [_result(result) for result in step.results]}


def _answer(name: str, step: Step) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": step.text}] if step.text else []
    content.extend(
        {"type": "tool_use", "id": call_id_of(call.call_id), "name": call.name, "input": _input(call)}
        for call in step.calls
    )
    return {
        "id": name,
        "type": "message",
        "role": "assistant",
        "model": step.message.model.removeprefix("claude:") or "<synthetic>",
        "content": content,
        "stop_reason": "tool_use" if step.calls else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": step.message.usage.input_tokens,
            "output_tokens": step.message.usage.output_tokens,
        },
    }


def _input(call: messages_pb2.ToolCallPart) -> dict[str, Any]:
    try:
        value = json.loads(call.arguments_json or "{}")
    except (ValueError, RecursionError):
        value = call.arguments_json
    return value if isinstance(value, dict) else {"input": value}


def _result(result: messages_pb2.ToolResultPart) -> dict[str, Any]:
    shape = {"type": "tool_result", "tool_use_id": call_id_of(result.call_id), "content": result.content}
    return shape | ({"is_error": True} if result.is_error else {})
