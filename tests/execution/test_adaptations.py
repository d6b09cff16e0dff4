"""What was changed of a request is told with the answer, and kept with it."""

from __future__ import annotations

from oblix.testing import OpenAIServer
from oblix.testing.exchange import Exchange
from oblix.v1 import executions_pb2
from support.drivers.events import all_of
from support.drivers.execution import CLIENT, Harness, prompt
from support.servers.providers import KINDS


class WithoutCounts(OpenAIServer):
    """A server that knows no `stream_options`."""

    def route(self, exchange: Exchange) -> None:
        body = exchange.received.body if exchange.received.method == "POST" else {}
        if "stream_options" in body:
            exchange.send(400, self.error(400, "Unrecognized request argument supplied: stream_options"))
        else:
            super().route(exchange)


async def test_the_answers_route_says_what_was_changed(harness: Harness) -> None:
    session = await harness.session()
    with WithoutCounts() as server:
        server.script("One", "Two")
        handle = harness.registry.hook(CLIENT, KINDS["custom"].spec(server.url)).handle
        for answer in ("One", "Two"):
            given = prompt("A word", handle, session_id=session)
            started, *_, completed = await all_of(harness.executions.execute(given))
            message = completed.completed.message
            assert message.parts[0].text == answer
            [note] = message.decision.adaptations
            assert "stream_options" in note
            assert not started.started.decision.adaptations, "it was not known before"
            assert not completed.completed.failed_attempts, "that is no failure"
        assert len(server.requests) == 3, "it is remembered"
    recorded, _ = harness.sessions.messages(session, page_size=0, page_token="", newest_first=False)
    assert [len(one.decision.adaptations) for one in recorded] == [0, 1, 0, 1]


async def test_a_choice_that_was_passed_over_is_told(harness: Harness) -> None:
    with KINDS["custom"].server() as server:
        server.script("Prose")
        handle = harness.registry.hook(CLIENT, KINDS["custom"].spec(server.url)).handle
        given = prompt("Weather?", handle, tools=[executions_pb2.ToolDefinition(name="weather")])
        given.tool_choice = executions_pb2.TOOL_CHOICE_REQUIRED
        *_, completed = await all_of(harness.executions.execute(given))
        [note] = completed.completed.message.decision.adaptations
        assert "tool_choice" in note
