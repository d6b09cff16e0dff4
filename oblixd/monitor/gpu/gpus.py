"""All graphics processors of this machine."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path

from oblixd.monitor.gpu.nvml import Library, Nvml, NvmlError
from oblixd.monitor.gpu.sysfs import cards
from oblixd.monitor.snapshot import Gpu

PROBE_AGAIN_S = 60.0
"""A driver that was not there, or gave up, is asked again so seldom."""

logger = logging.getLogger(__name__)


def _nvidia() -> Library:
    return ctypes.CDLL("libnvidia-ml.so.1")


class Gpus:
    """Looks for them, follows them, and looks again when they went away. May hang where a driver does."""

    def __init__(
        self,
        root: Path,
        own_pids: Callable[[], Collection[int]],
        *,
        nvidia: Callable[[], Library] = _nvidia,
    ) -> None:
        self._root = root
        self._own_pids = own_pids
        self._open = nvidia
        self._nvml: Nvml | None = None
        self._probed_s = -PROBE_AGAIN_S
        self._cards = cards(root)

    def sample(self) -> tuple[Gpu, ...]:
        """Sample every processor that is there now. What one does not tell is None."""
        if time.monotonic() - self._probed_s >= PROBE_AGAIN_S:
            self._probe()
        return (*self._of_nvidia(), *(card.sample() for card in self._cards))

    def _of_nvidia(self) -> tuple[Gpu, ...]:
        if self._nvml is None:
            return ()
        try:
            return self._nvml.sample(self._own_pids())
        except NvmlError as error:
            logger.warning("the NVIDIA driver gave up (%s): it is asked again in a minute", error)
            self._nvml.close()
            self._nvml = None
            return ()

    def _probe(self) -> None:
        """Without a driver the library is not there, or says so: that is no error."""
        self._probed_s = time.monotonic()
        self._cards = self._cards or cards(self._root)
        if self._nvml is None:
            try:
                self._nvml = Nvml(self._open())
            except (OSError, NvmlError) as error:
                logger.debug("no NVIDIA driver: %s", error)
