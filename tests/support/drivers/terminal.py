"""A terminal for a process of a test: what it shows, and keys to press."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process on a pseudo-terminal, which is its controlling one: Ctrl-C reaches it as from a keyboard."""

    def __init__(self, command: Sequence[str]) -> None:
        self.screen, theirs = pty.openpty()
        # `setsid --ctty` is what a terminal program does before it starts a shell.
        words = ["setsid", "--ctty", "--wait", *command]
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
        self.process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
        os.close(theirs)
        self.raw = ""
        """All that was shown, with its escape sequences."""
        self._seen = 0

    @property
    def text(self) -> str:
        """All that was shown, without escape sequences."""
        return _ESCAPES.sub("", self.raw)

    def wait_for(self, text: str) -> str:
        """Read until the text is shown. Returns what was shown up to its end since the last call."""
        while (found := self.text.find(text, self._seen)) < 0:
            piece = self._read()
            assert piece, f"{text!r} was not shown: {self.text[self._seen :]!r}"
            self.raw += piece
        start, self._seen = self._seen, found + len(text)
        return self.text[start : self._seen]

    def rest(self) -> str:
        """Read until the process has closed the terminal. Returns what was shown since the last call."""
        while piece := self._read():
            self.raw += piece
        return self.text[self._seen :]

    def type(self, text: str) -> None:
        """Press keys. `\\x03` is Ctrl-C, `\\x04` is Ctrl-D."""
        os.write(self.screen, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size, as dragging a window's corner does."""
        termios.tcsetwinsize(self.screen, (lines, columns))

    def close(self) -> None:
        """Hang up."""
        os.close(self.screen)
        self.process.kill()
        self.process.wait()

    def _read(self) -> str:
        try:
            return os.read(self.screen, 65536).decode()
        except OSError:  # EIO: the other side is closed
            return ""


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    """A process on a terminal for a block."""
    opened = Terminal(command)
    try:
        yield opened
    finally:
        opened.close()
