"""Files that go with a prompt: text as it is, the text of PDF files, and images."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from oblix._convert.documents import text_of
from oblix.cli.errors import CommandError
from oblix.limits import MAX_MESSAGE_BYTES

STANDARD_INPUT = "-"
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_RIFF, _WEBP = b"RIFF", b"WEBP"
_FENCE = "```"


@dataclass(slots=True)
class Attachments:
    """What files hold, in the order in which they were given."""

    texts: list[str] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)

    def before(self, prompt: str) -> str:
        """Return the prompt with the files' texts before it."""
        return "\n\n".join([*self.texts, *([prompt] if prompt else [])])


def read(paths: list[str]) -> Attachments:
    """Read files; `-` is standard input. Raises CommandError with the file and what is wrong with it."""
    found = Attachments()
    for path in paths:
        data = _bytes_of(path)
        if is_image(data):
            found.images.append(data)
        else:
            found.texts.append(_quote(path, _text_of(path, data)))
    return found


def is_image(data: bytes) -> bool:
    """Tell PNG, JPEG, GIF and WebP by how they begin."""
    return data.startswith(_IMAGES) or (data[:4] == _RIFF and data[8:12] == _WEBP)


def _bytes_of(path: str) -> bytes:
    if path.startswith(("http://", "https://")):
        raise CommandError(f"{path} is an address, not a file: curl -sL '{path}' | oblix ask -f - ...")
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).expanduser().read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.") from None
    if len(data) > MAX_MESSAGE_BYTES:
        raise CommandError(f"{path} has {len(data):,} bytes; a message takes at most {MAX_MESSAGE_BYTES:,}.")
    return data


def _text_of(path: str, data: bytes) -> str:
    try:
        return text_of(data)
    except ValueError as error:
        raise CommandError(f"{path}: {error}; images are PNG, JPEG, GIF or WebP.") from None


def _quote(path: str, text: str) -> str:
    """Return a file's text between fences that it does not have itself, under its name."""
    fence = _FENCE
    while fence in text:
        fence += "`"
    name = "standard input" if path == STANDARD_INPUT else path
    return f"{name}:\n{fence}\n{text.rstrip()}\n{fence}"
