"""The index follows what happens, and is never trusted more than the store."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from oblix.v1 import messages_pb2, sessions_pb2
from support.drivers.conversations import say, sessions_in
from support.drivers.searching import Library, library_in, pin

from oblixd.sessions.storage import changes


def damage(index: Path) -> None:
    """Overwrites all but the first page, which a reader does not look at again."""
    with index.open("r+b") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(4096)
        file.write(b"\xa5" * max(size - 4096, 4096))
    for companion in ("-wal", "-shm"):
        index.with_name(index.name + companion).unlink(missing_ok=True)


def cut(index: Path) -> None:
    """Takes the second half away."""
    with index.open("r+b") as file:
        file.truncate(index.stat().st_size // 2 + 100)


def replace(index: Path) -> None:
    """Puts something else in its place."""
    index.write_text("this is not an index")


async def test_a_deleted_session_is_gone_at_once_and_back_when_brought_back(library: Library) -> None:
    session = await library.session("needle in a haystack", title="needle case")
    assert len(await library.find("needle")) == 2
    await library.sessions.delete(session)
    assert list((await library.once("needle")).hits) == []
    assert await library.find("needle") == []
    await library.sessions.undelete(session)
    assert sorted(hit.sequence for hit in await library.find("needle")) == [0, 1]


async def test_a_changed_title_is_found_by_its_new_words_only(library: Library) -> None:
    session = await library.session(title="old words")
    assert await library.snippets("old") == ["old words"]
    await library.sessions.update(sessions_pb2.Session(id=session, title="new words"), ["title"])
    assert await library.snippets("old") == []
    assert await library.snippets("new words") == ["new words"]
    await library.sessions.update(sessions_pb2.Session(id=session), ["title"])
    assert await library.snippets("words") == []


async def test_an_answer_is_found_when_it_is_finished(library: Library) -> None:
    session = await library.session()
    turn = await library.sessions.begin_turn(session, "request-1", [say("what is it?")])
    await turn.checkpoint([messages_pb2.Part(text="a unicorn")])
    await library.sessions.append(session, [say("said meanwhile")])
    assert await library.snippets("unicorn") == []
    assert await library.snippets("what") == ["what is it?"]
    await turn.finish(messages_pb2.Message(parts=[messages_pb2.Part(text="a unicorn indeed")]))
    assert await library.snippets("unicorn") == ["a unicorn indeed"]
    assert await library.snippets("meanwhile") == ["said meanwhile"]


async def test_copies_and_merges_are_found(library: Library) -> None:
    first, second = await library.session("red apple"), await library.session("green apple")
    assert len(await library.find("apple")) == 2
    copy = await library.sessions.copy(first, None)
    merge = await library.sessions.merge([first, second], None)
    hits = await library.find("apple")
    assert sorted(hit.session_id for hit in hits) == sorted([first, second, copy.id, merge.id, merge.id])


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    async with library_in(tmp_path) as library:
        session = await library.session("before the restart")
        assert await library.snippets("restart")
        made = pin(library.index)
    async with library_in(tmp_path) as library:
        await library.sessions.append(session, [say("after the restart")])
        assert sorted(await library.snippets("restart")) == ["after the restart", "before the restart"]
        assert library.index.samefile(made)


async def test_an_index_that_is_too_far_behind_looks_at_every_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with library_in(tmp_path) as library:
        session = await library.session("first needle", title="old needle")
        deleted = await library.session("second needle")
        assert len(await library.find("needle")) == 3
        made = pin(library.index)
    monkeypatch.setattr(changes, "MIN_CHANGES", 2)
    monkeypatch.setattr(changes, "TRIM_BATCH", 2)
    async with sessions_in(tmp_path / "store") as sessions:
        await sessions.delete(deleted)
        await sessions.update(sessions_pb2.Session(id=session, title="new thread"), ["title"])
        for number in range(20):
            await sessions.append(session, [say(f"needle {number}")])
    async with library_in(tmp_path) as library:
        assert len(await library.find("needle", page_size=200)) == 21
        assert await library.snippets("thread") == ["new thread"]
        assert library.index.samefile(made)


async def test_a_missing_index_is_made_while_serving(library: Library) -> None:
    await library.session("needle", "hay", title="needle")
    assert len(await library.find("needle")) == 2
    for file in library.index.parent.iterdir():
        file.unlink()
    library.index.parent.rmdir()
    await library.session("another needle")
    assert len(await library.find("needle")) == 3
    assert library.index.exists()


async def test_an_overwritten_index_is_made_anew_while_serving(library: Library) -> None:
    await library.session(*(f"needle number {number}" for number in range(300)), title="needle")
    assert len(await library.find("needle", page_size=200)) == 200
    damage(library.index)
    await library.session("another needle")
    assert len(await library.find("another")) == 1
    assert len(await library.find("number needle 299")) == 1


@pytest.mark.parametrize("spoil", [damage, cut, replace])
async def test_damage_is_found_at_the_start(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    async with open_filled_library(tmp_path) as library:
        pass
    spoil(library.index)
    async with library_in(tmp_path) as library:
        assert await library.snippets("needle 7") == ["needle 7"]


async def test_an_index_of_another_store_is_made_anew(tmp_path: Path) -> None:
    async with open_filled_library(tmp_path / "a") as library:
        index = library.index
    async with open_filled_library(tmp_path / "b", "pin") as library:
        pass
    index.replace(library.index)
    async with library_in(tmp_path / "b") as library:
        assert await library.snippets("needle") == []
        assert await library.snippets("pin 7") == ["pin 7"]


async def test_an_index_that_is_ahead_of_its_store_is_made_anew(tmp_path: Path) -> None:
    store, before = tmp_path / "store", tmp_path / "before"
    async with open_filled_library(tmp_path):
        pass
    shutil.copytree(store, before)
    async with library_in(tmp_path) as library:
        await library.session("a needle that is lost")
        assert len(await library.find("needle", page_size=200)) == 21
    shutil.rmtree(store)
    before.rename(store)
    async with library_in(tmp_path) as library:
        # It gets the lost session's number.
        await library.session("a pin")
        assert len(await library.find("needle", page_size=200)) == 20
        assert await library.snippets("pin") == ["a pin"]


@asynccontextmanager
async def open_filled_library(directory: Path, word: str = "needle") -> AsyncIterator[Library]:
    """A library with twenty messages, all of them indexed."""
    async with library_in(directory) as library:
        await library.session(*(f"{word} {number}" for number in range(20)))
        assert len(await library.find(word)) == 20
        yield library
