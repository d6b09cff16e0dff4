"""What the parts of a client share."""

from __future__ import annotations

from oblix._address import Address
from oblix._agents import Agents
from oblix._hooks import Hooks
from oblix._transport import Transport
from oblix.session_manager import SessionManager


class Core:
    """A client's state: its way to the daemon, what it hooked, and which session it is in."""

    def __init__(self, address: Address) -> None:
        self._transport = Transport(address)
        self._hooks = Hooks(self._transport)
        self._agents = Agents()
        self.session_manager = SessionManager(self._transport)
        self.current_session_id: str | None = None
        """The session that prompts belong to where none is named. Assign it as you like."""
