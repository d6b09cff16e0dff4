"""Text that others wrote, as a terminal or a file may get it.

An answer, a title or a server's error can hold escape sequences: they set a terminal's title and clipboard,
move the cursor over what was printed, or answer in the user's name. Whatever the command prints goes through
`Plain`, also where it goes to a file, which somebody shows on a terminal later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, TextIO

_CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
"""C0 but for tab and newline, C1, and what turns the direction of a line around."""
PLAIN, BOLD, DIM, YELLOW = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
"""What the command writes for a style: no characters of Unicode's, so nobody else means anything by them."""
_STYLES = {PLAIN: "\x1b[0m", BOLD: "\x1b[1m", DIM: "\x1b[2m", YELLOW: "\x1b[33m"}
_STYLE = re.compile("[\ufdd0-\ufdd3]")
_LATER_CONTROLS = r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
"""What JSON allows in a text as it is."""


def printable(text: str) -> str:
    """Remove control characters, so that an escape sequence is mere text. Tabs and newlines stay."""
    return text if text.isprintable() else re.sub(_CONTROLS, "", text)


def json_text(value: Any) -> str:
    """Return a value as indented JSON with sorted keys, in which every control character is escaped."""
    import json  # noqa: PLC0415 - most commands print none

    written = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return re.sub(_LATER_CONTROLS, lambda found: f"\\u{ord(found[0]):04x}", written)


def has_styles(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a terminal gets styles: neither NO_COLOR (no-color.org) is set nor is it a dumb one."""
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Plain:
    """A text stream like the one behind it, which lets nothing through that a terminal obeys."""

    def __init__(self, stream: TextIO) -> None:
        self.raw = stream
        """The stream behind it, for what draws by escape sequences and cleans its own texts."""

    def write(self, text: str) -> int:
        """Write what may be written; give the length of what was given."""
        is_screen = self.raw.isatty() and has_styles()
        self.raw.write(_STYLE.sub(lambda mark: _STYLES[mark[0]] if is_screen else "", printable(text)))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each as `write` does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw_stream(stream: TextIO | Plain) -> TextIO:
    """Return the stream behind `Plain`, where it is one."""
    return stream.raw if isinstance(stream, Plain) else stream
