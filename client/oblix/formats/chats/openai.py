"""A list of messages in OpenAI's style, or in one that is near to it, and what stands around it.

Read by every format whose conversations are such lists. Items of OpenAI's Responses (calls, results and
thoughts that are no messages) are read, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from oblix._convert.validation import describe
from oblix._convert.values import to_struct
from oblix.errors import InvalidArgumentError
from oblix.formats.accounting import leftover
from oblix.formats.conversations import Conversation, fill_times, keys, string
from oblix.formats.moments import set_time
from oblix.formats.parts import parts_of
from oblix.formats.turns import is_message, message_of, role_in, title_of
from oblix.v1 import messages_pb2, sessions_pb2

HEADER = keys(
    "id uuid conversation_id conversationId session_id title name topic summary metadata model "
    "created_at create_time createdAt updated_at update_time updatedAt timestamp system oblix archived"
)
"""Keys of a document that say something about its conversation, and are read as such."""
_TOOLS = ("tools", "functions", "tool_definitions")
_SYSTEMS = (
    "system",
    "system_prompt",
    "systemPrompt",
    "systemInstruction",
    "system_instruction",
    "instructions",
)
TOOLS_NOTE = "definitions of tools left out"
_RESULTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output", "tool_result")
_ITEMS = (*_RESULTS, "function_call", "custom_tool_call", "reasoning", "tool_use", "web_search_call")


def conversation_of(document: Mapping[str, Any], turns: Sequence[Any], key: str) -> Conversation:
    """Return the conversation of a document whose turns stand under a key."""
    conversation = Conversation(_session(document), source=document)
    for name, word in (("create_time", "created"), ("update_time", "updated")):
        value = next((document[k] for k in (f"{word}_at", name, f"{word}At") if document.get(k)), None)
        set_time(conversation.session, name, value, conversation)
    _take_metadata(document, key, conversation)
    _note_rest(document, key, conversation)
    _add_system(document, conversation)
    add_turns(turns, key, conversation, string(document, "model"))
    fill_times(conversation)
    return conversation


def _note_rest(document: Mapping[str, Any], key: str, conversation: Conversation) -> None:
    """Say what stands beside the turns and is not taken: tools, images, whatever else there is."""
    for name, value in document.items():
        if not isinstance(value, list | dict) or not value or name in HEADER | {key, *_SYSTEMS}:
            continue
        is_tools = name in _TOOLS
        conversation.leave_out(value, TOOLS_NOTE if is_tools else f"what stands under {name[:40]!r} left out")


def _add_system(document: Mapping[str, Any], conversation: Conversation) -> None:
    for name in _SYSTEMS:
        parts = parts_of(document.get(name), conversation)
        if parts:
            conversation.messages.append(messages_pb2.Message(role=messages_pb2.ROLE_SYSTEM, parts=parts))


def add_turns(turns: Sequence[Any], path: str, conversation: Conversation, model: str = "") -> None:
    """Add each turn of a list. One that can't be read is left out, with a note."""
    for index, item in enumerate(turns):
        at = f"{path}[{index}]"
        conversation.add(item, at, partial(turn, item, conversation))
    for message in conversation.messages:
        if message.role == messages_pb2.ROLE_ASSISTANT and not message.model:
            message.model = model


def turn(item: object, conversation: Conversation) -> messages_pb2.Message | None:
    """Return the message of one item of a list."""
    if isinstance(item, str):
        return _by_turns(item, conversation)
    if not isinstance(item, dict):
        if item is not None:
            conversation.note(f"messages that are no objects left out ({describe(item)})")
        return None
    kind = item.get("type")
    if isinstance(kind, str) and kind in _ITEMS and (role_in(item) is None or "role" not in item):
        role = messages_pb2.ROLE_TOOL if kind in _RESULTS else messages_pb2.ROLE_ASSISTANT
        return messages_pb2.Message(role=role, parts=parts_of(item, conversation))
    if role_in(item) is None:
        item = next((item[key] for key in ("message", "data") if is_message(item.get(key))), item)
    return message_of(item, conversation)


def _by_turns(text: str, conversation: Conversation) -> messages_pb2.Message:
    """Return a list of bare texts: a person and a model by turns, as some data sets have it."""
    conversation.note("messages that do not say who speaks, taken as a person's and a model's by turns")
    is_answer = bool(conversation.messages) and conversation.messages[-1].role == messages_pb2.ROLE_USER
    role = messages_pb2.ROLE_ASSISTANT if is_answer else messages_pb2.ROLE_USER
    return messages_pb2.Message(role=role, parts=parts_of(text, conversation))


def _session(document: Mapping[str, Any]) -> sessions_pb2.Session:
    return sessions_pb2.Session(
        id=string(document, "id", "uuid", "conversation_id", "conversationId", "session_id"),
        title=title_of(document),
    )


def _take_metadata(document: Mapping[str, Any], key: str, conversation: Conversation) -> None:
    """Collect the document's metadata, and short values that have no other place."""
    more = leftover(document, HEADER | {key, *_TOOLS, *_SYSTEMS})
    given = document.get("metadata")
    for value in ({**more, **given} if isinstance(given, dict) else more, more):
        try:
            conversation.session.metadata.CopyFrom(to_struct(value, "metadata"))
        except InvalidArgumentError as error:
            conversation.note(f"metadata left out ({error.message.removesuffix('.')})")
        else:
            return
    conversation.pass_over(given)
