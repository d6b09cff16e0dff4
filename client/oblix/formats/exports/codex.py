"""A rollout that codex goes on with: `codex resume ID`, `codex exec resume ID`. Tried with codex 0.171.0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from oblix._convert import records as times
from oblix.formats.exports.handover import call_id_of, child_uuid, directory_of, steps, uuid_of
from oblix.v1 import messages_pb2, sessions_pb2


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as a rollout."""
    name, moment = uuid_of(session), times.to_text(session.create_time)
    about = {
        "id": name,
        "session_id": name,
        "timestamp": moment,
        "cwd": directory_of(session) or "/",
        "originator": "oblix",
        "cli_version": "0.171.0",
        "source": "cli",
    }
    lines = [{"timestamp": moment, "type": "session_meta", "payload": about}]
    lines += _lines(name, messages)
    # ASCII alone: some readers of lines end one at U+2028, too.
    return "".join(json.dumps(line) + "\n" for line in lines)


def file_name(session: sessions_pb2.Session) -> str:
    """Return where codex looks for it, below `~/.codex`."""
    moment = times.to_text(session.create_time)
    day, clock = moment[:10].replace("-", "/"), moment[:19].replace(":", "-")
    return f"sessions/{day}/rollout-{clock}-{uuid_of(session)}.jsonl"


def _lines(name: str, messages: list[messages_pb2.Message]) -> Iterator[dict[str, Any]]:
    for number, step in enumerate(steps(messages)):
        moment = times.to_text(step.message.create_time)
        is_user = step.message.role == messages_pb2.ROLE_USER
        if step.text:
            role, kind = ("user", "input_text") if is_user else ("assistant", "output_text")
            content = [{"type": kind, "text": step.text}]
            yield _item(
                moment, type="message", id=f"msg_{child_uuid(name, number)}", role=role, content=content
            )
            event = "user_message" if is_user else "agent_message"
            yield {"timestamp": moment, "type": "event_msg", "payload": {"type": event, "message": step.text}}
        for call, result in zip(step.calls, step.results, strict=True):
            call_id = call_id_of(call.call_id)
            arguments = call.arguments_json or "{}"
            yield _item(moment, type="function_call", name=call.name, arguments=arguments, call_id=call_id)
            yield _item(moment, type="function_call_output", call_id=call_id, output=result.content)


def _item(moment: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": moment, "type": "response_item", "payload": payload}
