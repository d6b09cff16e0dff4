"""What a person at a terminal is told beside an answer."""

from __future__ import annotations

import os
import select
import stat
import sys

from oblix._convert.terminal_text import DIM, PLAIN
from oblix._launcher import paths
from oblix.cli.output import answers

FILE = "hints-shown"
"""In the daemon's data directory: the hints that are given once, each on a line."""
TRIAL_MODEL = "embedded:smollm2-135m-instruct"
TRIAL = """This model is for trying only: it is small, and often wrong.
  oblix models discover          finds others on this machine
  oblix models pull ollama:NAME  fetches one by Ollama
  oblix models add KIND:NAME     adds one, local or cloud"""
"""No line is longer than a narrow terminal."""
UNREAD = "oblix: the piped input was not read. End the prompt with a colon, or write - where it belongs."


def about_model(model: str) -> None:
    """Say once, to a person, that the packaged model is no measure of what is possible."""
    if model == TRIAL_MODEL and sys.stderr.isatty() and not _is_shown("trial-model"):
        answers.note(f"{DIM}{TRIAL}{PLAIN}")


def about_unread_input() -> None:
    """Say to a person that the answer knows nothing of the piped input: other tools read it always."""
    if sys.stderr.isatty() and _has_unread_input():
        answers.note(UNREAD)


def _has_unread_input() -> bool:
    try:
        input_file = sys.stdin.fileno()
        if not stat.S_ISFIFO(os.fstat(input_file).st_mode):
            return False
    except (AttributeError, OSError, ValueError):  # there is none
        return False
    poll = select.poll()
    poll.register(input_file, select.POLLIN)
    # At the end of the input a pipe is hung up, and has nothing to read.
    return any(event & select.POLLIN for _, event in poll.poll(0))


def _is_shown(name: str) -> bool:
    """Return whether the hint was shown before, and remember it. If nothing can be kept: True."""
    try:
        path = paths.log_path().with_name(FILE)
        shown = path.read_text("utf-8").splitlines() if path.exists() else []
        if name not in shown:
            path.write_text("\n".join([*shown, name, ""]), "utf-8")
    except (OSError, ValueError, paths.PathError):
        return True
    return name in shown
