"""Ordinary programs: each makes sessions, works with them, reads them, and checks what it reads.

    python -m support.machine.use HOME URL SEED CALLS

Several programs share a process and a connection. At the end the process prints what it called, as JSON.
Where an answer is not what the program expects, it fails.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct
from oblix.v1 import (
    daemon_pb2,
    executions_pb2,
    messages_pb2,
    models_pb2,
    monitor_pb2,
    monitor_pb2_grpc,
    sessions_pb2,
)
from support.drivers.grpc_calls import Wire
from support.machine.traffic import body, is_whole_answer, message

PROGRAMS = 8
CALL_S = 60.0
UPSTREAM = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""Codes of an answer whose model's server had a fault."""


class Calls:
    """Makes calls until so many were made, and counts them."""

    def __init__(self, channel: grpc.aio.Channel, count: int) -> None:
        self.wire, self.monitor = Wire(channel), monitor_pb2_grpc.MonitorServiceStub(channel)
        self.made: Counter[str] = Counter()
        self.left = count

    async def __call__(self, stub: Callable[..., Awaitable[Any]], request: Any) -> Any:
        """Make one call."""
        self.count(type(request).__name__)
        return await stub(request, timeout=CALL_S)

    def count(self, kind: str) -> None:
        """Note that one is made."""
        self.left -= 1
        self.made[kind] += 1


