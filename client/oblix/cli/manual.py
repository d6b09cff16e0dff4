"""The manual page, made from the parsers of all commands (roff with the macros of man(7))."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from oblix.cli import version
from oblix.cli.table import COMMANDS, GROUPS, parser_of

ABOUT = """Oblix is one daemon per user that every script, editor and shell on a workstation shares to talk to
language models, local or cloud. This command asks them, and looks after conversations and models."""
EXIT_CODES = (
    (0, "done"),
    (1, "it failed; one line on standard error says why and what to do"),
    (2, "wrong usage"),
    (130, "interrupted by Ctrl-C"),
    (141, "whoever read the output has gone"),
)


def manual_page() -> str:
    """Return the page as roff."""
    lines = [
        f'.TH OBLIX 1 "" "oblix {version()}" "User Commands"',
        ".SH NAME",
        "oblix \\- talk to language models through one daemon",
        ".SH SYNOPSIS",
        ".B oblix",
        ".I COMMAND",
        "\\&...",
        ".SH DESCRIPTION",
        *_text(ABOUT),
    ]
    for group in GROUPS:
        lines += [f".SH {_escape(group.upper())}"]
        for name in (name for name, command in COMMANDS.items() if command.group == group):
            lines += _parser(parser_of(name), f"oblix {name}")
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES:
        lines += [".TP", f".B {code}", *_text(meaning)]
    return "\n".join(lines)


def _parser(parser: argparse.ArgumentParser, name: str, summary: str = "") -> Iterator[str]:
    yield f".SS {_escape(name)}"
    yield from _text(parser.description or summary)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        if action.dest != "help":
            yield from _action(action)
    yield from _example(parser.epilog or "")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {each.dest: each.help or "" for each in action._choices_actions}
            for each, child in action.choices.items():
                yield from _parser(child, f"{name} {each}", summaries.get(each, ""))


def _action(action: argparse.Action) -> Iterator[str]:
    metavar = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if action.choices and not action.metavar:
        metavar = "|".join(str(choice) for choice in action.choices)
    shown = "" if action.nargs == 0 else _escape(str(metavar))
    names = ", ".join(f"\\fB{_escape(option)}\\fR" for option in action.option_strings)
    yield ".TP"
    yield f"{names} \\fI{shown}\\fR" if names and shown else names or f"\\fI{shown}\\fR"
    help_ = (action.help or "").replace("%(default)s", str(action.default))
    yield from _text(help_) or ["\\&"]


def _example(epilog: str) -> Iterator[str]:
    for paragraph in epilog.split("\n\n"):
        lines = paragraph.splitlines()
        if any(line.startswith(" ") for line in lines):
            yield from (".PP", ".nf", *(_escape(line) for line in lines), ".fi")
        elif paragraph.strip():
            yield from (".PP", *_text(paragraph))


def _text(text: str) -> list[str]:
    line = " ".join(text.split())
    return [_escape(line)] if line else []


def _escape(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
