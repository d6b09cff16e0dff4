"""Both clients turn texts into vectors."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from oblix import AsyncClient, Client, Delta, FailedPreconditionError, InvalidArgumentError, Reason
from oblix.testing import OllamaServer
from oblix.testing.embeddings import vector_of
from support.drivers import processes

TEXTS = ["The cat sat on the mat.", "A dog."]


@pytest.fixture
def client_without_model(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("OBLIX_HOME", str(shared_home))
    return Client()


def test_texts_become_vectors(client_without_model: Client, ollama: OllamaServer) -> None:
    with client_without_model:
        client_without_model.models.hook("ollama", "llama2", endpoint=ollama.url, task="embedding")
        found = client_without_model.embed(TEXTS)
        for vector, text in zip(found.vectors, TEXTS, strict=True):
            assert vector == pytest.approx(vector_of(text))
        assert (found.model, found.decision.model) == ("ollama:llama2", "ollama:llama2")
        assert found.usage is not None
        assert found.usage.input_tokens == 8
        assert client_without_model.embed(TEXTS[0]).vectors == found.vectors[:1]
        client_without_model.embed(TEXTS, dimensions=8, local_only=True, timeout=30.0)
        assert ollama.calls[-1].body["dimensions"] == 8
        assert math.isclose(found.to_dict()["vectors"][0][0], found.vectors[0][0])


async def test_prompts_and_texts_each_find_their_models(
    client_without_model: Client, ollama: OllamaServer
) -> None:
    with OllamaServer(["nomic"]) as other:
        async with AsyncClient() as client:
            await client.models.hook("ollama", "llama2", endpoint=ollama.url)
            with pytest.raises(FailedPreconditionError) as none:
                await client.embed(TEXTS)
            assert none.value.reason == Reason.NO_EMBEDDING_MODEL
            await client.models.hook("ollama", "nomic", endpoint=other.url, task="embedding")
            assert (await client.embed(TEXTS)).model == "ollama:nomic"
            assert (await client.execute("Hello")).model == "ollama:llama2"
            text = [event.text async for event in client.stream("Hello") if isinstance(event, Delta)]
            assert "".join(text)


async def test_a_daemon_that_forgot_the_model_is_told_again(
    home: Path, ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBLIX_EMBEDDED_ENABLED", "false")
    async with AsyncClient() as client:
        await client.models.hook("ollama", "llama2", endpoint=ollama.url, task="embedding")
        processes.kill_all_of(home)
        assert (await client.embed("A cat")).model == "ollama:llama2"


def test_wrong_texts_are_refused_with_the_reason(client_without_model: Client, ollama: OllamaServer) -> None:
    with client_without_model:
        client_without_model.models.hook("ollama", "llama2", endpoint=ollama.url, task="embedding")
        with pytest.raises(InvalidArgumentError, match="texts"):
            client_without_model.embed([])
        with pytest.raises(InvalidArgumentError, match=r"texts\[1\]"):
            client_without_model.embed(["A", 2])  # type: ignore[list-item]
        with pytest.raises(InvalidArgumentError, match="did you mean dimensions"):
            client_without_model.embed("A", dimension=8)  # type: ignore[call-arg]
        with pytest.raises(InvalidArgumentError, match="dimensions"):
            client_without_model.embed("A", dimensions=0)
