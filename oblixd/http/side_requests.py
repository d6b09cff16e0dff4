"""Tell what a tool asks for itself from what a person asks: titles, tags, summaries, commit messages.

Tools of all kinds send such requests beside a conversation, with instructions of their own words. They
are known by what those instructions want (a title, a summary ...) and of what (a conversation, a diff),
never by a tool's name. A person's words must not be taken for one of them: a system message counts only
where no tools are offered, and a user's message only in the forms that people do not write.

Instructions in other languages than English are known by their shape: the request repeats a conversation
that is recorded, and differs from its prompts in the system message, the tools and the limits at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from oblix.v1 import executions_pb2, messages_pb2

OPENING = 600
"""Characters of a text in which its instruction stands."""
QUOTED, MIN_QUOTED = 40, 4
"""By so many characters a quoted text is known. Chinese says a question in four."""
_ALONE = r"(?<!\w)(?<!\w ){}(?!\w)(?! \w)"
"""A text with no other word before or behind it in its line."""
MIN_TEMPLATE = 300
"""A request for a summary that is shorter may be a person's."""

_VERB = (
    r"\b(?:generat|creat|writ|provid|produc|output|repl|respond|giv|suggest|extract|summari[sz]|"
    r"condens|compact|determin|analy[sz]|compos|com(?:e|ing) up|tasked with|specializ)\w*"
)
_TITLE = r"(?:titles?\b|topics?\b|tags\b|follow-?ups?\b|name for (?:this|the)\b|search quer)"
_NAME = rf"(?:{_TITLE}|commit messages?\b)"
_SUMMARY = r"(?:summar\w+|compaction|handoff|condens\w+)"
_SUBJECT = (
    r"\b(?:conversations?|chats?|threads?|sessions?|dialog(?:ue)?s?|messages?|history|diffs?|transcripts?)\b"
)
_OWN = re.compile(
    rf"\btitle generator\b|{_VERB}[^.\n]{{0,120}}?(?:{_NAME}|{_SUMMARY})|{_SUMMARY} assistant\b|"
    rf"\b(?:summari[sz]|condens|compact)\w*[^.\n]{{0,60}}?{_SUBJECT}",
    re.IGNORECASE,
)
_MEMORY = re.compile(
    r"\b(?:extract|consolidat|updat|record|sav|stor)\w*[^.\n]{0,80}\b(?:memor(?:y|ies)|facts)\b|"
    r"\bmemor(?:y|ies)\b[^.\n]{0,40}\b(?:extract|consolidat|sub-?agent)",
    re.IGNORECASE,
)
_NAMING = re.compile(_NAME, re.IGNORECASE)
_TITLE_WISH = re.compile(rf"^\W*(?:task\W+|please\W+)*{_VERB}[^.\n]{{0,120}}?{_TITLE}", re.IGNORECASE)
_SUMMARY_WISH = re.compile(
    rf"{_VERB}[^.\n]{{0,160}}?{_SUMMARY}|{_SUMMARY}[^.\n]{{0,80}}\b(?:create|for another)\b", re.IGNORECASE
)
_ABOUT = re.compile(_SUBJECT, re.IGNORECASE)
_SO_FAR = re.compile(
    r"\b(?:conversation|chat|session|history|work|context)\b[^.\n]{0,80}"
    r"\b(?:so far|above|until now|limit|window)\b|"
    r"\b(?:our|this|the current|the above|internal) (?:conversation|chat|session|history|thread)\b|"
    r"\b(?:context|checkpoint|history) (?:checkpoint|compaction|compression)\b|\bcompaction\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"^\W*task\b|<(?:chat_history|conversation|transcript)>", re.IGNORECASE)

_WRITTEN = re.compile(r"([0-9a-f]{16}):([01]):([01]):([0-9]{1,10}):([01])")
"""A shape as a session's metadata keep it. Any client of the user's can write there, too."""


class Side(StrEnum):
    """What a tool wants for itself."""

    TITLE = "title"
    """A name, tags, follow-up questions or a commit message."""
    SUMMARY = "summary"
    """The conversation in fewer words, to go on from."""
    MEMORY = "memory"
    """What to remember of the conversation: it is read once more, by an agent of the tool's own."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What stays the same from prompt to prompt of a conversation, whatever is said in it."""

    system: str
    """A digest of the system messages' beginning."""
    tools: bool
    stream: bool
    max_tokens: int
    is_structured: bool

    @classmethod
    def of(cls, request: executions_pb2.ExecuteRequest, *, stream: bool) -> Shape:
        """Return a request's shape."""
        openings = [_text(one)[:OPENING] for one in request.input if one.role == messages_pb2.ROLE_SYSTEM]
        system = hashlib.sha256("\n".join(openings).encode()).hexdigest()[:16]
        options = request.options
        return cls(system, bool(request.tools), stream, options.max_tokens, bool(options.response_schema))

    @classmethod
    def read(cls, text: str) -> Shape | None:
        """Read what `str` wrote; None where it wrote nothing, or a client something else."""
        if (parts := _WRITTEN.fullmatch(text)) is None:
            return None
        system, tools, stream, limit, structured = parts.groups()
        return cls(system, tools == "1", stream == "1", int(limit), structured == "1")

    def __str__(self) -> str:
        """Write it as a session's metadata keep it."""
        return f"{self.system}:{self.tools:d}:{self.stream:d}:{self.max_tokens}:{self.is_structured:d}"

    def is_aside_of(self, known: Shape, *, quotes_answer: bool) -> bool:
        """Tell whether a request of this shape about a conversation of that shape is the tool's own.

        A person may change the mode of a tool, and with it tools and instructions, but not its limits.
        """
        lost_tools = known.tools and not self.tools
        other_system = self.system != known.system
        other_form = (
            self.stream != known.stream
            or self.max_tokens != known.max_tokens
            or (self.is_structured and not known.is_structured)
        )
        if quotes_answer:
            return other_system and not self.tools and (lost_tools or other_form)
        return lost_tools and other_system and other_form


def quotes(sent: str, said: str) -> bool:
    """Tell whether a text repeats what was said, as JSON or in quotation marks, too; perhaps cut."""
    beginning = re.split(r'["\\\n]', said.strip(), maxsplit=1)[0][:QUOTED]
    if len(beginning) < MIN_QUOTED or beginning not in sent:
        return False
    # A few words may as well be part of a sentence of a person's.
    return len(beginning) == QUOTED or re.search(_ALONE.format(re.escape(beginning)), sent) is not None


def side_of(request: executions_pb2.ExecuteRequest) -> Side | None:
    """Return what a tool asks for itself; None for a person's prompt."""
    openings = [_text(one)[:OPENING] for one in request.input if one.role == messages_pb2.ROLE_SYSTEM]
    spoken = [one for one in request.input if one.role != messages_pb2.ROLE_SYSTEM]
    own = next((text for text in openings if _OWN.search(text) and _ABOUT.search(text)), None)
    if own is not None and not request.tools:
        return Side.TITLE if _NAMING.search(own) else Side.SUMMARY
    if any(_MEMORY.search(text) and _ABOUT.search(text) for text in openings) and _has_answer(spoken):
        return Side.MEMORY
    last = _text(spoken[-1]) if spoken and spoken[-1].role == messages_pb2.ROLE_USER else ""
    if not request.tools and _wants_title(last):
        return Side.TITLE
    return Side.SUMMARY if _has_answer(spoken) and _wants_summary(last) else None


def _wants_title(text: str) -> bool:
    """Tell whether a user's message is a template that asks to name or to tag a conversation."""
    opening = text[:OPENING]
    if not (_TITLE_WISH.search(opening) and _ABOUT.search(opening)):
        return False
    return bool(_QUOTED.search(text) or len(text) >= MIN_TEMPLATE)


def _wants_summary(text: str) -> bool:
    """Tell whether a user's message is a template that has the conversation before it shortened."""
    opening = text[:OPENING]
    return bool(len(text) >= MIN_TEMPLATE and _SUMMARY_WISH.search(opening) and _SO_FAR.search(opening))


def _has_answer(messages: Iterable[messages_pb2.Message]) -> bool:
    return any(one.role == messages_pb2.ROLE_ASSISTANT for one in messages)


def _text(message: messages_pb2.Message) -> str:
    return "".join(part.text for part in message.parts if part.WhichOneof("kind") == "text")
