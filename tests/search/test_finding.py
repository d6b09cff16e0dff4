"""What a query finds."""

from __future__ import annotations

from support.searching import Library


async def test_all_words_must_be_there(library: Library) -> None:
    await library.session("the quick brown fox", "a quick answer", "brown bread")
    assert await library.snippets("quick brown") == ["the quick brown fox"]
    assert await library.snippets("quick bread") == []
