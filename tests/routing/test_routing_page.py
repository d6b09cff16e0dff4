"""docs/reference/routing.md shows the rules as they are."""

from __future__ import annotations

from support.repository.routing_page import PAGE, TABLES, page


def test_the_page_shows_the_rules_as_they_are() -> None:
    text = PAGE.read_text()
    assert all(f"<!-- {make.__name__} -->\n|" in text for make in TABLES)
    assert page(text) == text
