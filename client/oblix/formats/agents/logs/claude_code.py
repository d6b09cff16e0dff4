"""Claude Code's transcripts: `~/.claude/projects/FOLDER/SESSION.jsonl`, lines that name their parents.

An answer stands in several lines, one for each of its blocks. Lines of a side chain are a sub-agent's.
What commands printed, reminders and summaries of compactions are no words of the person. A command that the
model answers is: `/review the bed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from oblix.formats.agents.origin import (
    PROGRAM_NOTE,
    SUMMARY_NOTE,
    Origin,
    complete,
    conversation_of,
    is_asked,
)
from oblix.formats.conversations import Conversation, Fork, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import parts_of
from oblix.formats.trees import Tree
from oblix.formats.turns import count
from oblix.v1 import messages_pb2

Line = Mapping[str, Any]

KNOWN = keys(
    "toolUseResult cwd gitBranch usage slug requestId toolUseID leafUuid sourceToolAssistantUUID entrypoint "
    "promptSource permissionMode promptId madeBy effort perTurnEffort thinkingDisplay rowSource turnOrigin "
    "turnPosition error apiErrorType rendered"
)
SIDE_NOTE = "lines of sub-agents left out"

_SAID = ("user", "assistant")
_ASIDE = ("<system-reminder>", "<ide_")
"""What stands in a block of its own beside a person's words."""
_INTERRUPTED = "[Request interrupted by user"
_NAME, _ARGUMENTS = (
    re.compile(rf"<command-{part}>(.*?)</command-{part}>", re.DOTALL) for part in ("name", "args")
)
_CAVEAT = "<local-command-caveat>"
_COMMANDS = (
    "<command-name>",
    "<command-message>",
    "<local-command-stdout>",
    "<local-command-stderr>",
    _CAVEAT,
    "<bash-",
    *_ASIDE,
    _INTERRUPTED,
    "Caveat: The messages below",
)
_QUIET = keys(
    "file-history-snapshot progress queue-operation last-prompt permission-mode attachment agent-name mode "
    "pr-link saved_hook_context atis-latch cost-state api-request api-request-shape api-request-blob"
)
_TITLES = ("summary", "custom-title", "ai-title")


def matches(lines: Sequence[Any]) -> bool:
    """Return whether one of the first lines looks like a transcript's."""
    first = objects(lines[:20])
    return any(map(_is_line, first)) and not any(map(_is_qwens, first))


def _is_line(line: Line) -> bool:
    kind = string(line, "type")
    if kind in _TITLES or kind in _QUIET:
        return "sessionId" in line or "leafUuid" in line
    return "sessionId" in line and "parentUuid" in line and kind in (*_SAID, "system")


