"""Ordinary use, by client processes that may be killed at any time.

Each message begins with a tag that no other has, and says which version it is. So the store can be held
against what was asked, whatever happened in between. A message or session is changed only by the client
that made it; once a change of it has an unknown end, it is left alone.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
from oblix.testing import Answer, Cut, End, HangUp, Page, Refuse, Report
from oblix.v1 import executions_pb2, messages_pb2, models_pb2, sessions_pb2
from support.drivers.daemon import SOON
from support.drivers.grpc_calls import Wire
from support.machine.history import REFUSED, TOLD, UNKNOWN, Journal

SHARED = [f"shared-{number}" for number in range(5)]
"""Sessions that all clients write into."""
CALL_S = 30.0
EMBEDDED = "embedded:smollm2-135m-instruct"
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
}
"""Codes after which nothing was changed. After any other code nobody knows."""
FAULTS = (
    *(Refuse(500), Refuse(429), Refuse(503), Page(), HangUp(), HangUp(reset=True)),
    *(Cut(after=3), Cut(after=5, reset=True), End(after=4), Report(after=2), Cut(), Report()),
)


def message(text: str, skew_s: int = 0) -> messages_pb2.Message:
    """A user's message; `skew_s`: its client's clock is wrong by so much."""
    make_call = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
    if skew_s:
        make_call.create_time.FromSeconds(int(time.time()) + skew_s)
    return make_call


def body(tag: str, version: int) -> str:
    """The text of a message in one of its versions. A few are so long that they have pages of their own."""
    mixed = zlib.crc32(f"{tag} {version}".encode())
    return f"{tag} v{version} " + "word " * (1500 if mixed % 29 == 0 else mixed % 40) + "end"


def answer_text(question: str, take: int) -> str:
    """What the scripted model says to a question that it is asked for the n-th time."""
    tag = question.split(maxsplit=1)[0]
    words = zlib.crc32(tag.encode()) % 60
    return f"a:{tag} take{take} " + " ".join(f"w{number}" for number in range(words)) + " end"


class Answers:
    """A script for `oblix.testing` servers; of so many questions the answer has a fault."""

    def __init__(self, fault_share: float) -> None:
        self._fault_share = fault_share
        self._taken: dict[str, int] = {}
        self.faults = 0
        """How many answers had one."""

    def __call__(self, question: str) -> Answer:
        """Return the answer to a question."""
        self._taken[question] = take = self._taken.get(question, -1) + 1
        dice = random.Random(zlib.crc32(question.encode()) + take)
        fault = dice.choice(FAULTS) if dice.random() < self._fault_share else None
        self.faults += fault is not None
        return Answer(answer_text(question, take), tokens_per_second=dice.choice([None, 300]), fault=fault)


class Client:
    """One client's life. Its choices follow from its seed."""

    def __init__(self, home: Path, name: str, seed: int, url: str) -> None:
        self._home, self._name, self._url = home, name, url
        self._dice = random.Random(seed)
        self._journal = Journal(home, name)
        self._wire = Wire(grpc.insecure_channel(f"unix:{home}/oblixd.sock", options=SOON))
        self._own: list[str] = []
        """Sessions that this client alone changes."""
        self._texts: dict[str, tuple[str, int, int]] = {}
        """By tag: the session, the sequence and the version of a message that this client may change."""
        self._deleted: list[str] = []
        self._answered: list[str] = []
        self._sent: deque[executions_pb2.ExecuteRequest] = deque(maxlen=40)
        self._skew_s = self._dice.choice([0, 0, -86_400 * 365, 86_400 * 30])
        self._handle, self._lost = "", 0

    def run(self) -> None:
        """One call after another until the file `stop` is there."""
        doings: dict[Callable[[], None], int] = {
            self.append: 30,
            self.execute: 25,
            self.execute_again: 12,
            self.edit: 8,
            self.delete_message: 4,
            self.create: 6,
            self.copy: 3,
            self.merge: 2,
            self.bring_in: 3,
            self.delete: 2,
            self.undelete: 2,
            self.regenerate: 6,
            self.read: 6,
        }
        if os.environ.get("OBLIX_EMBEDDED_ENABLED") == "true":
            doings[self.ask_embedded] = 4
        while not (self._home / "stop").exists():
            if not self._handle:
                self._hook()
            self._dice.choices(list(doings), list(doings.values()))[0]()

    def call(self, kind: str, make_call: Callable[[], dict[str, Any]], **asked: Any) -> str:
        """Make a call and write down how it ended. Return that."""
        number = self._journal.ask(kind, **asked)
        try:
            told = make_call()
        except grpc.RpcError as error:
            outcome = REFUSED if error.code() in REFUSALS else UNKNOWN
            self._journal.end(number, outcome, code=error.code().name, detail=(error.details() or "")[:200])
            self._lost = self._lost + 1 if error.code() is grpc.StatusCode.UNAVAILABLE else 0
            time.sleep(min(0.02 * self._lost, 0.3))  # nothing announces that the daemon is back
            if "hook" in (error.details() or ""):
                self._handle = ""
            return outcome
        self._journal.end(number, TOLD, **told)
        return TOLD

    def _hook(self) -> None:
        request = models_pb2.HookModelRequest(
            provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint=self._url
        )

        def make_call() -> dict[str, Any]:
            self._handle = self._wire.models.HookModel(request, timeout=CALL_S).handle
            return {}

        self.call("hook", make_call)

    def _tag(self) -> str:
        return f"m:{self._name}-{self._dice.randrange(2**48):x}"

    def _session(self) -> str:
        return self._dice.choice(self._own + SHARED)

    def append(self) -> None:
        session, tags = self._session(), [self._tag() for _ in range(self._dice.choice([1, 1, 1, 2, 3]))]
        request = sessions_pb2.AppendMessagesRequest(
            session_id=session, messages=[message(body(tag, 0), self._skew_s) for tag in tags]
        )

        def make_call() -> dict[str, Any]:
            written = self._wire.sessions.AppendMessages(request, timeout=CALL_S).messages
            for tag, one in zip(tags, written, strict=True):
                self._texts[tag] = (session, one.sequence, 0)
            return {"sequences": [one.sequence for one in written]}

        self.call("append", make_call, session=session, tags=tags)

    def edit(self) -> None:
        if not self._texts:
            return
        tag = self._dice.choice(list(self._texts))
        session, sequence, version = self._texts.pop(tag)
        text = body(tag, version + 1)
        request = sessions_pb2.EditMessageRequest(
            session_id=session, sequence=sequence, parts=[messages_pb2.Part(text=text)]
        )

        def make_call() -> dict[str, Any]:
            self._wire.sessions.EditMessage(request, timeout=CALL_S)
            return {}

        outcome = self.call("edit", make_call, session=session, tag=tag, version=version + 1)
        if outcome != UNKNOWN:
            self._texts[tag] = (session, sequence, version + (outcome == TOLD))

    def delete_message(self) -> None:
        if not self._texts:
            return
        tag = self._dice.choice(list(self._texts))
        session, sequence, _ = self._texts.pop(tag)
        request = sessions_pb2.DeleteMessagesRequest(session_id=session, sequences=[sequence], exact=True)

        def make_call() -> dict[str, Any]:
            self._wire.sessions.DeleteMessages(request, timeout=CALL_S)
            return {}

        self.call("delete message", make_call, session=session, tag=tag)

    def execute(self) -> None:
        session = self._session()
        tag = f"q:{self._name}-{self._dice.randrange(2**48):x}"
        request = executions_pb2.ExecuteRequest(
            input=[message(f"{tag} please")],
            session_id=session,
            candidates=[self._handle],
            request_id=tag,
            on_disconnect=self._dice.choice(
                [executions_pb2.ON_DISCONNECT_CANCEL, executions_pb2.ON_DISCONNECT_CONTINUE]
            ),
        )
        self._sent.append(request)
        leaves_after = self._dice.choice([1, 4, 10**6, 10**6, 10**6, 10**6])
        outcome = self.call(
            "execute", lambda: self._answer(request, leaves_after), session=session, tag=tag, request=tag
        )
        if outcome == TOLD and session in self._own:
            self._answered.append(session)

    def ask_embedded(self) -> None:
        """A prompt to the embedded model, outside of all sessions: nobody can know what it answers."""
        request = executions_pb2.ExecuteRequest(
            input=[message(f"{self._tag()} Say yes.")],
            model=EMBEDDED,
            options=executions_pb2.GenerationOptions(max_tokens=8),
        )
        self.call("ask embedded", lambda: self._answer(request, 10**6))

    def execute_again(self) -> None:
        """The same request once more, perhaps to another daemon: it is not run twice."""
        if not self._sent:
            return
        request = self._dice.choice(self._sent)
        request.candidates[:] = [self._handle]
        tag, session = request.request_id, request.session_id
        self.call(
            "execute again", lambda: self._answer(request, 10**6), session=session, tag=tag, request=tag
        )

    def regenerate(self) -> None:
        if not self._answered:
            return
        session = self._answered.pop()
        if session not in self._own:
            return
        newest = sessions_pb2.ListMessagesRequest(session_id=session, newest_first=True, page_size=1)
        try:
            found = self._wire.sessions.ListMessages(newest, timeout=CALL_S).messages
        except grpc.RpcError:
            return
        if not found or found[0].role != messages_pb2.ROLE_ASSISTANT:
            return
        request = executions_pb2.ExecuteRequest(
            session_id=session,
            candidates=[self._handle],
            request_id=f"r:{self._name}-{self._dice.randrange(2**48):x}",
            regenerate_message_id=found[0].id,
        )
        tag = "".join(part.text for part in found[0].parts).split(" ")[0].removeprefix("a:")
        outcome = self.call(
            "regenerate",
            lambda: self._answer(request, 10**6),
            session=session,
            tag=tag,
            request=request.request_id,
            replaces=found[0].request_id,
        )
        if outcome == TOLD:
            self._answered.append(session)

    def _answer(self, request: executions_pb2.ExecuteRequest, leaves_after: int) -> dict[str, Any]:
        """Read an answer, or leave in the middle: then nobody knows how it ended."""
        text, call = "", self._wire.executions.Execute(request, timeout=CALL_S)
        for event in call:
            leaves_after -= 1
            text += event.delta.text if event.HasField("delta") else ""
            if event.HasField("completed"):
                finish = executions_pb2.FinishReason.Name(event.completed.finish_reason)
                return {"text": text, "finish": finish.removeprefix("FINISH_REASON_").lower()}
            if leaves_after < 0:
                call.cancel()
        raise AssertionError("a stream ended without completed and without an error")

    def create(self) -> None:
        session = f"own-{self._name}-{self._dice.randrange(2**48):x}"
        request = sessions_pb2.CreateSessionRequest(session=sessions_pb2.Session(id=session, title=session))

        def make_call() -> dict[str, Any]:
            self._wire.sessions.CreateSession(request, timeout=CALL_S)
            self._own.append(session)
            return {}

        self.call("create", make_call, session=session)

    def _source(self) -> str:
        """A session to copy. A shared one grows all the time, so it is seldom one of those."""
        is_shared = not self._own or self._dice.random() < 0.05
        return self._dice.choice(SHARED if is_shared else self._own)

    def copy(self) -> None:
        session, title = self._source(), f"copy {self._name}-{self._dice.randrange(2**48):x}"
        request = sessions_pb2.CopySessionRequest(session_id=session, title=title)

        def make_call() -> dict[str, Any]:
            return {"session": self._wire.sessions.CopySession(request, timeout=CALL_S).session.id}

        self.call("copy", make_call, sources=[session], title=title)

    def merge(self) -> None:
        sources = list({self._source(), self._source()})
        if len(sources) < 2:
            return
        title = f"merge {self._name}-{self._dice.randrange(2**48):x}"
        request = sessions_pb2.MergeSessionsRequest(session_ids=sources, title=title)

        def make_call() -> dict[str, Any]:
            return {"session": self._wire.sessions.MergeSessions(request, timeout=CALL_S).session.id}

        self.call("merge", make_call, sources=sources, title=title)

    def bring_in(self) -> None:
        session = f"own-{self._name}-{self._dice.randrange(2**48):x}"
        tags = [self._tag() for _ in range(self._dice.randint(1, 20))]
        header = sessions_pb2.ImportHeader(
            session=sessions_pb2.Session(id=session, title=session), keep_id=True
        )
        batch = sessions_pb2.MessageBatch(messages=[message(body(tag, 0)) for tag in tags])
        sent = [
            sessions_pb2.ImportSessionsRequest(header=header),
            sessions_pb2.ImportSessionsRequest(messages=batch),
        ]

        def make_call() -> dict[str, Any]:
            results = list(self._wire.sessions.ImportSessions(iter(sent), timeout=CALL_S))
            taken = [one.result for one in results if one.HasField("result") and not one.result.reason]
            if taken:
                self._own.append(session)
            return {"taken": len(taken)}

        self.call("import", make_call, session=session, tags=tags)

    def delete(self) -> None:
        if self._own:
            session = self._own.pop(self._dice.randrange(len(self._own)))
            self._forget(session)
            request = sessions_pb2.DeleteSessionRequest(session_id=session)
            make_call = _nothing_told(lambda: self._wire.sessions.DeleteSession(request, timeout=CALL_S))
            if self.call("delete", make_call, session=session) == TOLD:
                self._deleted.append(session)

    def undelete(self) -> None:
        if self._deleted:
            session = self._deleted.pop()
            request = sessions_pb2.UndeleteSessionRequest(session_id=session)
            make_call = _nothing_told(lambda: self._wire.sessions.UndeleteSession(request, timeout=CALL_S))
            self.call("undelete", make_call, session=session)

    def _forget(self, session: str) -> None:
        """Change nothing more in a session."""
        self._texts = {tag: where for tag, where in self._texts.items() if where[0] != session}
        self._answered = [one for one in self._answered if one != session]

    def read(self) -> None:
        """Lists and searches run beside everything; what they say is checked at the end."""
        searched = sessions_pb2.SearchMessagesRequest(query="word")
        listed = sessions_pb2.ListSessionsRequest(page_size=50)
        self.call(
            "search", _nothing_told(lambda: self._wire.sessions.SearchMessages(searched, timeout=CALL_S))
        )
        self.call("list", _nothing_told(lambda: self._wire.sessions.ListSessions(listed, timeout=CALL_S)))


def _nothing_told(call: Callable[[], object]) -> Callable[[], dict[str, Any]]:
    def make_call() -> dict[str, Any]:
        call()
        return {}

    return make_call


def tag_of(text: str) -> str:
    """The tag that a text begins with."""
    return text.split(" ", 1)[0]


def is_whole_answer(text: str) -> bool:
    """Whether a text is all that the model said to some question."""
    found = re.match(r"a:(\S+) take(\d+) ", text)
    return found is not None and answer_text(found[1], int(found[2])) == text


def is_part_of_answer(text: str) -> bool:
    """Whether a text is the beginning of what the model said."""
    found = re.match(r"a:(\S+) take(\d+) ", text)
    whole: Iterable[str] = (
        [answer_text(found[1], int(found[2]))] if found else [f"{text} take0 "] if text[:2] == "a:" else []
    )
    return any(one.startswith(text) for one in whole) or not text or "a:q:".startswith(text[:4])


if __name__ == "__main__":
    home, name, seed, url = sys.argv[1:]
    os.environ["OBLIX_HOME"] = home
    Client(Path(home), name, int(seed), url).run()
