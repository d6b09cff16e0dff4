"""A progress bar on standard error, for work that takes longer than a second while somebody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from oblix._convert.terminal_text import raw_stream
from oblix.cli.output.tables import cell

WAIT_S = 1.0

Show = Callable[[str, int, int | None], None]
"""Takes what is done, how much, and of how much: None where that is not known."""


@contextmanager
def progress(clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Show a bar for a block. It appears with the first step after a second, and is gone afterwards."""
    begin = clock()
    with ExitStack() as stack:
        bar: list[Show] = []

        def show(what: str, done: int, total: int | None) -> None:
            if not bar and sys.stderr.isatty() and clock() - begin > WAIT_S:
                bar.append(stack.enter_context(_draw()))
            if bar:
                bar[0](what, done, total)

        yield show


@contextmanager
def _draw() -> Iterator[Show]:
    # rich costs a tenth of a second: what is quick does not pay for it.
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(file=raw_stream(sys.stderr)), transient=True) as drawn:
        task = drawn.add_task("", total=None)
        yield lambda what, done, total: drawn.update(
            task, description=escape(cell(what)), completed=done, total=total
        )
