"""Keep what a tool says and hears as a session, though the tool sends its whole conversation each time.

A tool's request ends with what is new: the messages after the last answer. These are recorded, and
the model gets the conversation as the tool sent it, which may have shortened or edited it. What is
recorded already is never recorded again: a question that a tool sends once more is answered anew.
What a tool asks for itself, for example a title, is not recorded, unless the request names a session.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from google.protobuf.struct_pb2 import Struct
from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2

from oblixd.errors import NotFoundError, OblixdError
from oblixd.execution import check
from oblixd.http.prompt import Prompt
from oblixd.http.side_requests import Shape, Side, quotes, side_of
from oblixd.sessions import Sessions

NEW = "new"
TOKENS = "tokens"
"""The key under a session's metadata `http` that lists the tokens that were given it, by name."""
MAX_TITLE = 80
_ANSWER, _SYSTEM = messages_pb2.ROLE_ASSISTANT, messages_pb2.ROLE_SYSTEM
_AFTER_ALL = 2**63 - 1
_TAGGED = re.compile(r"\A(?:\s*<([a-z][\w-]*)>.*?</\1>)+", re.DOTALL)
"""What a tool puts before a person's words, for example `<system-reminder>` or `<environment_context>`."""
PARAGRAPH = "\n\n"
RESPONSE_PREFIX = "resp_"
JUST_NOW = 5
"""A tool asks for itself right after a question or an answer: in one of so many newest sessions."""
LOOKED_AT = 20
"""Sessions with the same mark that are looked at, newest first."""
EARLIER = 4
"""By so many of its newest answers a conversation is known."""
TELLING = 40
"""An answer of so many characters tells its conversation, also where the tool has dropped its question."""
MIN_REMINDER = 100
"""So many characters that end a question and a system message are the tool's: aider repeats them."""
MAX_SUMMARIES = 256
SUMMARY_BEGINNING = 200
"""By so many characters of a summary the conversation is known that goes on from it."""


@dataclass(frozen=True, slots=True)
class SessionMessages:
    """A request's messages by what they are to the session."""

    context: Sequence[messages_pb2.Message]
    """What the tool holds of the conversation so far, system messages among it."""
    fresh: Sequence[messages_pb2.Message]
    """What came after the last answer: from the person or from tools."""

    @classmethod
    def of(cls, messages: Sequence[messages_pb2.Message]) -> SessionMessages:
        """Part a request's messages at its last answer."""
        last = max((at for at, message in enumerate(messages) if message.role == _ANSWER), default=-1)
        after = messages[last + 1 :]
        systems = [message for message in after if message.role == _SYSTEM]
        fresh = [message for message in after if message.role != _SYSTEM]
        told = list(takewhile(_is_tools_own, fresh[:-1]))
        return cls([*messages[: last + 1], *systems, *told], fresh[len(told) :])

    @property
    def last_answer(self) -> messages_pb2.Message | None:
        """Return the newest answer that the tool holds; None in the first turn."""
        return next((one for one in reversed(self.context) if one.role == _ANSWER), None)

    def after(self, text: str) -> SessionMessages:
        """Return the same with what stands behind a text as new. Where nothing does, nothing changes."""
        at = next((at for at, one in enumerate(self.fresh) if text in _text(one)), len(self.fresh))
        rest = self.fresh[at + 1 :]
        return SessionMessages([*self.context, *self.fresh[: at + 1]], rest) if rest else self


@dataclass(frozen=True, slots=True)
class _Summary:
    """What a tool had a conversation shortened to."""

    owner: str
    session_id: str
    beginning: str


