"""Embeddings by the official clients, unmodified: from a server that follows a script, and from llama.cpp."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import ollama
import openai
import pytest
from oblix.testing import Refuse
from oblix.testing.embeddings import vector_of
from oblix.v1 import embeddings_pb2, embeddings_pb2_grpc
from support.endpoint import Served

from oblixd.models.embedded import weights

NEAR, FAR = "embedded:vectors", "openai:vectors"
MODELS = """
[[models]]
name = "vectors"
provider = "openai"
task = "embedding"
[[models]]
name = "vectors"
provider = "embedded"
file = "{file}"
task = "embedding"
"""
TEXTS = ["The cat sat on the mat.", "A dog."]
DIMENSIONS = 576
"""Of SmolLM2-135M."""


@pytest.fixture(scope="module")
def both(serving_with: Callable[[str], AbstractContextManager[Served]]) -> Iterator[Served]:
    with serving_with(MODELS.format(file=weights.find(None).path)) as served:
        served.server.models.append("vectors")
        yield served


def test_openais_client_gets_vectors_in_both_forms(both: Served) -> None:
    made = both.openai().embeddings.create(model=FAR, input=TEXTS)
    # The client asks for base64 by itself, and unpacks it: 32 bits of each number are left.
    assert [one.embedding for one in made.data] == [
        pytest.approx(vector_of(text), rel=1e-6) for text in TEXTS
    ]
    assert (made.model, made.usage.prompt_tokens, made.usage.total_tokens) == (FAR, 8, 8)
    one = both.openai().embeddings.create(model=FAR, input="A dog.", encoding_format="float", dimensions=8)
    assert one.data[0].embedding == vector_of("A dog.", 8)
    raw = both.http().post(
        "/v1/embeddings", json={"model": FAR, "input": "A dog.", "encoding_format": "base64"}
    )
    packed = base64.b64decode(raw.json()["data"][0]["embedding"])
    assert list(struct.unpack("<64f", packed)) == pytest.approx(vector_of("A dog."), rel=1e-6)
    assert (raw.headers["x-oblix-model"], raw.headers["x-oblix-rule"]) == (FAR, "PINNED")


def test_ollamas_client_gets_them_by_both_of_its_calls(both: Served) -> None:
    made = both.ollama().embed(FAR, TEXTS)
    assert [list(one) for one in made.embeddings] == [vector_of(text) for text in TEXTS]
    assert (made.model, made.prompt_eval_count) == (FAR, 8)
    assert list(both.ollama().embeddings(FAR, "A dog.").embedding) == vector_of("A dog.")
    assert {NEAR, FAR} <= {one.model for one in both.ollama().list().models}
    assert both.ollama().show(FAR).capabilities == ["embedding"]


def test_llama_cpp_makes_them_on_this_machine(both: Served) -> None:
    client = both.openai()
    first, second = (one.embedding for one in client.embeddings.create(model=NEAR, input=TEXTS).data)
    [again] = client.embeddings.create(model=NEAR, input=TEXTS[1]).data
    assert len(first) == len(second) == DIMENSIONS
    assert math.hypot(*first) == pytest.approx(1, abs=1e-4)
    assert again.embedding == pytest.approx(second, abs=1e-3)
    assert again.embedding != pytest.approx(first, abs=1e-2)


def test_wrong_embedding_requests_are_refused_in_the_apis_words(both: Served) -> None:
    client = both.openai()
    with pytest.raises(openai.BadRequestError) as long:
        client.embeddings.create(model=NEAR, input="word " * 3000)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="leave dimensions out"):
        client.embeddings.create(model=NEAR, input="x", dimensions=8)
    with pytest.raises(openai.BadRequestError, match="send texts"):
        client.embeddings.create(model=FAR, input=[[1, 2, 3]])
    with pytest.raises(openai.BadRequestError, match=r"texts\[1\]"):
        client.embeddings.create(model=FAR, input=["x", ""])
    with pytest.raises(openai.BadRequestError, match="encoding_format"):
        client.embeddings.create(model=FAR, input="x", encoding_format="int8")  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError) as unknown:
        client.embeddings.create(model="openai:small", input="x")
    assert FAR in str(unknown.value)
    with pytest.raises(ollama.ResponseError, match="no model"):
        both.ollama().embed("small", "x")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=FAR, messages=[{"role": "user", "content": "x"}])


def test_a_local_only_token_never_reaches_a_cloud_model(both: Served) -> None:
    token = both.new_token("here", local_only=True)
    asked = len(both.server.calls)
    made = both.http(token).post("/v1/embeddings", json={"model": "auto", "input": "A secret."})
    assert made.headers["x-oblix-model"] == NEAR
    refused = both.http(token).post("/v1/embeddings", json={"model": FAR, "input": "A secret."})
    assert (refused.status_code, refused.headers["x-oblix-reason"]) == (403, "NO_MODEL_ALLOWED")
    assert len(both.server.calls) == asked


def test_a_rate_limit_is_told_with_its_time(both: Served) -> None:
    both.server.embedding_fault = Refuse(429, "slow down", {"Retry-After": "45"})
    try:
        with pytest.raises(openai.RateLimitError) as limited:
            both.openai().embeddings.create(model=FAR, input="x")
    finally:
        both.server.embedding_fault = None
    assert 40 <= int(limited.value.response.headers["retry-after"]) <= 45


def test_the_contract_has_the_same(both: Served) -> None:
    stub = embeddings_pb2_grpc.EmbeddingServiceStub(both.daemon.channel)
    answer = stub.EmbedTexts(embeddings_pb2.EmbedTextsRequest(texts=TEXTS, model=NEAR))
    assert [len(one.values) for one in answer.embeddings] == [DIMENSIONS] * 2
    assert (answer.model, answer.decision.rule) == (NEAR, "PINNED")
    assert answer.usage.input_tokens > 0


def test_without_such_a_model_it_says_how_to_name_one(shared_endpoint: Served) -> None:
    answer = shared_endpoint.http().post("/v1/embeddings", json={"model": "auto", "input": "x"})
    assert (answer.status_code, answer.headers["x-oblix-reason"]) == (400, "NO_EMBEDDING_MODEL")
    assert 'task = "embedding"' in answer.json()["error"]["message"]
