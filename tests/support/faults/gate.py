"""An answer that stops in the middle until a test lets it go on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from oblix.testing.faults import InStream, Wire


@dataclass(frozen=True)
class Gate(InStream):
    """Holds an answer up behind so many tokens."""

    after: int = 2
    opened: threading.Event = field(default_factory=threading.Event)

    def strike(self, wire: Wire, error: bytes) -> bool:
        """See `InStream.strike`."""
        return self.opened.wait(60)
