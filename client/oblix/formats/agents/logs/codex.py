"""codex's rollouts: `~/.codex/sessions/YYYY/MM/DD/rollout-TIME-ID.jsonl`, one thread a file.

Read from files of codex 0.169.0 and of older ones. Everything stands there twice, as an item and as an event:
the items are taken. Roles `developer`, and `user` where the program speaks (its environment, instructions),
are not the person's. A fork's file has none of the lines before the fork: they are read from its parent's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from oblix.formats.agents.origin import SUMMARY_NOTE, Origin, complete, conversation_of, files_in, is_asked
from oblix.formats.conversations import Conversation, Fork, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, parts_of, result_parts
from oblix.formats.turns import count
from oblix.v1 import messages_pb2

Line = Mapping[str, Any]

KNOWN = keys(
    "base_instructions instructions state turn_context internal_chat_message_metadata_passthrough git "
    "model_search_state"
)
_FOLDERS = ("sessions", "archived_sessions")
_DEEPEST = 4
"""So many folders above a rollout stands `sessions`: year, month and day lie between."""
_MOST_BESIDE = 1000
_LONGEST_HEAD = 1024 * 1024
PARENT_MISSING = "the beginning, up to the fork, is in a file that is not there"

_QUIET = frozenset(("turn_context", "world_state", "token_usage_record", "session_state", "ghost_snapshot"))
_PROGRAM_STARTS = (
    "<environment_context",
    "<user_instructions",
    "<permissions",
    "<turn_aborted",
    "# AGENTS.md",
    "<skills",
    "<collaboration_mode",
    "<INSTRUCTIONS",
)
_CALLS = ("function_call", "custom_tool_call", "local_shell_call", "web_search_call", "tool_search_call")
_RESULTS = (
    "function_call_output",
    "custom_tool_call_output",
    "local_shell_call_output",
    "tool_search_output",
)
_EVENTS = keys(
    "token_count task_started task_complete turn_started turn_complete thread_settings_applied item_started "
    "item_completed agent_reasoning agent_message user_message exec_command_begin exec_command_end "
    "exec_command_output_delta agent_reasoning_section_break turn_diff context_compacted "
    "patch_apply_begin patch_apply_end mcp_tool_call_begin mcp_tool_call_end web_search_begin web_search_end"
)


def matches(lines: Sequence[Any]) -> bool:
    """Return whether the first lines look like a rollout's."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    if first.get("type") == "session_meta" and isinstance(first.get("payload"), dict):
        return True
    # The first versions wrote the items bare, after a head without a type.
    return {"id", "timestamp", "instructions"} <= first.keys() and "type" not in first


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a thread. Nothing where nobody asked anything."""
    about = _head(lines)
    name = string(about, "id", "session_id")
    conversation = conversation_of(
        "codex", name, directory=string(about, "cwd"), version=string(about, "cli_version")
    )
    conversation.source = list(lines)
    set_time(conversation.session, "create_time", about.get("timestamp"), conversation)
    if forked_from := string(about, "forked_from_id"):
        _take_history(conversation, forked_from, object_of(about, "history_base"), origin)
    _Thread(conversation, string(about, "model_provider")).take(lines)
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _head(lines: Sequence[Any]) -> Line:
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    return object_of(first, "payload") or first


def _take_history(conversation: Conversation, name: str, base: Line, origin: Origin) -> None:
    """Read what was said before the fork, from the file of the thread that it was forked from."""
    found = _file_of(name, origin)
    until = base.get("end_byte_offset")
    data = Origin(found).neighbour(found.name) if found is not None else None
    if found is None or data is None or not isinstance(until, int):
        conversation.note(PARENT_MISSING)
        conversation.fork = Fork(f"codex:{name}", 0)
        return
    (before,) = read(_lines(data[:until]), Origin(found)) or [Conversation(conversation.session)]
    conversation.messages.extend(before.messages)
    conversation.fork = Fork(f"codex:{name}", len(before.messages))


def _file_of(name: str, origin: Origin) -> Path | None:
    """Find the file of a thread: in codex's folders by its name, or beside the fork's by what is in it."""
    own = origin.path.absolute()
    for folder in islice(own.parents, _DEEPEST):
        if folder.name in _FOLDERS:
            found = (
                path for each in _FOLDERS for path in files_in(folder.parent / each, f"**/*{name}.jsonl")
            )
            return next(found, None)
    beside = [path for path in files_in(own.parent, "*.jsonl") if path != own]
    return next((path for path in beside[:_MOST_BESIDE] if _thread_of(path) == name), None)


def _thread_of(path: Path) -> str:
    """Return the id of the thread in a file, empty where it can't be read."""
    try:
        with path.open("rb") as file:
            first = _lines(file.readline(_LONGEST_HEAD))
    except OSError:
        return ""
    return string(_head(first), "id", "session_id")


def _lines(data: bytes) -> list[Any]:
    found = []
    for line in data.splitlines():
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return found


