"""Tool calls as answers stream them: told apart, named once, each with an id."""

from __future__ import annotations

import secrets

from oblixd.models.base import Finish, ToolCall
from oblixd.models.failures import Peer


class Calls:
    """The tool calls of one answer, each at its place: what the format tells them apart by."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._calls: dict[str, tuple[ToolCall, str]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def take(self, place: str, call_id: str, name: str) -> tuple[ToolCall, bool]:
        """Give the call that a piece belongs to, and whether it begins with it.

        The first piece has to name the tool; its id may be empty, and so may both
        in the later ones. Another id at the same place is another call. Raises ModelError.
        """
        call, known_id = self._calls.get(place, (None, ""))
        if call is not None and call_id in {"", known_id}:
            return call, False
        if not name:
            raise self._peer.broken("it calls a tool and does not say which")
        call = ToolCall(self._unique(call_id), name)
        self._calls[place] = call, call_id
        return call, True

    def why(self, reason: Finish) -> Finish:
        """Give why the answer ended: servers that call tools may say only that they stopped."""
        return Finish.TOOL_CALLS if self._calls and reason is Finish.STOP else reason

    def _unique(self, call_id: str) -> str:
        if call_id and all(call_id != given for _, given in self._calls.values()):
            return call_id
        # Unlike any other: the conversation may go on at a server that wants its ids unique.
        return f"call_{secrets.token_hex(12)}"
