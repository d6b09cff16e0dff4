"""A file that `opencode import FILE` takes; then `opencode run -s ID`. Tried with opencode 1.18.33."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from oblix.formats.exports.handover import Step, call_id_of, directory_of, sortable_id, steps, uuid_of
from oblix.v1 import messages_pb2, sessions_pb2

_VERSION = "1.18.33"
_NO_TOKENS = {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as opencode exports its own."""
    name, directory = uuid_of(session), directory_of(session) or "/"
    own = session_id(session)
    info = {
        "id": own,
        "slug": own[4:20].lower(),
        "projectID": "global",
        "directory": directory,
        "title": session.title or "Conversation",
        "version": _VERSION,
        "time": {"created": _ms(session.create_time), "updated": _ms(session.update_time)},
    }
    told = {"info": info, "messages": list(_messages(name, own, directory, messages))}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def session_id(session: sessions_pb2.Session) -> str:
    """Return what opencode calls the session."""
    return sortable_id("ses", uuid_of(session), 0)


def _messages(
    name: str, own: str, directory: str, messages: list[messages_pb2.Message]
) -> Iterator[dict[str, Any]]:
    question = sortable_id("msg", name, 0)
    for number, step in enumerate(steps(messages)):
        message_id = sortable_id("msg", name, number)
        is_user = step.message.role != messages_pb2.ROLE_ASSISTANT
        moment = _ms(step.message.create_time)
        provider, _, model = step.message.model.rpartition(":")
        info: dict[str, Any] = {
            "id": message_id,
            "sessionID": own,
            "time": {"created": moment},
            "agent": "build",
        }
        if is_user:
            question = message_id
            info |= {"role": "user", "model": {"providerID": "oblix", "modelID": "auto"}}
        else:
            info |= {
                "role": "assistant",
                "parentID": question,
                "mode": "build",
                "path": {"cwd": directory, "root": "/"},
                "cost": 0,
                "tokens": _NO_TOKENS,
                "providerID": provider or "oblix",
                "modelID": model or "auto",
                "time": {"created": moment, "completed": moment},
                "finish": "tool-calls" if step.calls else "stop",
            }
        parts = [
            part
            | {
                "id": sortable_id("prt", name, number * 1000 + place),
                "sessionID": own,
                "messageID": message_id,
            }
            for place, part in enumerate(_parts(step, moment))
        ]
        yield {"info": info, "parts": parts}


def _parts(step: Step, moment: int) -> Iterator[dict[str, Any]]:
    if step.text:
        yield {"type": "text", "text": step.text}
    for call, result in zip(step.calls, step.results, strict=True):
        state: dict[str, Any] = {"input": _input(call), "time": {"start": moment, "end": moment}}
        if result.is_error:
            state |= {"status": "error", "error": result.content}
        else:
            state |= {"status": "completed", "output": result.content, "title": call.name, "metadata": {}}
        yield {"type": "tool", "tool": call.name, "callID": call_id_of(call.call_id), "state": state}


def _input(call: messages_pb2.ToolCallPart) -> dict[str, Any]:
    try:
        value = json.loads(call.arguments_json or "{}")
    except (ValueError, RecursionError):
        value = call.arguments_json
    return value if isinstance(value, dict) else {"input": value}


def _ms(time: Any) -> int:
    return int(time.ToNanoseconds() // 10**6)
