"""Machines that are not here: their /proc and /sys, laid out from a file in which they are written down.

A TOML file holds `files` (path: content; a line's end is added) and `links` (path: where it leads).
"""

from __future__ import annotations

import tomllib
from pathlib import Path

RECORDED = Path(__file__).resolve().parents[2] / "monitor/recorded"


def lay_out(root: Path, name: str) -> Path:
    """Lay a machine out below a directory. Returns that."""
    told = tomllib.loads((RECORDED / f"{name}.toml").read_text())
    for path, content in told["files"].items():
        write(root, path, content)
    for path, target in told.get("links", {}).items():
        link = root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target, target_is_directory=True)
    return root


def write(root: Path, path: str, content: str | int) -> None:
    """Write one file of a machine anew."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{content}\n")
