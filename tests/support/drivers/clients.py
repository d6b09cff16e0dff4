"""What a client shows."""

from __future__ import annotations

from oblix import OblixClient


def messages_of(client: OblixClient, session_id: str) -> list[tuple[str, str]]:
    """Content and status of each message of a session."""
    session = client.load_session(session_id)
    assert session is not None
    return [(message["content"], message.get("status", "complete")) for message in session["messages"]]