class Conversations:
    """Finds or makes the session of a request, and says what of it is new."""

    def __init__(self, sessions: Sessions, *, recognises: bool) -> None:
        """`recognises`: whether requests that name no session are recorded, too."""
        self._sessions = sessions
        self._recognises = recognises
        self._summaries: deque[_Summary] = deque(maxlen=MAX_SUMMARIES)
        """Newest last. They are not kept over a restart: the conversation then goes on as a new session."""
        sessions.on_removed(self._drop_summaries)

    async def attach(self, prompt: Prompt, owner: str, session_name: str) -> None:
        """Bind a prompt to its session. `session_name` is an id, `new`, or empty; `owner` the token's name,
        without what tells the runs of a tool apart.

        Raises NotFoundError SESSION_NOT_FOUND, also for one that this token neither made nor was
        given, and RESPONSE_NOT_FOUND for an answer that is not kept.
        """
        request = prompt.request
        shape = prompt.shape = Shape.of(request, stream=prompt.stream)
        if prompt.previous_response_id:
            request.session_id = await self._session_ending_with(prompt.previous_response_id, owner)
            return
        session_name = session_name or (NEW if prompt.store else "")
        if session_name or self._recognises:
            # A request that is refused leaves no session behind.
            check(request)
        said = SessionMessages.of(request.input)
        side = self._side(request, said, owner, shape) if not session_name and self._recognises else None
        if side is not None:
            prompt.side = side
            prompt.summarized_id = self._summarized_id(said, owner) if side is Side.SUMMARY else ""
            return
        summary = self._held_summary(said, owner) if not session_name and self._recognises else None
        said = said if summary is None else said.after(summary.beginning)
        session_name = session_name or (summary.session_id if summary else "")
        session = await self._session(said, owner, session_name, shape)
        if session is None:
            return
        request.session_id = session.id
        request.client_context.messages.extend(said.context)
        tail = self._tail(session.id)
        del request.input[:]
        if again := tail.regenerated_id(said):
            request.regenerate_message_id = again
        else:
            request.input.extend(said.fresh[_common(said.fresh, tail.unanswered_messages) :])

    async def answered(
        self, prompt: Prompt, completion: executions_pb2.ExecutionCompleted, owner: str
    ) -> None:
        """Note the answer by which the conversation's next request is recognised."""
        beginning = _text(completion.message).strip()[:SUMMARY_BEGINNING]
        if prompt.summarized_id and len(beginning) >= TELLING:
            self._summaries.append(_Summary(owner, prompt.summarized_id, beginning))
        if not completion.session_id or not self._recognises:
            return
        known = self._sessions.get(completion.session_id).metadata.fields["http"].struct_value.fields
        new = digest(completion.message)
        before = known["answer"].string_value
        session = sessions_pb2.Session(id=completion.session_id)
        told: dict[str, Any] = {
            "owner": known["owner"].string_value or owner,
            "answer": new,
            "before": before,
            "shape": str(prompt.shape or ""),
        }
        if TOKENS in known:
            told[TOKENS] = [one.string_value for one in known[TOKENS].list_value.values]
        session.metadata.update({"http": told})
        await self._sessions.update(session, ["metadata.http"])

    def _side(
        self, request: executions_pb2.ExecuteRequest, messages: SessionMessages, owner: str, shape: Shape
    ) -> Side | None:
        """Return what a tool asks for itself: by its words, else by its shape beside a conversation's."""
        side = side_of(request)
        if side is not None or shape.tools:
            return side
        if messages.last_answer is not None:
            known = self._recognise(messages, owner)
            is_own = known is not None and _is_aside(shape, known, quotes_answer=False)
            return Side.SUMMARY if is_own else None
        sent = "\n".join(_text(one) for one in messages.fresh)
        for session in self._find_sessions(owner)[:JUST_NOW]:
            tail = self._tail(session.id)
            if not any(quotes(sent, _text(one)) for one in (*tail.question, *tail.unanswered_messages)):
                continue
            quotes_answer = tail.answer is not None and quotes(sent, _text(tail.answer))
            if _is_aside(shape, session, quotes_answer=quotes_answer):
                return Side.TITLE
        return None

    async def _session(
        self, messages: SessionMessages, owner: str, name: str, shape: Shape
    ) -> sessions_pb2.Session | None:
        if name and name != NEW:
            return self._owned_session(name, owner)
        if name != NEW and not self._recognises:
            return None
        if name != NEW and (known := self._recognise(messages, owner)) is not None:
            return known
        return await self._make(messages, owner, shape)

    def _owned_session(self, session_id: str, owner: str) -> sessions_pb2.Session:
        session = self._sessions.get(session_id)
        if "http" not in session.metadata.fields or not _may_use(session, owner):
            message = f"There is no session {session_id[:128]!r} that this token may use."
            raise NotFoundError("SESSION_NOT_FOUND", message, session_id=session_id[:128])
        return session

    def _recognise(self, messages: SessionMessages, owner: str) -> sessions_pb2.Session | None:
        """Find the session whose newest answer is the newest that the tool holds.

        Without an answer, only a question that still waits for one is known again: two runs
        that begin with the same words are two conversations.
        """
        held = digest(messages.last_answer) if messages.last_answer else ""
        known = self._find_sessions(owner, "answer", held)
        if held and (ended := self._ended_so(known, messages)) is not None:
            return ended
        # The tool wants another answer to its newest question; it may hold answers that are no model's.
        again = self._find_sessions(owner, "before", held) if held else known
        same = next((one for one in again if self._tail(one.id).regenerated_id(messages)), None)
        return same or self._ended_earlier(messages, owner)

    def _ended_earlier(self, messages: SessionMessages, owner: str) -> sessions_pb2.Session | None:
        """Find the session by an earlier answer: the newest may be half of one, or written by the tool."""
        answers = [one for one in reversed(messages.context) if one.role == _ANSWER][1:EARLIER]
        for answer in answers:
            known = self._find_sessions(owner, "answer", digest(answer))
            if (ended := self._with_held_question(known, messages)) is not None:
                return ended
        return None

    def _ended_so(
        self, found: Sequence[sessions_pb2.Session], messages: SessionMessages
    ) -> sessions_pb2.Session | None:
        """Return the one of these whose last question the tool holds, too; else one with a telling answer."""
        if (held := self._with_held_question(found, messages)) is not None:
            return held
        is_telling = messages.last_answer is not None and len(_text(messages.last_answer)) >= TELLING
        return found[0] if found and is_telling else None

    def _with_held_question(
        self, found: Sequence[sessions_pb2.Session], messages: SessionMessages
    ) -> sessions_pb2.Session | None:
        """Return the one of these whose last question the tool holds, too."""
        if not found:
            return None
        systems = [_text(one) for one in messages.context if one.role == _SYSTEM]
        held = {_own_words(one, systems) for one in messages.context}
        for session in found:
            question = self._tail(session.id).question
            if question and _own_words(question[-1], systems) in held:
                return session
        return None

    def _summarized_id(self, messages: SessionMessages, owner: str) -> str:
        """Return the session that a tool has shortened: it sends it as it is, or quotes it in a message."""
        if (known := self._recognise(messages, owner)) is not None:
            return known.id
        sent = "\n".join(_text(one) for one in messages.fresh)
        for session in self._find_sessions(owner):
            tail = self._tail(session.id)
            asked = [_text(one).strip() for one in (*tail.question, *tail.unanswered_messages)]
            if any(text and text in sent for text in asked):
                return session.id
        return ""

    def _held_summary(self, messages: SessionMessages, owner: str) -> _Summary | None:
        """Return the newest summary of this tool's that it sends in place of a conversation."""
        mine = [one for one in reversed(self._summaries) if one.owner == owner]
        texts = [_text(one) for one in (*messages.context, *messages.fresh)] if mine else []
        return next((one for one in mine if any(one.beginning in text for text in texts)), None)

    def _drop_summaries(self, session_id: str) -> None:
        """Drop what was said in a session that is gone: its conversation goes on as a new one."""
        try:
            self._sessions.get(session_id)
        except NotFoundError:
            for one in [one for one in self._summaries if one.session_id == session_id]:
                self._summaries.remove(one)
        except OblixdError:
            # It is damaged, and still there.
            return

    def _find_sessions(self, owner: str, key: str = "", value: str = "") -> Sequence[sessions_pb2.Session]:
        by = Struct()
        by.update({"http.owner": owner} | ({f"http.{key}": value} if key else {}))
        # A damaged one can't be continued, and keeps no other from it.
        found, _ = self._sessions.list(page_size=LOOKED_AT, page_token="", filter=by, damaged=[])
        return found

    async def _make(self, messages: SessionMessages, owner: str, shape: Shape) -> sessions_pb2.Session:
        session = sessions_pb2.Session(id=str(uuid.uuid4()), title=_title(messages.fresh))
        held = digest(messages.last_answer) if messages.last_answer else ""
        session.metadata.update({"http": {"owner": owner, "answer": "", "before": held, "shape": str(shape)}})
        return await self._sessions.create(session)

    async def _session_ending_with(self, response_id: str, owner: str) -> str:
        """Return the session in which an answer stands last: its own, or a fork where more was said since."""
        turn = self._sessions.recorded_turn(response_id.removeprefix(RESPONSE_PREFIX))
        if turn is None or turn.answer is None:
            message = (
                f"The response {response_id[:80]!r} is not kept: send store: true with the request that "
                "makes it, or send the conversation instead of previous_response_id."
            )
            raise NotFoundError("RESPONSE_NOT_FOUND", message, field="previous_response_id")
        session = self._owned_session(turn.session_id, owner)
        newest = next(iter(self._sessions.history(session.id, _AFTER_ALL)), None)
        if newest is not None and newest.sequence > turn.answer.sequence:
            session = await self._sessions.copy(session.id, None, turn.answer.sequence)
        return session.id

    def _tail(self, session_id: str) -> _Tail:
        """Read a session's end: its last whole answer, the question before it, and what came after."""
        messages = self._sessions.history(session_id, _AFTER_ALL)
        unanswered: list[messages_pb2.Message] = []
        for message in messages:
            if _is_whole_answer(message):
                question = list(takewhile(lambda one: one.role != _ANSWER, messages))
                return _Tail(list(reversed(unanswered)), message, list(reversed(question)))
            if message.role != _ANSWER:
                unanswered.append(message)
        return _Tail(list(reversed(unanswered)), None, [])


