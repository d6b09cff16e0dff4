"""What llama.cpp's server tells beside OpenAI's calls: token counts, its context, its slots.

Other servers that speak OpenAI's calls know nothing of it, and say so with a 404.
The calls are described in llama.cpp's tools/server/README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from oblix.v1 import messages_pb2

from oblixd.models.base import ModelError
from oblixd.models.egress import Egress
from oblixd.models.http.client import HttpClient
from oblixd.models.http.server import PROBE_TIMEOUTS
from oblixd.models.providers.token_usage import count_of
from oblixd.models.streaming import object_of, read_object
from oblixd.models.tokens import TokenCountCache

USUAL_OVERHEAD = 8
"""Tokens that a chat template writes around a message, where the server can't show its own."""
_BETWEEN = -1
"""No vocabulary has such a token. The server passes numbers through, so one call counts many texts."""
_PROBE = "a"
_TURNS = ("user", "assistant", "user")
_KNOWS_NO_SUCH_CALL = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.NOT_IMPLEMENTED,
}


class Tokeniser:
    """The tokeniser of the server that a client speaks to, whose base URL is without /v1.

    What the server turns out not to have is not asked for again.
    """

    def __init__(self, http: HttpClient, counts: TokenCountCache | None = None) -> None:
        """`counts`: where counts of the same model are remembered; None: here, as long as this lives."""
        self._http = http
        self._counts = counts or TokenCountCache()
        self._missing: set[str] = set()
        self._around: int | None = None

    async def count(self, texts: Sequence[str], egress: Egress) -> list[int] | None:
        """Count each text's tokens.

        None where the server has no tokeniser, can't be asked just now, or may not see the texts.
        """
        known = {text: self._counts.get(text) for text in texts}
        new = [text for text, count in known.items() if count is None]
        counts = await self._count(new, egress) if new else []
        if counts is None:
            return None
        for text, count in zip(new, counts, strict=True):
            known[text] = count
            self._counts.put(text, count)
        return [known[text] or 0 for text in texts]

    async def _count(self, texts: Sequence[str], egress: Egress) -> list[int] | None:
        content = [piece for text in texts for piece in (text, _BETWEEN)]
        answer = await self._ask("/tokenize", {"content": content, "add_special": False}, egress)
        tokens = answer.get("tokens")
        counts = list(_runs(tokens)) if isinstance(tokens, list) else []
        return counts if len(counts) == len(texts) else None

    async def count_messages(
        self, messages: Sequence[messages_pb2.Message], egress: Egress
    ) -> list[int] | None:
        """Count what each message takes of a context, as `Connection.count_tokens` gives it.

        That is its text and what the chat template writes around it. None also where one
        has a picture: how many tokens that is, only the model knows.
        """
        if any(part.HasField("image") for message in messages for part in message.parts):
            return None
        counts = await self.count([_text(message) for message in messages], egress)
        if counts is None:
            return None
        around = await self._overhead(egress)
        return [count + around for count in counts]

    async def _overhead(self, egress: Egress) -> int:
        """Measure the template by what an answer and a question add to a conversation, once."""
        if self._around is None:
            short, long = await self._render(1, egress), await self._render(len(_TURNS), egress)
            counts = await self.count([_PROBE, short, long], egress) if short and long else None
            self._around = USUAL_OVERHEAD if counts is None else _each_adds(*counts)
        return self._around

    async def _render(self, turns: int, egress: Egress) -> str:
        messages = [{"role": role, "content": _PROBE} for role in _TURNS[:turns]]
        answer = await self._ask("/apply-template", {"messages": messages}, egress)
        return str(answer.get("prompt", ""))

    async def _ask(self, path: str, body: Mapping[str, Any], egress: Egress) -> Mapping[str, Any]:
        """Give what the server answers; nothing where it does not."""
        if path in self._missing:
            return {}
        try:
            async with self._http.send(path, lambda: body, egress, PROBE_TIMEOUTS) as reply:
                if reply.status == HTTPStatus.OK:
                    return read_object(await reply.document(), self._http.server.peer)
                if reply.status in _KNOWS_NO_SUCH_CALL:
                    self._missing.add(path)
        except ModelError:
            # Whoever counts goes on with an estimate; the prompt itself shows what is wrong.
            pass
        return {}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server can take."""

    context: int | None = None
    """Tokens of one conversation; None where it is not said."""
    streams: int | None = None
    """Answers at once; None where it is not said."""


def limits_of(props: Mapping[str, Any]) -> Limits:
    """Read the answer of /props: the context is that of one slot."""
    settings = object_of(props, "default_generation_settings")
    return Limits(count_of(settings, "n_ctx") or None, count_of(props, "total_slots") or None)


def _runs(tokens: Sequence[object]) -> Iterator[int]:
    run = 0
    for token in tokens:
        if token == _BETWEEN:
            yield run
            run = 0
        else:
            run += 1


def _each_adds(probe: int, short: int, long: int) -> int:
    added = len(_TURNS) - 1
    return max(0, -(-(long - short) // added) - probe)


def _text(message: messages_pb2.Message) -> str:
    return "\n".join(piece for part in message.parts for piece in _pieces(part) if piece)


def _pieces(part: messages_pb2.Part) -> tuple[str, ...]:
    match part.WhichOneof("kind"):
        case "text":
            return (part.text,)
        case "tool_call":
            return part.tool_call.name, part.tool_call.arguments_json
        case "tool_result":
            return (part.tool_result.content,)
    return ()