class _Thread:
    """One pass over a thread's lines."""

    def __init__(self, conversation: Conversation, provider: str) -> None:
        self._conversation = conversation
        self._provider = provider
        self._model = ""
        self._thoughts: list[messages_pb2.Part] = []

    def take(self, lines: Sequence[Any]) -> None:
        """Add what was said."""
        has_items = any(isinstance(line, dict) and string(line, "type") == "response_item" for line in lines)
        for line in lines:
            if not isinstance(line, dict):
                continue
            item = object_of(line, "payload") or line
            match string(line, "type"):
                case "session_meta":
                    self._conversation.pass_over(line)
                case "event_msg":
                    self._event(line, item, has_items)
                case "compacted":
                    self._conversation.leave_out(line, SUMMARY_NOTE)
                case kind if kind in _QUIET or not kind:
                    self._note_model(kind, item)
                    self._conversation.pass_over(line)
                case _:
                    self._item(line, item)

    def _note_model(self, kind: object, item: Line) -> None:
        if kind == "turn_context":
            self._model = string(item, "model") or self._model
        elif kind == "token_usage_record" and self._conversation.messages:
            last = self._conversation.messages[-1]
            if last.role == messages_pb2.ROLE_ASSISTANT:
                count(last, item)

    def _item(self, line: Line, item: Line) -> None:
        kind = string(item, "type")
        if kind == "message" and not self._is_said(line, item):
            return
        if kind == "reasoning":
            self._thoughts += [part for part in parts_of(item, self._conversation) if part.reasoning]
        elif kind in _QUIET:
            self._conversation.pass_over(line)
        else:
            self._conversation.add(
                line, f"line {line.get('ordinal', '')}", lambda: self._message(line, item, kind)
            )

    def _is_said(self, line: Line, item: Line) -> bool:
        """Return whether a person or the model says it, and not the program."""
        role = string(item, "role")
        if any(object_of(each, "metadata").get("compaction_output") is True for each in (line, item)):
            self._conversation.leave_out(item, SUMMARY_NOTE)
            return False
        if role == "assistant":
            return True
        if role == "user" and self._is_persons(item):
            return True
        self._conversation.pass_over(item)
        return False

    def _is_persons(self, item: Line) -> bool:
        about = object_of(item, "internal_chat_message_metadata_passthrough")
        given = about.get("content_item_kinds")
        if isinstance(given, list) and given:
            return any(isinstance(kind, str) and kind.startswith("user.") for kind in given)
        texts = [string(block, "text") for block in objects(item.get("content"))]
        return not any(text.lstrip().startswith(_PROGRAM_STARTS) for text in texts)

    def _message(self, line: Line, item: Line, kind: str) -> messages_pb2.Message:
        if kind in _RESULTS:
            role, parts = messages_pb2.ROLE_TOOL, self._result(item)
        elif kind in _CALLS:
            role, parts = messages_pb2.ROLE_ASSISTANT, [_call(item, kind)]
        else:
            is_user = string(item, "role") == "user"
            role = messages_pb2.ROLE_USER if is_user else messages_pb2.ROLE_ASSISTANT
            parts = parts_of(item.get("content") if kind == "message" else item, self._conversation)
        message = messages_pb2.Message(
            id=string(item, "id"), role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE
        )
        if role == messages_pb2.ROLE_ASSISTANT:
            parts = [*self._thoughts, *parts]
            self._thoughts = []
            message.model = ":".join(filter(None, (self._provider, self._model))) if self._model else ""
        message.parts.extend(parts)
        set_time(message, "create_time", line.get("timestamp"), self._conversation)
        return message

    def _result(self, item: Line) -> list[messages_pb2.Part]:
        output = item.get("output")
        if isinstance(output, str) and output.startswith('{"output"'):
            # Older versions wrote the output and what is known of it as JSON text.
            self._conversation.rewritten.append(output)
            inner = next(iter(_lines(output.encode(errors="replace"))), None)
            output = (
                inner["output"]
                if isinstance(inner, dict) and isinstance(inner.get("output"), str)
                else output
            )
        return result_parts(string(item, "call_id"), output, self._conversation)

    def _event(self, line: Line, item: Line, has_items: bool) -> None:
        kind = string(item, "type")
        if kind == "thread_rolled_back" and isinstance(item.get("num_turns"), int):
            self._undo(item["num_turns"])
        if kind == "thread_name_updated" and (title := string(item, "thread_name")):
            self._conversation.session.title = title
        if not has_items and kind in ("user_message", "agent_message"):
            role = messages_pb2.ROLE_USER if kind == "user_message" else messages_pb2.ROLE_ASSISTANT
            message = messages_pb2.Message(role=role, parts=parts_of(item.get("message"), self._conversation))
            set_time(message, "create_time", line.get("timestamp"), self._conversation)
            self._conversation.add(line, "event", lambda: message)
        elif kind in _EVENTS:
            self._conversation.pass_over(line)

    def _undo(self, turns: int) -> None:
        """Drop the last questions, with all that followed them."""
        messages = self._conversation.messages
        while turns > 0 and messages:
            last = messages.pop()
            self._conversation.rewritten += [part.text or part.reasoning or str(part) for part in last.parts]
            turns -= last.role == messages_pb2.ROLE_USER
        self._conversation.note("turns that were undone left out")


def _call(item: Line, kind: str) -> messages_pb2.Part:
    arguments = next((item[key] for key in ("arguments", "input", "action") if key in item), None)
    return call_part(
        string(item, "call_id", "id"), string(item, "name") or kind.removesuffix("_call"), arguments
    )


def threads(lines: Sequence[Any]) -> Iterator[str]:
    """Yield the ids of the threads whose files have to be read before this one."""
    if forked_from := string(_head(lines), "forked_from_id"):
        yield forked_from
