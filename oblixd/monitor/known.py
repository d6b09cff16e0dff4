"""Turns what fails into None, and says so once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Known:
    """Reads by name; whatever goes wrong in one reading leaves the others alone."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    def read(self, name: str, read: Callable[[], _T]) -> _T | None:
        """What `read` gives, or None where it raises: that is logged the first time."""
        try:
            return read()
        except Exception:  # whatever a driver or a container does to one counter, the others go on
            level = logging.DEBUG if name in self._failed else logging.WARNING
            _logger.log(level, "can't measure %s: it counts as unknown", name, exc_info=True)
            self._failed.add(name)
            return None
