"""A daemon that is killed: what it acknowledged is there, what it was writing is marked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from oblix.v1 import messages_pb2
from support.drivers.conversations import all_messages, all_sessions, say, sessions_in, texts

from oblixd.sessions import Sessions

_CHILD = """
import asyncio, sys
from pathlib import Path
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from oblixd.sessions import TABLE_NAMES, Sessions
from oblixd.store import Store

def say(text):
    return messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])

async def talk(sessions, name):
    session = await sessions.create(Session(title=name))
    number = 0
    while True:
        turn = await sessions.begin_turn(session.id, f"{name} {number}", [say(f"{number}")], b"print")
        print(name, number, flush=True)
        await turn.checkpoint([messages_pb2.Part(text=f"{number}")])
        await turn.checkpoint([messages_pb2.Part(text="!")])
        await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text=f"{number}!")]))
        print(name, f"{number}!", flush=True)
        number += 1

async def main():
    store = await Store.open(Path(sys.argv[1]), TABLE_NAMES, map_size=1 << 30)
    sessions = Sessions(store)
    await asyncio.gather(*(talk(sessions, name) for name in "abcd"))

asyncio.run(main())
"""


def _killed_in_the_middle(store: Path) -> dict[str, list[str]]:
    """Lets a child talk in four sessions, kills it, and says what it acknowledged in each."""
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(store)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child:
        lines = [child.stdout.readline() for _ in range(400)]
        assert all(lines)
        child.kill()
        lines += child.stdout.readlines()
    acknowledged: dict[str, list[str]] = {name: [] for name in "abcd"}
    for line in lines:
        if line.endswith("\n"):
            name, text = line.split()
            acknowledged[name].append(text)
    return acknowledged


async def test_a_kill_in_the_middle_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged = _killed_in_the_middle(tmp_path / "store")
    async with sessions_in(tmp_path / "store") as sessions:
        found = {session.title: session for session in all_sessions(sessions)}
        for name, said in acknowledged.items():
            messages = all_messages(sessions, found[name].id)
            assert texts(messages)[: len(said)] == said
            assert len(messages) == found[name].message_count
            assert found[name].running_request_id == ""
            _check_end(messages)
            _check_requests(sessions, name, messages)
            await sessions.begin_turn(found[name].id, f"{name} goes on", [say("at once")])


def _check_requests(sessions: Sessions, name: str, messages: list[messages_pb2.Message]) -> None:
    """Every request is found with its turn, and is called complete where its answer is."""
    for number, (question, answer) in enumerate(zip(messages[::2], messages[1::2], strict=True)):
        found = sessions.recorded_turn(f"{name} {number}")
        assert found is not None
        assert (found.question, found.answer) == ([question], answer)
        assert (found.status, found.fingerprint) == (answer.status, b"print")
    assert sessions.recorded_turn(f"{name} {len(messages) // 2}") is None


def _check_end(messages: list[messages_pb2.Message]) -> None:
    """Every answer is complete but the last one, which can be a part and is marked then."""
    for message in messages[:-1]:
        assert message.status == messages_pb2.MESSAGE_STATUS_COMPLETE
    last, number = messages[-1], str((len(messages) - 1) // 2)
    if last.status == messages_pb2.MESSAGE_STATUS_INTERRUPTED:
        assert texts([last])[0] in ("", number, f"{number}!")
        assert last.role == messages_pb2.ROLE_ASSISTANT
    else:
        assert last.status == messages_pb2.MESSAGE_STATUS_COMPLETE
