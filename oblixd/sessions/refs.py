"""How the rooms of a conversation name a session to each other."""

from __future__ import annotations

from typing import NamedTuple


class Ref(NamedTuple):
    """Which session is meant."""

    number: int
    """The store's own number for it: keys are made of this."""
    id: str
