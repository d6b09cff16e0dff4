"""What the parts of a client share: its way to the daemon, what it hooked, its agents."""

from __future__ import annotations

from oblix._resources.agents import Agents
from oblix._resources.hooked_models import HookRegistry
from oblix._transport.channel import Transport


class Core:
    """The state of a client. Both clients and the facade of one program may share it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.hooked = HookRegistry()
        self.agents = Agents()
