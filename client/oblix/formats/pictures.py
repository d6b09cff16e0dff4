"""Pictures as other programs write them: a URL that holds them, or says where they are."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter

from oblix._checks import invalid
from oblix.v1 import messages_pb2

_INLINE = re.compile(r"data:([^,;]+)(?:;[^,;]*)*;base64,", re.IGNORECASE)


def part_of(url: str, path: str, notes: Counter[str]) -> messages_pb2.Part:
    """The picture in a `data:` URL; of any other the address, as text: nothing is fetched.

    Raises InvalidArgumentError with its path for what is not base64.
    """
    inline = _INLINE.match(url)
    if inline is None:
        notes["pictures kept as their address"] += 1
        return messages_pb2.Part(text=f"![picture]({url})")
    try:
        data = base64.b64decode(url[inline.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(path, "a data: URL in base64", error) from None
    return messages_pb2.Part(image=messages_pb2.ImagePart(media_type=inline.group(1), data=data))


def url_of(image: messages_pb2.ImagePart) -> str:
    """The `data:` URL of a picture."""
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
