"""Random operations and restarts against a plain-Python model of what sessions are."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import (
    ARCHIVED_FILTER_ONLY,
    DeleteMessagesRequest,
    EditMessageRequest,
    ListMessageVersionsRequest,
    Session,
)
from support.data.session_model import Model
from support.drivers.conversations import MAP_SIZE, all_messages, all_sessions, say, struct, texts

from oblixd.errors import FailedPreconditionError
from oblixd.sessions import TABLE_NAMES, Sessions, Tails, Turn
from oblixd.store import Store

T = TypeVar("T")

KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from([1, True, None, "x"])
METADATA = st.dictionaries(KEYS, VALUES, max_size=3)
MOST_SESSIONS = 4
SAID = st.lists(st.sampled_from(["one", "two", "", "drei\0"]), min_size=1, max_size=3)


@dataclasses.dataclass
class Asked:
    """What must be found of a request."""

    session_id: str
    question: int
    """Where the question begins."""
    answer: int
    """Where the answer stands."""
    status: messages_pb2.MessageStatus.ValueType = messages_pb2.MESSAGE_STATUS_STREAMING
    text: str | None = None
    """The answer, once the turn has ended. None: there is none, or it was deleted."""


def _same_message(message: messages_pb2.Message) -> messages_pb2.Message:
    return message


async def _read(tails: Tails[messages_pb2.Message], session_id: str) -> list[messages_pb2.Message]:
    return list(tails.before(session_id, 2**63))


class Conversations(RuleBasedStateMachine):
    """Every operation on the store and on the model; what they tell must be the same."""

    known = Bundle("known")
    deleted = Bundle("deleted")

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._directory = tempfile.TemporaryDirectory()
        self._ticks = itertools.count(1)
        self._now = 0
        self._models: dict[str, Model] = {}
        self._deleted: dict[str, Model] = {}
        self._mirror: dict[str, Session] = {}
        self._revision = 0
        self._turns: dict[str, Turn] = {}
        self._asked: dict[str, Asked] = {}
        self._open()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Every operation happens at an instant of its own."""
        self._now = next(self._ticks) * 1_000_000
        return self._runner.run(work)

    def _open(self) -> None:
        async def open_store() -> tuple[Store, Sessions, int]:
            store = await Store.open(Path(self._directory.name), TABLE_NAMES, map_size=MAP_SIZE)
            sessions = Sessions(store, clock=lambda: self._now)
            self._tails = sessions.tails(_same_message)
            return store, sessions, await sessions.recover()

        self._store, self._sessions, recovered = self._run(open_store())
        running = [model for model in self._models.values() if model.answer is not None]
        assert recovered == len(running)
        for session_id in list(self._turns):
            self._end_turn(
                session_id,
                messages_pb2.MESSAGE_STATUS_INTERRUPTED,
                self._models[session_id].cut_off(self._now),
            )

    def teardown(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()
        self._directory.cleanup()

    @initialize(target=known)
    def begin(self) -> str:
        return self.create("", {})

    @precondition(lambda self: self._has_room())
    @rule(target=known, title=st.sampled_from(["", "t"]), metadata=METADATA)
    def create(self, title: str, metadata: dict[str, Any]) -> str:
        made = self._run(self._sessions.create(Session(title=title, metadata=struct(**metadata))))
        self._models[made.id] = Model(title, metadata, self._now)
        return made.id

    def _has_room(self) -> bool:
        """Few sessions: what is done to one of them has to do with what was done to it before."""
        return len(self._models) + len(self._deleted) < MOST_SESSIONS

    @rule(session_id=known, said=SAID)
    def append(self, session_id: str, said: list[str]) -> None:
        self._run(self._sessions.append(session_id, [say(text) for text in said]))
        self._models[session_id].say(said, self._now)

    @rule(session_id=known, metadata=METADATA)
    def merge_metadata(self, session_id: str, metadata: dict[str, Any]) -> None:
        self._run(self._sessions.update(Session(id=session_id, metadata=struct(**metadata)), []))
        model = self._models[session_id]
        model.metadata, model.updated = model.metadata | metadata, self._now

    @rule(session_id=known, metadata=METADATA, key=KEYS)
    def set_or_delete_key(self, session_id: str, metadata: dict[str, Any], key: str) -> None:
        session = Session(id=session_id, metadata=struct(**metadata))
        self._run(self._sessions.update(session, [f"metadata.{key}"]))
        model = self._models[session_id]
        model.metadata = {name: value for name, value in model.metadata.items() if name != key}
        model.metadata |= {key: metadata[key]} if key in metadata else {}
        model.updated = self._now

    @rule(session_id=known, archived=st.booleans())
    def archive(self, session_id: str, archived: bool) -> None:
        self._run(self._sessions.update(Session(id=session_id, archived=archived), ["archived"]))
        model = self._models[session_id]
        model.archived, model.updated = archived, self._now

    @rule(target=deleted, session_id=consumes(known))
    def delete(self, session_id: str) -> str:
        self._run(self._sessions.delete(session_id))
        model = self._deleted[session_id] = self._models.pop(session_id)
        if session_id in self._turns:
            self._end_turn(session_id, messages_pb2.MESSAGE_STATUS_CANCELLED, model.cut_off(self._now))
        return session_id

    @rule(target=known, session_id=consumes(deleted))
    def undelete(self, session_id: str) -> str:
        self._run(self._sessions.undelete(session_id))
        self._models[session_id] = self._deleted.pop(session_id)
        return session_id

    @precondition(lambda self: self._has_room())
    @rule(target=known, session_id=known, up_to=st.integers(0, 4))
    def copy(self, session_id: str, up_to: int) -> str:
        source = self._models[session_id]
        up_to = up_to if up_to < source.next_place else 0
        copy = self._run(self._sessions.copy(session_id, None, up_to))
        model = Model(source.title, source.metadata, self._now)
        self._take(model, [source], up_to)
        self._models[copy.id] = model
        return copy.id

    @precondition(lambda self: self._has_room())
    @rule(target=known, one=known, other=known)
    def merge(self, one: str, other: str) -> str:
        merged = self._run(self._sessions.merge([one, other], "merged"))
        sources = [self._models[session_id] for session_id in dict.fromkeys([one, other])]
        metadata = self._models[other].metadata | self._models[one].metadata
        model = Model("merged", metadata, self._now)
        self._take(model, sources)
        self._models[merged.id] = model
        return merged.id

    def _take(self, model: Model, sources: list[Model], up_to: int = 0) -> None:
        """All messages of the sources up to a place, by the latest time so far in their source."""
        moments = []
        for source in sources:
            said = [what for what in source.all() if what.place <= (up_to or what.place)]
            latest = itertools.accumulate((what.time for what in said), max)
            moments += [(time, what) for time, what in zip(latest, said, strict=True)]
        for _, what in sorted(moments, key=lambda moment: moment[0]):
            model.messages.append(what.copy_to(model.next_place))
            model.next_place += 1

    @rule(session_id=known)
    def ask(self, session_id: str) -> None:
        if session_id in self._turns:
            return
        request_id = f"request {len(self._asked)}"
        begin = self._sessions.begin_turn(session_id, request_id, [say("question")], request_id.encode())
        self._turns[session_id] = self._run(begin)
        self._models[session_id].ask(["question"], self._now)
        self._begin_turn(session_id, request_id, self._models[session_id].messages[-1].place)

    def _begin_turn(self, session_id: str, request_id: str, question: int) -> None:
        answer = self._models[session_id].answer
        assert answer is not None
        self._asked[request_id] = Asked(session_id, question, answer.place)

    @rule(session_id=known)
    def answer(self, session_id: str) -> None:
        self.ask(session_id)
        self.finish(session_id, "answer")

    @rule(session_id=known, by_answer=st.booleans())
    def ask_again(self, session_id: str, by_answer: bool) -> None:
        model = self._models[session_id]
        if session_id in self._turns or not model.messages:
            return
        question, request_id = model.last_question(), f"request {len(self._asked)}"
        named = model.messages[-1] if by_answer or not question else question[0]
        message_id = all_messages(self._sessions, session_id)[model.messages.index(named)].id
        begin = self._sessions.begin_turn_again(session_id, request_id, message_id, request_id.encode())
        if not question:
            with pytest.raises(FailedPreconditionError, match="no question to answer"):
                self._run(begin)
            return
        self._turns[session_id] = self._run(begin)
        model.ask_again(self._now)
        self._begin_turn(session_id, request_id, question[0].place)

    @rule(session_id=known, how=st.sampled_from(["sequences", "from_sequence", "last"]), at=st.integers(0, 5))
    def delete_messages(self, session_id: str, how: str, at: int) -> None:
        model = self._models[session_id]
        said = model.messages
        if not said:
            return
        place = said[at % len(said)].place
        count = min(at + 1, len(said))
        gone, named = {
            "sequences": ([place], [place]),
            "from_sequence": ([what.place for what in said if what.place >= place], place),
            "last": ([what.place for what in said[-count:]], count),
        }[how]
        request = DeleteMessagesRequest(**{"session_id": session_id, how: named})
        if session_id in self._turns:
            self._is_refused(self._sessions.delete_messages(request))
            return
        told = self._run(self._sessions.delete_messages(request))
        assert [message.sequence for message in told.messages] == gone
        model.delete(gone, self._now)
        for asked in self._asked.values():
            if asked.session_id == session_id and asked.answer in gone:
                asked.text = None

    @rule(session_id=known, at=st.integers(0, 5), text=st.sampled_from(["edited", "drei\0"]))
    def edit(self, session_id: str, at: int, text: str) -> None:
        model = self._models[session_id]
        if not model.messages:
            return
        said = model.messages[at % len(model.messages)]
        parts = [messages_pb2.Part(text=text)]
        request = EditMessageRequest(session_id=session_id, sequence=said.place, parts=parts)
        if session_id in self._turns:
            self._is_refused(self._sessions.edit_message(request))
            return
        assert self._run(self._sessions.edit_message(request)).version == said.version + 1
        said.revise(text)
        model.updated = self._now

    def _is_refused(self, work: Coroutine[Any, Any, object]) -> None:
        with pytest.raises(FailedPreconditionError, match="is answering"):
            self._run(work)

    @rule(session_id=known)
    def checkpoint(self, session_id: str) -> None:
        if session_id not in self._turns:
            return
        self._run(self._turns[session_id].checkpoint([messages_pb2.Part(text="piece ")]))
        answer = self._models[session_id].answer
        assert answer is not None
        answer.text, answer.time = answer.text + "piece ", answer.time or self._now

    @rule(session_id=known, text=st.sampled_from([None, "", "answer"]))
    def finish(self, session_id: str, text: str | None) -> None:
        if session_id not in self._turns:
            return
        turn = self._turns[session_id]
        status = (
            messages_pb2.MESSAGE_STATUS_CANCELLED if text is None else messages_pb2.MESSAGE_STATUS_COMPLETE
        )
        self._end_turn(session_id, status, text)
        self._run(
            turn.abandon()
            if text is None
            else turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text=text)]))
        )
        self._models[session_id].end(text, self._now)

    def _end_turn(
        self, session_id: str, status: messages_pb2.MessageStatus.ValueType, text: str | None
    ) -> None:
        del self._turns[session_id]
        for asked in self._asked.values():
            if asked.session_id == session_id and asked.status == messages_pb2.MESSAGE_STATUS_STREAMING:
                asked.status, asked.text = status, text

    @rule()
    def restart(self) -> None:
        self._run(self._store.close())
        self._open()

    @rule(wanted=METADATA, page_size=st.integers(1, 3))
    def filter(self, wanted: dict[str, Any], page_size: int) -> None:
        found = [session.id for session in all_sessions(self._sessions, page_size, **wanted)]
        assert found == [
            session_id
            for session_id in self._in_order()
            if all(_same(self._models[session_id].metadata, key, value) for key, value in wanted.items())
        ]

    def _in_order(self, archived: bool = False) -> list[str]:
        wanted = [found for found, model in self._models.items() if model.archived == archived]
        return sorted(wanted, key=lambda found: (self._models[found].updated, found), reverse=True)

    def _archived_sessions(self) -> list[Session]:
        page, token = self._sessions.list(
            page_size=1000, page_token="", filter=struct(), archived=ARCHIVED_FILTER_ONLY
        )
        assert not token
        return page

    @invariant()
    def who_follows_the_changes_has_every_header(self) -> None:
        changes = self._sessions.db.changes.after(self._revision, 1000)
        assert changes is not None
        for change in changes:
            self._mirror.pop(change.session_id, None)
            if change.session_id in self._models:
                self._mirror[change.session_id] = self._sessions.get(change.session_id)
            self._revision = change.revision
        assert self._mirror.keys() == self._models.keys()
        for session_id in self._mirror.keys() - self._turns.keys():
            assert self._mirror[session_id] == self._sessions.get(session_id)

    @invariant()
    def every_session_is_as_the_model_says(self) -> None:
        listed, archived = all_sessions(self._sessions, 3), self._archived_sessions()
        assert [session.id for session in listed] == self._in_order()
        assert [session.id for session in archived] == self._in_order(archived=True)
        assert self._sessions.count() == len(self._models)
        for session in [*listed, *archived]:
            model = self._models[session.id]
            assert session == self._sessions.get(session.id)
            assert (session.title, MessageToDict(session.metadata)) == (model.title, model.metadata)
            messages = all_messages(self._sessions, session.id, 2)
            assert texts(messages) == model.texts()
            assert [message.sequence for message in messages] == [said.place for said in model.all()]
            for said in model.messages:
                if said.version:
                    assert self._older(session.id, said.place) == said.older
            assert session.message_count == len(model.texts())
            assert bool(session.running_request_id) == (session.id in self._turns)

    @invariant()
    def what_is_kept_for_contexts_is_what_stands(self) -> None:
        for session_id, model in self._models.items():
            kept = self._run(_read(self._tails, session_id))
            assert kept == self._run(_read(self._sessions.tails(_same_message), session_id))
            if session_id not in self._turns:
                assert texts(kept[::-1]) == model.texts()

    @invariant()
    def every_request_is_found_in_the_session_that_it_began_in(self) -> None:
        for request_id, asked in self._asked.items():
            found = self._sessions.recorded_turn(request_id)
            if asked.session_id in self._deleted:
                assert found is None
                continue
            assert found is not None
            assert (found.session_id, found.status) == (asked.session_id, asked.status)
            assert found.fingerprint == request_id.encode()
            said = self._models[asked.session_id].messages
            question = [what.text for what in said if asked.question <= what.place < asked.answer]
            assert texts(found.question) == question
            answer = texts([found.answer])[0] if found.answer is not None else None
            assert answer == self._answer_of(asked)

    def _answer_of(self, asked: Asked) -> str | None:
        """What the request's model wrote, whatever became of its answer since; None: nothing, or deleted."""
        if asked.status != messages_pb2.MESSAGE_STATUS_STREAMING:
            return asked.text
        running = self._models[asked.session_id].answer
        return running.text if running is not None and running.time else None

    def _older(self, session_id: str, place: int) -> list[str]:
        request = ListMessageVersionsRequest(session_id=session_id, sequence=place)
        return texts(list(self._sessions.message_versions(request).messages))


def _same(metadata: dict[str, Any], key: str, value: Any) -> bool:
    return key in metadata and type(metadata[key]) is type(value) and metadata[key] == value


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
