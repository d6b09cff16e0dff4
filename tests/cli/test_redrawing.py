"""What is drawn again while an answer comes, also on a terminal whose width changes."""

from __future__ import annotations

import io

import pytest
from oblix.cli.output import redrawing
from oblix.cli.output.redrawing import Redrawn
from rich.console import Console
from rich.segment import Segment

LINE = "x" * 90


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=30, _environ={})


def shown_text(console: Console) -> str:
    """What was written since the last call."""
    text = console.file.getvalue()
    console.file.seek(0)
    console.file.truncate()
    return text


def removal_of(rows: int) -> str:
    return "\r\x1b[2K" + "\x1b[1A\x1b[2K" * (rows - 1)


def draw_lines(console: Console, monkeypatch: pytest.MonkeyPatch) -> Redrawn:
    monkeypatch.setattr(redrawing, "PAUSE_S", 0.0)
    lines = Redrawn(
        console,
        lambda: [[Segment(LINE), Segment("  "), Segment(" ")], [Segment("暖房" * 20)], [Segment("end")]],
    )
    lines.update()
    return lines


def test_old_rows_are_removed_one_by_one(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = draw_lines(console, monkeypatch)
    assert LINE in shown_text(console)
    lines.update()
    assert shown_text(console).startswith(removal_of(3) + LINE)
    lines.erase()
    assert shown_text(console).startswith(removal_of(3))
    assert not lines.is_shown
    lines.erase()
    assert "\x1b[2K" not in shown_text(console)


def test_lines_that_a_narrower_terminal_broke_are_removed_too(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrawing, "reflows", lambda: True)
    lines = draw_lines(console, monkeypatch)
    shown_text(console)
    console.width = 40
    lines.erase()
    # 90 cells are three rows, 80 cells of twice forty signs two, and the last line is one.
    assert shown_text(console).startswith(removal_of(6))


def test_xterm_cuts_lines_off_and_breaks_none(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrawing, "reflows", lambda: False)
    lines = draw_lines(console, monkeypatch)
    shown_text(console)
    console.width = 40
    lines.erase()
    assert shown_text(console).startswith(removal_of(3))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "screen", "STY": "1.pts"}, False),
        ({"TERM": "screen", "STY": "1.pts", "TMUX": "/tmp/tmux"}, True),
    ],
)
def test_which_terminals_break_lines_anew(environ: dict[str, str], expected: bool) -> None:
    assert redrawing.reflows(environ) is expected
