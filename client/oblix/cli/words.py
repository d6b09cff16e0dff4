"""A question from the command line and from standard input."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence

from oblix.cli import answers
from oblix.cli.errors import CommandError

# What Python makes of bytes that are not text.
_UNDECODED = re.compile("[\udc80-\udcff]")


def question(words: Sequence[str], *, required: bool = True) -> str:
    """The command line's words, with standard input in the place of `-`, or alone where there are none.

    `required`: whether something has to be asked. Raises CommandError.
    """
    if not words and (sys.stdin is None or sys.stdin.isatty()):
        if required:
            raise CommandError('nothing was asked. Say: oblix ask "Why is the sky blue?"')
        return ""
    return " ".join(_read_input() if word == "-" else _checked(word) for word in words or ["-"])


def _checked(word: str) -> str:
    if _UNDECODED.search(word):
        raise CommandError(f"the argument {word!a} is not UTF-8. Through standard input it may be: -")
    return word


def _read_input() -> str:
    """Standard input. Bytes that are no text become replacement signs, and are told."""
    if sys.stdin is None:
        raise CommandError("there is no standard input to read.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    text, count = _UNDECODED.subn("\N{REPLACEMENT CHARACTER}", sys.stdin.read())
    if count:
        answers.note(
            f"oblix: standard input is not {sys.stdin.encoding.upper()}: {count} bytes were replaced"
        )
    return text
