# Written by tools/sync_client.py from client/oblix/_async/items.py: change that file.
"""Lists that page by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from oblix.limits import LARGEST_PAGE

T = TypeVar("T")
FIRST_PAGE = 100
"""Items of the first page: many loops end early."""


class Items(Generic[T]):
    """The items of a list, fetched page by page while they are read: `for item in items`.

    Each loop reads the list anew. `first()` reads the first item only, `all()` the whole list.
    """

    def __init__(
        self,
        page: Callable[[str, int], tuple[list[T], str]],
        limit: int | None = None,
        largest: int = LARGEST_PAGE,
    ) -> None:
        """`page` takes a token and how many items are wanted; it may give fewer, and the next token."""
        self._page = page
        self._limit = limit
        self._largest = largest

    def __iter__(self) -> Iterator[T]:
        token, size, left = "", min(FIRST_PAGE, self._largest), self._limit
        while left is None or left > 0:
            items, token = self._page(token, size if left is None else min(left, self._largest))
            yield from items[:left]
            left = None if left is None else left - len(items)
            if not token:
                return
            size = self._largest

    def first(self) -> T | None:
        """Return the first item, or None if there is none."""
        for item in Items(self._page, 1):
            return item
        return None

    def all(self) -> list[T]:
        """Return all items."""
        return list(self)
