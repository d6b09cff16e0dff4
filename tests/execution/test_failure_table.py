"""Every way in which a model can fail, through Execute: what is said, what is kept, who answers instead."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from oblix.testing import Answer, OpenAIServer
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.execution import CLIENT, Harness, harness_in, prompt
from support.faults.failure_cases import AFTER, BEFORE, PROVIDERS, QUIRKS, FailureCase, Quirk
from support.servers.providers import KINDS, impatient

from oblixd.errors import OblixdError
from oblixd.execution import retry
from oblixd.models import hook_spec

USER, ASSISTANT = messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT
COMPLETE, FAILED = messages_pb2.MESSAGE_STATUS_COMPLETE, messages_pb2.MESSAGE_STATUS_FAILED
QUESTION, INSTEAD = "What is up?", "Instead."


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come without a pause; the pauses themselves are `test_retry`'s."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)


@pytest.fixture
def second() -> Iterator[OpenAIServer]:
    """A model of another provider that is well."""
    with OpenAIServer() as server:
        server.default = lambda _: Answer(INSTEAD)
        yield server


class Trial:
    """One failure case at one provider, on servers and in sessions of its own."""

    def __init__(self, harness: Harness, provider: str, case: FailureCase, second: OpenAIServer) -> None:
        self._house = harness
        self._kind = KINDS[provider]
        self._case = case
        self._second = second

    @contextmanager
    def _hook_models(self) -> Iterator[tuple[str, str]]:
        """The model that fails, and behind it the second one: of the same location, so that it is behind."""
        with self._case.at(self._kind) as url:
            failing = self._house.registry.hook(CLIENT, self._kind.spec(url))
            spec = hook_spec.spec_of(
                "custom",
                KINDS["custom"].model,
                endpoint=self._second.url,
                location=failing.connection.location,
            )
            yield failing.handle, self._house.registry.hook(CLIENT, spec).handle

    async def _ask(
        self, session: str, *handles: str, **fields: object
    ) -> list[executions_pb2.ExecuteResponse]:
        request = prompt(QUESTION, *handles, session_id=session, **fields)
        return [event async for event in self._house.executions.execute(request)]

    async def alone(self) -> None:
        """The error says what went wrong and what to do; the question and the part are kept."""
        session = await self._house.session()
        with self._hook_models() as (handle, _):
            await self._fails(session, handle)
        expected = [(USER, QUESTION, COMPLETE)]
        if self._case.kept:
            expected.append((ASSISTANT, self._case.kept, FAILED))
        assert self._house.messages_of(session) == expected

    async def with_a_second(self) -> None:
        """Before the first content it answers, and what failed is reported; afterwards it is not asked."""
        session = await self._house.session()
        with self._hook_models() as handles:
            if self._case.kept:
                await self._fails(session, *handles)
                assert self._house.messages_of(session)[1] == (ASSISTANT, self._case.kept, FAILED)
                return
            events = await self._ask(session, *handles)
        failed = events[-1].completed.failed_attempts
        assert {one.reason for one in failed} == {self._case.reason}
        assert [one.retried for one in failed] == [True] * (self._case.tries - 1) + [False]
        self._answers_instead(session)

    async def restarted(self) -> None:
        """Where the request asked for it, the second one begins anew, announced."""
        session = await self._house.session()
        with self._hook_models() as handles:
            events = await self._ask(session, *handles, on_break=executions_pb2.ON_BREAK_RESTART)
        [rerouted] = [event.rerouted for event in events if event.HasField("rerouted")]
        assert rerouted.reason == self._case.reason
        self._answers_instead(session)

    async def _fails(self, session: str, *handles: str) -> None:
        with pytest.raises(OblixdError) as raised:
            await self._ask(session, *handles)
        error, case = raised.value, self._case
        assert (type(error), error.reason) == (case.status, case.reason), error.message
        assert re.search(case.says, error.message), error.message
        assert error.metadata["kept_bytes"] == str(len(case.kept))
        assert error.metadata["session_id"] == session
        assert error.metadata["model"] == f"{self._kind.provider}:{self._kind.model}"

    def _answers_instead(self, session: str) -> None:
        assert self._house.messages_of(session) == [
            (USER, QUESTION, COMPLETE),
            (ASSISTANT, INSTEAD, COMPLETE),
        ]


async def play(trial: Trial, case: FailureCase) -> None:
    await trial.alone()
    await trial.with_a_second()
    if case.kept:
        await trial.restarted()


def prompt_ones() -> list[pytest.param]:
    return [
        pytest.param(provider, case, id=f"{provider}: {case.what}")
        for provider in PROVIDERS
        for case in (*BEFORE, *AFTER)
        if provider in case.providers and not case.waits
    ]


@pytest.mark.parametrize(("provider", "case"), prompt_ones())
async def test_a_failing_server(
    harness: Harness, second: OpenAIServer, provider: str, case: FailureCase
) -> None:
    await play(Trial(harness, provider, case, second), case)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_servers_that_fall_silent(tmp_path: Path, second: OpenAIServer, provider: str) -> None:
    silent = [one for one in (*BEFORE, *AFTER) if one.waits and provider in one.providers]
    assert len(silent) >= 4
    limits = {one.waits for one in silent}
    await asyncio.gather(
        *(
            _fall_silent(tmp_path / limit, second, provider, [one for one in silent if one.waits == limit])
            for limit in limits
        )
    )


async def _fall_silent(
    directory: Path, second: OpenAIServer, provider: str, cases: list[FailureCase]
) -> None:
    """All those that one limit ends, which is short."""
    async with harness_in(directory, {provider: impatient(cases[0].waits)}) as harness:
        await asyncio.gather(*(play(Trial(harness, provider, one, second), one) for one in cases))


def quirks() -> list[pytest.param]:
    return [
        pytest.param(provider, quirk, id=f"{provider}: {quirk.what}")
        for provider in PROVIDERS
        for quirk in QUIRKS
        if provider in quirk.providers
    ]


@pytest.mark.parametrize(("provider", "quirk"), quirks())
async def test_other_events_are_no_failure(harness: Harness, provider: str, quirk: Quirk) -> None:
    kind, session = KINDS[provider], await harness.session()
    with kind.server() as server:
        server.script(quirk.answer(provider))
        handle = harness.registry.hook(CLIENT, kind.spec(server.url)).handle
        request = prompt(QUESTION, handle, session_id=session)
        events = [event async for event in harness.executions.execute(request)]
    end = events[-1].completed
    assert (end.finish_reason, list(end.failed_attempts)) == (quirk.finish, [])
    kept = end.message
    assert (kept.role, kept.status, kept.sequence) == (ASSISTANT, COMPLETE, 2)
    assert "".join(part.text for part in kept.parts) == quirk.text
    assert harness.sessions.get(session).message_count == 2
