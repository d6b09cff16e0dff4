"""The account of a source's words: each is in the conversation, or in its notes, or is known to be none.

A reader takes what it knows. This looks at the source once more, without knowing the reader: every text in
it that is not found in the messages is noted under its key. So a file of an unknown kind, or of a newer
version, is never reported as imported whole while something was dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct

from oblix._convert.values import from_struct
from oblix.formats.conversations import Conversation, clean, keys
from oblix.formats.images import encode
from oblix.v1 import messages_pb2

LABELS = keys(
    "id uuid guid _id uid key hash sha256 etag type kind role from sender author author_name speaker "
    "name model model_name modelName modelId model_id model_slug default_model_slug modelSlug modelID "
    "models provider providerID provider_id created created_at create_time createdAt updated updated_at "
    "update_time updatedAt inserted_at timestamp time date datetime conversation_id conversationId "
    "session_id sessionId sessionID message_id messageId parent parentId parentID parent_id parentUuid "
    "parent_message_uuid parentMessageId children childrenIds current_node currentId "
    "current_leaf_message_uuid user_id userId account account_id organization_id project_uuid status "
    "state finish_reason finishReason stop_reason stopReason stop_sequence finish object service_tier "
    "system_fingerprint version content_type contentType mime_type mimeType mime media_type mediaType "
    "format encoding language lang locale tool_call_id toolCallId call_id callId callID tool_use_id "
    "recipient channel endpoint endpointType category subtype level mode phase source_language detail "
    "index signature encrypted_content thoughtSignature gizmo_id folder_id share_id avatar icon color "
    "generationStatus aiProvider provenance userType gitBranch"
)
"""Keys of short labels: a text under one is no words of the conversation, unless it has some."""

WORDY = 40
"""From this length on, a text with blanks in it is words under whatever key it stands."""
SHORT = 12
"""A shorter text must stand alone in a message or on a line of it: by chance it is in many others."""
_SCAN_BUDGET = 400_000_000
"""Characters that are searched through for one conversation. Whatever is left then counts as not found."""
_MACHINE = re.compile(r"[A-Za-z0-9_.+/=:@#~-]*[0-9_=/:@#][A-Za-z0-9_.+/=:@#~-]*|[a-z]+[A-Z]\w*|[A-Z]+")
_LONGEST_MACHINE = 128
_ADDRESS = re.compile(r"(?:https?|file|data)(?::|$)", re.IGNORECASE)
_SAYS_SOMETHING = re.compile(r"[^\W\d_]|[\u2001-\U0010ffff]")
"""A letter, or one of the symbols that say something by themselves, as emoji do."""
_PUNCTUATION = re.compile(r"[\W_]+")


def check(conversation: Conversation, known_keys: frozenset[str] = frozenset()) -> None:
    """Note every text of the source that the conversation does not have.

    `known_keys` are keys of the format whose values, with all that is in them, are no words of the
    conversation.
    """
    taken = _Taken([conversation, *conversation.branches])
    settled = conversation.settled.keys() | {
        each for branch in conversation.branches for each in branch.settled
    }
    for key, text in _texts(conversation.source, known_keys, settled):
        if taken.has_whole(text) or not is_words(key, text):
            continue
        whole = clean(text)
        if whole != text:
            conversation.note("characters that are half of a pair replaced")
        if not taken.has(whole):
            conversation.note(f"words under {_quote(key)} left out")


def is_words(key: str, text: str) -> bool:
    """Return whether a text under a key may be something that somebody said."""
    if key in LABELS and (len(text) < WORDY or not any(map(str.isspace, text))):
        return False
    text = text.strip()
    if not _SAYS_SOMETHING.search(text):
        return False
    is_machine = len(text) <= _LONGEST_MACHINE and _MACHINE.fullmatch(text) is not None
    return not is_machine or bool(_ADDRESS.match(text))


def words_in(value: object, skip: frozenset[str] = frozenset()) -> Iterator[str]:
    """Return the texts in a value that may be something that somebody said."""
    return (text for key, text in _texts(value, skip, frozenset()) if is_words(key, text))


def _texts(value: object, known_keys: frozenset[str], settled_keys: Any) -> Iterator[tuple[str, str]]:
    """Yield each text in a value, with the key that it stands under."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            if id(value) not in settled_keys:
                yield key, value
        elif isinstance(value, dict):
            if id(value) not in settled_keys:
                waiting.extend(
                    (name, item) for name, item in value.items() if name not in known_keys and item
                )
        elif isinstance(value, list) and id(value) not in settled_keys:
            waiting.extend((key, item) for item in value if item)


