"""Data sets of prompts and answers: preferences (`chosen`, `rejected`) and pairs (`prompt`, `completion`).

What was chosen is the conversation; what was rejected is another branch of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oblix.formats.chats import openai
from oblix.formats.conversations import Conversation, Fork
from oblix.v1 import messages_pb2

_PROMPTS = ("prompt", "question", "query", "instruction")
_ANSWERS = ("chosen", "completion", "response", "output", "answer")
_SPOKEN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def matches(value: object) -> bool:
    """Return whether a value looks like a prompt with an answer."""
    if not isinstance(value, dict):
        return False
    has_answer = any(isinstance(value.get(key), str | list) for key in _ANSWERS)
    return has_answer and (_prompt_key(value) is not None or "rejected" in value)


def read(document: Mapping[str, Any]) -> Conversation:
    """Read a pair. What is neither prompt nor answer is kept as metadata, or noted."""
    prompt_key = _prompt_key(document)
    answer_key = next((key for key in _ANSWERS if document.get(key)), "")
    taken = {
        key: value
        for key, value in document.items()
        if key not in {prompt_key, answer_key, "rejected", "input"}
    }
    conversation = openai.conversation_of(taken, [], "")
    conversation.source = document
    if prompt_key:
        add_said(conversation, document.get(prompt_key), messages_pb2.ROLE_USER)
    if prompt_key != "input":
        add_said(conversation, document.get("input"), messages_pb2.ROLE_USER)
    if document.get("rejected"):
        add_rejected(conversation, document["rejected"])
    add_said(conversation, document.get(answer_key), messages_pb2.ROLE_ASSISTANT)
    return conversation


def _prompt_key(document: Mapping[str, Any]) -> str | None:
    found = next((key for key in _PROMPTS if isinstance(document.get(key), str | list)), None)
    # OpenAI's Responses: a list of what went in, and one of what came out.
    return found or ("input" if isinstance(document.get("input"), str | list) else None)


def add_rejected(conversation: Conversation, answer: object) -> None:
    """Add what was rejected, as another branch of what is there so far."""
    session = type(conversation.session)()
    session.CopyFrom(conversation.session)
    session.id = f"{session.id}#rejected"
    session.metadata["preference"] = "rejected"
    conversation.session.metadata["preference"] = "chosen"
    other = Conversation(session, list(conversation.messages))
    add_said(other, answer, messages_pb2.ROLE_ASSISTANT)
    other.fork = Fork("", len(conversation.messages))
    conversation.branches.append(other)


def add_said(conversation: Conversation, content: object, role: messages_pb2.Role.ValueType) -> None:
    """Add a text of this role, a message, or a list of messages."""
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list):
        # Some repeat the prompt in front of each answer.
        openai.add_turns(content, "messages", conversation)
    elif isinstance(content, str) and content:
        for who, text in _split_speakers(content, role):
            openai.add_turns([{"role": who, "content": text}], "text", conversation)


def _split_speakers(content: str, role: messages_pb2.Role.ValueType) -> list[tuple[str, str]]:
    """Split a text by speaker: some write the whole conversation as one text."""
    pieces = _SPOKEN.split(content)
    if len(pieces) < 3:  # noqa: PLR2004 - nobody is named
        return [({1: "system", 2: "user"}.get(role, "assistant"), content)]
    return [
        ("user" if who == "Human" else "assistant", text)
        for who, text in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
