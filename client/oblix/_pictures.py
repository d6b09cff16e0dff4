"""Pictures that a program shows to a model."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Any

from oblix import _files
from oblix._checks import invalid, shown, text
from oblix.v1 import messages_pb2

MAX_PICTURE_BYTES = 8 * 1024 * 1024
"""Of one encoded picture, and of all parts of its message together."""

# How each format begins: the PNG and GIF specifications, ITU-T T.81 B.1.1.3, and RIFF as WebP uses it.
# These four are what every provider takes.
_BEGINNINGS = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
_INLINE = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)

Source = str | os.PathLike[str] | bytes


def picture_of(source: object, field: str) -> messages_pb2.Part:
    """The picture in a file (a path), or in bytes. Its type is told by its content, whatever its name says.

    PNG, JPEG, GIF or WebP, of at most 8 MiB. Raises InvalidArgumentError with the
    field, and NotFoundError where there is no such file.
    """
    if isinstance(source, str | os.PathLike):
        data = _files.read(_files.path_of(source), MAX_PICTURE_BYTES)
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        raise invalid(field, "the path of a picture, or its bytes", shown(source))
    return _part(data, field)


def picture_in(given: Mapping[str, Any], field: str) -> messages_pb2.Part:
    """The picture of a content part with `path`, or with `data` (bytes, or base64 text)."""
    if ("path" in given) is ("data" in given):
        raise invalid(field, "a picture with path or with data", ", ".join(given))
    if "path" in given:
        return picture_of(given["path"], f"{field}.path")
    data = given["data"]
    return picture_of(_decoded(data, f"{field}.data") if isinstance(data, str) else data, f"{field}.data")


def picture_at(given: object, field: str) -> messages_pb2.Part:
    """The picture in a `data:` URL, as OpenAI's `image_url` has it. Nothing is fetched from an address."""
    if isinstance(given, Mapping):
        given, field = given.get("url"), f"{field}.url"
    url = text(given, field)
    inline = _INLINE.match(url)
    if inline is None:
        limit = "a data: URL in base64: oblixd fetches nothing, so load the picture and send its bytes"
        raise invalid(field, limit, shown(url))
    return _part(_decoded(url[inline.end() :], field), field)


def _decoded(written: str, field: str) -> bytes:
    try:
        return base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(field, "base64", error) from None


def _part(data: bytes, field: str) -> messages_pb2.Part:
    if len(data) > MAX_PICTURE_BYTES:
        limit = f"a picture of at most {MAX_PICTURE_BYTES:,} bytes"
        raise invalid(field, limit, "a larger one", "MESSAGE_TOO_LARGE")
    media_type = next((name for name, begins in _BEGINNINGS.items() if begins.match(data)), None)
    if media_type is None:
        limit = "a PNG, JPEG, GIF or WebP picture, told by its first bytes"
        raise invalid(field, limit, f"{len(data):,} bytes that begin with {data[:8]!r}", "INVALID_MEDIA_TYPE")
    return messages_pb2.Part(image=messages_pb2.ImagePart(media_type=media_type, data=data))
