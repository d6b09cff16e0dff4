"""Finding messages from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oblix import InvalidArgumentError, NotFoundError, OblixClient
from support.drivers.waiting import eventually


async def write_session(client: OblixClient, title: str, *texts: str, **metadata: str) -> str:
    session_id = await client.create_session(title, metadata=metadata)
    for text in texts:
        client.session_manager.save_message(session_id, text)
    return session_id


async def wait_for_hits(search: Callable[[], list[dict[str, Any]]], count: int) -> list[dict[str, Any]]:
    """What a search finds once the index has come that far."""
    hits: list[dict[str, Any]] = []

    def enough() -> bool:
        hits[:] = search()
        return len(hits) == count

    await eventually(enough)
    return hits


async def test_a_message_is_found_with_where_its_words_stand(client: OblixClient) -> None:
    session_id = await write_session(client, "The sea", "Where is the tide table?", "Nothing")
    (hit,) = await wait_for_hits(lambda: client.search_messages('"tide tab"*'), 1)
    message = client.load_session(session_id)["messages"][0]
    assert (hit["session_id"], hit["title"], hit["sequence"]) == (session_id, "The sea", 1)
    assert (hit["message_id"], hit["timestamp"]) == (message["id"], message["timestamp"])
    assert hit["role"] == "user"
    words = [hit["snippet"][start : start + length] for start, length in hit["spans"]]
    assert " ".join(words) == "tide table"
    assert hit["score"] > 0


async def test_a_title_is_found_without_a_message(client: OblixClient) -> None:
    session_id = await write_session(client, "Zugspitze")
    (hit,) = await wait_for_hits(lambda: client.search_messages("zugspitze"), 1)
    assert (hit["session_id"], hit["sequence"], hit["message_id"], hit["role"]) == (session_id, 0, None, None)


async def test_a_search_can_be_narrowed(client: OblixClient) -> None:
    here = await write_session(client, "", "narrowed one", "narrowed two", kind="here")
    await write_session(client, "", *(f"narrowed {n}" for n in range(250)), kind="there")
    assert len(await wait_for_hits(lambda: client.search_messages("narrowed", 1000), 252)) == 252
    assert len(client.search_messages("narrowed")) == 20
    assert len(client.search_messages("narrowed", 201)) == 201
    for narrow in ({"session_id": here}, {"filter_metadata": {"kind": "here"}}):
        assert {hit["session_id"] for hit in client.search_messages("narrowed", **narrow)} == {here}
    assert client.search_messages("narrowed", 0) == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": 3}, "query"),
        ({"limit": -1}, "limit"),
        ({"limit": True}, "limit"),
        ({"session_id": "a/b"}, "session_id"),
        ({"filter_metadata": 3}, "filter_metadata"),
    ],
)
def test_wrong_arguments_raise(client: OblixClient, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        client.search_messages(**{"query": "words"} | arguments)
    assert caught.value.metadata["field"] == field


def test_an_unknown_session_is_an_error(client: OblixClient) -> None:
    with pytest.raises(NotFoundError):
        client.search_messages("words", session_id="nobody")
