"""Messages that were deleted, edited or answered anew are found as they are now."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import DeleteMessagesRequest, EditMessageRequest
from support.drivers.conversations import say
from support.drivers.searching import Library, library_in

from oblixd.sessions.search import batch


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    async with library_in(tmp_path) as library:
        yield library


async def edit(library: Library, session_id: str, sequence: int, text: str) -> None:
    parts = [messages_pb2.Part(text=text)]
    request = EditMessageRequest(session_id=session_id, sequence=sequence, parts=parts)
    await library.sessions.edit_message(request)


async def delete(library: Library, session_id: str, *sequences: int) -> None:
    request = DeleteMessagesRequest(session_id=session_id, sequences=sequences)
    await library.sessions.delete_messages(request)


def rows(library: Library, word: str) -> list[int]:
    """The rows of the index that hold a word, whether they are shown or not."""
    with closing(sqlite3.connect(library.index)) as connection:
        found = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (word,)).fetchall()
    return [row for (row,) in found]


async def test_a_deleted_message_is_not_found(library: Library) -> None:
    session = await library.session("apple", "pear")
    assert await library.snippets("apple") == ["apple"]
    await delete(library, session, 1)
    assert await library.snippets("apple") == []
    assert await library.snippets("pear") == ["pear"]


@pytest.mark.parametrize("indexed_before", [True, False])
async def test_an_edited_message_is_found_by_its_new_words_only(
    library: Library, indexed_before: bool
) -> None:
    session = await library.session("apple tree", "pear")
    if indexed_before:
        assert await library.snippets("apple") == ["apple tree"]
    for text in ("plum tree", "cherry tree", "fig tree"):
        await edit(library, session, 1, text)
    assert await library.snippets("tree") == ["fig tree"]
    for gone in ("apple", "plum", "cherry"):
        assert await library.snippets(gone) == []
        assert rows(library, gone) == []
    assert len(rows(library, "tree")) == 1
    await edit(library, session, 2, "apple")
    assert [hit.sequence for hit in await library.find("apple")] == [2]


async def test_an_answer_anew_is_found_in_place_of_the_old_one(library: Library) -> None:
    session = await library.session("question")
    turn = await library.sessions.begin_turn(session, "old", [say("fruit?")])
    answer = await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="apple")]))
    assert await library.snippets("apple") == ["apple"]
    turn = await library.sessions.begin_turn_again(session, "new", answer.id)
    await library.sessions.append(session, [say("later")])
    assert await library.snippets("apple") == []
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="pear")]))
    assert await library.snippets("pear") == ["pear"]
    assert await library.snippets("apple") == []
    assert rows(library, "apple") == []
    assert await library.snippets("later") == ["later"]
    turn = await library.sessions.begin_turn(session, "next", [say("and?")])
    await turn.abandon()
    assert await library.snippets("pear") == ["pear"]


async def test_an_index_that_is_made_anew_has_the_newest_versions(tmp_path: Path) -> None:
    async with library_in(tmp_path) as library:
        session = await library.session("apple", "pear")
        await edit(library, session, 1, "plum")
        copy = (await library.sessions.copy(session, None)).id
        await library.ask("plum")
        index = library.index
    index.unlink()
    async with library_in(tmp_path) as library:
        assert await library.snippets("plum") == ["plum", "plum"]
        await edit(library, copy, 1, "fig")
        await edit(library, session, 1, "date")
        assert await library.snippets("plum") == []
        assert rows(library, "plum") == []
        assert await library.snippets("fig") == ["fig"]


async def test_many_edits_take_several_batches(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "BATCH_BYTES", 3 * batch.MESSAGE_BYTES)
    session = await library.session(*(f"apple {number}" for number in range(20)))
    await library.ask("apple")
    for sequence in range(1, 21):
        await edit(library, session, sequence, f"pear {sequence}")
    assert len(await library.find("pear")) == 20
    assert rows(library, "apple") == []


async def test_rows_that_are_not_shown_are_counted_but_no_turn_that_runs(library: Library) -> None:
    def hidden_rows() -> int:
        with closing(sqlite3.connect(library.index)) as connection:
            (count,) = connection.execute("SELECT hidden FROM state").fetchone()
        return int(count)

    session = await library.session("apple", "pear", "plum")
    for number in range(3):
        turn = await library.sessions.begin_turn(session, f"request {number}", [say("fruit?")])
        await library.ask("fruit")
        await turn.checkpoint([messages_pb2.Part(text="fig")])
        await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="fig")]))
        await library.ask("fig")
    assert hidden_rows() == 0
    await delete(library, session, 1, 2)
    await library.ask("plum")
    assert hidden_rows() == 2