@dataclass(frozen=True, slots=True)
class _Tail:
    """The end of a session."""

    unanswered_messages: Sequence[messages_pb2.Message]
    """Questions that got no whole answer yet, oldest first."""
    answer: messages_pb2.Message | None
    """The newest whole answer."""
    question: Sequence[messages_pb2.Message]
    """What it answers."""

    def regenerated_id(self, messages: SessionMessages) -> str:
        """Return the id by which to answer anew, where the tool asks its newest question once more."""
        if self.unanswered_messages:
            same = _common(messages.fresh, self.unanswered_messages) == len(messages.fresh)
            return self.unanswered_messages[-1].id if same else ""
        if self.answer is None:
            return ""
        holds_answer = messages.last_answer is not None and digest(messages.last_answer) == digest(
            self.answer
        )
        same = _common(messages.fresh, self.question) == len(messages.fresh) == len(self.question)
        return self.answer.id if same and not holds_answer else ""


def _may_use(session: sessions_pb2.Session, token: str) -> bool:
    """Tell whether a token made a session, or was given it."""
    http = session.metadata.fields["http"].struct_value.fields
    given = (one.string_value for one in http[TOKENS].list_value.values) if TOKENS in http else ()
    return http["owner"].string_value == token or token in given


def _is_aside(shape: Shape, session: sessions_pb2.Session, *, quotes_answer: bool) -> bool:
    """Tell whether a request of this shape is the tool's own beside a session. Old ones lack their shape."""
    http = session.metadata.fields["http"].struct_value.fields
    known = Shape.read(http["shape"].string_value)
    return known is not None and shape.is_aside_of(known, quotes_answer=quotes_answer)


