"""At most so much memory over all embedded models: who is idle makes room for who is asked."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Protocol

from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.models.embedded.gguf import Header

GIB = 1 << 30
WAIT_S = 60.0
"""How long a model waits for others to finish their answers, to load in their place."""
CACHED_WINDOWS = 4
"""Conversations of a full window that llama.cpp keeps beside those in its slots, where memory is free."""
CACHE_SHARE = 8
"""At most one part in so many of the memory that is free goes to them."""
LEAST_CACHE_BYTES = 64 << 20
ENGINE_BYTES = 96 << 20
"""What the process takes without a model."""
_NUMBER_BYTES = 2
"""The attention keeps its numbers in 16 bits."""
BATCH = 512
"""Tokens that are computed together."""
_FLOAT_BYTES = 4
_WIDTHS = 12
"""Intermediate results of one token, in widths of the model."""


def needs(header: Header, context: int, slots: int, cache_bytes: int, batch_tokens: int = BATCH) -> int:
    """Estimate what a loaded model takes, in bytes: rather too much than too little.

    The weights, the attention's memory for every slot, what one batch takes while it is computed, the
    cache of prompts, and llama.cpp itself. Layers with a sliding window are reckoned as long as the
    others. Logits are computed for the last token of a slot alone.

    Measured with a full window: SmolLM2-135M, 2,048 tokens, one slot. Without a cache of prompts it took
    210 MiB of 248, with 199 MiB of cached prompts 409 of 447.
    """
    attention = window_bytes(header, context) * slots
    batch = _FLOAT_BYTES * (batch_tokens * _WIDTHS * header.embedding_length + slots * header.vocabulary)
    return header.file_bytes + attention + batch + cache_bytes + ENGINE_BYTES


def window_bytes(header: Header, context: int) -> int:
    """Return what the attention keeps of one conversation that fills its context, in bytes."""
    return header.kept_per_token * context * _NUMBER_BYTES


def cache_bytes(header: Header, context: int, free_bytes: int) -> int:
    """Return the free memory for prompts of other conversations: changing between them is quick."""
    wanted = CACHED_WINDOWS * window_bytes(header, context)
    return max(LEAST_CACHE_BYTES, min(wanted, free_bytes // CACHE_SHARE))


def free_bytes(most: int) -> int:
    """Memory that can be had now without swapping, at most so much."""
    return min(most, _available())


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        [kib] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        return int(kib) << 10
    except (OSError, ValueError):
        # Another system: half of the machine is not much to go by, but safe with its share.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def half_of_the_machine() -> int:
    """Return half of this machine's memory in bytes, or of what its container may have."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_container_limits()]) // 2


class Resident(Protocol):
    """A model that may be in memory."""

    title: str
    """Its id, for sentences."""

    @property
    def idle_since_s(self) -> float | None:
        """Since when nobody uses it. None: somebody does, or it is not loaded."""

    def leave(self) -> None:
        """Begin to unload; `Memory.release` is called once that is done."""


class Memory:
    """Who holds how much. Belongs to one event loop."""

    def __init__(self, limit_bytes: int, *, wait_s: float = WAIT_S) -> None:
        self.limit_bytes = limit_bytes
        self._wait_s = wait_s
        self._held_bytes: dict[Resident, int] = {}
        self._turn = asyncio.Lock()
        self._free_event = asyncio.Event()
        self._somebody_waits = False

    def held_bytes(self, resident: Resident) -> int:
        """Return what a model was given, in bytes. 0: it is not loaded."""
        return self._held_bytes.get(resident, 0)

    async def take(self, resident: Resident, wanted_bytes: int) -> None:
        """Make room for a model, unloading idle ones, the longest idle first; who answers is waited for.

        Raises ModelError where it can't fit, or not within `WAIT_S`.
        """
        if wanted_bytes > self.limit_bytes:
            raise _too_large(resident, wanted_bytes, self.limit_bytes)
        async with self._turn:
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._room_for(wanted_bytes)
            except TimeoutError:
                raise self._full_error(resident, wanted_bytes) from None
            self._held_bytes[resident] = wanted_bytes

    def release(self, resident: Resident) -> None:
        """Hear that a model is no longer loaded."""
        if self._held_bytes.pop(resident, None) is not None:
            self._free_event.set()

    def rests(self, resident: Resident) -> None:
        """Hear that nobody uses a model any more: where another waits for room, it leaves at once."""
        if self._somebody_waits and resident in self._held_bytes:
            resident.leave()

    async def _room_for(self, wanted_bytes: int) -> None:
        self._somebody_waits = True
        try:
            while sum(self._held_bytes.values()) + wanted_bytes > self.limit_bytes:
                self._free_event.clear()
                idle = [one for one in self._held_bytes if one.idle_since_s is not None]
                if idle:
                    min(idle, key=lambda one: one.idle_since_s or 0.0).leave()
                await self._free_event.wait()
        finally:
            self._somebody_waits = False

    def _full_error(self, resident: Resident, wanted_bytes: int) -> ModelError:
        busy = ", ".join(f"{one.title} ({_gib(held)})" for one, held in self._held_bytes.items())
        message = (
            f"There is no memory for {resident.title} now: it needs about {_gib(wanted_bytes)} of the "
            f"{_gib(self.limit_bytes)} that embedded models may take, and {busy} did not finish within "
            f"{self._wait_s:g} s. Ask again, use another model, or raise [embedded] max_memory_gib."
        )
        return ModelError(ModelErrorKind.NO_MEMORY, message, numbers=self._numbers(wanted_bytes))

    def _numbers(self, wanted_bytes: int) -> dict[str, int]:
        held = sum(self._held_bytes.values())
        return {"needed_bytes": wanted_bytes, "limit_bytes": self.limit_bytes, "held_bytes": held}


def _too_large(resident: Resident, wanted_bytes: int, limit: int) -> ModelError:
    message = (
        f"{resident.title} does not fit: it needs about {_gib(wanted_bytes)}, and embedded models may take "
        f"{_gib(limit)}. Lower [embedded] context or parallel, raise max_memory_gib, or use a smaller file."
    )
    numbers = {"needed_bytes": wanted_bytes, "limit_bytes": limit}
    return ModelError(ModelErrorKind.NO_MEMORY, message, numbers=numbers)


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


def _container_limits() -> list[int]:
    """Return the limits of this process's control group and those above it (cgroup v2). Raises nothing."""
    root = Path("/sys/fs/cgroup")
    try:
        mine = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        # Another system: it has no such thing.
        return []
    group = root / mine.lstrip("/")
    return [limit for one in [group, *group.parents] if one.is_relative_to(root) for limit in _limit(one)]


def _limit(group: Path) -> list[int]:
    try:
        text = (group / "memory.max").read_text().strip()
    except OSError:
        # The topmost group has none.
        return []
    return [int(text)] if text.isdecimal() else []
