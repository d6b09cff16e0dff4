"""What programs write with the clients. mypy and pyright accept it in their strict modes; nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_type

import oblix
from oblix import Answer, AsyncClient, Client, Delta, Embeddings, Message, Reason, Session
from oblix.agents import BaseAgent, ConnectivityAgent, ResourceMonitor
from oblix.options import ExecuteOptions, MessageInput


@dataclass
class City:
    """What an answer becomes."""

    name: str
    people: int


def weather(city: str, days: int = 1) -> str:
    """Tell the weather."""
    return f"Snow in {city} for {days} days."


def prompts(client: Client) -> None:
    """Ask in every way."""
    answer = client.execute("Why?", temperature=0.2, max_tokens=100, seed=7, stop=["\n"])
    assert_type(answer, Answer)
    assert_type(answer.text, str)
    assert_type(client.execute("Which?", response_model=City), City)
    assert_type(client.execute("Weather?", tools=[weather], run_tools=True, max_rounds=3), Answer)
    said: list[MessageInput | Message] = [{"role": "user", "content": "Why?"}, answer.message]
    client.execute(said, model="ollama:llama2", local_only=True, policy="private", max_cost=0.01)
    client.execute("Slow", timeout=30.0, priority="background", when_busy="fail", on_disconnect="continue")
    client.execute("Deep", reasoning="high", context_policy="refuse", request_id="my-1")
    client.execute("Image", images=["photo.png", b"\x89PNG"])
    options: ExecuteOptions = {"temperature": 0.5, "max_tokens": 10}
    client.execute("Again", session="trip", **options)
    assert_type(client.embed(["A cat", "A dog"], dimensions=8), Embeddings)
    vector: tuple[float, ...] = client.embed("A cat").vectors[0]
    print(vector)


def streams(client: Client) -> Iterator[str]:
    """Read answers while they arrive."""
    for event in client.stream("Why?"):
        match event:
            case Delta(kind="text"):
                yield event.text
            case oblix.Started():
                assert_type(event.model, str)
            case oblix.Completed(answer=answer):
                assert_type(answer.finish_reason == "stop", bool)
            case oblix.Queued() | oblix.Rerouted() | Delta():
                pass
    yield from client.stream_text("Why?", session="trip")


def sessions(client: Client) -> None:
    """Keep conversations."""
    session = client.sessions.create(title="Trip", metadata={"project": "alps"}, local_only=True)
    assert_type(session, Session)
    for found in client.sessions.list(metadata={"project": "alps"}):
        assert_type(found.message_count, int)
    newest = client.sessions.messages(session, last=1).first()
    assert_type(newest, Message | None)
    assert_type(
        client.sessions.append(session, ["Hello", {"role": "assistant", "content": "Ho"}]), list[Message]
    )
    for hit in client.sessions.search("glacier"):
        assert_type(hit.snippet, str)
    client.sessions.update(session, title="Alps", metadata={"project": None})
    client.sessions.delete(session.id)


def machine(client: Client) -> None:
    """Look at models, usage and the machine."""
    model = client.models.hook(oblix.ModelType.OLLAMA, "llama2", endpoint="http://127.0.0.1:11434")
    assert_type(model.context_window, int | None)
    client.models.hook("custom", "vectors", location="local", task="embedding", context_window=512)
    assert_type(client.usage.report(by="day", first_day="2026-11-01").rows[0].cost, float)
    assert_type(client.machine.snapshot().resource_state, str)
    assert_type(client.executions.explain("Why?", policy="cheapest").reason, str)


def errors(client: Client) -> str:
    """Tell errors apart."""
    try:
        client.sessions.get("nobody")
    except oblix.NotFoundError as error:
        if error.reason == Reason.SESSION_NOT_FOUND:
            return error.metadata.get("session_id", "")
    except oblix.OblixError as error:
        return str(error)
    return ""


class Polite(BaseAgent):
    """An agent of a program's own."""


async def everything_is_async_too() -> None:
    """Use the same names with async and await."""
    agents = [ResourceMonitor(cpu_threshold=80.0), ConnectivityAgent(), Polite("polite")]
    async with AsyncClient(agents=agents) as client:
        assert_type(await client.execute("Why?"), Answer)
        assert_type(await client.execute("Which?", response_model=City), City)
        async for text in client.stream_text("Why?"):
            assert_type(text, str)
        async for session in client.sessions.list():
            assert_type(session, Session)
        assert_type(await client.sessions.messages("trip").all(), list[Message])
        assert_type(await client.embed("A cat"), Embeddings)
