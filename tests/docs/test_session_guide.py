"""Every call of the published guide about sessions, and what the guide says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from oblix import ModelType, OblixClient
from oblix.agents import ResourceMonitor
from oblix.testing import OllamaServer

SUPPORT = {
    "category": "support",
    "priority": "high",
    "customer_id": "cust_12345",
    "product": "Enterprise Server",
}
SALES = {"category": "sales", "deal_size": "$50,000", "contact": "jane.doe@acme.com", "stage": "proposal"}


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer(["llama2"]) as server:
        yield server


@pytest.fixture
async def client(home: Path, ollama: OllamaServer) -> AsyncIterator[OblixClient]:
    client = OblixClient()
    assert (
        await client.hook_model(model_type=ModelType.OLLAMA, model_name="llama2", endpoint=ollama.url) is True
    )
    assert client.hook_agent(ResourceMonitor()) is True
    yield client
    await client.shutdown()


def last_context(server: OllamaServer) -> list[tuple[str, str]]:
    """(role, content) of what the model was sent last."""
    last = [request for request in server.requests if request.path == "/api/chat"][-1]
    return [(message["role"], message["content"]) for message in last.body["messages"]]


def talk(session: dict) -> list[tuple[str, str]]:
    """(role, content) of a loaded session's messages."""
    return [(message["role"], message["content"]) for message in session["messages"]]


def turn(question: str) -> list[tuple[str, str]]:
    """A question, and what a test server says to it."""
    return [("user", question), ("assistant", f"You said: {question}")]


async def test_metadata_organises_and_filters_sessions(client: OblixClient) -> None:
    support = await client.create_session(title="Technical Support - Network Issue", metadata=SUPPORT)
    sales = await client.create_session(title="Sales Call - Acme Inc", metadata=SALES)

    high_priority = client.list_sessions(filter_metadata={"category": "support", "priority": "high"})
    assert [session["id"] for session in high_priority] == [support]
    assert client.list_sessions(filter_metadata={"category": "support", "priority": "low"}) == []

    assert (
        client.update_session_metadata(sales, {"stage": "negotiation", "next_follow_up": "2023-08-15"})
        is True
    )
    expected = SALES | {"stage": "negotiation", "next_follow_up": "2023-08-15"}
    assert client.get_session_metadata(sales) == expected
    assert [s["id"] for s in client.list_sessions(filter_metadata={"stage": "negotiation"})] == [sales]
    assert client.list_sessions(filter_metadata={"stage": "proposal"}) == []


async def test_a_session_is_created_used_and_switched(client: OblixClient) -> None:
    other = await client.create_session(title="Pricing")
    assert client.current_session_id is None
    metadata = {"customer": "Acme Inc", "demo_type": "full_product"}
    session_id = await client.create_and_use_session(title="Product Demo", metadata=metadata)
    assert client.current_session_id == session_id

    await client.execute("Show me how the dashboard analytics work")
    assert client.use_session(other) is True
    await client.execute("Let's continue our discussion about pricing")

    assert talk(client.load_session(session_id)) == turn("Show me how the dashboard analytics work")
    assert talk(client.load_session(other)) == turn("Let's continue our discussion about pricing")
    assert client.use_session("no-such-session") is False
    assert client.current_session_id == other


async def test_an_imported_session_has_a_new_id_and_goes_on(
    client: OblixClient, ollama: OllamaServer, tmp_path: Path
) -> None:
    session_id = await client.create_and_use_session(title="Product Demo", metadata={"customer": "Acme Inc"})
    await client.execute("Show me how the dashboard analytics work")
    path = str(tmp_path / "important_conversation.json")
    assert await client.export_session(session_id, path) is True

    imported = await client.import_session(path, new_id=True, use_immediately=True)
    assert imported != session_id
    assert client.current_session_id == imported
    assert client.get_session_metadata(imported) == {"customer": "Acme Inc"}

    await client.execute("Can we continue from where we left off?")
    before = turn("Show me how the dashboard analytics work")
    assert last_context(ollama) == [*before, ("user", "Can we continue from where we left off?")]
    assert talk(client.load_session(session_id)) == before


async def test_a_copy_is_customised_and_the_template_stays(client: OblixClient, ollama: OllamaServer) -> None:
    metadata = {"type": "template", "version": "1.0"}
    template = await client.create_session(title="Customer Onboarding Template", metadata=metadata)
    welcome = "Welcome to our platform! I'll help you get started."
    assert client.session_manager.save_message(template, welcome, role="assistant") is True

    copy = await client.copy_session(template, new_title="Onboarding - Acme Inc", use_immediately=True)
    changes = {"customer": "Acme Inc", "type": "onboarding", "start_date": "2023-07-15"}
    assert client.update_session_metadata(copy, changes) is True
    await client.execute("We need to set up 50 user accounts.")

    assert client.get_session_metadata(copy) == metadata | changes
    assert last_context(ollama) == [("assistant", welcome), ("user", "We need to set up 50 user accounts.")]
    assert client.load_session(copy)["title"] == "Onboarding - Acme Inc"
    assert client.get_session_metadata(template) == metadata
    assert talk(client.load_session(template)) == [("assistant", welcome)]


