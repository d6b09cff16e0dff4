"""What llama.cpp's server tells beside OpenAI's calls: token counts, its context, its slots.

Other servers that speak OpenAI's calls know nothing of it, and say so with a 404.
The calls are described in llama.cpp's tools/server/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from oblix.v1 import messages_pb2

from oblixd.models.base import ModelError, RequestTokens
from oblixd.models.egress import Egress
from oblixd.models.http.client import HttpClient
from oblixd.models.http.server import PROBE_TIMEOUTS
from oblixd.models.providers.token_usage import count_of
from oblixd.models.streaming import object_of, read_object
from oblixd.models.templates import Template, measure
from oblixd.models.tokens import TokenCountCache

USUAL_OVERHEAD = 8
"""Tokens that a chat template writes around a message, where the server can't show its own."""
_BETWEEN = -1
"""No vocabulary has such a token. The server passes numbers through, so one call counts many texts."""
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
        """Connect. `counts` remembers token counts of the same model; None: only as long as this lives."""
        self._http = http
        self._counts = counts or TokenCountCache()
        self._missing_paths: set[str] = set()
        self._answers: set[str] = set()
        self.template: Template | None = None
        """What its chat template writes around texts; None while that is not known."""

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
        has an image: how many tokens that is, only the model knows.
        """
        if any(part.HasField("image") for message in messages for part in message.parts):
            return None
        counts = await self.count([_text(message) for message in messages], egress)
        if counts is None:
            return None
        await self.learn_template(egress)
        template = self.template
        around = USUAL_OVERHEAD if template is None else max(template.user_turn, template.assistant_turn)
        return [count + around for count in counts]

    async def count_request(self, body: Mapping[str, Any], egress: Egress) -> RequestTokens | None:
        """Count a chat completion as the server bills it; None as `count_messages`, or without a template."""
        messages, tools = body["messages"], body.get("tools", [])
        texts = _texts_of(messages)
        if self.template is None or texts is None:
            return None
        counts = await self.count([*texts, *map(json.dumps, tools)], egress)
        if counts is None:
            return None
        of_messages = sum(counts[: len(texts)]) + self.template.around(messages)
        return RequestTokens(of_messages, sum(counts[len(texts) :]) + self.template.around_tools(len(tools)))

    async def learn_template(self, egress: Egress) -> None:
        """Measure what the chat template writes, once. It stays unknown where that can't be asked."""
        if self.template is None:
            self.template = await measure(
                lambda messages, tools: self._render(messages, tools, egress),
                lambda texts: self.count(texts, egress),
            )

    async def _render(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], egress: Egress
    ) -> int | None:
        body = {"messages": messages, **({"tools": tools} if tools else {})}
        prompt = (await self._ask("/apply-template", body, egress)).get("prompt")
        if not isinstance(prompt, str):
            return None
        tokens = (await self._ask("/tokenize", {"content": prompt, "add_special": True}, egress)).get(
            "tokens"
        )
        return len(tokens) if isinstance(tokens, list) else None

    async def _ask(self, path: str, body: Mapping[str, Any], egress: Egress) -> Mapping[str, Any]:
        """Give what the server answers; nothing where it does not."""
        if path in self._missing_paths:
            return {}
        try:
            async with await self._http.send(path, lambda: body, egress, PROBE_TIMEOUTS) as reply:
                if reply.status == HTTPStatus.OK:
                    self._answers.add(path)
                    return read_object(await reply.document(), self._http.server.errors)
                if reply.status in _KNOWS_NO_SUCH_CALL and path not in self._answers:
                    self._missing_paths.add(path)
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


def _texts_of(messages: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Give all texts of messages in OpenAI's form; None where one is no text."""
    texts: list[str] = []
    for message in messages:
        content = message.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if any(part.get("type") != "text" for part in parts):
            return None
        calls = [call["function"] for call in message.get("tool_calls", [])]
        texts += [part["text"] for part in parts]
        texts += [text for call in calls for text in (call["name"], str(call["arguments"]))]
    return [text for text in texts if text]


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
