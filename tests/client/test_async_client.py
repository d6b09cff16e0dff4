"""`oblix.AsyncClient`: the same core as `OblixClient`, typed, async, and silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import oblix
import pytest
from oblix import (
    AsyncClient,
    Completed,
    Delta,
    InvalidAnswerError,
    InvalidArgumentError,
    ModelType,
    NotFoundError,
    Reason,
    ResourceMonitor,
    SessionChanged,
    Started,
    Synced,
)
from oblix.testing import Answer, OllamaServer, ToolCall

import oblixd


@pytest.fixture
async def client_with_model(
    shared_home: Path, ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncClient]:
    """A client of the shared daemon with one model."""
    monkeypatch.setenv("OBLIX_HOME", str(shared_home))
    async with AsyncClient() as client:
        await client.models.hook(ModelType.OLLAMA, "llama2", endpoint=ollama.url)
        yield client


async def test_a_session_is_made_read_changed_and_deleted(client_with_model: AsyncClient) -> None:
    made = await client_with_model.sessions.create(title="Trip", metadata={"project": "alps", "n": 1})
    assert (made.title, made.metadata["n"], made.message_count) == ("Trip", 1, 0)
    assert isinstance(made.created_at, datetime)
    changed = await client_with_model.sessions.update(
        made, title="Trips", metadata={"n": 2}, retention=oblix.Retention(3)
    )
    assert (changed.title, changed.metadata) == ("Trips", {"n": 2, "project": "alps"})
    assert (await client_with_model.sessions.get(made.id)).retention == oblix.Retention(3, "archive")
    await client_with_model.sessions.delete(made)
    with pytest.raises(NotFoundError) as caught:
        await client_with_model.sessions.get(made)
    assert caught.value.reason == Reason.SESSION_NOT_FOUND
    assert (await client_with_model.sessions.undelete(made)).title == "Trips"


async def test_results_are_frozen_and_equal_the_dicts_of_the_facade(
    client_with_model: AsyncClient, client: oblix.OblixClient
) -> None:
    session = await client_with_model.sessions.get_or_create(
        "frozen", metadata={"a": [1, {"b": None}]}, local_only=True
    )
    again = await client_with_model.sessions.get_or_create("frozen", title="of no use")
    assert (again.title, again.id) == ("", "frozen")
    with pytest.raises(AttributeError):
        session.title = "other"  # type: ignore[misc]
    await client_with_model.execute("Hello", session=session)
    await client_with_model.sessions.append(session, {"role": "user", "content": "x", "client_data": b"\x00"})
    assert (await client_with_model.sessions.get(session)).to_dict() == client.get_session("frozen")
    whole = client.load_session("frozen")
    assert whole is not None
    told = [message.to_dict() async for message in client_with_model.sessions.messages(session)]
    assert told == whole["messages"]


async def test_lists_page_by_themselves(
    client_with_model: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oblix._async.items.FIRST_PAGE", 2)
    made = [(await client_with_model.sessions.create(metadata={"of": "paging"})).id for _ in range(5)]
    listed = client_with_model.sessions.list(metadata={"of": "paging"})
    assert [session.id async for session in listed] == made[::-1]
    assert [session.id for session in await listed.all()] == made[::-1]
    first = await listed.first()
    assert first is not None
    assert first.id == made[-1]
    some = client_with_model.sessions.list(metadata={"of": "paging"}, limit=3)
    assert len(await some.all()) == 3
    assert await client_with_model.sessions.list(metadata={"of": "nothing"}).first() is None


async def test_many_messages_are_appended_at_once_and_the_last_are_read(
    client_with_model: AsyncClient,
) -> None:
    session = await client_with_model.sessions.create()
    said = await client_with_model.sessions.append(session, [f"{n}" for n in range(7)])
    assert [message.sequence for message in said] == list(range(1, 8))
    last = [message.content async for message in client_with_model.sessions.messages(session, last=3)]
    assert last == ["4", "5", "6"]
    popped = await client_with_model.sessions.pop(session, 2)
    assert [message.content for message in popped] == ["5", "6"]
    assert (await client_with_model.sessions.message(session, -1)).content == "4"
    edited = await client_with_model.sessions.edit(session, said[0], "zero")
    versions = [message.content async for message in client_with_model.sessions.versions(session, edited)]
    assert (edited.content, edited.version, versions) == ("zero", 1, ["0"])
    assert await client_with_model.sessions.truncate(session, 3) == 3
    copy = await client_with_model.sessions.copy(session, up_to=1, title="one")
    await client_with_model.sessions.append(copy, said[3:5])
    assert [message.content async for message in client_with_model.sessions.messages(copy)] == [
        "zero",
        "3",
        "4",
    ]


async def test_a_prompt_streams_in_three_ways(client_with_model: AsyncClient, ollama: OllamaServer) -> None:
    session = await client_with_model.sessions.create()
    ollama.script(Answer("One two"), Answer("Three four"), Answer("Five"))
    events = [event async for event in client_with_model.stream("Count", session=session)]
    assert isinstance(events[0], Started)
    assert events[0].decision.candidates[0].model == "ollama:llama2"
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "One two"
    assert isinstance(events[-1], Completed)
    assert events[-1].answer.text == "One two"
    assert (
        "".join([text async for text in client_with_model.stream_text("On", session=session)]) == "Three four"
    )
    answer = await client_with_model.execute("On", session=session)
    assert (str(answer), answer.model, answer.finish_reason) == ("Five", "ollama:llama2", "stop")
    assert answer.session_id == session.id
    assert answer.timings.total > 0
    assert answer.usage is not None
    assert (await client_with_model.executions.history(session))[-1].decision == answer.decision


async def test_nothing_is_printed(client_with_model: AsyncClient, capfd: pytest.CaptureFixture[str]) -> None:
    await client_with_model.execute("Hello")
    assert capfd.readouterr() == ("", "")


async def test_a_misspelt_option_is_told_the_right_one(client_with_model: AsyncClient) -> None:
    with pytest.raises(InvalidArgumentError, match="did you mean temperature") as caught:
        await client_with_model.execute("Hello", temprature=0.5)  # type: ignore[call-overload]
    assert caught.value.metadata["field"] == "temprature"
    with pytest.raises(InvalidArgumentError, match="did you mean session"):
        await client_with_model.execute("Hello", session_id="x")  # type: ignore[call-overload]


async def test_regenerating_keeps_the_old_answer(
    client_with_model: AsyncClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("Bad"), Answer("Good"))
    session = await client_with_model.sessions.create()
    await client_with_model.execute("Which?", session=session)
    assert (await client_with_model.regenerate(session)).text == "Good"
    assert [m.content async for m in client_with_model.sessions.versions(session, -1)] == ["Bad"]


async def test_search_and_watch_and_export(client_with_model: AsyncClient, tmp_path: Path) -> None:
    session = await client_with_model.sessions.create(title="Glaciers", metadata={"of": "watch"})
    await client_with_model.sessions.append(session, "The marmot whistles")
    hits = [hit async for hit in client_with_model.sessions.search("marmot", session=session)]
    assert [(hit.session_id, hit.role) for hit in hits] == [(session.id, "user")]
    watching = client_with_model.sessions.watch(metadata={"of": "watch"})
    first, synced = await anext(watching), await anext(watching)
    assert isinstance(first, SessionChanged)
    assert (first.session.id, type(synced)) == (session.id, Synced)
    await watching.aclose()
    (whole,) = [conversation async for conversation in client_with_model.sessions.export(session)]
    assert [message.content for message in whole.messages] == ["The marmot whistles"]
    assert await client_with_model.sessions.export_to(tmp_path / "all.json", session) == 1
    report = await client_with_model.sessions.import_from(tmp_path / "all.json", skip_existing=False)
    assert report.imported == 1


async def test_models_machine_and_usage_are_typed(
    client_with_model: AsyncClient, ollama: OllamaServer
) -> None:
    (model,) = await client_with_model.models.list()
    assert (model.id, model.location, model.provider) == ("ollama:llama2", "local", "ollama")
    assert (await client_with_model.models.get(model)).state in {"ready", "idle"}
    assert (await client_with_model.machine.info()).version == oblixd.__version__
    assert (await client_with_model.machine.snapshot()).resource_state in {
        "available",
        "constrained",
        "critical",
        "unknown",
    }
    await client_with_model.execute("Hello", request_id="of usage")
    assert (await client_with_model.usage.report("model")).total.executions >= 1
    states = {one.request_id: one.state for one in await client_with_model.executions.list()}
    assert states["of usage"] == "completed"
    assert await client_with_model.models.unhook("ollama:llama2") is True
    assert await client_with_model.models.unhook("ollama:llama2") is False


async def test_agents_of_a_client_are_asked(shared_home: Path, ollama: OllamaServer, monkeypatch) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(shared_home))
    async with AsyncClient(agents=[ResourceMonitor()]) as client:
        await client.models.hook("ollama", "llama2", endpoint=ollama.url)
        answer = await client.execute("Hello")
    check = answer.agent_checks.get("resource_monitor")
    assert check is not None
    assert check["proceed"] is True
    assert answer.agent_checks.get("another") is None


@dataclass
class City:
    """A city."""

    name: str
    population: int


async def test_an_answer_comes_as_an_instance(client_with_model: AsyncClient, ollama: OllamaServer) -> None:
    ollama.script(Answer('{"name": "Chur", "population": 38000}'), Answer('{"name": 1}'))
    city = await client_with_model.execute("Which city?", response_model=City)
    assert city == City("Chur", 38000)
    assert ollama.requests[-1].body["format"]["required"] == ["name", "population"]
    with pytest.raises(InvalidAnswerError, match="City") as caught:
        await client_with_model.execute("Which city?", response_model=City)
    assert (caught.value.reason, caught.value.answer) == (Reason.ANSWER_INVALID, '{"name": 1}')


async def test_functions_are_tools_and_run(client_with_model: AsyncClient, ollama: OllamaServer) -> None:
    asked: list[tuple[str, int]] = []

    def weather(city: str, days: int = 1) -> dict[str, object]:
        """Tell the weather.

        Args:
            city: Where.
            days: How many days ahead.
        """
        asked.append((city, days))
        return {"sky": "snow", "city": city}

    ollama.script(Answer("", tool_calls=[ToolCall("weather", {"city": "Chur"})]), Answer("It snows in Chur."))
    answer = await client_with_model.execute("Weather?", tools=[weather], run_tools=True)
    assert (answer.text, asked) == ("It snows in Chur.", [("Chur", 1)])
    schema = ollama.requests[0].body["tools"][0]["function"]
    assert (schema["name"], schema["description"]) == ("weather", "Tell the weather.")
    assert schema["parameters"]["properties"]["city"]["description"] == "Where."
    assert schema["parameters"]["required"] == ["city"]
    assert "snow" in ollama.requests[-1].body["messages"][-1]["content"]


async def test_a_tool_that_fails_is_told_and_a_loop_ends(
    client_with_model: AsyncClient, ollama: OllamaServer
) -> None:
    async def broken(number: int) -> str:
        """Break."""
        raise RuntimeError(f"no {number}")

    ollama.default = lambda _: Answer("", tool_calls=[ToolCall("broken", {"number": 7})])
    session = await client_with_model.sessions.create()
    with pytest.raises(InvalidAnswerError) as caught:
        await client_with_model.execute("Go", session=session, tools=[broken], run_tools=True, max_rounds=2)
    assert caught.value.reason == Reason.TOO_MANY_ROUNDS
    said = [part async for m in client_with_model.sessions.messages(session) for part in m.parts]
    failures = [part.content for part in said if isinstance(part, oblix.ToolResultPart) and part.is_error]
    assert failures == ["RuntimeError: no 7"]


async def test_a_thousand_tasks_share_a_client_and_lose_nothing(
    client_with_model: AsyncClient, ollama: OllamaServer
) -> None:
    session = await client_with_model.sessions.create()

    async def one(number: int) -> int:
        (message,) = await client_with_model.sessions.append(session, str(number))
        return message.sequence

    places = await asyncio.gather(*(one(number) for number in range(1000)))
    assert sorted(places) == list(range(1, 1001))
    contents = [message.content async for message in client_with_model.sessions.messages(session)]
    assert sorted(map(int, contents)) == list(range(1000))


def test_a_client_costs_no_thread_until_it_is_used() -> None:
    before = threading.active_count()
    clients = [AsyncClient() for _ in range(10)]
    assert threading.active_count() == before
    assert len(clients) == 10
