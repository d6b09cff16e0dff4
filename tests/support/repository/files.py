"""The files of this repository, for the tests that read them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def tracked_files(*patterns: str) -> list[Path]:
    """What git knows or would take, below the root; all of it, or what matches a pattern."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def sources(*folders: str) -> list[Path]:
    """Python files that people write, below these folders."""
    patterns = [f"{folder}/*.py" for folder in folders]
    return [path for path in tracked_files(*patterns) if not path.name.endswith(GENERATED)]


@cache
def imports(path: Path, package_root: Path = ROOT) -> tuple[str, ...]:
    """The dotted names that a file imports, wherever it does: `from a import b` gives `a.b`."""
    return tuple(_imports(path, package_root))


def _imports(path: Path, package_root: Path) -> Iterator[str]:
    package = path.relative_to(package_root).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
