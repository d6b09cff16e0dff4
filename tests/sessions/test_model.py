"""Random operations and restarts against a plain-Python model of what sessions are."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import ARCHIVED_FILTER_ONLY, Session
from support.data.session_model import Model, Said
from support.drivers.conversations import MAP_SIZE, all_messages, all_sessions, say, struct, texts

from oblixd.sessions import TABLE_NAMES, Sessions, Turn
from oblixd.store import Store

T = TypeVar("T")

KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from([1, True, None, "x"])
METADATA = st.dictionaries(KEYS, VALUES, max_size=3)
SAID = st.lists(st.sampled_from(["one", "two", "", "drei\0"]), min_size=1, max_size=3)


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
        self._asked: dict[str, tuple[str, messages_pb2.MessageStatus.ValueType]] = {}
        """By request: the session of its turn, and how far that has come."""
        self._open()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Every operation happens at an instant of its own."""
        self._now = next(self._ticks) * 1_000_000
        return self._runner.run(work)

    def _open(self) -> None:
        async def opened() -> tuple[Store, Sessions, int]:
            store = await Store.open(Path(self._directory.name), TABLE_NAMES, map_size=MAP_SIZE)
            sessions = Sessions(store, clock=lambda: self._now)
            return store, sessions, await sessions.recover()

        self._store, self._sessions, recovered = self._run(opened())
        running = [model for model in self._models.values() if model.answer is not None]
        assert recovered == len(running)
        for model in running:
            assert model.answer is not None
            model.end(model.answer.text, self._now)
        for session_id in list(self._turns):
            self._ended(session_id, messages_pb2.MESSAGE_STATUS_INTERRUPTED)

    def teardown(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()
        self._directory.cleanup()

    @initialize(target=known)
    def begin(self) -> str:
        return self.create("", {})

    @rule(target=known, title=st.sampled_from(["", "t"]), metadata=METADATA)
    def create(self, title: str, metadata: dict[str, Any]) -> str:
        made = self._run(self._sessions.create(Session(title=title, metadata=struct(**metadata))))
        self._models[made.id] = Model(title, metadata, self._now)
        return made.id

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
        if model.answer is not None:
            model.end(model.answer.text, self._now)
        if session_id in self._turns:
            self._ended(session_id, messages_pb2.MESSAGE_STATUS_CANCELLED)
        return session_id

    @rule(target=known, session_id=consumes(deleted))
    def undelete(self, session_id: str) -> str:
        self._run(self._sessions.undelete(session_id))
        self._models[session_id] = self._deleted.pop(session_id)
        return session_id

    @rule(target=known, session_id=known, up_to=st.integers(0, 4))
    def copy(self, session_id: str, up_to: int) -> str:
        source = self._models[session_id]
        up_to = up_to if up_to < source.next_place else 0
        copy = self._run(self._sessions.copy(session_id, None, up_to))
        model = Model(source.title, source.metadata, self._now)
        self._take(model, [source], up_to)
        self._models[copy.id] = model
        return copy.id

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
            begun = [source.answer] if source.answer is not None and source.answer.time else []
            said = sorted([*source.messages, *begun], key=lambda said: said.place)
            said = [what for what in said if what.place <= (up_to or what.place)]
            latest = itertools.accumulate((what.time for what in said), max)
            moments += [(time, what) for time, what in zip(latest, said, strict=True)]
        for _, what in sorted(moments, key=lambda moment: moment[0]):
            model.messages.append(Said(model.next_place, what.text, what.time))
            model.next_place += 1

    @rule(session_id=known)
    def ask(self, session_id: str) -> None:
        if session_id in self._turns:
            return
        request_id = f"request {len(self._asked)}"
        begin = self._sessions.begin_turn(session_id, request_id, [say("question")], request_id.encode())
        self._turns[session_id] = self._run(begin)
        self._asked[request_id] = session_id, messages_pb2.MESSAGE_STATUS_STREAMING
        model = self._models[session_id]
        model.say(["question"], self._now)
        model.answer = Said(model.next_place, "", 0)
        model.next_place += 1

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
        self._ended(session_id, status)
        self._run(
            turn.abandon()
            if text is None
            else turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text=text)]))
        )
        self._models[session_id].end(text, self._now)

    def _ended(self, session_id: str, status: messages_pb2.MessageStatus.ValueType) -> None:
        turn = self._turns.pop(session_id)
        self._asked[turn.input[0].request_id] = session_id, status

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

    def _archived(self) -> list[Session]:
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
        listed, archived = all_sessions(self._sessions, 3), self._archived()
        assert [session.id for session in listed] == self._in_order()
        assert [session.id for session in archived] == self._in_order(archived=True)
        assert self._sessions.count() == len(self._models)
        for session in [*listed, *archived]:
            model = self._models[session.id]
            assert session == self._sessions.get(session.id)
            assert (session.title, MessageToDict(session.metadata)) == (model.title, model.metadata)
            assert texts(all_messages(self._sessions, session.id, 2)) == model.told()
            assert session.message_count == len(model.told())
            assert bool(session.running_request_id) == (session.id in self._turns)

    @invariant()
    def every_request_is_found_in_the_session_that_it_began_in(self) -> None:
        for request_id, (session_id, status) in self._asked.items():
            found = self._sessions.recorded(request_id)
            if session_id in self._deleted:
                assert found is None
                continue
            assert found is not None
            assert (found.session_id, found.status) == (session_id, status)
            assert found.fingerprint == request_id.encode()
            assert texts(found.question) == ["question"]
            messages = all_messages(self._sessions, session_id)
            theirs = [message for message in messages if message.request_id == request_id]
            assert [*found.question, *filter(None, [found.answer])] == theirs


def _same(metadata: dict[str, Any], key: str, value: Any) -> bool:
    return key in metadata and type(metadata[key]) is type(value) and metadata[key] == value


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
