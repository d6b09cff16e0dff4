"""Keywords and names that programs of the first Oblix use beside those of the guide."""

from __future__ import annotations

from pathlib import Path

import pytest
from oblix import InvalidArgumentError, OblixClient
from oblix.agents import ResourceMonitor
from oblix.sessions import SessionManager


async def test_files_and_sources_have_their_first_names(client: OblixClient, tmp_path: Path) -> None:
    first, second = await client.create_session(), await client.create_session()
    assert isinstance(client.session_manager, SessionManager)
    client.session_manager.save_message(first, "One")
    assert await client.export_session(first, export_path=tmp_path / "one.json") is True
    imported = await client.import_session(import_path=tmp_path / "one.json")
    merged = await client.merge_sessions(source_ids=[imported, second], title="Both")
    session = client.load_session(merged)
    assert session is not None
    assert [message["content"] for message in session["messages"]] == ["One"]
    with pytest.raises(InvalidArgumentError, match="file_path"):
        await client.export_session(first)
    with pytest.raises(InvalidArgumentError, match="export_path"):
        await client.export_session(first, tmp_path / "a.json", export_path=tmp_path / "b.json")


async def test_answers_have_their_first_names(hooked_client: OblixClient) -> None:
    hooked_client.hook_agent(ResourceMonitor(cpu_threshold=70.0))
    answer = await hooked_client.execute("Hello", stream=False, use_gpu=True)
    assert answer["metrics"]["total_latency"] == answer["metrics"]["latency"]
    assert answer["agent_checks"].get("resource_monitor")["proceed"] is True
    assert answer["agent_checks"].get("another") is None
    assert [check["agent"] for check in answer["agent_checks"]] == ["resource_monitor"]


def test_thresholds_are_keywords_too() -> None:
    monitor = ResourceMonitor(cpu_threshold=70.0, custom_thresholds={"load_threshold": 2.0})
    assert (monitor.thresholds["cpu_threshold"], monitor.thresholds["load_threshold"]) == (70.0, 2.0)
    with pytest.raises(InvalidArgumentError):
        ResourceMonitor(cpu_treshold=70.0)  # type: ignore[call-arg]
