"""What a server that speaks Claude's call tells of a model, and what it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from oblix.testing import Answer, ClaudeServer
from oblix.testing.exchange import Exchange
from support.drivers.model_requests import ask, question

from oblixd.models.base import Connection
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.claude import ClaudeConnection

ROUNDS = 50


class MessagesOnly(ClaudeServer):
    """A gateway that has no page about a model."""

    status = 404
    page = b'{"type": "error", "error": {"type": "not_found_error", "message": "not found"}}'

    def route(self, exchange: Exchange) -> None:
        if exchange.received.path.startswith("/v1/models"):
            exchange.send(self.status, self.page, {"Location": "/login"} if self.status == 302 else {})
        else:
            super().route(exchange)


@pytest.mark.parametrize(
    ("status", "page"),
    [
        (404, MessagesOnly.page),
        (200, b"<!doctype html><title>Gateway</title>"),
        (200, b""),
        (302, b""),
        (403, b'{"error": {"message": "not allowed"}}'),
    ],
)
async def test_a_gateway_without_pages_about_models_is_not_asked_for_one_with_each_prompt(
    connections: Callable[[Connection], Connection], status: int, page: bytes
) -> None:
    """Each time took a connection of its own. An answer that ends first ends the question, too."""
    with MessagesOnly(["claude"]) as server:
        server.status, server.page = status, page
        server.default = lambda _question: Answer("One two three four.", tokens_per_second=50)
        connection = connections(
            ClaudeConnection(spec_of("claude", "claude", endpoint=server.url, api_key="k"))
        )
        counts = []
        for _ in range(ROUNDS):
            await ask(connection, question("Hello?"))
            counts.append(sum(one.path.startswith("/v1/models") for one in server.calls))
            if counts[-4:-3] == counts[-1:]:
                break
        assert counts[-1] >= 1
        assert len(counts) < ROUNDS, f"asked with each of {ROUNDS} prompts"
