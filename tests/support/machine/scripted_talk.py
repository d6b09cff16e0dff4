"""Conversations that follow from their names: a program that writes them, and what a store may hold of one.

Each conversation is a row of operations, one after the other: appended messages, edits, deletions, answers
with checkpoints, answers made anew, copies that are deleted again. Operation N of a conversation follows from
its name and N. So after N acknowledged operations only two states are right: that after N of them, and that
after N + 1; and, where the next one is an answer, its question with a part of it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.struct_pb2 import Struct
from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.sessions import TABLE_NAMES, Sessions, Turn
from oblixd.store import Store

Texts = list[str]
NAMES = "abcdefgh"


@dataclass(frozen=True)
class Operation:
    """What one operation does, with which text, to the message at which place of those that are there."""

    kind: str
    text: str
    place: int = -1

    def apply_to(self, texts: Sequence[str]) -> Texts:
        """The conversation after it."""
        match self.kind:
            case "edit":
                return [*texts[: self.place], self.text, *texts[self.place + 1 :]]
            case "delete":
                return [*texts[: self.place], *texts[self.place + 1 :]]
            case "answer":
                return [*texts, f"? {self.text}", self.text]
            case "answer anew":
                return [*texts[:-1], self.text]
            case "copy":
                return [*texts]
            case _:
                return [*texts, self.text]

    def is_begun(self, before: Sequence[str], found: Sequence[str]) -> bool:
        """Whether a conversation is as an answer leaves it that was cut off."""
        if self.kind == "answer":
            asked = [*before, f"? {self.text}"]
            return list(found) == asked or (list(found[:-1]) == asked and self.text.startswith(found[-1]))
        is_anew = self.kind == "answer anew"
        return is_anew and list(found[:-1]) == list(before[:-1]) and self.text.startswith(found[-1])


def operation(name: str, number: int, texts: Sequence[str]) -> Operation:
    """Operation `number` of a conversation, which stands at `texts` before it."""
    dice = random.Random(f"{name} {number}")
    text = f"{number} " + "word " * dice.choice([3, 10, 40, 2000 if number % 17 == 0 else 1])
    # Only older messages are changed: no later state is an earlier one again.
    place = dice.randrange(len(texts) // 2) if len(texts) > 7 else -1
    kinds = {2: "answer", 3: "answer anew", 8: "copy"}
    if place >= 0:
        kinds |= {4: "edit", 7: "delete"}
    return Operation(kinds.get(number % 9, "append"), text, place)


def states(name: str) -> Iterator[tuple[Texts, Operation]]:
    """Each state of a conversation, from the empty one on, with the operation that comes next."""
    texts: Texts = []
    number = 0
    while True:
        following = operation(name, number, texts)
        yield texts, following
        texts = following.apply_to(texts)
        number += 1


def is_right(name: str, acknowledged: int, found: Sequence[str]) -> bool:
    """Whether a conversation may be so, once so many operations were acknowledged."""
    for number, (texts, following) in enumerate(states(name)):
        if number == acknowledged:
            after = following.apply_to(texts)
            return list(found) in (texts, after) or following.is_begun(texts, found)
    raise AssertionError


def _acknowledge(text: str) -> None:
    if "LD_PRELOAD" in os.environ:
        ctypes.CDLL(os.environ["LD_PRELOAD"]).acknowledge(text.encode(), ctypes.c_uint64(len(text)))
    else:
        os.write(1, f"{text}\n".encode())


class _Talk:
    """One conversation that is written."""

    def __init__(self, sessions: Sessions, name: str, session_id: str) -> None:
        self._sessions, self._name, self._id = sessions, name, session_id

    def _messages(self) -> list[messages_pb2.Message]:
        found, token = list[messages_pb2.Message](), ""
        while True:
            page, token = self._sessions.messages(
                self._id, page_size=1000, page_token=token, newest_first=False
            )
            found += page
            if not token:
                return found

    async def go_on(self, count: int) -> None:
        """Do so many operations, from where the conversation stands."""
        begun = await self._where()
        for number, (texts, following) in enumerate(states(self._name)):
            if number < begun:
                continue
            if number == begun + count:
                return
            await self._do(number, texts, following)
            _acknowledge(f"{self._name} {number}")

    async def _where(self) -> int:
        """How many operations it has, once an answer that was cut off is undone."""
        where = self._state_of([_text(one) for one in self._messages()])
        if where is None:
            await self._undo()
            where = self._state_of([_text(one) for one in self._messages()])
        assert where is not None, f"{self._name} is in no state that it can be in"
        return where

    def _state_of(self, found: Texts) -> int | None:
        """The state that looks so: of several, as a copy changes nothing, the last."""
        newest = None
        for number, (texts, _) in enumerate(states(self._name)):
            if texts == found:
                newest = number
            elif newest is not None or number > 2 * len(found) + 100:
                return newest
        raise AssertionError

    async def _undo(self) -> None:
        """Take an answer that was cut off away, with its question; or give the former answer its place."""
        *_, before, last = self._messages()
        if _text(last).startswith("? "):
            await self._delete([last.sequence])
            return
        asked = sessions_pb2.ListMessageVersionsRequest(session_id=self._id, sequence=last.sequence)
        if versions := self._sessions.message_versions(asked).messages:
            await self._edit(last, _text(versions[0]))
        else:
            await self._delete([before.sequence, last.sequence])

    async def _do(self, number: int, texts: Texts, what: Operation) -> None:
        request = f"{self._name} {number} {os.getpid()}"
        match what.kind:
            case "append":
                await self._sessions.append(self._id, [_say(what.text)])
            case "copy":
                copy = await self._sessions.copy(self._id, "a copy")
                await self._sessions.delete(copy.id)
            case "answer":
                begun = await self._sessions.begin_turn(self._id, request, [_say(f"? {what.text}")])
                await _answer(begun, what.text)
            case "answer anew":
                last = self._messages()[-1]
                begun = await self._sessions.begin_turn_again(self._id, request, last.id)
                await _answer(begun, what.text)
            case "edit":
                await self._edit(self._messages()[what.place], what.text)
            case "delete":
                await self._delete([self._messages()[what.place].sequence])

    async def _edit(self, message: messages_pb2.Message, text: str) -> None:
        request = sessions_pb2.EditMessageRequest(
            session_id=self._id, sequence=message.sequence, parts=[messages_pb2.Part(text=text)]
        )
        await self._sessions.edit_message(request)

    async def _delete(self, sequences: Sequence[int]) -> None:
        request = sessions_pb2.DeleteMessagesRequest(session_id=self._id, sequences=sequences, exact=True)
        await self._sessions.delete_messages(request)


async def _answer(turn: Turn, text: str) -> None:
    half = len(text) // 2
    for piece in (text[:half], text[half:]):
        await turn.checkpoint([messages_pb2.Part(text=piece)])
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text=text)]))


def _say(text: str) -> messages_pb2.Message:
    return messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])


def _text(message: messages_pb2.Message) -> str:
    return "".join(part.text for part in message.parts)


async def _write(directory: Path, count: int) -> None:
    store = await Store.open(directory, TABLE_NAMES, map_size=1 << 30)
    sessions = Sessions(store)
    await sessions.recover()
    there, _ = sessions.list(page_size=1000, page_token="", filter=Struct())
    ids = {one.title: one.id for one in there}
    for name in set(NAMES) - set(ids):
        ids[name] = (await sessions.create(sessions_pb2.Session(title=name))).id
    await asyncio.gather(*(_Talk(sessions, name, ids[name]).go_on(count) for name in NAMES))
    await store.close()


def main() -> None:
    """Write into the store of a directory: `scripted_talk DIRECTORY COUNT`."""
    asyncio.run(_write(Path(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