def digest(message: messages_pb2.Message) -> str:
    """Tell answers apart by their words and calls, however an API writes them."""
    text = _text(message).strip()
    calls = [
        [part.tool_call.name, _canonical(part.tool_call.arguments_json)]
        for part in message.parts
        if part.WhichOneof("kind") == "tool_call"
    ]
    results = [part.tool_result.content for part in message.parts if part.WhichOneof("kind") == "tool_result"]
    known = json.dumps([message.role, text, calls, results], ensure_ascii=False)
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def _common(fresh: Sequence[messages_pb2.Message], recorded: Sequence[messages_pb2.Message]) -> int:
    """Count the messages at the beginning of `fresh` with which `recorded` ends."""
    ours, theirs = [digest(one) for one in fresh], [digest(one) for one in recorded]
    return next((size for size in range(len(ours), 0, -1) if theirs[-size:] == ours[:size]), 0)


def _is_whole_answer(message: messages_pb2.Message) -> bool:
    return message.role == _ANSWER and message.status == messages_pb2.MESSAGE_STATUS_COMPLETE


def _title(fresh: Iterable[messages_pb2.Message]) -> str:
    """Return the first paragraph of what the person said.

    Tools write reminders for the model before it and behind it: in tags, or in paragraphs of their own.
    """
    texts = [_text(message).strip() for message in fresh]
    spoken = (_TAGGED.sub("", text).strip() for text in texts)
    text = next((text for text in (*spoken, *texts) if text), "")
    words = " ".join(text.partition("\n\n")[0].split())
    return words if len(words) <= MAX_TITLE else f"{words[: MAX_TITLE - 1]}…"


def _is_tools_own(message: messages_pb2.Message) -> bool:
    """Tell whether a person's message is nothing but text in tags: codex describes the machine so."""
    is_text = all(part.WhichOneof("kind") == "text" for part in message.parts)
    return message.role == messages_pb2.ROLE_USER and is_text and not _TAGGED.sub("", _text(message)).strip()


def _own_words(message: messages_pb2.Message, systems: Iterable[str]) -> str:
    """Return a person's words without what the tool added to them, which it changes from turn to turn.

    Before them stands what is in tags; behind them a reminder: what ends one of the system messages, too.
    """
    text = _TAGGED.sub("", _text(message)).strip()
    for system in systems:
        text = _without_reminder(text, system.rstrip())
    return text or digest(message)


def _without_reminder(text: str, system: str) -> str:
    ends = zip(reversed(text), reversed(system), strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    at = text.find(PARAGRAPH, max(0, len(text) - same - len(PARAGRAPH)))
    return text[:at].strip() if 0 <= at <= len(text) - MIN_REMINDER else text


def _text(message: messages_pb2.Message) -> str:
    return "".join(part.text for part in message.parts if part.WhichOneof("kind") == "text")
