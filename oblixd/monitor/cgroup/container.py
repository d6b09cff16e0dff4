"""What a container may use, and does.

Where the cgroups that hold this process are: its own, and all around it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from oblixd.monitor.cgroup.levels import Cpu1, Cpu2, CpuLevel, Memory1, Memory2, MemoryLevel

V2 = ""
"""What version 2 is called by: its one hierarchy has no controllers in its name."""


class Mount(NamedTuple):
    """A line of mountinfo that is a cgroup file system."""

    controllers: frozenset[str]
    root: PurePosixPath
    """Which cgroup is seen at the mount point."""
    point: PurePosixPath


def folders(root: Path, controller: str) -> dict[PurePosixPath, Path]:
    """Return the cgroups of a controller that hold this process, by name, the innermost first. None are {}.

    `V2` gives those of version 2. Sources: cgroups(7), proc_pid_mountinfo(5).
    """
    own = _own_cgroups(root).get(controller)
    mount = next((mount for mount in _mounts(root) if controller in mount.controllers), None)
    if own is None or mount is None:
        return {}
    point = root / mount.point.relative_to("/")
    # In a namespace of its own a process may be told a place that can't be seen from there.
    inside = own.relative_to(mount.root) if own.is_relative_to(mount.root) else PurePosixPath()
    names = [PurePosixPath()] if ".." in inside.parts else [inside, *inside.parents]
    return {name: point / name for name in names if (point / name).is_dir()}


def _own_cgroups(root: Path) -> dict[str, PurePosixPath]:
    found: dict[str, PurePosixPath] = {}
    for row in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = row.split(":", 2)
        found |= {name: PurePosixPath(path) for name in controllers.split(",")}
    return found


def _mounts(root: Path) -> Iterator[Mount]:
    for row in (root / "proc/self/mountinfo").read_text().splitlines():
        before, _, after = row.partition(" - ")
        seen, point = before.split()[3:5]
        kind, _, options = after.split(maxsplit=2)
        if kind in ("cgroup", "cgroup2"):
            controllers = frozenset({V2} if kind == "cgroup2" else options.split(","))
            yield Mount(controllers, PurePosixPath(seen), PurePosixPath(point))


LOOK_AGAIN_S = 10.0
"""Limits may change while a container runs, and seldom do."""


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """None is: no limit below the machine's own, or not known yet."""

    quota_cores: float | None = None
    cpu_percent: float | None = None
    """Of that quota, since the sample before, 0 to 100."""
    memory_limit_bytes: int | None = None
    memory_used_bytes: int | None = None
    pressure: Path | None = None
    """The cgroup whose pressure counts in place of the machine's. Only version 2 tells it."""


class Container:
    """Follows the lowest limit among the cgroups around this process, for CPU and for memory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._looked_s = -LOOK_AGAIN_S
        self._cpu: tuple[float, CpuLevel] | None = None
        self._memory: tuple[int, MemoryLevel] | None = None
        self._before: tuple[float, float, CpuLevel] | None = None

    def sample(self, core_count: int, memory_bytes: int) -> ContainerUse:
        """Read the limits below the machine's own cores and memory. Raises OSError if a cgroup went away."""
        if time.monotonic() - self._looked_s >= LOOK_AGAIN_S:
            self._measure(core_count, memory_bytes)
        quota, cpu = self._cpu or (None, None)
        limit, memory = self._memory or (None, None)
        return ContainerUse(
            quota_cores=quota,
            cpu_percent=self._cpu_percent(),
            memory_limit_bytes=limit,
            memory_used_bytes=memory.used_bytes() if memory else None,
            pressure=cpu.folder if isinstance(cpu, Cpu2) else None,
        )

    def _measure(self, core_count: int, memory_bytes: int) -> None:
        if not (self._root / "proc/self/cgroup").exists():
            return
        self._looked_s = time.monotonic()
        quotas = [(level.quota_cores(), level) for level in _cpu_levels(self._root)]
        below = [(quota, level) for quota, level in quotas if quota is not None and quota < core_count]
        self._cpu = min(below, key=lambda found: found[0], default=None)
        limits = [(level.limit_bytes(), level) for level in _memory_levels(self._root)]
        lower = [(limit, level) for limit, level in limits if limit is not None and limit < memory_bytes]
        self._memory = min(lower, key=lambda found: found[0], default=None)

    def _cpu_percent(self) -> float | None:
        if self._cpu is None:
            return None
        quota, level = self._cpu
        used_s = level.used_s()
        before, self._before = self._before, None if used_s is None else (time.monotonic(), used_s, level)
        if before is None or self._before is None or before[2] != level or self._before[0] <= before[0]:
            return None
        cores = (self._before[1] - before[1]) / (self._before[0] - before[0])
        return min(100.0, max(0.0, 100.0 * cores / quota)) if quota > 0.0 else None


def _cpu_levels(root: Path) -> Sequence[CpuLevel]:
    accounts = folders(root, "cpuacct")
    first = [Cpu1(folder, accounts.get(name)) for name, folder in folders(root, "cpu").items()]
    return [*first, *(Cpu2(folder) for folder in folders(root, V2).values())]


def _memory_levels(root: Path) -> Sequence[MemoryLevel]:
    first = [Memory1(folder) for folder in folders(root, "memory").values()]
    return [*first, *(Memory2(folder) for folder in folders(root, V2).values())]
