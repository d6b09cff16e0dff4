"""Token counts that are remembered."""

from __future__ import annotations

from oblixd.models.tokens import TokenCountCache


def test_the_counts_used_last_stay() -> None:
    counts = TokenCountCache(2)
    counts.put("a", 1)
    counts.put("b", 2)
    assert counts.get("a") == 1
    counts.put("c", 3)
    assert [counts.get(text) for text in "abc"] == [1, None, 3]


def test_a_text_that_is_no_unicode_is_counted_all_the_same() -> None:
    counts = TokenCountCache()
    counts.put("half \ud83d", 4)
    assert counts.get("half \ud83d") == 4
