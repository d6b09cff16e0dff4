"""The formats by name: which one a value is in, and how each is read and written."""

from __future__ import annotations

import hashlib
import json as plain_json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from oblix._convert.validation import describe, invalid
from oblix.errors import InvalidArgumentError
from oblix.formats import accounting, jsonl, limits, oblix_json
from oblix.formats.chats import (
    bigagi,
    chatgpt,
    claude,
    deepseek,
    grok,
    librechat,
    lmstudio,
    openwebui,
    pairs,
    plain,
    sharegpt,
)
from oblix.formats.conversations import Conversation, fill_session_times, mapping, objects, unreadable
from oblix.formats.exports import claude_code, codex, finetuning, html_page, markdown, opencode
from oblix.v1 import messages_pb2, sessions_pb2

MAX_SOURCE_ID = 512

Dump = Callable[[sessions_pb2.Session, list[messages_pb2.Message]], str]


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read."""

    name: str
    matches: Callable[[object], bool]
    load: Callable[[Mapping[str, Any]], Conversation]
    known: frozenset[str] = frozenset()
    """Keys whose values hold no words of the conversation."""
    has_unique_ids: bool = False
    """Whether an id of this format is nobody else's: then what is imported again can grow."""
    is_own: bool = False
    """Whether Oblix writes it: then a session without messages is one, too."""

    def read(self, value: object) -> Conversation:
        """Read one conversation. Its session has a `source_id`: the same again is known by it.

        Every text of the value is in the conversation, or in its notes. Raises InvalidArgumentError, with
        the path of what is wrong, where there is no conversation in it.
        """
        conversation = self.load(mapping(value, "it"))
        name = f"{self.name}:{conversation.session.id}"
        is_usable = conversation.session.id and len(name) <= MAX_SOURCE_ID
        conversation.session.source_id = name if is_usable else f"{self.name}:sha256:{digest(value)}"
        for each in (conversation, *conversation.branches):
            fill_session_times(each)
        return finish(conversation, self.known)


def finish(conversation: Conversation, known_keys: frozenset[str] = frozenset()) -> Conversation:
    """Return the conversation with an account of its words, and within the daemon's limits.

    Raises InvalidArgumentError where there are words, and none could be read.
    """
    accounting.check(conversation, known_keys)
    conversation.source = None
    if not conversation.messages:
        if any("words under" in note or "messages" in note for note in conversation.notes):
            left = "; ".join(conversation.notes)
            raise unreadable("it", f"none of its words could be read ({left})", reason="NOTHING_READ")
        conversation.note("there are no messages in it")
    for each in (conversation, *conversation.branches):
        limits.fit(each)
    for branch in conversation.branches:
        source_id = f"{conversation.session.source_id}#{branch.session.id.rpartition('#')[2]}"
        branch.session.source_id = (
            source_id if len(source_id) <= MAX_SOURCE_ID else f"sha256:{digest(source_id)}"
        )
        if branch.fork is not None:
            branch.fork = type(branch.fork)(conversation.session.source_id, branch.fork.message_count)
    return conversation


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file of several sessions is written."""

    dump: Dump
    start: str = ""
    between: str = ""
    end: str = ""
    is_single: bool = False
    """Whether a file holds one session and no more."""


# In the order in which they are tried: the more a format asks for, the sooner.
_READERS: dict[str, ModuleType] = {
    "deepseek": deepseek,
    "chatgpt": chatgpt,
    "claude": claude,
    "openwebui": openwebui,
    "librechat": librechat,
    "lmstudio": lmstudio,
    "bigagi": bigagi,
    "grok": grok,
    "sharegpt": sharegpt,
    "json": oblix_json,
    "jsonl": jsonl,
    "pairs": pairs,
    "plain": plain,
}
_OWN = frozenset(("json", "jsonl"))
_UNIQUE = frozenset(("deepseek", "grok", "chatgpt", "claude", "openwebui", "librechat", "bigagi"))
READ = {
    name: Format(
        name,
        module.matches,
        module.read,
        getattr(module, "KNOWN", frozenset()),
        name in _UNIQUE,
        name in _OWN,
    )
    for name, module in _READERS.items()
}
WRITTEN = {
    "json": Layout(lambda *session: oblix_json.dump(*session).rstrip(), "[\n", ",\n", "\n]\n"),
    "jsonl": Layout(jsonl.dump),
    "markdown": Layout(markdown.dump, between="\n---\n\n"),
    "html": Layout(html_page.dump, html_page.START, end=html_page.END),
    "openai": Layout(finetuning.dump_openai),
    "sharegpt": Layout(finetuning.dump_sharegpt),
    "codex": Layout(codex.dump, is_single=True),
    "claude-code": Layout(claude_code.dump, is_single=True),
    "opencode": Layout(opencode.dump, is_single=True),
}
SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
}
_CONTAINERS = (
    "conversations", "chats", "chat-sessions", "threads", "sessions", "data", "items", "history",
)  # fmt: skip
"""Keys under which a document may have a list of conversations."""


def reader(name: str) -> Format:
    """Return the format of this name. Raises InvalidArgumentError."""
    if name not in READ:
        raise _unknown(name, sorted(READ))
    return READ[name]


def writer(name: str | None, suffix: str) -> str:
    """Choose the format to write: the requested one, else that of the file's suffix. Raises OblixError."""
    chosen = SUFFIXES.get(suffix.lower(), "") if name is None else name
    if chosen not in WRITTEN:
        raise _unknown(name if name is not None else f"a file that ends in {suffix!r}", sorted(WRITTEN))
    return chosen


def detect(value: object) -> Format | None:
    """Return the format that a value is in, None where it is none that is known."""
    return next((format_ for format_ in READ.values() if format_.matches(value)), None)


def each_in(value: object) -> Iterator[object]:
    """List the conversations of a value: those of a document with a list of them, else the value itself."""
    if isinstance(value, dict):
        for key in _CONTAINERS:
            inner = objects(value.get(key))
            if inner and (format_ := detect(inner[0])) is not None and format_.name != "plain":
                yield from value[key]
                return
    yield value


def digest(value: object) -> str:
    """Return a hash of a JSON value."""
    return hashlib.sha256(plain_json.dumps(value, sort_keys=True).encode()).hexdigest()


def _unknown(name: object, names: Sequence[str]) -> InvalidArgumentError:
    return invalid("format", f"one of {', '.join(names)}", describe(name), "UNKNOWN_FORMAT")