def _is_qwens(line: Line) -> bool:
    return "provenance" in line or "systemPayload" in line or "parts" in object_of(line, "message")


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a session, and the branches that it has."""
    said = [line for line in objects(lines) if string(line, "type") in _SAID]
    about = said[0] if said else {}
    titles = [line for line in objects(lines) if string(line, "type") in _TITLES]
    title = string(titles[-1], "summary", "customTitle", "aiTitle", "title") if titles else ""
    name = origin.path.stem if string(about, "sessionId") else ""
    conversation = conversation_of(
        "claude-code", name, title=title, directory=string(about, "cwd"), version=string(about, "version")
    )
    conversation.source = list(lines)
    if about:
        set_time(conversation.session, "create_time", about.get("timestamp"), conversation)
    nodes = _nodes(lines, conversation)
    _join_results(nodes)
    answered = _answered_commands(nodes.values())
    leaf = next((name for name in reversed(nodes) if string(nodes[name], "type") in _SAID), None)

    def add(into: Conversation, line: Any) -> None:
        if string(line, "type") in _SAID:
            into.add(line, f"line {line.get('uuid')}", lambda: _message(line, into, answered))

    Tree(nodes, conversation, parent="parentUuid").read(leaf, add)
    _note_fork(conversation, nodes, name)
    for each in (conversation, *conversation.branches):
        complete(each)
    return [conversation] if is_asked(conversation) else []


def _note_fork(conversation: Conversation, nodes: Mapping[str, Line], name: str) -> None:
    """Note where a fork comes from: lines before it are copied, and answers among them name their session."""
    copied: dict[str, str] = {}
    for line in nodes.values():
        parent = string(line, "requestSessionId") or string(object_of(line, "forkedFrom"), "sessionId")
        if parent and parent != name:
            copied[string(line, "uuid")] = parent
            copied[string(object_of(line, "message"), "id")] = parent
    copied.pop("", None)
    shared = [number for number, each in enumerate(conversation.messages, 1) if each.id in copied]
    if name and shared:
        parent = copied[conversation.messages[shared[-1] - 1].id]
        conversation.fork = Fork(f"claude-code:{parent}", shared[-1])


def _nodes(lines: Sequence[Any], conversation: Conversation) -> dict[str, dict[str, Any]]:
    """Return the lines that follow each other, by their ids."""
    nodes: dict[str, dict[str, Any]] = {}
    for line in objects(lines):
        if line.get("isSidechain") is True:
            conversation.leave_out(line, SIDE_NOTE)
        elif string(line, "type") in _QUIET:
            conversation.pass_over(line)
        if uuid := string(line, "uuid"):
            parent = line.get("parentUuid") or line.get("logicalParentUuid")
            if line.get("isSidechain") is not True:
                nodes[uuid] = {**line, "parentUuid": parent}
            if line.get("type") == "system":
                conversation.pass_over(line)
    return nodes


def _join_results(nodes: dict[str, dict[str, Any]]) -> None:
    """Let the results of one answer's calls follow each other.

    Each names the line of its call as its parent: of calls at the same time, all results but the last one
    would be ends of branches.
    """
    answers: dict[str, list[str]] = {}
    results: dict[str, list[str]] = {}
    followers: dict[str, list[str]] = {}
    for name, line in nodes.items():
        followers.setdefault(string(line, "parentUuid"), []).append(name)
        if answer := string(object_of(line, "message"), "id") if line.get("type") == "assistant" else "":
            answers.setdefault(answer, []).append(name)
        elif called := _result_ids(line):
            for each in called:
                results.setdefault(each, []).append(name)
    for lines in answers.values():
        calls = [each for name in lines for each in _call_ids(nodes[name])]
        given = [results.get(each, []) for each in calls]
        # Two results of one call are branches: something was tried again.
        if len(given) > 1 and all(len(each) <= 1 for each in given):
            # What followed any of them follows all of them.
            members = [*lines, *dict.fromkeys(name for each in given for name in each)]
            for name in members:
                for follower in followers.get(name, ()):
                    nodes[follower]["parentUuid"] = members[-1]
            for before, name in pairwise(members):
                nodes[name]["parentUuid"] = before


def _call_ids(line: Line) -> list[str]:
    blocks = objects(object_of(line, "message").get("content"))
    return [string(block, "id") for block in blocks if block.get("type") == "tool_use"]


def _result_ids(line: Line) -> list[str]:
    blocks = objects(object_of(line, "message").get("content"))
    return [string(block, "tool_use_id") for block in blocks if block.get("type") == "tool_result"]


def _answered_commands(lines: Iterable[Line]) -> dict[str, str]:
    """Return the commands that a prompt or an answer follows, as they were typed, by their lines' ids."""
    typed = {string(line, "uuid"): _command(object_of(line, "message").get("content")) for line in lines}
    beside = {
        string(line, "uuid"): string(line, "parentUuid") for line in lines if line.get("type") not in _SAID
    }
    followed = {
        _before(string(line, "parentUuid"), beside)
        for line in lines
        if line.get("type") == "assistant" or _is_prompt_of_command(line)
    }
    return {uuid: command for uuid, command in typed.items() if command and uuid in followed}


