"""Where the cgroups that hold this process are: its own, and all around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

V2 = ""
"""What version 2 is called by: its one hierarchy has no controllers in its name."""


class Mount(NamedTuple):
    """A line of mountinfo that is a cgroup file system."""

    controllers: frozenset[str]
    root: PurePosixPath
    """Which cgroup is seen at the mount point."""
    point: PurePosixPath


def folders(root: Path, controller: str) -> dict[PurePosixPath, Path]:
    """The cgroups of a controller that hold this process, by name, the innermost first. None are {}.

    `V2` gives those of version 2. Sources: cgroups(7), proc_pid_mountinfo(5).
    """
    own = _own(root).get(controller)
    mount = next((mount for mount in _mounts(root) if controller in mount.controllers), None)
    if own is None or mount is None:
        return {}
    point = root / mount.point.relative_to("/")
    # In a namespace of its own a process may be told a place that can't be seen from there.
    inside = own.relative_to(mount.root) if own.is_relative_to(mount.root) else PurePosixPath()
    names = [PurePosixPath()] if ".." in inside.parts else [inside, *inside.parents]
    return {name: point / name for name in names if (point / name).is_dir()}


def _own(root: Path) -> dict[str, PurePosixPath]:
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
