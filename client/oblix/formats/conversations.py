"""What every reader gives, and how readers look at values that somebody else wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf import json_format

from oblix._convert.validation import describe, invalid
from oblix.errors import InvalidArgumentError
from oblix.v1 import messages_pb2, sessions_pb2

M = TypeVar(
    "M",
    messages_pb2.Message,
    messages_pb2.Part,
    messages_pb2.ProviderState,
    messages_pb2.Usage,
    sessions_pb2.Session,
)

MAX_NOTES = 20
"""Of different texts that one conversation's notes may have. More are counted together."""
_MORE = "more of other kinds left out"


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a conversation was forked from another one."""

    source_id: str
    """The `source_id` of the other one."""
    message_count: int
    """How many of its messages the two share. They are in both."""


@dataclass(slots=True)
class Conversation:
    """One conversation as a reader understood it."""

    session: sessions_pb2.Session
    """Its `id` is what the file calls it: any text, or empty."""
    messages: list[messages_pb2.Message] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    """What was left out or kept in another way, and how often."""
    source: object = None
    """What it was read from. Every text in it is in the messages, in the notes, or known to be no words."""
    branches: list[Conversation] = field(default_factory=list)
    """The other branches of a tree, each from its beginning."""
    fork: Fork | None = None
    """Where it comes from, for a branch or a fork."""
    settled: dict[int, object] = field(default_factory=dict)
    """Values of the source that need no further account, by their `id()`."""
    rewritten: list[str] = field(default_factory=list)
    """Texts of the source that the messages have in another form."""

    def note(self, what: str, count: int = 1) -> None:
        """Say that something was left out or kept in another way."""
        is_known = what in self.notes or len(self.notes) < MAX_NOTES
        self.notes[what if is_known else _MORE] += count

    def leave_out(self, value: object, why: str) -> None:
        """Leave out a value of the source, with all that is in it, and say so."""
        self.note(why)
        self.pass_over(value)

    def pass_over(self, value: object) -> None:
        """Leave out a value of the source that holds no words, or words that stand elsewhere, too."""
        self.settled[id(value)] = value

    def add(
        self,
        item: object,
        path: str,
        read: Callable[[], messages_pb2.Message | None],
        *,
        keep_empty: bool = False,
    ) -> bool:
        """Add the message that `read` gives. Tells whether it was added.

        One that can't be read is left out, with a note; one without content, silently, unless
        `keep_empty` is set.
        """
        try:
            message = read()
        except (InvalidArgumentError, ValueError, TypeError) as error:
            why = error.message if isinstance(error, InvalidArgumentError) else f"{path}: {error}"
            self.leave_out(item, f"messages that can't be read left out ({why.removesuffix('.')})")
            return False
        if message is None or not (message.parts or keep_empty):
            return False
        self.messages.append(message)
        return True


def keys(names: str) -> frozenset[str]:
    """Names with blanks between them, as a set."""
    return frozenset(names.split())


def unreadable(
    source: str, problem: str, metadata: Mapping[str, str] | None = None, reason: str = "UNREADABLE_FILE"
) -> InvalidArgumentError:
    """Return the error for a file, or a place in it, that can't be read. `source` names it."""
    return InvalidArgumentError(
        f"{source} can't be imported: {problem}.",
        reason=reason,
        metadata={"file": source, "problem": problem, **(metadata or {})},
    )


def mapping(value: object, path: str) -> Mapping[str, Any]:
    """Return the value where it is a JSON object. Raises InvalidArgumentError with its path."""
    if not isinstance(value, dict):
        raise invalid(path, "an object", describe(value))
    return value


def items(value: object, path: str) -> list[Any]:
    """Return the value where it is a list. Raises InvalidArgumentError with its path."""
    if not isinstance(value, list):
        raise invalid(path, "a list", describe(value))
    return value


def objects(value: object) -> list[Mapping[str, Any]]:
    """Return the objects in a list, empty for what is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def object_of(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object under a key, empty where there is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def clean(content: str) -> str:
    """Return the text with a replacement character for each lone surrogate, which no UTF-8 can carry."""
    try:
        content.encode()
    except UnicodeEncodeError:
        return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return content


def string(document: Mapping[str, Any], *keys: str) -> str:
    """Return the first text under one of the keys, empty where there is none. Numbers are written as text."""
    for key in keys:
        value = document.get(key)
        if isinstance(value, str) and value:
            return clean(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return ""


def flag(document: Mapping[str, Any], key: str) -> bool:
    """Return the true or false under a key, false where there is none. Raises InvalidArgumentError."""
    value = document.get(key)
    if value is not None and not isinstance(value, bool):
        raise invalid(key, "true or false", describe(value))
    return bool(value)


def fill_times(conversation: Conversation) -> None:
    """Give a message without a time that of the one before, or of the session: not that of the import."""
    last = conversation.session.create_time if conversation.session.HasField("create_time") else None
    for message in conversation.messages:
        if not message.HasField("create_time") and last is not None:
            message.create_time.CopyFrom(last)
        last = message.create_time if message.HasField("create_time") else None


def fill_session_times(conversation: Conversation) -> None:
    """Give a session without times those of its first and its last message: not that of the import."""
    session = conversation.session
    timed = [each.create_time for each in conversation.messages if each.HasField("create_time")]
    if timed and not session.HasField("create_time"):
        session.create_time.CopyFrom(timed[0])
    if timed and not session.HasField("update_time"):
        session.update_time.CopyFrom(max(timed, key=lambda each: each.ToNanoseconds()))


def message_from(value: object, into: M, path: str) -> M:
    """Read a message of oblix.v1 from its JSON form. Raises InvalidArgumentError with its path."""
    try:
        return json_format.ParseDict(dict(mapping(value, path)), into)
    except (json_format.ParseError, UnicodeEncodeError) as error:
        raise invalid(path, f"what {into.DESCRIPTOR.name} of oblix.v1 holds", error) from None