class _Taken:
    """What conversations say, to be searched through."""

    def __init__(self, conversations: list[Conversation]) -> None:
        self._texts: set[str] = set()
        self._long: list[str] = []
        self._budget = _SCAN_BUDGET
        for conversation in conversations:
            self._add_session(conversation)
        self._folded: str | None = None
        self._haystack = "\n".join(self._long)

    def has_whole(self, text: str) -> bool:
        """Return whether a text is there as it is: a quick look, which most texts need only."""
        return text in self._texts

    def has(self, text: str) -> bool:
        """Return whether a text is there: as it is, as a part of one, or line for line."""
        stripped = text.strip()
        if stripped in self._texts or self._is_inside(stripped):
            return True
        lines = [line.strip() for line in stripped.splitlines()]
        if len(lines) > 1 and all(self._has_line(line) for line in lines):
            return True
        return self._is_folded_inside(stripped)

    def _has_line(self, line: str) -> bool:
        return line in self._texts or self._is_inside(line) or not is_words("", line)

    def _is_inside(self, text: str) -> bool:
        if len(text) < SHORT or self._budget < 0:
            return False
        self._budget -= len(self._haystack)
        return text in self._haystack

    def _is_folded_inside(self, text: str) -> bool:
        """Find a text that stands in a message with other blanks, quotes or escapes."""
        if len(text) < SHORT or self._budget < 0:
            return False
        if self._folded is None:
            self._folded = _PUNCTUATION.sub("", self._haystack)
        folded = _PUNCTUATION.sub("", text)
        self._budget -= len(self._folded)
        return len(folded) >= SHORT and folded in self._folded

    def _add_session(self, conversation: Conversation) -> None:
        session = conversation.session
        self._add(session.title)
        self._add(session.id)
        self._add(session.routing_policy)
        for struct in (session.metadata, session.context):
            self._add_struct(struct)
        for text in conversation.rewritten:
            self._add(text)
        for message in conversation.messages:
            for part in message.parts:
                self._add_part(part)

    def _add_struct(self, struct: Struct) -> None:
        if struct.fields:
            for _, text in _texts(from_struct(struct), frozenset(), frozenset()):
                self._add(text)

    def _add_part(self, part: messages_pb2.Part) -> None:
        match part.WhichOneof("kind"):
            case "text":
                self._add(part.text)
            case "reasoning":
                self._add(part.reasoning)
            case "image":
                self._texts.add(encode(part.image))
                self._texts.add(f"data:{part.image.media_type};base64,{encode(part.image)}")
            case "tool_call":
                self._add(part.tool_call.name)
                self._add_json(part.tool_call.arguments_json)
            case "tool_result":
                self._add_json(part.tool_result.content)

    def _add_json(self, text: str) -> None:
        """Account for a text that may be JSON: the source may have it as an object."""
        self._add(text)
        if not text.lstrip().startswith(("{", "[", '"')):
            return
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
        for _, each in _texts(value, frozenset(), frozenset()):
            self._add(clean(each))

    def _add(self, text: str) -> None:
        text = text.strip()
        if not text or text in self._texts:
            return
        self._texts.add(text)
        self._texts.update(line.strip() for line in text.splitlines())
        if len(text) >= SHORT:
            self._long.append(text)


def _quote(key: str) -> str:
    """Return a key as a note tells it: whoever wrote the file chose it."""
    return repr(key[: SHORT * 3]) if key else "no key"


def leftover(document: Mapping[str, Any], known_keys: frozenset[str]) -> dict[str, Any]:
    """Return what a document has under keys that a reader does not know: numbers, texts, true and false."""
    return {
        key: value
        for key, value in document.items()
        if key not in known_keys and isinstance(value, str | int | float | bool) and value != ""
    }