async def test_a_merged_session_holds_everything_in_order_of_time(
    client: OblixClient, ollama: OllamaServer
) -> None:
    questions = [
        "I'm having performance issues",
        "I checked the plans as suggested",
        "Performance improved by 80%",
    ]
    sessions = []
    for question in questions:
        client.current_session_id = await client.create_session(title=question)
        sessions.append(client.current_session_id)
        await client.execute(question)
    client.current_session_id = sessions[0]
    await client.execute("One more thing")

    merged = await client.merge_sessions(list(reversed(sessions)), title="Case History", use_immediately=True)
    data = client.load_session(merged)
    everything = [message for question in [*questions, "One more thing"] for message in turn(question)]
    assert talk(data) == everything
    times = [datetime.fromisoformat(message["timestamp"]) for message in data["messages"]]
    assert times == sorted(times)

    await client.execute("Here's a summary of the entire case:")
    assert last_context(ollama) == [*everything, ("user", "Here's a summary of the entire case:")]
    assert all(client.load_session(session_id) for session_id in sessions)


async def get_or_create_user_session(client: OblixClient, user_id: str) -> str:
    found = client.list_sessions(filter_metadata={"user_id": user_id, "session_type": "active"})
    if found:
        client.use_session(found[0]["id"])
        return found[0]["id"]
    metadata = {"user_id": user_id, "session_type": "active", "created_date": datetime.now().isoformat()}
    return await client.create_and_use_session(title=f"Chat with {user_id}", metadata=metadata)


async def test_a_user_gets_the_session_that_changed_last(client: OblixClient) -> None:
    first = await get_or_create_user_session(client, "u-12345")
    assert await get_or_create_user_session(client, "u-12345") == first
    assert await get_or_create_user_session(client, "u-67890") != first

    newer = await client.create_session(metadata={"user_id": "u-12345", "session_type": "active"})
    assert await get_or_create_user_session(client, "u-12345") == newer
    client.use_session(first)
    await client.execute("Can you help me with my account settings?")
    assert await get_or_create_user_session(client, "u-12345") == first


async def test_analytics_counts_messages_by_category(client: OblixClient) -> None:
    for category, turns in (("support", 2), ("sales", 1), (None, 0)):
        metadata = {"category": category} if category else None
        await client.create_and_use_session(metadata=metadata)
        for number in range(turns):
            await client.execute(f"Question {number}")

    listed = client.list_sessions(limit=1000)
    counts = {s.get("metadata", {}).get("category", "uncategorized"): s["message_count"] for s in listed}
    assert counts == {"support": 4, "sales": 2, "uncategorized": 0}
    assert len(client.list_sessions(limit=2)) == 2


async def test_interviews_are_copies_of_a_template(client: OblixClient) -> None:
    metadata = {"type": "template", "role": "software_engineer"}
    template = await client.create_session(title="Job Interview Template", metadata=metadata)
    questions = ["Tell me about Python.", "How do you test?", "Describe a project."]
    for question in questions:
        client.session_manager.save_message(template, question, role="assistant")

    interview = await client.copy_session(template, new_title="Interview - Jane Smith", use_immediately=True)
    client.update_session_metadata(interview, {"candidate_name": "Jane Smith", "status": "in_progress"})

    assert talk(client.load_session(interview)) == [("assistant", question) for question in questions]
    found = client.list_sessions(filter_metadata={"role": "software_engineer", "status": "in_progress"})
    assert [session["id"] for session in found] == [interview]


async def test_the_complete_example(client: OblixClient, tmp_path: Path) -> None:
    support = await client.create_and_use_session(title="Customer Support", metadata=SUPPORT)
    await client.execute("I'm having trouble with my recent order.")
    reply = "I'm sorry to hear that. Can you provide your order number?"
    client.session_manager.save_message(client.current_session_id, reply, role="assistant")
    await client.execute("My order number is #OR-789456.")
    sales = await client.create_session(title="Sales Call - Acme Inc", metadata=SALES)

    path = str(tmp_path / "session_export.json")
    await client.export_session(support, path)
    imported = await client.import_session(path, new_id=True, use_immediately=True)
    copy = await client.copy_session(sales, new_title="Sales Call - COPY FOR REFERENCE")
    merged = await client.merge_sessions([support, sales], title="Combined Customer Interaction")

    listed = client.list_sessions()
    # An import keeps the times of what it brings.
    assert [session["id"] for session in listed] == [merged, copy, sales, imported, support]
    assert [session["message_count"] for session in listed] == [5, 0, 0, 5, 5]
    of_support = client.list_sessions(filter_metadata={"category": "support"})
    assert {session["id"] for session in of_support} == {support, imported, merged}
    assert client.current_session_id == imported
