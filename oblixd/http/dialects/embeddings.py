"""Embeddings as OpenAI's and Ollama's clients ask for them."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from oblix.v1 import embeddings_pb2

from oblixd.execution import EmbeddedTexts
from oblixd.http.body import Body, invalid, unsupported_error

_FORMATS = ("float", "base64")


@dataclass(slots=True)
class Texts:
    """A request of one of the APIs, translated."""

    model: str
    """As the client wrote it."""
    request: embeddings_pb2.EmbedTextsRequest
    """What is executed. Model and policy are set by the endpoint."""
    in_base64: bool = False
    """Whether vectors are to be sent as base64 of floats of 32 bits, little end first."""
    ignored_fields: list[str] = field(default_factory=list)
    """Fields that can't be honoured and do not change what the vectors mean."""
    started_s: float = field(default_factory=time.monotonic)


class EmbeddingDialect(Protocol):
    """One API's form of embeddings."""

    def texts(self, body: Body) -> Texts:
        """Translate a request. Raises InvalidArgumentError with the field's name."""

    def answer(self, texts: Texts, embedding: EmbeddedTexts) -> dict[str, Any]:
        """Return the answer's body."""


class OpenAIEmbeddings:
    """`/v1/embeddings`."""

    def texts(self, body: Body) -> Texts:
        """Translate a request."""
        form = body.text("encoding_format", "float")
        if form not in _FORMATS:
            raise invalid("encoding_format", " or ".join(_FORMATS), form)
        return Texts(body.required_text("model"), _request(body), in_base64=form == "base64")

    def answer(self, texts: Texts, embedding: EmbeddedTexts) -> dict[str, Any]:
        """Return the answer's body."""
        encode = _in_base64 if texts.in_base64 else list
        data = [
            {"object": "embedding", "index": number, "embedding": encode(vector)}
            for number, vector in enumerate(embedding.vectors)
        ]
        read = embedding.usage.input_tokens if embedding.usage else 0
        usage = {"prompt_tokens": read, "total_tokens": read}
        return {"object": "list", "data": data, "model": embedding.hook.id, "usage": usage}


class OllamaEmbed:
    """`/api/embed`."""

    def texts(self, body: Body) -> Texts:
        """Translate a request. What is too long is refused, whatever `truncate` says: nothing is cut."""
        left_out = [name for name in ("keep_alive", "options", "truncate") if body.has(name)]
        return Texts(body.required_text("model"), _request(body), ignored_fields=left_out)

    def answer(self, texts: Texts, embedding: EmbeddedTexts) -> dict[str, Any]:
        """Return the answer's body."""
        return {
            "model": texts.model,
            "embeddings": [list(vector) for vector in embedding.vectors],
            "total_duration": round((time.monotonic() - texts.started_s) * 1e9),
            "load_duration": 0,
            "prompt_eval_count": embedding.usage.input_tokens if embedding.usage else 0,
        }


class OllamaEmbeddings(OllamaEmbed):
    """`/api/embeddings`, its older form: one text, one vector."""

    def texts(self, body: Body) -> Texts:
        """Translate a request."""
        request = embeddings_pb2.EmbedTextsRequest(texts=[body.text("prompt")])
        left_out = [name for name in ("keep_alive", "options") if body.has(name)]
        return Texts(body.required_text("model"), request, ignored_fields=left_out)

    def answer(self, texts: Texts, embedding: EmbeddedTexts) -> dict[str, Any]:
        """Return the answer's body."""
        return {"embedding": list(embedding.vectors[0])}


def _request(body: Body) -> embeddings_pb2.EmbedTextsRequest:
    request = embeddings_pb2.EmbedTextsRequest(texts=_texts(body))
    dimensions = body.integer("dimensions")
    if dimensions is not None:
        if not 0 < dimensions < 1 << 31:
            raise invalid("dimensions", "a number from 1", dimensions)
        request.dimensions = dimensions
    return request


def _texts(body: Body) -> list[str]:
    value = body.values.get("input")
    if isinstance(value, str):
        return [value]
    texts = body.list("input")
    if any(isinstance(text, int | list) for text in texts):
        # LangChain's client does so for every server, with a tokeniser that is OpenAI's alone.
        why = (
            "send texts, not tokens: each model has its own (in LangChain: check_embedding_ctx_length=False)"
        )
        raise unsupported_error("input", why)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise invalid(f"input[{number}]", "a string", text)
    return texts


def _in_base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
