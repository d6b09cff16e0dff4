"""What the embedded model's process tells of itself once it serves.

llama.cpp hands tools to the chat template in the file. A template that has no
place for them drops them, and the answer would be one of a model that never
heard of them: so it is asked whether there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from oblixd.models.answers import object_of, read_object
from oblixd.models.http import HttpClient
from oblixd.models.llamacpp import limits_of

WITHOUT_LOADING = ("json_schema", "tools")
"""What may be asked of a model that is not loaded: pictures are for none, tools for some."""


@dataclass(frozen=True, slots=True)
class Props:
    """What a process serves."""

    context: int | None
    """Tokens of one slot, exactly."""
    features: tuple[str, ...]
    """See `Connection.features`."""


async def read(http: HttpClient) -> Props:
    """Ask the process. Raises ModelError."""
    async with http.request("GET", "/props") as reply:
        peer = http.server.peer
        if reply.status != HTTPStatus.OK:
            raise peer.answered(reply.status, reply.headers, await reply.excerpt())
        props = read_object(await reply.document(), peer)
    takes_tools = object_of(props, "chat_template_caps").get("supports_tools") is True
    return Props(limits_of(props).context, ("json_schema", *(["tools"] if takes_tools else [])))
