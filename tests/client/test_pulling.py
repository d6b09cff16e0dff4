"""Pulling a model from a program and from a shell, and what `oblix models` shows of it."""

from __future__ import annotations

import pytest
from oblix import FailedPreconditionError, InvalidArgumentError, NotFoundError, OblixClient
from oblix.testing import OllamaServer


async def test_a_hooked_model_is_pulled_where_it_was_hooked(client: OblixClient) -> None:
    with OllamaServer([], library={"gemma": 1000}) as server:
        await client.hook_model("ollama", "gemma", endpoint=server.url)
        with pytest.raises(FailedPreconditionError, match="oblix models pull ollama:gemma"):
            await client.execute("Hello", stream=False)
        steps = [step async for step in client.pull_model("ollama:gemma")]
        assert steps[-1].status == "success"
        assert {step.total_bytes for step in steps} <= {None, 1000}
        assert (await client.execute("Hello", stream=False))["response"] == "You said: Hello"
        await client.hook_model("ollama", "gema", endpoint=server.url)
        with pytest.raises(FailedPreconditionError) as caught:
            _ = [step async for step in client.pull_model("ollama:gema")]
        assert caught.value.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("model", "error", "reason"),
    [
        ("openai:gpt-4o", InvalidArgumentError, "PULL_UNSUPPORTED"),
        ("embedded:any", InvalidArgumentError, "PULL_UNSUPPORTED"),
        ("no-such-handle", NotFoundError, "MODEL_NOT_HOOKED"),
        ("", InvalidArgumentError, "INVALID_REQUEST"),
        ("ollama:", InvalidArgumentError, "INVALID_HOOK"),
    ],
)
async def test_a_model_that_cannot_be_pulled_raises(
    client: OblixClient, model: str, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error) as caught:
        _ = [step async for step in client.pull_model(model)]
    assert caught.value.reason == reason
