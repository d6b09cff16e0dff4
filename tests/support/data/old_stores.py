"""Stores of every schema that there was, and what is in them.

`python tests/support/data/old_stores.py` (with `tests` on the path) writes the one of this schema.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from oblix.v1 import messages_pb2, routing_pb2, sessions_pb2
from support.drivers.conversations import all_messages, say, sessions_in, struct

from oblixd.sessions import Sessions
from oblixd.store import backup_trailer, schema
from oblixd.store.inspection import DATA_FILE
from oblixd.usage import Usage, UsageEntry

FOLDER = Path(__file__).parents[2] / "store" / "fixtures"
NOW_US = 1_790_000_000_123_456
"""When everything in a fixture happened."""


def files() -> list[Path]:
    """The stored files, the oldest schema first."""
    return sorted(FOLDER.glob("schema-*.mdb.gz"))


def unpack(stored: Path, directory: Path) -> None:
    """Makes a stored file the store in a directory."""
    directory.mkdir()
    (directory / DATA_FILE).write_bytes(gzip.decompress(stored.read_bytes()))


def describe_stored(stored: Path) -> Any:
    """What is in a stored file, as `describe` told it when it was made."""
    return json.loads(stored.with_name(stored.name.replace(".mdb.gz", ".json")).read_text())


def open_sessions(directory: Path) -> AbstractAsyncContextManager[Sessions]:
    """Sessions that believe that it is still then."""
    return sessions_in(directory, lambda: NOW_US)


def describe(sessions: Sessions) -> list[dict[str, Any]]:
    """Every session with its messages, deleted ones without, in the words of the contract."""
    return [
        MessageToDict(session) | {"messages": [MessageToDict(message) for message in messages]}
        for session, messages in _everything(sessions)
    ]


def _everything(sessions: Sessions) -> Iterator[tuple[sessions_pb2.Session, list[messages_pb2.Message]]]:
    for fields in ({"archived": sessions_pb2.ARCHIVED_FILTER_INCLUDE}, {"deleted": True}):
        found, _ = sessions.list(page_size=0, page_token="", filter=struct(), **fields)
        for session in found:
            is_there = not session.HasField("delete_time")
            yield session, all_messages(sessions, session.id) if is_there else []


async def _fill(sessions: Sessions) -> None:
    """A bit of everything that can be kept."""
    talk = await sessions.create(
        sessions_pb2.Session(
            title="Grüße 🎈",
            metadata=struct(a=1, b={"c": "d"}, n=None),
            context=struct(system="Be brief."),
            routing_policy="private",
        )
    )
    await sessions.append(talk.id, _messages())
    fork = await sessions.copy(talk.id, "A fork", 2)
    await sessions.update(
        sessions_pb2.Session(id=fork.id, archived=True, local_only=True), ["archived", "local_only"]
    )
    await sessions.merge([talk.id, fork.id], "Merged")
    await sessions.delete((await sessions.create(sessions_pb2.Session(title="Deleted"))).id)
    async for _ in sessions.import_(_import_requests()):
        pass
    edit = sessions_pb2.EditMessageRequest(
        session_id=talk.id, sequence=1, parts=[messages_pb2.Part(text="A better question?")]
    )
    await sessions.edit_message(edit)
    done = await sessions.begin_turn(talk.id, "a-request", [say("Why?")])
    decision = routing_pb2.RoutingDecision(model="ollama:llama2", rule="ALL_WELL", reason="There is room.")
    await done.finish(
        messages_pb2.Message(
            parts=[messages_pb2.Part(text="Because.")], model="ollama:llama2", decision=decision
        )
    )
    entry = UsageEntry("a-request", "ollama:llama2", "editor", talk.id, 12, 3, 0.5)
    await Usage(sessions.db.store, clock=lambda: NOW_US / 1e6).add(entry)
    turn = await sessions.begin_turn(talk.id, "another-request", [say("And now?")])
    await turn.checkpoint([messages_pb2.Part(reasoning="Hm."), messages_pb2.Part(text="The part that came")])


def _messages() -> list[messages_pb2.Message]:
    answer = say(
        "An answer.",
        messages_pb2.ROLE_ASSISTANT,
        model="ollama:llama2",
        status=messages_pb2.MESSAGE_STATUS_COMPLETE,
    )
    answer.usage.CopyFrom(messages_pb2.Usage(input_tokens=12, output_tokens=3))
    parts = [
        messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"\x89PNG")),
        messages_pb2.Part(tool_call=messages_pb2.ToolCallPart(call_id="1", name="look", arguments_json="{}")),
        messages_pb2.Part(
            tool_result=messages_pb2.ToolResultPart(call_id="1", content="seen", is_error=True)
        ),
        messages_pb2.Part(reasoning="Because."),
    ]
    return [
        say("A question?"),
        answer,
        messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=parts),
        say("x" * 2_500),
    ]


async def _write() -> None:
    """Writes the file of this schema, and what is in it."""
    stored = FOLDER / f"schema-{schema.VERSION}.mdb.gz"
    with tempfile.TemporaryDirectory() as scratch:
        async with open_sessions(Path(scratch, "source")) as sessions:
            await _fill(sessions)
            # While a turn runs: a daemon that dies leaves it so.
            copy = b"".join([piece.data async for piece in sessions.backup()])
        stored.write_bytes(gzip.compress(copy[: -backup_trailer.TRAILER_BYTES], mtime=0))
        unpack(stored, Path(scratch, "store"))
        async with open_sessions(Path(scratch, "store")) as sessions:
            content = json.dumps(describe(sessions), indent=1, sort_keys=True, ensure_ascii=False)
    stored.with_name(f"schema-{schema.VERSION}.json").write_text(content + "\n")


async def _import_requests() -> AsyncIterator[sessions_pb2.ImportSessionsRequest]:
    header = sessions_pb2.Session(id="imported.1", title="Imported", source_id="elsewhere")
    header.retention.days = 30
    yield sessions_pb2.ImportSessionsRequest(
        header=sessions_pb2.ImportHeader(session=header, keep_id=True, skip_existing=True)
    )
    yield sessions_pb2.ImportSessionsRequest(messages=sessions_pb2.MessageBatch(messages=[say("From afar")]))


if __name__ == "__main__":
    asyncio.run(_write())
