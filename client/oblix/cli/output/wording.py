"""A question from the command line and from standard input, and the images that go with it."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Sequence

from oblix.cli.errors import CommandError
from oblix.cli.output import answers, tables
from oblix.errors import InvalidArgumentError

TITLE_CHARACTERS = 60
# What Python makes of bytes that are not text.
_UNDECODED = re.compile("[\udc80-\udcff]")


def question(words: Sequence[str], *, required: bool = True) -> str:
    """Join the command line's words, with standard input in place of `-`, or alone if there are none.

    Words that end with a colon have behind them what is piped in: `git diff | oblix "Review:"`.

    `required`: whether something has to be asked. Raises CommandError.
    """
    is_silent = not words and (sys.stdin is None or sys.stdin.isatty())
    given = [] if is_silent else words or ["-"]
    if given and given[-1].endswith(":") and "-" not in given and _is_piped():
        given = [*given, "-"]
    asked = " ".join(_read_input() if word == "-" else _check(word) for word in given)
    if required and not asked.strip():
        raise CommandError('nothing was asked. Say: oblix ask "Why is the sky blue?"')
    return asked


def title(prompt: str) -> str:
    """Return what a session is called that begins with this prompt."""
    return tables.cut(prompt, TITLE_CHARACTERS)


def image(path: str) -> bytes:
    """Return the image in a file. Raises CommandError where it is none, with the option and the file."""
    from oblix._convert.messages import MAX_IMAGE_BYTES, image_of

    try:
        return image_of(path, "images").image.data
    except InvalidArgumentError as error:
        why = (
            f"is larger than {MAX_IMAGE_BYTES:,} bytes"
            if error.reason == "MESSAGE_TOO_LARGE"
            else "is no PNG, JPEG, GIF or WebP image"
        )
        raise CommandError(f"--image {path}: {why}.") from None


def _is_piped() -> bool:
    """Return whether standard input is a pipe or a file, and no terminal or device."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode if sys.stdin else 0
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _check(word: str) -> str:
    if _UNDECODED.search(word):
        raise CommandError(f"the argument {word!a} is not UTF-8. Through standard input it may be: -")
    return word


def _read_input() -> str:
    """Read standard input. Bytes that are no text become replacement signs, with a warning."""
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