class Program:
    """One program. It alone uses its sessions, so it knows what is in them."""

    def __init__(self, call: Calls, name: str, seed: int, handle: str) -> None:
        self._call, self._name, self._handle = call, name, handle
        self._dice = random.Random(seed)
        self._sessions, self._executions = call.wire.sessions, call.wire.executions
        self._id, self._kept = "", dict[int, str]()
        """The present session, and the texts of its messages by sequence."""

    async def run(self) -> None:
        """Use one session after another."""
        steps: dict[Callable[[], Awaitable[None]], int] = {
            self.append: 14,
            self.ask: 3,
            self.ask_without_session: 2,
            self.leave: 1,
            self.edit: 3,
            self.delete_message: 2,
            self.get: 20,
            self.read: 16,
            self.list: 12,
            self.search: 2,
            self.look_around: 16,
            self.be_wrong: 4,
            self.copy: 1,
            self.export: 1,
        }
        while self._call.left > 0:
            await self.create()
            for step in self._dice.choices(list(steps), list(steps.values()), k=self._dice.randint(20, 80)):
                await step()
            await self.end()

    async def create(self) -> None:
        self._id, self._kept = f"{self._name}-{self._dice.randrange(2**60):x}", {}
        session = sessions_pb2.Session(id=self._id, title=f"Use {self._name}")
        session.metadata.update({"program": self._name, "turn": self._dice.randrange(10)})
        await self._call(self._sessions.CreateSession, sessions_pb2.CreateSessionRequest(session=session))

    async def append(self) -> None:
        texts = [self._text() for _ in range(self._dice.choice([1, 1, 2]))]
        request = sessions_pb2.AppendMessagesRequest(
            session_id=self._id, messages=[message(text) for text in texts]
        )
        written = await self._call(self._sessions.AppendMessages, request)
        self._kept |= {one.sequence: text for one, text in zip(written.messages, texts, strict=True)}

    async def ask(self) -> None:
        """Ask within the session. A question whose answer failed may stay, and a part of the answer."""
        question, highest = self._text(), max(self._kept, default=0)
        answer = await self._execute(question, session_id=self._id)
        request = sessions_pb2.ListMessagesRequest(session_id=self._id, newest_first=True, page_size=2)
        found = (await self._call(self._sessions.ListMessages, request)).messages
        left = {one.sequence: _text_of(one) for one in reversed(found) if one.sequence > highest}
        if answer is None:
            assert list(left.values())[:1] in ([], [question]), left
        else:
            assert is_whole_answer(answer), answer
            assert list(left.values()) == [question, answer], left
        self._kept |= left

    async def ask_without_session(self) -> None:
        answer = await self._execute(self._text())
        assert answer is None or is_whole_answer(answer), answer

    async def leave(self) -> None:
        """Stop to read in the middle of an answer."""
        call = self._start(self._text())
        async for _ in call:
            call.cancel()
            return

    async def edit(self) -> None:
        if sequence := self._one():
            self._kept[sequence] = text = self._text()
            request = sessions_pb2.EditMessageRequest(
                session_id=self._id, sequence=sequence, parts=[messages_pb2.Part(text=text)]
            )
            await self._call(self._sessions.EditMessage, request)

    async def delete_message(self) -> None:
        if sequence := self._one():
            del self._kept[sequence]
            request = sessions_pb2.DeleteMessagesRequest(
                session_id=self._id, sequences=[sequence], exact=True
            )
            await self._call(self._sessions.DeleteMessages, request)

    async def get(self) -> None:
        request = sessions_pb2.GetSessionRequest(session_id=self._id)
        header = (await self._call(self._sessions.GetSession, request)).session
        assert header.message_count == len(self._kept), (header.message_count, self._kept)

    async def read(self) -> None:
        request = sessions_pb2.ListMessagesRequest(session_id=self._id, newest_first=True, page_size=20)
        found = (await self._call(self._sessions.ListMessages, request)).messages
        newest = sorted(self._kept, reverse=True)[:20]
        assert [one.sequence for one in found] == newest
        self._compare(found)

    async def list(self) -> None:
        filters = Struct()
        filters.update({"program": self._name})
        request = sessions_pb2.ListSessionsRequest(filter=filters, page_size=20)
        found = (await self._call(self._sessions.ListSessions, request)).sessions
        assert self._id in {one.id for one in found}
        assert all(one.metadata["program"] == self._name for one in found)

    async def search(self) -> None:
        """Look for a word that is in every message, or for a message's tag, which may not be indexed yet."""
        sequence = self._one()
        query = self._kept[sequence].split()[0] if sequence and self._dice.random() < 0.5 else "word"
        request = sessions_pb2.SearchMessagesRequest(query=query, page_size=10)
        await self._call(self._sessions.SearchMessages, request)

    async def look_around(self) -> None:
        wire = self._call.wire
        stub, request = self._dice.choice(
            [
                (wire.daemon.GetInfo, daemon_pb2.GetInfoRequest()),
                (wire.daemon.GetUsage, daemon_pb2.GetUsageRequest()),
                (wire.models.ListModels, models_pb2.ListModelsRequest()),
                (wire.executions.ListExecutions, executions_pb2.ListExecutionsRequest()),
                (self._call.monitor.GetSnapshot, monitor_pb2.GetSnapshotRequest()),
            ]
        )
        await self._call(stub, request)

    async def be_wrong(self) -> None:
        stub, request, code = self._dice.choice(
            [
                (
                    self._sessions.GetSession,
                    sessions_pb2.GetSessionRequest(session_id="nobody-has-this"),
                    grpc.StatusCode.NOT_FOUND,
                ),
                (
                    self._sessions.ListSessions,
                    sessions_pb2.ListSessionsRequest(page_size=-1),
                    grpc.StatusCode.INVALID_ARGUMENT,
                ),
                (
                    self._sessions.AppendMessages,
                    sessions_pb2.AppendMessagesRequest(session_id=self._id),
                    grpc.StatusCode.INVALID_ARGUMENT,
                ),
            ]
        )
        try:
            await self._call(stub, request)
        except grpc.RpcError as error:
            assert error.code() is code, error  # noqa: PT017 - the only one it may be
        else:
            raise AssertionError(f"not refused: {request}")

    async def copy(self) -> None:
        request = sessions_pb2.CopySessionRequest(session_id=self._id, title=f"Copy {self._name}")
        made = (await self._call(self._sessions.CopySession, request)).session
        assert made.message_count == len(self._kept)
        await self._delete(made.id)

    async def export(self) -> None:
        self._call.count("ExportSessionsRequest")
        request = sessions_pb2.ExportSessionsRequest(session_ids=[self._id])
        steps = [step async for step in self._sessions.ExportSessions(request, timeout=CALL_S)]
        found = [one for step in steps for one in step.messages.messages]
        assert [one.sequence for one in found] == sorted(self._kept)
        self._compare(found)

    async def end(self) -> None:
        """Read everything once more. Half of the sessions are deleted, the others stay."""
        await self.export()
        if self._dice.random() < 0.5:
            await self._delete(self._id)

    async def _delete(self, session: str) -> None:
        request = sessions_pb2.DeleteSessionRequest(session_id=session, purge=self._dice.random() < 0.5)
        await self._call(self._sessions.DeleteSession, request)

    def _start(self, text: str, **fields: Any) -> Any:
        self._call.count("ExecuteRequest")
        request = executions_pb2.ExecuteRequest(input=[message(text)], candidates=[self._handle], **fields)
        return self._executions.Execute(request, timeout=CALL_S)

    async def _execute(self, text: str, **fields: Any) -> str | None:
        """Read an answer. None: the model's server had a fault."""
        answer = ""
        try:
            async for event in self._start(text, **fields):
                answer = "" if event.HasField("rerouted") else answer + event.delta.text
        except grpc.RpcError as error:
            if error.code() not in UPSTREAM:
                raise
            self._call.made["answers that failed"] += 1
            return None
        return answer

    def _compare(self, found: Any) -> None:
        for one in found:
            assert _text_of(one) == self._kept[one.sequence], (self._id, one.sequence)

    def _one(self) -> int | None:
        """One of the session's questions."""
        own = [sequence for sequence, text in self._kept.items() if text.startswith("m:")]
        return self._dice.choice(own) if own else None

    def _text(self) -> str:
        return body(f"m:{self._name}-{self._dice.randrange(2**48):x}", 0)


def _text_of(one: messages_pb2.Message) -> str:
    return "".join(part.text for part in one.parts)


async def main(home: str, url: str, seed: int, count: int) -> Counter[str]:
    """Let the programs work. Return what they called."""
    async with grpc.aio.insecure_channel(f"unix:{home}/oblixd.sock") as channel:
        call = Calls(channel, count)
        request = models_pb2.HookModelRequest(
            provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint=url
        )
        handle = (await call(call.wire.models.HookModel, request)).handle
        programs = [
            Program(call, f"p{seed}-{number}", seed * 100 + number, handle) for number in range(PROGRAMS)
        ]
        async with asyncio.TaskGroup() as group:
            for program in programs:
                group.create_task(program.run())
        return call.made


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))))
