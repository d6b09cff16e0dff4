#!/usr/bin/env python3
"""Writes `oblix.Client` from `oblix.AsyncClient`: the same source, without async and await.

`tools/sync_client.py write` writes the files, `tools/sync_client.py check` fails where they are stale.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "client/oblix"
NOTE = "# Written by tools/sync_client.py from {}: change that file.\n"
TYPES = [
    (re.compile(r"AsyncGenerator\[(.*), None\]"), r"Generator[\1, None, None]"),
    (re.compile(r"Awaitable\[(tuple\[list\[T\], str\])\]"), r"\1"),
]
WORDS = {
    "async def __aenter__": "def __enter__",
    "async def __aexit__": "def __exit__",
    "async with": "with",
    "async for": "for",
    "async def": "def",
    "await ": "",
    "AsyncIterator": "Iterator",
    "AsyncGenerator": "Generator",
    "AsyncClient": "Client",
    "__aiter__": "__iter__",
    "aclosing": "closing",
    "aclose": "close",
    ".acall(": ".call(",
    ".transport.stream(": ".transport.iterate(",
    "._transport.stream(": "._transport.iterate(",
    "in_thread": "in_place",
    "run_awaitable": "run_async",
    "oblix._async": "oblix._sync",
    "starts_daemon": "starts_daemon",
    "Functions can be async; others run in a thread.": "Functions can be async.",
    "daemon for programs that use asyncio.": "daemon for programs without asyncio.",
    "The client for programs that use asyncio.": "The client for programs that do not use asyncio.",
}
CLASS = re.compile(r"\bAsync(?=[A-Z])")


def main(action: str) -> int:
    """Write the files, or compare them. Returns the exit code."""
    made = {target: write(source, target) for source, target in pairs()}
    if action == "write":
        for path, text in made.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return 0
    stale = [
        path.relative_to(ROOT) for path, text in made.items() if not path.exists() or path.read_text() != text
    ]
    for path in stale:
        sys.stderr.write(f"{path} is stale: run tools/sync_client.py write\n")
    return 1 if stale else 0


def pairs() -> list[tuple[Path, Path]]:
    """Return each source with the file that is written from it."""
    folder = sorted((CLIENT / "_async").glob("*.py"))
    inner = [(path, CLIENT / "_sync" / path.name) for path in folder]
    return [*inner, (CLIENT / "async_client.py", CLIENT / "sync_client.py")]


def write(source: Path, target: Path) -> str:
    """Return what a source says without async, as ruff formats it."""
    text = source.read_text()
    for pattern, replacement in TYPES:
        text = pattern.sub(replacement, text)
    for word, replacement in WORDS.items():
        text = text.replace(word, replacement)
    text = CLASS.sub("", text)
    text = NOTE.format(source.relative_to(ROOT)) + text
    for command in (["check", "--fix", "--unsafe-fixes", "--quiet", "--exit-zero"], ["format", "--quiet"]):
        name = ["--stdin-filename", str(target), "-"]
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *name],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        text = done.stdout
    return text


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
