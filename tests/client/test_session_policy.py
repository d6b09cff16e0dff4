"""A session's routing policy through the Python client, its files included."""

from __future__ import annotations

from pathlib import Path

import pytest
from oblix import InvalidArgumentError, OblixClient


async def test_it_is_made_changed_and_taken_away(client: OblixClient) -> None:
    session_id = await client.create_session(routing_policy="private")
    header = client.get_session(session_id)
    assert header is not None
    assert header["routing_policy"] == "private"
    changed = client.update_session(session_id, routing_policy="fastest")
    assert changed is not None
    assert changed["routing_policy"] == "fastest"
    gone = client.update_session(session_id, routing_policy="")
    assert gone is not None
    assert "routing_policy" not in gone
    with pytest.raises(InvalidArgumentError):
        await client.create_session(routing_policy="x" * 65)


@pytest.mark.parametrize("form", ["json", "jsonl"])
async def test_a_file_carries_it(client: OblixClient, tmp_path: Path, form: str) -> None:
    session_id = await client.create_and_use_session(routing_policy="private")
    file = tmp_path / f"session.{form}"
    await client.export_sessions([session_id], file, form)
    report = await client.import_sessions(file, form)
    header = client.get_session(report.sessions[0].session_id)
    assert header is not None
    assert header["routing_policy"] == "private"
