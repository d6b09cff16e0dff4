"""DeepSeek's export: a list of trees whose messages are fragments (REQUEST, THINK, RESPONSE ...)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from oblix.formats.conversations import Conversation, fill_times, mapping, objects, string
from oblix.formats.moments import set_time
from oblix.formats.parts import file_part, parts_of, separate_names, sources, text_part
from oblix.formats.trees import Tree
from oblix.formats.turns import role_in
from oblix.v1 import messages_pb2, sessions_pb2

KNOWN = frozenset(("files",))


def matches(value: object) -> bool:
    """Return whether a value looks like a conversation of DeepSeek: a tree of fragments."""
    if not isinstance(value, dict) or not isinstance(value.get("mapping"), dict):
        return False
    nodes = (node for node in value["mapping"].values() if isinstance(node, dict))
    return any(isinstance(node.get("message"), dict) and "fragments" in node["message"] for node in nodes)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a conversation. Raises InvalidArgumentError where there is no tree."""
    session = sessions_pb2.Session(id=string(document, "id"), title=string(document, "title"))
    conversation = Conversation(session, source=document)
    set_time(session, "create_time", document.get("inserted_at"), conversation)
    set_time(session, "update_time", document.get("updated_at"), conversation)

    def add(into: Conversation, node: Any) -> None:
        given = node.get("message")
        if isinstance(given, dict):
            into.add(
                given, f"message {string(node, 'id')}", lambda: _message(given, string(node, "id"), into)
            )

    tree = Tree(mapping(document.get("mapping"), "mapping"), conversation, parent="parent")
    tree.read(document.get("current_node"), add)
    for each in (conversation, *conversation.branches):
        fill_times(each)
    return conversation


def _message(value: Mapping[str, Any], name: str, conversation: Conversation) -> messages_pb2.Message:
    fragments = objects(value.get("fragments"))
    is_asked = any(fragment.get("type") == "REQUEST" for fragment in fragments)
    role = messages_pb2.ROLE_USER if is_asked else messages_pb2.ROLE_ASSISTANT
    message = messages_pb2.Message(
        id=name, role=role_in(value) or role, status=messages_pb2.MESSAGE_STATUS_COMPLETE
    )
    for fragment in fragments:
        message.parts.extend(_parts(fragment, conversation))
    files = [part for file in objects(value.get("files")) for part in file_part(file, conversation)]
    parts = list(separate_names([*message.parts, *files]))
    del message.parts[:]
    message.parts.extend(parts)
    if message.role == messages_pb2.ROLE_ASSISTANT and (model := string(value, "model")):
        message.model = f"deepseek:{model}"
    set_time(message, "create_time", value.get("inserted_at"), conversation)
    return message


def _parts(fragment: Mapping[str, Any], conversation: Conversation) -> Iterator[messages_pb2.Part]:
    kind, said = string(fragment, "type"), string(fragment, "content")
    if kind == "THINK" and said:
        yield messages_pb2.Part(reasoning=said)
    elif fragment.get("results") and not said:
        found = sources(fragment.get("results"))
        conversation.leave_out(fragment, "passages that a search found left out")
        yield from [text_part(f"Sources:\n{found}\n")] if found else []
    elif said:
        yield text_part(said)
    else:
        rest = {key: item for key, item in fragment.items() if key != "type"}
        # A page that was read, for example: a line of its own before the answer.
        yield from (
            text_part(f"{part.text}\n") if part.text else part for part in parts_of(rest, conversation)
        )
