"""The parser of every command: no option is guessed, a slip gets a suggestion, and no secret is repeated."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

MOST_SUGGESTIONS, LEAST_LIKENESS = 2, 0.6
_KEYS = r"(?:sk|pk|rk|gsk|xai|hf|ghp|glpat|AIza|key|token)[-_][\w-]{6,}|[A-Za-z0-9+/_=]{32,}"
"""What looks like a key: the beginnings that providers use, and any long run of letters and digits."""
_HIDDEN = "(not shown)"
_KEY_OPTIONS = ("--api-key", "--key", "--token", "--cloud-api-key")
_KEY_REMEDY = (
    "A key is never given on the command line, where others can read it: put it into a file that only you "
    "can read (--api-key-file FILE), or into OPENAI_API_KEY or ANTHROPIC_API_KEY."
)


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs to the terminal's width, and leaves those alone that have indented lines: examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(self._fill_paragraph(each, width, indent) for each in text.split("\n\n"))

    def _fill_paragraph(self, paragraph: str, width: int, indent: str) -> str:
        lines = paragraph.splitlines()
        if any(line.startswith(" ") for line in lines):
            return "\n".join(indent + line for line in lines)
        return super()._fill_text(paragraph, width, indent)


class Parser(argparse.ArgumentParser):
    """Takes options by their whole names only, and tells wrong usage in two lines."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", HelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        # argparse says "invalid int value" of the two, which is Python's word.
        self.register("type", int, _whole_number)
        self.register("type", float, _number)

    def add_subparsers(self, **options: Any) -> Any:
        """Name the command before its subcommands without formatting its usage, which is slow."""
        options.setdefault("prog", self.prog)
        return super().add_subparsers(**options)

    def subcommand_modules(self, modules: Mapping[str, Sequence[str]]) -> Iterator[Any]:
        """Load the modules that declare subcommands. `modules`: each with what it declares."""
        return map(import_module, modules)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what this parser does not know, so that the command that is named is the right one."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and where help is, and exit with 2."""
        text = re.sub(_KEYS, _HIDDEN, message, flags=re.ASCII)
        self.exit(2, f"{self.prog}: {text}\n`{self.prog} --help` shows how it is used.\n")

    def _unknown(self, words: list[str]) -> str:
        options = [word.partition("=")[0] for word in words if word.startswith("-")]
        if not options:
            count = "1 argument" if len(words) == 1 else f"{len(words)} arguments"
            return f"{count} too many, from {words[0]!r} on." if words else ""
        option = options[0]
        if option in _KEY_OPTIONS:
            # The next word is a key: nothing after the option's name is repeated.
            return f"there is no option {option}. {_KEY_REMEDY}"
        return f"there is no option {option}.{suggestion(option, self._option_string_actions)}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):
            message = f"there is no {value!r} here.{suggestion(str(value), known)}"
            raise argparse.ArgumentError(None, f"{message} There are: {', '.join(known)}.")
        message = f"takes {', '.join(known)}; given: {value}.{suggestion(str(value), known)}"
        raise argparse.ArgumentError(action, message)


class IncompleteError(Exception):
    """A parser that knows only a part of the subcommands can't take a line."""


class PartialParser(Parser):
    """Knows those subcommands only that the line may name. What it can't take is for the whole parser."""

    words: Sequence[str] = ()
    """The line."""
    _has_taken = False

    def take(self) -> argparse.Namespace:
        """Read the line. Raises IncompleteError."""
        found = self.parse_args(self.words)
        self._has_taken = True
        return found

    def subcommand_modules(self, modules: Mapping[str, Sequence[str]]) -> Iterator[Any]:
        named = set(self.words)
        return map(import_module, (module for module, names in modules.items() if named.intersection(names)))

    def _get_formatter(self) -> argparse.HelpFormatter:
        # Each argument is checked by one. Nothing is printed, so no width has to be looked up.
        return self.formatter_class(prog=self.prog, width=80)  # type: ignore[call-arg]

    def print_help(self, file: Any = None) -> NoReturn:
        raise IncompleteError

    def error(self, message: str) -> NoReturn:
        if self._has_taken:  # a command found it wrong afterwards
            super().error(message)
        raise IncompleteError(message)


def suggestion(word: str, names: Iterable[str]) -> str:
    """Return ` Did you mean ...?` with what is nearest to a word; empty where nothing is near."""
    import difflib

    # The dashes of options make none alike.
    bare = {each.lstrip("-/"): each for each in names}
    near = difflib.get_close_matches(word.lstrip("-/"), list(bare), MOST_SUGGESTIONS, LEAST_LIKENESS)
    return f" Did you mean {' or '.join(bare[each] for each in near)}?" if near else ""


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes a whole number; given: {text}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes a number; given: {text}") from None
