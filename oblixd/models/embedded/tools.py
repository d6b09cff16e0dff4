"""Whether the embedded model's file knows of tools.

llama.cpp hands them to the chat template in the file. A template that has no
place for them drops them, and the answer would be one of a model that never
heard of them.
"""

from __future__ import annotations

from http import HTTPStatus

from oblixd.models.answers import object_of, read_object
from oblixd.models.base import ChatRequest, ModelErrorKind
from oblixd.models.http import HttpClient
from oblixd.models.prompts import tools_of

_REASON = (
    "The embedded model knows no tools: the chat template in its file has no place for them. "
    "Leave the tools out, use another model, or name another file in the configuration ([embedded] path)."
)


async def check_tools(http: HttpClient, request: ChatRequest) -> None:
    """Ask the process. Raises ModelError where the request has tools and the model can't be told of them."""
    if not tools_of(request):
        return
    async with http.request("GET", "/props") as reply:
        peer = http.server.peer
        if reply.status != HTTPStatus.OK:
            raise peer.answered(reply.status, reply.headers, await reply.excerpt())
        template = object_of(read_object(await reply.document(), peer), "chat_template_caps")
    if template.get("supports_tools") is not True:
        raise peer.error(ModelErrorKind.REFUSED, _REASON)
