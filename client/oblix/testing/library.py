"""What a test server of Ollama's can pull, and how far it is with it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

STEPS = 10
"""In so many pieces a model arrives."""


class Library:
    """Models that are not there yet, with their sizes in bytes. What has arrived of one stays."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)
        self._lock = threading.Lock()
        self._arrived = dict.fromkeys(sizes, 0)

    def has(self, name: str) -> bool:
        """Whether it can be pulled."""
        return name in self._sizes

    def arrived(self, name: str) -> int:
        """Bytes of it that are there."""
        with self._lock:
            return self._arrived[name]

    def pull(self, name: str) -> Iterator[dict[str, Any]]:
        """What the server says while it pulls, going on where an earlier pull stopped."""
        yield {"status": "pulling manifest"}
        digest = hashlib.sha256(name.encode()).hexdigest()
        total, piece = self._sizes[name], {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}"}
        # Like the real one: nothing has arrived yet, and the field is left out.
        while (completed := self.arrived(name)) < total:
            yield {**piece, "total": total, **({"completed": completed} if completed else {})}
            self._take(name)
        yield {**piece, "total": total, "completed": total}
        yield from (
            {"status": status} for status in ("verifying sha256 digest", "writing manifest", "success")
        )

    def _take(self, name: str) -> None:
        with self._lock:
            total = self._sizes[name]
            self._arrived[name] = min(total, self._arrived[name] + -(-total // STEPS))


def line(value: Mapping[str, Any]) -> bytes:
    """A value as the server writes it into a stream."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
