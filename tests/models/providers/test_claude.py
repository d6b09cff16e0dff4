"""What a server that speaks Claude's call tells of a model, and what it does not."""

from __future__ import annotations

from collections.abc import Callable

from oblix.testing import Answer, ClaudeServer
from oblix.testing.exchange import Exchange
from support.drivers.model_requests import ask, question

from oblixd.models.base import Connection
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.claude import ClaudeConnection

ROUNDS = 50


class MessagesOnly(ClaudeServer):
    """A gateway that has no page about a model."""

    def route(self, exchange: Exchange) -> None:
        if exchange.received.path.startswith("/v1/models"):
            exchange.send(404, self.error(404, "not found"))
        else:
            super().route(exchange)


async def test_a_gateway_without_pages_about_models_is_asked_for_one_once(
    connections: Callable[[Connection], Connection],
) -> None:
    """Each time took a connection of its own. An answer that ends first ends the question, too."""
    with MessagesOnly(["claude"]) as server:
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
