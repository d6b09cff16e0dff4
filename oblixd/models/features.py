"""Refuses what a model is known not to take, before anything is sent."""

from __future__ import annotations

from collections.abc import Collection

from oblixd.models.base import ChatRequest, UnableError
from oblixd.models.failures import Peer
from oblixd.models.prompts import tools_of

IMAGES, TOOLS = "images", "tools"


def check(known: Collection[str], request: ChatRequest, peer: Peer) -> None:
    """Compare a request with a model's `Connection.features`; of an unknown model everything is tried.

    Raises UnableError.
    """
    if not known:
        return
    if IMAGES not in known and _has_image(request):
        raise _refused(peer, "The model can't see pictures", "Leave the picture out")
    if TOOLS not in known and tools_of(request):
        raise _refused(peer, "The model knows no tools", "Leave the tools out")


def asked_of(request: ChatRequest) -> bool:
    """Whether a request asks for what not every model takes."""
    return bool(_has_image(request) or tools_of(request))


def _has_image(request: ChatRequest) -> bool:
    return any(part.HasField("image") for message in request.messages for part in message.parts)


def _refused(peer: Peer, what: str, remedy: str) -> UnableError:
    return peer.unable(f"{what}, as {peer.title} tells. {remedy}, or use another model.")
