"""The session calls of a client, against a real daemon."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from oblix import AlreadyExistsError, InvalidArgumentError, NotFoundError, OblixClient, OblixError

SUMMARY = {"id", "title", "created_at", "updated_at", "message_count", "metadata"}
DOCUMENT = {"id", "title", "created_at", "updated_at", "messages", "context", "metadata"}


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def contents(client: OblixClient, session_id: str) -> list[tuple[str, str]]:
    session = client.load_session(session_id)
    assert session is not None
    return [(message["role"], message["content"]) for message in session["messages"]]


async def test_a_session_has_the_documented_shape(client: OblixClient) -> None:
    session_id = await client.create_session("A title", {"system": "Be brief."}, {"n": 1})
    client.session_manager.save_message(session_id, "Hello", role="assistant")
    session = client.load_session(session_id)
    assert session is not None
    assert set(session) == DOCUMENT
    assert (session["id"], session["title"]) == (session_id, "A title")
    assert session["context"] == {"system": "Be brief."}
    assert session["metadata"] == {"n": 1}
    (message,) = session["messages"]
    assert set(message) == {"id", "role", "content", "timestamp"}
    assert (message["role"], message["content"]) == ("assistant", "Hello")


async def test_times_are_iso_8601_in_utc(client: OblixClient) -> None:
    before = datetime.now(UTC)
    session = client.load_session(await client.create_session())
    assert session is not None
    assert session["created_at"].endswith("Z")
    assert len(session["created_at"]) == len("2026-01-31T12:00:00.000000Z")
    created = datetime.fromisoformat(session["created_at"])
    assert before - timedelta(seconds=1) <= created <= datetime.now(UTC) + timedelta(seconds=1)


async def test_sessions_are_listed_most_recent_first(client: OblixClient) -> None:
    first, second = [await client.create_session(f"listed {n}", metadata={"of": "listing"}) for n in (1, 2)]
    client.session_manager.save_message(first, "Hello")
    listed = client.list_sessions(filter_metadata={"of": "listing"})
    assert [session["id"] for session in listed] == [first, second]
    assert [session["message_count"] for session in listed] == [1, 0]
    assert all(set(session) == SUMMARY for session in listed)


async def test_filters_must_all_hold(client: OblixClient) -> None:
    wanted = await client.create_session(metadata={"a": "filtered", "n": 1, "deep": {"b": None}})
    await client.create_session(metadata={"a": "filtered", "n": 2})
    await client.create_session(metadata={"a": "filtered", "n": True})
    found = client.list_sessions(filter_metadata={"a": "filtered", "n": 1.0, "deep.b": None})
    assert [session["id"] for session in found] == [wanted]
    assert client.list_sessions(filter_metadata={"a": "of nothing"}) == []


async def test_listing_goes_through_the_pages(client: OblixClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oblix._sync.items.FIRST_PAGE", 2)
    ids = [await client.create_session(metadata={"of": "pages"}) for _ in range(5)]
    for limit in (0, 1, 2, 3, 5, 9):
        listed = client.list_sessions(limit=limit, filter_metadata={"of": "pages"})
        assert [session["id"] for session in listed] == ids[::-1][:limit]


async def test_loading_goes_through_the_pages(client: OblixClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oblix._sync.items.FIRST_PAGE", 2)
    session_id = await client.create_session()
    for n in range(5):
        client.session_manager.save_message(session_id, str(n))
    assert contents(client, session_id) == [("user", str(n)) for n in range(5)]


async def test_metadata_is_merged_key_by_key(client: OblixClient) -> None:
    session_id = await client.create_session(metadata={"stage": "proposal", "contact": "jane"})
    assert client.update_session_metadata(session_id, {"stage": "negotiation", "next": "monday"}) is True
    merged = {"stage": "negotiation", "contact": "jane", "next": "monday"}
    assert client.get_session_metadata(session_id) == merged


async def test_a_missing_session_has_the_documented_answer(client: OblixClient) -> None:
    client.current_session_id = "kept"
    assert client.use_session("nobody") is False
    assert client.current_session_id == "kept"
    assert client.load_session("nobody") is None
    assert client.get_session_metadata("nobody") is None
    assert client.delete_session("nobody") is False
    assert client.update_session_metadata("nobody", {"a": 1}) is False


async def test_calls_that_need_the_session_raise(client: OblixClient, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        client.session_manager.save_message("nobody", "Hello")
    with pytest.raises(NotFoundError):
        await client.copy_session("nobody")
    with pytest.raises(NotFoundError):
        await client.merge_sessions([await client.create_session(), "nobody"])
    with pytest.raises(NotFoundError) as caught:
        await client.export_session("nobody", tmp_path / "file.json")
    assert caught.value.reason == "SESSION_NOT_FOUND"
    assert not (tmp_path / "file.json").exists()


@pytest.mark.parametrize("session_id", ["", "a/b", "x" * 129, "ä", 17, "\ud800"])
async def test_a_malformed_id_is_an_error_everywhere(client: OblixClient, session_id: object) -> None:
    for call in (client.use_session, client.load_session, client.delete_session, client.get_session_metadata):
        with pytest.raises(InvalidArgumentError) as caught:
            call(session_id)
        assert caught.value.metadata["field"] == "session_id"


async def test_the_current_session_is_a_plain_attribute(client: OblixClient) -> None:
    assert client.current_session_id is None
    session_id = await client.create_and_use_session("Used")
    assert client.current_session_id == session_id
    other = await client.create_session("Other")
    assert client.current_session_id == session_id
    assert client.use_session(other) is True
    assert client.current_session_id == other
    client.current_session_id = session_id
    assert client.delete_session(session_id) is True
    assert client.current_session_id is None


async def test_a_copy_is_independent(client: OblixClient) -> None:
    template = await client.create_session("Template", metadata={"type": "template"})
    client.session_manager.save_message(template, "Welcome!", role="assistant")
    copy = await client.copy_session(template, new_title="For Acme", use_immediately=True)
    assert client.current_session_id == copy
    client.session_manager.save_message(copy, "Hi")
    assert contents(client, template) == [("assistant", "Welcome!")]
    assert contents(client, copy) == [("assistant", "Welcome!"), ("user", "Hi")]
    loaded = client.load_session(copy)
    assert loaded is not None
    assert (loaded["title"], loaded["metadata"]) == ("For Acme", {"type": "template"})


async def test_a_merge_stands_in_order_of_time(client: OblixClient) -> None:
    one, two = await client.create_session("one"), await client.create_session("two")
    for n, session_id in enumerate([one, two, one, two]):
        client.session_manager.save_message(session_id, str(n))
    merged = await client.merge_sessions([two, one], title="All of it", use_immediately=True)
    assert client.current_session_id == merged
    assert [content for _, content in contents(client, merged)] == ["0", "1", "2", "3"]
    assert (await_title := client.load_session(merged)) is not None
    assert await_title["title"] == "All of it"


async def test_export_and_import_keep_everything(client: OblixClient, tmp_path: Path) -> None:
    path = tmp_path / "new" / "session.json"
    session_id = await client.create_session("Ünïcode 👋", {"a": [1]}, {"b": {"c": 1.5}}, local_only=True)
    client.session_manager.save_message(session_id, "Hello 👋")
    assert await client.export_session(session_id, str(path)) is True
    assert path.stat().st_mode & 0o777 == 0o600
    exported = json.loads(path.read_text())
    assert exported == client.load_session(session_id)
    imported = await client.import_session(path, use_immediately=True)
    assert client.current_session_id == imported != session_id
    again = client.load_session(imported)
    assert again is not None
    assert again | {"id": session_id} == exported


async def test_an_import_can_keep_its_id_once(client: OblixClient, tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_text(json.dumps({"id": "kept-id", "messages": [{"role": "user", "content": "Hi"}]}))
    assert await client.import_session(path, new_id=False) == "kept-id"
    with pytest.raises(AlreadyExistsError) as caught:
        await client.import_session(path, new_id=False)
    assert caught.value.reason == "SESSION_EXISTS"
    assert client.delete_session("kept-id")


async def test_large_sessions_travel_in_batches(client: OblixClient, tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    messages = [{"role": "user", "content": str(n)} for n in range(2500)]
    messages += [{"role": "user", "content": "x" * 3_000_000} for _ in range(3)]
    path.write_text(json.dumps({"messages": messages}))
    imported = await client.import_session(path)
    assert contents(client, imported) == [("user", message["content"]) for message in messages]
    assert await client.export_session(imported, path)
    assert len(json.loads(path.read_text())["messages"]) == 2503


@pytest.mark.parametrize("content", [b"not json", b'{"no": "messages"}', b'{"messages": [{"role": "x"}]}'])
async def test_a_broken_file_is_refused_and_nothing_is_kept(
    client: OblixClient, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(content)
    count = len(client.list_sessions(limit=1000))
    with pytest.raises(InvalidArgumentError) as caught:
        await client.import_session(path)
    assert str(path) in caught.value.message
    assert len(client.list_sessions(limit=1000)) == count


async def test_sessions_of_a_file_that_the_daemon_refuses_are_reported(
    client: OblixClient, tmp_path: Path
) -> None:
    path = tmp_path / "session.json"
    path.write_text(json.dumps({"title": "x" * 2000, "messages": []}))
    with pytest.raises(InvalidArgumentError, match="title"):
        await client.import_session(path)


async def test_files_that_cannot_be_used_say_so(client: OblixClient, tmp_path: Path) -> None:
    session_id = await client.create_session()
    with pytest.raises(NotFoundError, match=r"missing\.json"):
        await client.import_session(tmp_path / "missing.json")
    with pytest.raises(InvalidArgumentError, match="can't be read"):
        await client.import_session(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgumentError, match="can't be written"):
        await client.export_session(session_id, tmp_path / "file" / "below.json")
    with pytest.raises(InvalidArgumentError, match="file_path"):
        await client.export_session(session_id, 17)


async def test_an_export_that_fails_leaves_the_old_file(
    client: OblixClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "session.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("oblix._convert.file_io.os.fsync", full)
    with pytest.raises(InvalidArgumentError, match="No space left"):
        await client.export_session(await client.create_session(), path)
    assert sorted(names(tmp_path)) == ["session.json"]
    assert path.read_text() == "old"


BAD_SESSIONS: list[tuple[dict[str, object], str]] = [
    ({"title": "x" * 2**20}, "title"),
    ({"title": "\ud800"}, "title"),
    ({"title": 17}, "title"),
    ({"metadata": {"a": {1}}}, "metadata.a"),
    ({"metadata": {"a": float("nan")}}, "metadata.a"),
    ({"metadata": [("a", 1)]}, "metadata"),
    ({"initial_context": {"a": 2**60}}, "initial_context.a"),
]


@pytest.mark.parametrize(("arguments", "field"), BAD_SESSIONS, ids=[field for _, field in BAD_SESSIONS])
async def test_bad_input_names_the_field_and_changes_nothing(
    client: OblixClient, arguments: dict[str, object], field: str
) -> None:
    count = len(client.list_sessions(limit=1000))
    with pytest.raises(InvalidArgumentError) as caught:
        await client.create_session(**arguments)
    assert caught.value.metadata["field"].endswith(field)
    assert {"limit", "given"} <= set(caught.value.metadata)
    assert len(client.list_sessions(limit=1000)) == count


@pytest.mark.parametrize(
    ("content", "role", "field"),
    [("Hi", "human", "role"), (17, "user", "content"), ("\ud800", "user", "content")],
)
async def test_bad_messages_name_the_field(
    client: OblixClient, content: object, role: object, field: str
) -> None:
    session_id = await client.create_session()
    with pytest.raises(InvalidArgumentError) as caught:
        client.session_manager.save_message(session_id, content, role=role)
    assert caught.value.metadata["field"] == field
    assert contents(client, session_id) == []


@pytest.mark.parametrize("limit", [-1, 2.5, True, "ten"])
def test_a_bad_limit_is_refused(client: OblixClient, limit: object) -> None:
    with pytest.raises(OblixError, match="limit"):
        client.list_sessions(limit=limit)


async def test_a_program_names_its_session_itself(client: OblixClient) -> None:
    made = await client.create_session("Bot", session_id="named-by-us", get_or_create=True)
    assert made == "named-by-us"
    again = await client.create_and_use_session("Other", session_id=made, get_or_create=True, local_only=True)
    assert again == made == client.current_session_id
    found = client.get_session(made)
    assert found is not None
    assert (found["title"], found["local_only"]) == ("Bot", True)
    with pytest.raises(AlreadyExistsError) as caught:
        await client.create_session(session_id=made)
    assert caught.value.reason == "SESSION_EXISTS"
    assert client.delete_session(made)
    with pytest.raises(AlreadyExistsError) as caught:
        await client.create_session(session_id=made, get_or_create=True)
    assert caught.value.reason == "SESSION_DELETED"
    assert client.delete_session(made, purge=True)
    assert not client.delete_session(made, purge=True)
    assert await client.create_session(session_id=made) == made
    with pytest.raises(InvalidArgumentError):
        await client.create_session(get_or_create=True)
