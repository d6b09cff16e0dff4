"""Sessions as append-only logs: what a store may hold, by what clients asked and were told.

`violations` takes the history and everything that a store holds. Of each message it follows the states that
are possible: after a call that was acknowledged only the new one, after one that was refused only the old
one, after one of which nobody knows both.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oblix.v1 import messages_pb2
from support.machine.history import REFUSED, TOLD, UNKNOWN, Operation
from support.machine.traffic import body, is_part_of_answer, is_whole_answer, tag_of

ABSENT = -1
COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
USER = messages_pb2.ROLE_USER


@dataclass(frozen=True)
class Kept:
    """A session as the store holds it."""

    id: str
    title: str
    messages: Sequence[messages_pb2.Message]

    def text(self, one: messages_pb2.Message) -> str:
        """The joined text of a message."""
        return "".join(part.text for part in one.parts)

    @property
    def questions(self) -> list[tuple[str, messages_pb2.Message]]:
        """What users said, each with its tag."""
        return [(tag_of(self.text(one)), one) for one in self.messages if one.role == USER]


@dataclass
class _Message:
    """A message of a user, as the history knows it."""

    session: str
    states: set[int]
    sequence: int | None = None
    asked_s: float = 0.0
    told_s: float = float("inf")
    is_changed: bool = False


@dataclass
class _Session:
    """A session that one client made. The shared ones are always there."""

    may_be_there: bool = True
    may_be_absent: bool = False
    imported: list[str] = field(default_factory=list)


class Model:
    """What the history says of sessions and messages."""

    def __init__(self, history: Sequence[Operation]) -> None:
        self.history = history
        self.messages: dict[str, _Message] = {}
        self.sessions: dict[str, _Session] = {}
        self.groups: list[list[str]] = []
        """Tags that one call wrote: they stand together."""
        for one in history:
            self._take(one)

    def _take(self, one: Operation) -> None:
        match one.kind:
            case "append" | "import":
                self._written(one)
            case "execute":
                self._add(one.asked["tag"], one, None)
            case "execute again" if one.told.get("finish") == "stop":
                self.messages[one.asked["tag"]].states = {0}
            case "edit":
                self._changed(one, one.asked["version"])
            case "delete message":
                self._changed(one, ABSENT)
            case "create":
                self.sessions[one.asked["session"]] = _new_session(one)
            case "delete":
                self._gone(one, is_there=False)
            case "undelete":
                self._gone(one, is_there=True)

    def _written(self, one: Operation) -> None:
        tags: list[str] = one.asked["tags"]
        if one.kind == "import":
            if one.outcome == TOLD and not one.told["taken"]:
                one.outcome = REFUSED
            self.sessions[one.asked["session"]] = _new_session(one)
            self.sessions[one.asked["session"]].imported = tags
        self.groups.append(tags)
        sequences = one.told.get("sequences") or [None] * len(tags)
        for tag, sequence in zip(tags, sequences, strict=True):
            self._add(tag, one, sequence)

    def _add(self, tag: str, one: Operation, sequence: int | None) -> None:
        states = {TOLD: {0}, REFUSED: {ABSENT}, UNKNOWN: {ABSENT, 0}}[one.outcome]
        if one.kind == "execute" and one.outcome == REFUSED:
            states = {
                ABSENT,
                0,
            }  # a failed answer keeps its question; a turn that did not begin leaves nothing
        if one.kind == "execute" and one.told.get("finish") == "cancelled":
            states = {ABSENT, 0}
        # One that may have left nothing may be sent again, and stands where that put it.
        told_s = one.told_s if states == {0} else float("inf")
        self.messages[tag] = _Message(one.asked["session"], states, sequence, one.asked_s, told_s)

    def _changed(self, one: Operation, state: int) -> None:
        found = self.messages[one.asked["tag"]]
        found.is_changed = True
        if one.outcome == TOLD:
            found.states = {state}
        elif one.outcome == UNKNOWN:
            found.states = found.states | {state}

    def _gone(self, one: Operation, *, is_there: bool) -> None:
        found = self.sessions[one.asked["session"]]
        if one.outcome == TOLD:
            found.may_be_there, found.may_be_absent = is_there, not is_there
        elif one.outcome == UNKNOWN:
            found.may_be_there = found.may_be_absent = True

    def violations(self, store: Mapping[str, Kept]) -> Iterator[str]:
        """Everything in the store that should not be, and what it lacks."""
        for one in self.history:
            if one.told.get("code") in ("INTERNAL", "UNKNOWN", "DATA_LOSS"):
                yield f"{one.kind}: {one.told}"
        for session_id, session in self.sessions.items():
            if session_id in store and not session.may_be_there:
                yield f"session {session_id} is there, and was deleted"
            if session_id not in store and not session.may_be_absent:
                yield f"session {session_id} is lost"
        for kept in store.values():
            if kept.title.startswith(("copy ", "merge ")):
                continue
            yield from self._session(kept)
        yield from self._lost_sessions(store)
        yield from self._groups(store)
        yield from self._derived_problems(store)
        yield from self._answers(store)

    def _session(self, kept: Kept) -> Iterator[str]:
        seen: set[str] = set()
        order: list[tuple[_Message, int]] = []
        for tag, one in kept.questions:
            known = self.messages.get(tag)
            if known is None or known.session != kept.id:
                yield f"{kept.id}: nobody asked for {kept.text(one)[:60]!r}"
                continue
            if tag in seen:
                yield f"{kept.id}: {tag} is there twice"
            seen.add(tag)
            if tag.startswith("m:") and kept.text(one) not in {
                body(tag, state) for state in known.states if state != ABSENT
            }:
                yield f"{kept.id}: {tag} is {kept.text(one)[:60]!r}, may be {known.states}"
            if known.states == {ABSENT}:
                yield f"{kept.id}: {tag} is there, and was deleted or refused"
            if known.sequence is not None and known.sequence != one.sequence:
                yield f"{kept.id}: {tag} moved from {known.sequence} to {one.sequence}"
            order.append((known, one.sequence))
        yield from _order(kept.id, order)
        yield from _turns(kept)

    def _lost_sessions(self, store: Mapping[str, Kept]) -> Iterator[str]:
        there = {(kept.id, tag) for kept in store.values() for tag, _ in kept.questions}
        for tag, known in self.messages.items():
            is_there = known.session in store
            if is_there and ABSENT not in known.states and (known.session, tag) not in there:
                yield f"{known.session}: {tag} is lost, acknowledged {known.told_s:.3f}"

    def _groups(self, store: Mapping[str, Kept]) -> Iterator[str]:
        places = {(kept.id, tag): one.sequence for kept in store.values() for tag, one in kept.questions}
        for tags in self.groups:
            known = [self.messages[tag] for tag in tags]
            if known[0].session not in store or any(one.is_changed for one in known):
                continue
            found = [places.get((one.session, tag)) for tag, one in zip(tags, known, strict=True)]
            if len({place is None for place in found}) > 1:
                yield f"{known[0].session}: a part of {tags} is there"
            elif found[0] is not None and found != list(range(found[0], found[0] + len(found))):
                yield f"{known[0].session}: {tags} do not stand together: {found}"

    def _derived_problems(self, store: Mapping[str, Kept]) -> Iterator[str]:
        """Copies and merges: whole, in the order of their sources, and with nothing that nobody said."""
        titles = {one.asked["title"]: one for one in self.history if one.kind in ("copy", "merge")}
        by_title: dict[str, list[Kept]] = defaultdict(list)
        for kept in store.values():
            if kept.title in titles:
                by_title[kept.title].append(kept)
        for title, made in titles.items():
            found = by_title.get(title, [])
            allowed = {TOLD: (1,), REFUSED: (0,), UNKNOWN: (0, 1)}[made.outcome]
            if len(found) not in allowed:
                yield f"{title} is there {len(found)} times, and it was {made.outcome}"
            for kept in found:
                yield from self._copy_problems(kept, made)

    def _copy_problems(self, kept: Kept, made: Operation) -> Iterator[str]:
        tags = [tag for tag, _ in kept.questions]
        if len(set(tags)) != len(tags):
            yield f"{kept.title}: something is there twice"
        for tag, known in self.messages.items():
            is_sure = known.states == {0} and not known.is_changed and known.told_s < made.asked_s
            if is_sure and known.session in made.asked["sources"] and tag not in set(tags):
                yield f"{kept.title} lacks {tag}"
        for tag in tags:
            if tag not in self.messages or self.messages[tag].session not in made.asked["sources"]:
                yield f"{kept.title}: nobody said {tag}"

    def _answers(self, store: Mapping[str, Kept]) -> Iterator[str]:
        """What clients were told of an answer is what is kept of it."""
        by_request = {
            one.request_id: (kept, one)
            for kept in store.values()
            if not kept.title.startswith(("copy ", "merge "))
            for one in kept.messages
            if one.role == messages_pb2.ROLE_ASSISTANT
        }
        again = {one.asked["replaces"] for one in self.history if one.kind == "regenerate"}
        for one in self.history:
            request, session = one.asked.get("request"), one.asked.get("session")
            if one.outcome != TOLD or not request or session not in store or request in again:
                continue
            if one.told["finish"] != "stop":
                continue
            if request not in by_request:
                yield f"{session}: the answer to {request} is lost"
                continue
            kept, answer = by_request[request]
            if (kept.text(answer), answer.status) != (one.told["text"], COMPLETE):
                told, text = one.told["text"][:50], kept.text(answer)[:50]
                yield f"{kept.id}: {request} was told {told!r}, is {text!r}"


def _new_session(one: Operation) -> _Session:
    return _Session(one.outcome != REFUSED, one.outcome != TOLD)


def _order(session: str, found: list[tuple[_Message, int]]) -> Iterator[str]:
    """What was acknowledged before another was asked for stands before it."""
    told = sorted((known.told_s, place) for known, place in found if known.told_s < float("inf"))
    moments, highest, most = [], [], 0
    for moment, place in told:
        most = max(most, place)
        moments.append(moment)
        highest.append(most)
    for known, place in found:
        at = bisect.bisect_left(moments, known.asked_s) - 1
        if at >= 0 and highest[at] > place:
            yield f"{session}: sequence {place} stands before what was acknowledged earlier"


def _turns(kept: Kept) -> Iterator[str]:
    """An answer stands right behind its question, and is complete only where it is whole."""
    places = {tag: one.sequence for tag, one in kept.questions}
    seen: set[int] = set()
    for one in kept.messages:
        if one.sequence in seen:
            yield f"{kept.id}: two messages have sequence {one.sequence}"
        seen.add(one.sequence)
        if one.role != messages_pb2.ROLE_ASSISTANT:
            continue
        text = kept.text(one)
        if one.status == COMPLETE and not is_whole_answer(text):
            yield f"{kept.id}: {text[:60]!r} is said to be complete"
        if not is_part_of_answer(text):
            yield f"{kept.id}: no model said {text[:60]!r}"
        tag = tag_of(text).removeprefix("a:")
        if tag in places and places[tag] + 1 != one.sequence:
            yield f"{kept.id}: the answer to {tag} stands at {one.sequence}, its question at {places[tag]}"
        if one.status == messages_pb2.MESSAGE_STATUS_STREAMING:
            yield f"{kept.id}: {tag} is said to be answered still"
