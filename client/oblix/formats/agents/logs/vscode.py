"""Chats in Visual Studio Code (Copilot): `chatSessions/SESSION.jsonl` in a workspace's storage, or `.json`.

The log begins with the whole session (`{"kind": 0, "v": {...}}`); each further line sets (1), adds to (2) or
deletes (3) what is at a path in it. The form is that of the editor's source code; no file of a real Copilot
could be made where this was written.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote, urlparse

from oblix.formats.agents.origin import Origin, complete, conversation_of, is_asked
from oblix.formats.conversations import Conversation, keys, object_of, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, file_part, result_part, text_part
from oblix.v1 import messages_pb2

Item = Mapping[str, Any]

KNOWN = keys(
    "agent modelInfo result followups usedContext contentReferences codeCitations editedFileEvents "
    "inputState variableData slashCommand timings uris baseUri modeInfo repoData generatedTitle "
    "presentation source"
)

_SET, _PUSH, _DELETE = 1, 2, 3
_QUIET = keys(
    "progressMessage progressTask progressTaskSerialized codeblockUri textEditGroup notebookEditGroup "
    "undoStop confirmation command prepareToolInvocation mcpServersStarting multiDiffData treeData "
    "workspaceEdit"
)


def matches(lines: Sequence[Any]) -> bool:
    """Return whether a file is a session, or the log of one."""
    first = lines[0] if lines and isinstance(lines[0], dict) else {}
    session = object_of(first, "v") if first.get("kind") == 0 else first
    return isinstance(session.get("requests"), list) and (
        "sessionId" in session or "responderUsername" in session
    )


def read(lines: Sequence[Any], origin: Origin) -> list[Conversation]:
    """Read a session. Nothing where nobody asked anything."""
    about = _replay(objects(lines))
    conversation = conversation_of(
        "vscode", string(about, "sessionId") or origin.path.stem,
        title=string(about, "customTitle", "computedTitle"), directory=_folder(about, origin),
    )  # fmt: skip
    set_time(conversation.session, "create_time", about.get("creationDate"), conversation)
    requests = objects(about.get("requests"))
    conversation.source = requests
    for number, request in enumerate(requests, 1):
        conversation.add(request, f"request {number}", partial(_question, request, conversation))
        _Answer(request, conversation).take()
    complete(conversation)
    return [conversation] if is_asked(conversation) else []


def _replay(lines: Sequence[Item]) -> Item:
    """Return the session as the last line leaves it."""
    if lines[0].get("kind") != 0:
        return lines[0]
    state: dict[str, Any] = {}
    for line in lines:
        if line.get("kind") == 0:
            state = copy.deepcopy(dict(object_of(line, "v")))
        else:
            _change(state, line)
    return state


def _change(state: Any, line: Item) -> None:
    path = line.get("k")
    if not isinstance(path, list) or not path:
        return
    try:
        for key in path[:-1]:
            state = state[key]
        last, value = path[-1], line.get("v")
        if line.get("kind") == _SET:
            state[last] = value
        elif line.get("kind") == _PUSH:
            grown = state.setdefault(last, []) if isinstance(state, dict) else state[last]
            if isinstance(line.get("i"), int):
                del grown[line["i"] :]
            grown.extend(value or [])
        elif line.get("kind") == _DELETE:
            del state[last]
    except (LookupError, TypeError, AttributeError):
        return


def _folder(about: Item, origin: Origin) -> str:
    try:
        workspace = json.loads(origin.neighbour("../workspace.json") or b"{}")
    except (ValueError, RecursionError):
        workspace = {}
    address = string(about, "workingDirectory") or string(
        workspace if isinstance(workspace, dict) else {}, "folder"
    )
    return unquote(urlparse(address).path) if address.startswith("file:") else address


def _question(request: Item, conversation: Conversation) -> messages_pb2.Message | None:
    given = request.get("message")
    said = given if isinstance(given, str) else string(object_of(request, "message"), "text")
    if isinstance(given, dict):
        conversation.pass_over(given.get("parts"))
    message = messages_pb2.Message(
        id=string(request, "requestId"),
        role=messages_pb2.ROLE_USER,
        status=messages_pb2.MESSAGE_STATUS_COMPLETE,
    )
    if said and request.get("isSystemInitiated") is not True:
        message.parts.append(text_part(said))
        for each in objects(object_of(request, "variableData").get("variables")):
            message.parts.extend(file_part({"name": string(each, "name")}, conversation))
    set_time(message, "create_time", request.get("timestamp"), conversation)
    return message


class _Answer:
    """What came in answer to one request: texts, thoughts, and calls with their results in one."""

    def __init__(self, request: Item, conversation: Conversation) -> None:
        self._request = request
        self._conversation = conversation
        self._message: messages_pb2.Message | None = None

    def take(self) -> None:
        """Add the messages of the answer."""
        given = self._request.get("response")
        pieces = given if isinstance(given, list) else [given]
        for piece in pieces:
            if isinstance(piece, str) and piece:
                self._say(text_part(piece))
            elif isinstance(piece, dict):
                self._piece(piece)
        details = object_of(object_of(self._request, "result"), "errorDetails")
        if said := string(details, "message"):
            self._say(text_part(said)).status = messages_pb2.MESSAGE_STATUS_FAILED
        elif self._request.get("isCanceled") is True and self._message is not None:
            self._message.status = messages_pb2.MESSAGE_STATUS_CANCELLED

    def _piece(self, piece: Item) -> None:
        match string(piece, "kind"):
            case "thinking":
                value = piece.get("value")
                said = (
                    "".join(each for each in value if isinstance(each, str))
                    if isinstance(value, list)
                    else value
                )
                if isinstance(said, str) and said:
                    self._say(messages_pb2.Part(reasoning=said))
            case "toolInvocationSerialized" | "toolInvocation":
                self._call(piece)
            case "inlineReference":
                self._conversation.pass_over(piece)
                name = string(piece, "name") or string(object_of(piece, "inlineReference"), "path", "name")
                if name:
                    self._say(text_part(f"`{name.rpartition('/')[2]}`"))
            case kind if kind in _QUIET:
                self._conversation.pass_over(piece)
            case _:
                content = piece.get("content")
                said = string(content if isinstance(content, dict) else piece, "value") or string(
                    piece, "content"
                )
                if said:
                    self._say(text_part(said))

    def _call(self, piece: Item) -> None:
        self._conversation.pass_over(piece)
        call_id, about = string(piece, "toolCallId"), object_of(piece, "toolSpecificData")
        details = object_of(piece, "resultDetails")
        line = string(object_of(about, "commandLine"), "userEdited", "original")
        arguments = {"command": line} if line else about.get("rawInput") or details.get("input") or {}
        self._say(call_part(call_id, string(piece, "toolId"), arguments))
        said = "\n".join(_outputs(details)) or _text_of(piece.get("pastTenseMessage"))
        if piece.get("isComplete") is True or said:
            is_error = details.get("isError") is True or bool(piece.get("resultError"))
            message = self._add_message(messages_pb2.ROLE_TOOL)
            message.parts.append(result_part(call_id, said, is_error=is_error))
            self._message = None

    def _say(self, part: messages_pb2.Part) -> messages_pb2.Message:
        if self._message is None:
            self._message = self._add_message(messages_pb2.ROLE_ASSISTANT)
            self._message.model = string(self._request, "modelId").replace("/", ":", 1)
        parts = self._message.parts
        self._conversation.rewritten.append(part.text)
        if parts and parts[-1].HasField("text") and part.HasField("text"):
            parts[-1].text += part.text
        else:
            parts.append(part)
        return self._message

    def _add_message(self, role: messages_pb2.Role.ValueType) -> messages_pb2.Message:
        message = messages_pb2.Message(role=role, status=messages_pb2.MESSAGE_STATUS_COMPLETE)
        when = self._request.get("responseTimestamp") or self._request.get("timestamp")
        set_time(message, "create_time", when, self._conversation)
        self._conversation.messages.append(message)
        return message


def _outputs(details: Item) -> Iterator[str]:
    for each in objects(details.get("output")):
        if said := string(each, "value", "text"):
            yield said


def _text_of(given: object) -> str:
    return given if isinstance(given, str) else string(given, "value") if isinstance(given, dict) else ""
