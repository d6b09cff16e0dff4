"""Texts become vectors: routed, retried, refused and paid for as prompts are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix.testing import Hang, OllamaServer, OpenAIServer, Page, Refuse
from oblix.testing.embeddings import vector_of
from oblix.v1 import embeddings_pb2, executions_pb2
from support.drivers.events import all_of, error_of, text_of
from support.drivers.execution import CLIENT, Harness, harness_in, prompt

from oblixd.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from oblixd.execution import EmbeddedTexts
from oblixd.models import hook_spec
from oblixd.models.base import Location
from oblixd.usage import Caps, Group

TEXTS = ["The cat sat on the mat.", "A dog."]


@pytest.fixture
def cloud() -> Iterator[OpenAIServer]:
    with OpenAIServer(["big"]) as server:
        yield server


def hook(harness: Harness, server: OllamaServer | OpenAIServer, name: str, **more: object) -> str:
    provider = "ollama" if isinstance(server, OllamaServer) else "custom"
    location = None if provider == "ollama" else Location.CLOUD
    options = {"task": "embedding", **more}
    spec = hook_spec.spec_of(provider, name, endpoint=server.url, location=location, options=options)
    return harness.registry.hook(CLIENT, spec).handle


async def embed(harness: Harness, *candidates: str, **fields: object) -> EmbeddedTexts:
    request = embeddings_pb2.EmbedTextsRequest(**{"texts": TEXTS, **fields}, candidates=candidates)
    return await harness.executions.embed(request)


async def test_each_text_gets_its_vector_whoever_serves_the_model(
    harness: Harness, server: OllamaServer, cloud: OpenAIServer
) -> None:
    for candidate in (hook(harness, server, "llama2"), hook(harness, cloud, "big")):
        found = await embed(harness, candidate)
        assert [list(vector) for vector in found.vectors] == [vector_of(text) for text in TEXTS]
        assert found.usage is not None
        assert found.usage.input_tokens == 8
        assert not found.failed_attempts


async def test_ollama_never_cuts_a_text_and_keeps_the_model_as_the_hook_says(
    harness: Harness, server: OllamaServer
) -> None:
    await embed(harness, hook(harness, server, "llama2", keep_alive="1h", num_ctx=4096), dimensions=8)
    sent = next(call.body for call in server.calls if call.path == "/api/embed")
    assert sent["truncate"] is False
    assert (sent["keep_alive"], sent["options"], sent["dimensions"]) == ("1h", {"num_ctx": 4096}, 8)


async def test_prompts_never_go_to_such_a_model_nor_texts_to_another(
    harness: Harness, server: OllamaServer, cloud: OpenAIServer
) -> None:
    made_for_it, other = hook(harness, cloud, "big"), harness.hook(server)
    found = await embed(harness, made_for_it, other)
    assert found.hook.id == "custom:big"
    answered = await all_of(harness.executions.execute(prompt("Hello?", made_for_it, other)))
    assert answered[-1].completed.message.model == "ollama:llama2"
    assert text_of(answered)
    with pytest.raises(FailedPreconditionError) as none:
        await embed(harness, other)
    assert none.value.reason == "NO_EMBEDDING_MODEL"
    error = await error_of(harness.executions.execute(prompt("Hello?", made_for_it)), FailedPreconditionError)
    assert error.reason == "NO_MODEL_ALLOWED"


async def test_local_only_texts_never_reach_a_cloud_model(
    harness: Harness, server: OllamaServer, cloud: OpenAIServer
) -> None:
    far, near = hook(harness, cloud, "big"), hook(harness, server, "llama2")
    assert (await embed(harness, far, near, local_only=True)).hook.id == "ollama:llama2"
    for fields in ({"local_only": True}, {"policy": {"name": "private"}}):
        with pytest.raises(FailedPreconditionError) as refused:
            await embed(harness, far, **fields)
        assert refused.value.reason == "NO_MODEL_ALLOWED"
    with pytest.raises(FailedPreconditionError):
        await embed(harness, far, near, local_only=True, model="custom:big")
    assert cloud.calls == []


async def test_a_pin_and_a_policy_choose_the_model(
    harness: Harness, server: OllamaServer, cloud: OpenAIServer
) -> None:
    near, far = hook(harness, server, "llama2"), hook(harness, cloud, "big")
    assert (await embed(harness, near, far, model="custom:big")).hook.id == "custom:big"
    assert (await embed(harness, near, far, policy={"name": "prefer-cloud"})).hook.id == "custom:big"
    assert (await embed(harness, near, far, policy={"name": "prefer-local"})).hook.id == "ollama:llama2"


async def test_a_failure_is_followed_by_the_next_model_and_told(
    harness: Harness, server: OllamaServer, cloud: OpenAIServer
) -> None:
    server.embedding_fault = Refuse(400, "the input can't be read")
    near, far = hook(harness, server, "llama2"), hook(harness, cloud, "big")
    found = await embed(harness, near, far, policy={"name": "prefer-local"})
    assert found.hook.id == "custom:big"
    assert [(one.model, one.reason) for one in found.failed_attempts] == [
        ("ollama:llama2", "MODEL_REFUSED_REQUEST")
    ]


async def test_passing_failures_are_tried_again(harness: Harness, server: OllamaServer) -> None:
    server.embedding_fault = Refuse(503, "the server is overloaded")
    with pytest.raises(UnavailableError) as failed:
        await embed(harness, hook(harness, server, "llama2"))
    assert failed.value.reason == "MODEL_OVERLOADED"
    assert sum(call.path == "/api/embed" for call in server.calls) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Refuse(500, "input (3001 tokens) is too large to process. increase the batch"), "CONTEXT_OVERFLOW"),
        (Refuse(400, "the input length exceeds the context length"), "CONTEXT_OVERFLOW"),
        (Refuse(404, "The model `big` does not exist"), "MODEL_NOT_FOUND"),
        (Page(), "MODEL_STREAM_BROKEN"),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_in_our_words(
    harness: Harness, cloud: OpenAIServer, fault: Refuse | Page, reason: str
) -> None:
    cloud.embedding_fault = fault
    with pytest.raises(Exception, match=r"endpoint|model|text") as failed:
        await embed(harness, hook(harness, cloud, "big"))
    assert failed.value.reason == reason


class Wrong(Refuse):
    """Answers 200 with a body of its own."""

    def __init__(self, body: object) -> None:
        super().__init__(200)
        object.__setattr__(self, "body", json.dumps(body).encode())

    def strike(self, wire, error: bytes) -> None:
        wire.send(200, self.body, {"Content-Type": "application/json"})


ONE = {"object": "embedding", "index": 0, "embedding": [1.0, 0.0]}
TWO = {**ONE, "index": 1, "embedding": [0.0, 1.0]}


@pytest.mark.parametrize(
    "data",
    [
        [ONE],
        [ONE, ONE],
        [ONE, TWO, {**ONE, "index": 2}],
        [ONE, {**TWO, "embedding": [0.5]}],
        [{**ONE, "embedding": []}, {**TWO, "embedding": []}],
        [ONE, {**TWO, "embedding": ["0.5", "1"]}],
        [ONE, {**TWO, "embedding": None}],
        [ONE, {**TWO, "embedding": "no base64!"}],
    ],
)
async def test_vectors_that_do_not_match_the_texts_are_no_answer(
    harness: Harness, cloud: OpenAIServer, data: object
) -> None:
    cloud.embedding_fault = Wrong({"data": data})
    with pytest.raises(UnavailableError) as failed:
        await embed(harness, hook(harness, cloud, "big"))
    assert failed.value.reason == "MODEL_STREAM_BROKEN"


async def test_vectors_may_come_in_any_order_and_as_base64(harness: Harness, cloud: OpenAIServer) -> None:
    second = {**TWO, "embedding": "AAAAAAAAgD8="}
    cloud.embedding_fault = Wrong({"data": [second, ONE]})
    found = await embed(harness, hook(harness, cloud, "big"))
    assert [list(vector) for vector in found.vectors] == [[1.0, 0.0], [0.0, 1.0]]
    assert found.usage is None


async def test_a_server_that_passes_over_the_dimensions_is_refused(
    harness: Harness, cloud: OpenAIServer
) -> None:
    candidate = hook(harness, cloud, "big")
    assert len((await embed(harness, candidate, dimensions=16)).vectors[0]) == 16
    cloud.embedding_fault = Wrong({"data": [ONE, TWO]})
    with pytest.raises(InvalidArgumentError) as refused:
        await embed(harness, candidate, dimensions=16)
    assert refused.value.reason == "MODEL_REFUSED_REQUEST"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"texts": []}, "texts"),
        ({"texts": ["x"] * 2049}, "texts"),
        ({"texts": ["x", " \n"]}, "texts[1]"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 65_537}, "dimensions"),
        ({"timeout": {"seconds": -1}}, "timeout"),
        ({"timeout": {}}, "timeout"),
    ],
)
async def test_a_field_that_is_wrong_is_named(
    harness: Harness, fields: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await embed(harness, **fields)
    assert refused.value.metadata["field"] == field


async def test_a_timeout_frees_the_model(harness: Harness, server: OllamaServer) -> None:
    server.embedding_fault = Hang()
    candidate = hook(harness, server, "llama2", max_running=1)
    with pytest.raises(DeadlineExceededError) as late:
        await embed(harness, candidate, timeout={"nanos": 200_000_000})
    assert late.value.reason == "EXECUTION_TIMED_OUT"
    server.embedding_fault = None
    assert (await embed(harness, candidate)).vectors


async def test_a_caller_that_goes_away_frees_the_model(harness: Harness, server: OllamaServer) -> None:
    server.embedding_fault = Hang()
    candidate = hook(harness, server, "llama2", max_running=1)
    asking = asyncio.create_task(embed(harness, candidate))
    call = await asyncio.to_thread(server.wait_for_call, "/api/embed")
    asking.cancel()
    await asyncio.wait([asking])
    assert await asyncio.to_thread(call.abandoned.wait, 60)
    server.embedding_fault = None
    assert (await embed(harness, candidate)).vectors


async def test_it_is_counted_and_the_cap_on_spending_holds(tmp_path: Path, cloud: OpenAIServer) -> None:
    caps = Caps(daily=0.000005, action="refuse", currency="USD")
    async with harness_in(tmp_path, prices=["custom:big=1/0"], caps=caps) as harness:
        candidate = hook(harness, cloud, "big")
        found = await embed(harness, candidate)
        assert found.usage is not None
        assert found.usage.cost == pytest.approx(8 / 1e6)
        [row] = (await harness.usage.report(group=Group.MODEL)).rows
        assert (row.key, row.input_tokens, row.output_tokens) == ("custom:big", 8, 0)
        with pytest.raises(ResourceExhaustedError) as spent:
            await embed(harness, candidate)
    assert spent.value.reason == "BUDGET_SPENT"


async def test_background_texts_wait_behind_interactive_ones(harness: Harness, server: OllamaServer) -> None:
    candidate = hook(harness, server, "llama2", max_running=1)
    gone: list[str] = []
    server.embedding_fault = Hang()
    first = asyncio.create_task(embed(harness, candidate))
    await asyncio.to_thread(server.wait_for_call, "/api/embed")

    async def one(name: str, priority: executions_pb2.Priority.ValueType) -> None:
        await embed(harness, candidate, priority=priority)
        gone.append(name)

    waiting = [asyncio.create_task(one("background", executions_pb2.PRIORITY_BACKGROUND))]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(one("interactive", executions_pb2.PRIORITY_INTERACTIVE)))
    await asyncio.sleep(0)
    server.embedding_fault = None
    first.cancel()
    await asyncio.gather(*waiting)
    assert gone == ["interactive", "background"]


def test_claude_has_none() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        hook_spec.spec_of("claude", "claude-x", options={"task": "embedding"})
    assert refused.value.metadata["field"] == "options.task"
