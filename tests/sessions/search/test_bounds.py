"""What keeps the search within its time and its room, and what it does without a healthy disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import say, sessions_in, struct
from support.drivers.searching import Library, library_in, pin
from support.drivers.waiting import eventually

from oblixd.errors import DeadlineExceededError
from oblixd.sessions.search import indexer, ranking, text_index
from oblixd.sessions.storage import changes
from oblixd.store.inspection import DATA_FILE


async def test_a_very_common_word_ranks_its_newest_messages(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    await library.session(*(f"everywhere {number}" for number in range(30)))
    monkeypatch.setattr(ranking, "MAX_RANKED", 5)
    assert {hit.sequence for hit in await library.find("everywhere")} == {26, 27, 28, 29, 30}
    assert [hit.sequence for hit in await library.find("everywhere 3")] == [4]


async def test_rows_outside_of_the_filter_are_not_ranked(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "MAX_RANKED", 3)
    labelled = await library.session("everywhere", metadata=struct(kind="rare"))
    for _ in range(5):
        put_away = await library.session("everywhere")
        await library.sessions.update(Session(id=put_away, archived=True), ["archived"])
    assert [hit.session_id for hit in await library.find("everywhere")] == [labelled]
    await library.session("everywhere", "everywhere", "everywhere")
    found = await library.find("everywhere", filter=struct(kind="rare"))
    assert [hit.session_id for hit in found] == [labelled]
    assert [hit.session_id for hit in await library.find("everywhere", session_id=labelled)] == [labelled]


async def test_a_search_that_takes_too_long_ends(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    await library.session(*["word"] * 300)
    assert await library.find("word")
    monkeypatch.setattr(ranking, "MAX_SECONDS", -1.0)
    monkeypatch.setattr(ranking, "_CALLED_EVERY", 1)
    with pytest.raises(DeadlineExceededError):
        await library.find("word")


async def test_an_index_of_mostly_deleted_sessions_is_made_anew(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_index, "SPARED_ROWS", 100)
    large, small = await library.session(*["secretive word"] * 300), await library.session("word")
    assert len(await library.find("word", page_size=200)) == 200
    made = pin(library.index)
    await library.sessions.delete(large)
    await eventually(lambda: library.index.exists() and not library.index.samefile(made))
    assert [hit.session_id for hit in await library.find("word")] == [small]


async def test_deletions_that_the_index_missed_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_index, "SPARED_ROWS", 100)
    monkeypatch.setattr(changes, "MIN_CHANGES", 2)
    monkeypatch.setattr(changes, "TRIM_BATCH", 2)
    async with library_in(tmp_path) as library:
        large, small = await library.session(*["word"] * 300), await library.session("word")
        assert len(await library.find("word", page_size=200)) == 200
        made = pin(library.index)
    async with sessions_in(tmp_path / "store") as sessions:
        await sessions.delete(large)
        for number in range(20):
            await sessions.append(small, [say(f"more {number}")])
    async with library_in(tmp_path) as library:
        await eventually(lambda: library.index.exists() and not library.index.samefile(made))
        assert [hit.session_id for hit in await library.find("word")] == [small]


async def test_without_a_place_for_its_index_the_search_says_so_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "RETRY_S", 0.02)
    blocked = tmp_path / "search"
    blocked.write_text("a file where the directory should be")
    async with library_in(tmp_path) as library:
        await library.session("needle")
        answer = await library.once("needle")
        assert answer.indexing
        assert not answer.hits
        blocked.unlink()
        assert await library.snippets("needle") == ["needle"]


@pytest.mark.parametrize("indexed", [False, True], ids=["before it is indexed", "after it was"])
async def test_a_damaged_message_is_left_out(tmp_path: Path, indexed: bool) -> None:
    async with sessions_in(tmp_path / "store") as sessions:
        session = (await sessions.create(Session())).id
        await sessions.append(session, [say("needle before"), say("needle hurt"), say("needle after")])
    if indexed:
        async with library_in(tmp_path) as library:
            assert await library.snippets("hurt") == ["needle hurt"]
    _flip(tmp_path / "store" / DATA_FILE, b"needle hurt")
    async with library_in(tmp_path) as library:
        await library.sessions.append(session, [say("needle last")])
        found = await library.snippets("needle")
    assert sorted(found) == ["needle after", "needle before", "needle last"]


def _flip(path: Path, where: bytes) -> None:
    """Changes a letter of a text in the store's file."""
    content = path.read_bytes()
    assert where in content
    path.write_bytes(content.replace(where, where.swapcase()))
