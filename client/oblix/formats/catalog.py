"""The formats by name: which one a value is in, and how each is read and written."""

from __future__ import annotations

import hashlib
import json as plain_json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oblix._checks import invalid, shown
from oblix.errors import InvalidArgumentError
from oblix.formats import chatgpt, json, jsonl, markdown, openwebui, sharegpt
from oblix.formats.conversations import Conversation, mapping
from oblix.v1 import messages_pb2, sessions_pb2

MAX_SOURCE_ID = 512

Dump = Callable[[sessions_pb2.Session, list[messages_pb2.Message]], str]


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read."""

    name: str
    matches: Callable[[object], bool]
    load: Callable[[Mapping[str, Any]], Conversation]

    def read(self, value: object) -> Conversation:
        """Read one conversation. Its session has a `source_id`: the same again is known by it.

        Raises InvalidArgumentError with the path of what is wrong.
        """
        conversation = self.load(mapping(value, "it"))
        name = f"{self.name}:{conversation.session.id}"
        is_usable = conversation.session.id and len(name) <= MAX_SOURCE_ID
        conversation.session.source_id = name if is_usable else f"{self.name}:sha256:{_digest(value)}"
        return conversation


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file of several sessions is written."""

    dump: Dump
    start: str = ""
    between: str = ""
    end: str = ""


# In the order in which they are tried: the last two both have "messages".
READ = {
    name: Format(name, module.matches, module.read)
    for name, module in {
        "chatgpt": chatgpt,
        "openwebui": openwebui,
        "sharegpt": sharegpt,
        "json": json,
        "jsonl": jsonl,
    }.items()
}
WRITTEN = {
    "json": Layout(lambda *session: json.dump(*session).rstrip(), "[\n", ",\n", "\n]\n"),
    "jsonl": Layout(jsonl.dump),
    "markdown": Layout(markdown.dump, between="\n---\n\n"),
}
SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".md": "markdown",
    ".markdown": "markdown",
}


def reader(name: str) -> Format:
    """The format of this name. Raises InvalidArgumentError."""
    if name not in READ:
        raise _unknown(name, sorted(READ))
    return READ[name]


def writer(name: str | None, suffix: str) -> str:
    """The format to write: the one that was asked for, else that of the file's suffix. Raises OblixError."""
    chosen = SUFFIXES.get(suffix.lower(), "") if name is None else name
    if chosen not in WRITTEN:
        raise _unknown(name if name is not None else f"a file that ends in {suffix!r}", sorted(WRITTEN))
    return chosen


def detect(value: object) -> Format | None:
    """The format that a value is in, None where it is none that is known."""
    return next((format_ for format_ in READ.values() if format_.matches(value)), None)


def _unknown(name: object, known: Sequence[str]) -> InvalidArgumentError:
    return invalid("format", f"one of {', '.join(known)}", shown(name), "UNKNOWN_FORMAT")


def _digest(value: object) -> str:
    return hashlib.sha256(plain_json.dumps(value, sort_keys=True).encode()).hexdigest()
