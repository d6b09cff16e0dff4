"""The clipboard, and the code in an answer."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys

from oblix._convert.terminal_text import raw_stream
from oblix.cli.errors import CommandError

PROGRAMS = (("wl-copy",), ("xclip", "-selection", "clipboard"), ("xsel", "-b", "-i"), ("pbcopy",))
MOST_BYTES = 74_000
"""What terminals take by OSC 52 at least: 100,000 characters of Base64."""
COPY_S = 5.0
_BLOCK = re.compile(
    r"^( {0,3})(`{3,}|~{3,})[^\n]*\n(.*?)(?:^ {0,3}\2[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)


def first_code_block(text: str) -> str | None:
    """Return what stands in the first fenced block; None where there is none."""
    found = _BLOCK.search(text)
    if not found:
        return None
    indent = found[1]
    return "".join(line.removeprefix(indent) for line in found[3].splitlines(keepends=True))


def copy(text: str) -> None:
    """Put a text into the clipboard: by a program of the desktop, else the terminal. Raises CommandError."""
    has_desktop = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or sys.platform == "darwin"
    command = next((each for each in PROGRAMS if has_desktop and shutil.which(each[0])), None)
    if command is not None and _is_taken(command, text):
        return
    if not sys.stderr.isatty():
        raise CommandError("there is no clipboard here: no wl-copy, xclip, xsel or pbcopy, and no terminal.")
    data = text.encode()
    if len(data) > MOST_BYTES:
        raise CommandError(f"a terminal's clipboard takes {MOST_BYTES:,} bytes, and this has {len(data):,}.")
    screen = raw_stream(sys.stderr)
    screen.write(f"\x1b]52;c;{base64.b64encode(data).decode()}\a")
    screen.flush()


def _is_taken(command: tuple[str, ...], text: str) -> bool:
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COPY_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
