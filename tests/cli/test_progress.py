"""The progress bar: for whoever looks, when it takes long."""

from __future__ import annotations

import io
import sys

import pytest
from oblix.cli.output.progress import progress


class Screen(io.StringIO):
    """Standard error, on a terminal or not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def shown_text(monkeypatch: pytest.MonkeyPatch, seconds: float, is_terminal: bool) -> str:
    """What is on the screen after three steps that took so long."""
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    now = [0.0]
    with progress(clock=lambda: now[0]) as show:
        for step in range(3):
            now[0] += seconds / 3
            show(f"{step} sessions", step, 3)
    return screen.getvalue()


def test_long_work_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "2 sessions" in shown_text(monkeypatch, 4.0, is_terminal=True)


@pytest.mark.parametrize(("seconds", "is_terminal"), [(0.9, True), (60.0, False)])
def test_quick_work_and_pipes_show_none(monkeypatch, seconds: float, is_terminal: bool) -> None:
    assert shown_text(monkeypatch, seconds, is_terminal) == ""