def _is_prompt_of_command(line: Line) -> bool:
    """Return whether a line is what a command stands for. A caveat before the next one is none."""
    is_meta = line.get("type") == "user" and line.get("isMeta") is True
    return is_meta and not _is_programs(object_of(line, "message").get("content"))


def _before(name: str, beside: Mapping[str, str]) -> str:
    """Return the line that was said before: attachments and notes of the program can stand between."""
    seen: set[str] = set()
    while name in beside and name not in seen:
        seen.add(name)
        name = beside[name]
    return name


def _command(content: object) -> str:
    blocks = [string(block, "text") for block in objects(content)]
    text = content if isinstance(content, str) else "\n".join(blocks)
    name, arguments = _NAME.search(text), _ARGUMENTS.search(text)
    return " ".join(found.group(1).strip() for found in (name, arguments) if found).strip() if name else ""


def _message(
    line: Line, conversation: Conversation, answered: Mapping[str, str]
) -> messages_pb2.Message | None:
    given = object_of(line, "message")
    if line.get("isCompactSummary") is True:
        conversation.leave_out(given, SUMMARY_NOTE)
        return None
    content = given.get("content")
    if command := answered.get(string(line, "uuid")):
        conversation.pass_over(given)
        return _make_message(line, messages_pb2.ROLE_USER, parts_of(command, conversation), conversation)
    if line.get("isMeta") is True or (line.get("type") == "user" and _is_programs(content)):
        conversation.leave_out(given, PROGRAM_NOTE)
        return None
    if line.get("type") == "user":
        content = _without_asides(content, conversation)
    parts = parts_of(content, conversation)
    if line.get("type") == "assistant":
        return _answer(line, given, parts, conversation)
    is_result = any(part.HasField("tool_result") for part in parts)
    role = messages_pb2.ROLE_TOOL if is_result else messages_pb2.ROLE_USER
    return _make_message(line, role, parts, conversation)


def _answer(
    line: Line, record: Line, parts: list[messages_pb2.Part], conversation: Conversation
) -> messages_pb2.Message | None:
    """Return the answer, or None where the line goes on with the one before."""
    name = string(record, "id")
    last = conversation.messages[-1] if conversation.messages else None
    if last is not None and name and last.role == messages_pb2.ROLE_ASSISTANT and last.id == name:
        last.parts.extend(parts)
        return None
    message = _make_message(line, messages_pb2.ROLE_ASSISTANT, parts, conversation)
    message.id = name or message.id
    model = string(record, "model")
    message.model = f"claude:{model}" if model and not model.startswith("<") else ""
    if line.get("isApiErrorMessage") is True:
        message.status = messages_pb2.MESSAGE_STATUS_FAILED
    count(message, record)
    return message


def _make_message(
    line: Line, role: messages_pb2.Role.ValueType, parts: list[messages_pb2.Part], conversation: Conversation
) -> messages_pb2.Message:
    complete = messages_pb2.MESSAGE_STATUS_COMPLETE
    message = messages_pb2.Message(id=string(line, "uuid"), role=role, status=complete, parts=parts)
    set_time(message, "create_time", line.get("timestamp"), conversation)
    return message


def _without_asides(content: object, conversation: Conversation) -> object:
    """Return a person's message without the blocks that the program puts beside the words."""
    if not isinstance(content, list):
        return content
    kept = []
    for block in content:
        if isinstance(block, dict) and string(block, "text").lstrip().startswith(_ASIDE):
            conversation.leave_out(block, PROGRAM_NOTE)
        else:
            kept.append(block)
    return kept


def _is_programs(content: object) -> bool:
    texts = [content] if isinstance(content, str) else [string(block, "text") for block in objects(content)]
    return bool(texts) and all(text.lstrip().startswith(_COMMANDS) for text in texts)
