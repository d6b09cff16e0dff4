"""Asks a model's server for vectors and reads what it sends, whoever the provider is.

A server may pass over what it does not know (llama.cpp does so with `dimensions`), or send fewer
vectors than it was given texts. Wrong vectors look like right ones, so everything is counted here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from oblixd.models.base import Embeddings, EmbedRequest, ModelErrorKind
from oblixd.models.egress import Egress
from oblixd.models.http.client import HttpClient, Write
from oblixd.models.http.server import ServerErrors

FEATURE = "embedding"
"""What a model that is made for embeddings names as its one feature."""
MOST_BYTES = 256 << 20
"""2,048 vectors of 4,096 numbers, as JSON writes them."""
_FLOAT_BYTES = 4

Reader = Callable[[bytes], Embeddings]
"""Reads a server's whole answer. Raises msgspec.DecodeError, a ValueError, where it is not of its format."""


class _Counts(msgspec.Struct):
    prompt_tokens: int | None = None


class _Vector(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _OpenAIAnswer(msgspec.Struct):
    data: list[_Vector]
    usage: _Counts | None = None


class _OllamaAnswer(msgspec.Struct):
    embeddings: list[list[float]]
    prompt_eval_count: int | None = None


_OPENAI, _OLLAMA = msgspec.json.Decoder(_OpenAIAnswer), msgspec.json.Decoder(_OllamaAnswer)


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """A provider's call for vectors."""

    path: str
    write: Write
    """Writes the request's body."""
    read: Reader


async def embed(http: HttpClient, call: EmbeddingCall, request: EmbedRequest, egress: Egress) -> Embeddings:
    """Post texts and return their vectors, as `Connection.embed` promises it."""
    server_errors = http.server.errors
    async with await http.send(call.path, call.write, egress) as reply:
        if reply.status != HTTPStatus.OK:
            url = http.server.base_url + call.path
            raise server_errors.error_response(reply.status, reply.headers, await reply.excerpt(), url)
        document = await reply.document(MOST_BYTES)
        reply.complete = True
    try:
        # Millions of numbers take a moment: meanwhile others are answered.
        found = await asyncio.to_thread(call.read, document)
    except ValueError as error:
        raise server_errors.broken_stream(f"it sent no vectors that can be read ({error})") from None
    _check(found.vectors, request, server_errors)
    return found


def read_openai(document: bytes) -> Embeddings:
    """Read the answer of OpenAI's `/v1/embeddings`. Its vectors may stand in any order."""
    answer = _OPENAI.decode(document)
    places = {place if one.index is None else one.index: one for place, one in enumerate(answer.data)}
    vectors = [_numbers(one.embedding) for _, one in sorted(places.items())]
    return Embeddings(vectors, answer.usage.prompt_tokens if answer.usage else None)


def read_ollama(document: bytes) -> Embeddings:
    """Read the answer of Ollama's `/api/embed`."""
    answer = _OLLAMA.decode(document)
    return Embeddings(answer.embeddings, answer.prompt_eval_count)


def _numbers(value: list[float] | str) -> Sequence[float]:
    """Return a vector's numbers. Some servers send base64 unasked: floats of 32 bits, little end first."""
    if isinstance(value, list):
        return value
    try:
        data = base64.b64decode(value, validate=True)
        return struct.unpack(f"<{len(data) // _FLOAT_BYTES}f", data)
    except (binascii.Error, struct.error) as error:
        raise ValueError(str(error)) from error


def _check(vectors: Sequence[Sequence[float]], request: EmbedRequest, server_errors: ServerErrors) -> None:
    if len(vectors) != len(request.texts):
        raise server_errors.broken_stream(f"it sent {len(vectors)} vectors for {len(request.texts)} texts")
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1 or 0 in lengths:
        raise server_errors.broken_stream(
            f"its vectors have different lengths, or none ({sorted(lengths)[:5]})"
        )
    [length] = lengths
    if request.dimensions not in {None, length}:
        message = (
            f"{server_errors.title} makes vectors of {length} numbers and passed over dimensions = "
            f"{request.dimensions}: leave it out, or use another model."
        )
        raise server_errors.error(ModelErrorKind.REFUSED, message)
