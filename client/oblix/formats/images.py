"""Images as other programs write them: a URL that holds them, or says where they are."""

from __future__ import annotations

import base64
import binascii
import re

from oblix.formats.conversations import Conversation
from oblix.v1 import messages_pb2

_INLINE = re.compile(r"data:([^,;]{1,127})(?:;[^,;]*)*;base64,", re.IGNORECASE)
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
ADDRESS_NOTE = "images kept as their address"
DAMAGED_NOTE = "images that are no base64 left out"


def part_of(url: str, conversation: Conversation) -> messages_pb2.Part | None:
    """Return the image in a `data:` URL; of any other the address, as text: nothing is fetched."""
    inline = _INLINE.match(url)
    if inline is None:
        conversation.note(ADDRESS_NOTE)
        return messages_pb2.Part(text=f"![image]({url})")
    conversation.rewritten.append(url)
    return inline_part(url[inline.end() :], inline.group(1), conversation)


def inline_part(data: str, media_type: str, conversation: Conversation) -> messages_pb2.Part | None:
    """Return the image in a text of base64, or None, with a note, where it is none."""
    try:
        decoded = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        conversation.note(DAMAGED_NOTE)
        conversation.rewritten.append(data)
        return None
    if not media_type:
        media_type = next((kind for magic, kind in _KINDS.items() if decoded.startswith(magic)), "image/png")
    image = messages_pb2.ImagePart(media_type=media_type, data=decoded)
    if encode(image) != data:
        conversation.rewritten.append(data)
    return messages_pb2.Part(image=image)


def encode(image: messages_pb2.ImagePart) -> str:
    """Return the base64 text of an image."""
    return base64.b64encode(image.data).decode()


def url_of(image: messages_pb2.ImagePart) -> str:
    """Return the `data:` URL of an image."""
    return f"data:{image.media_type};base64,{encode(image)}"
