"""Runs the Python blocks of Markdown guides, so that documentation can't rot.

    python -m support.repository.guides [--prelude GUIDE.md] GUIDE.md [GUIDE.md ...]

The blocks of a guide run in order, in one namespace, as one program whose
`__name__` is `__main__`. `await` may stand at the top level of a block: such
blocks share one event loop for the guide. A block that is indented, as inside
a list, is taken without its indentation. Tracebacks show the guide's lines.

A guide often leaves out what its reader is assumed to have: a client, a name
from an earlier page. A prelude provides just that: a guide whose blocks are run
first, in the same namespace, and whose prose says what is assumed and why. It
finds a `contextlib.ExitStack` under the name `cleanup`, closed at the end.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import inspect
import re
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)")
PYTHON = {"python", "py", "python3"}


@dataclass(frozen=True)
class Block:
    """One fenced block of Python."""

    path: Path
    line: int
    """The line in the guide on which its first line stands, from 1."""
    source: str


def blocks(path: Path) -> Iterator[Block]:
    """The Python blocks of a guide, in order."""
    lines = iter(enumerate(path.read_text().splitlines(), start=1))
    for number, line in lines:
        if opening := _FENCE.match(line):
            body = list(_body(lines, opening["fence"]))
            if opening["language"].lower() in PYTHON:
                yield Block(path, number + 1, textwrap.dedent("\n".join(body)))


def _body(lines: Iterator[tuple[int, str]], fence: str) -> Iterator[str]:
    closing = re.compile(rf"^\s*{fence[0]}{{{len(fence)},}}\s*$")
    for _, line in lines:
        if closing.match(line):
            return
        yield line


def run(path: Path, prelude: Path | None = None) -> dict[str, object]:
    """Run a guide's blocks. Returns the namespace that they leave; raises what they raise."""
    namespace: dict[str, object] = {"__name__": "__main__", "__builtins__": __builtins__}
    with ExitStack() as namespace["cleanup"], asyncio.Runner() as runner:
        for guide in (prelude, path) if prelude else (path,):
            for block in blocks(guide):
                _run_block(block, namespace, runner)
    return namespace


def _run_block(block: Block, namespace: dict[str, object], runner: asyncio.Runner) -> None:
    # Empty lines before it give every line the number that it has in the guide.
    padded = "\n" * (block.line - 1) + block.source
    code = compile(padded, str(block.path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, namespace)
    if code.co_flags & inspect.CO_COROUTINE:
        runner.run(_finish(result))


async def _finish(block: object) -> None:
    await block  # what a block with a top-level await evaluates to


def main() -> None:
    """Run the guides that the command line names."""
    parser = argparse.ArgumentParser(description="Run the Python blocks of Markdown guides.")
    parser.add_argument("guides", nargs="+", type=Path, metavar="GUIDE.md")
    parser.add_argument("--prelude", type=Path, metavar="GUIDE.md", help="run before each guide")
    arguments = parser.parse_args()
    for guide in arguments.guides:
        run(guide, arguments.prelude)
        print(f"{guide}: {len(list(blocks(guide)))} blocks ran")


if __name__ == "__main__":
    main()
