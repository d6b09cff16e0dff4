"""What a person is told once: each hint is remembered in the daemon's data directory."""

from __future__ import annotations

import sys

from oblix._convert.terminal_text import DIM, PLAIN
from oblix._launcher import paths
from oblix.cli.output import answers

FILE = "hints-shown"
TRIAL_MODEL = "embedded:smollm2-135m-instruct"
TRIAL = """This model is for trying only: it is small, and often wrong.
  oblix models discover          finds others on this machine
  oblix models pull ollama:NAME  fetches one by Ollama
  oblix models add KIND:NAME     adds one, local or cloud"""
"""No line is longer than a narrow terminal."""


def about_model(model: str) -> None:
    """Say once, to a person, that the packaged model is no measure of what is possible."""
    if model == TRIAL_MODEL and sys.stderr.isatty() and not _is_shown("trial-model"):
        answers.note(f"{DIM}{TRIAL}{PLAIN}")


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
