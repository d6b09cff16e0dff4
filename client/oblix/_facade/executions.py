"""Executions of all programs, past routing, search, watching, usage and pulls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import date
from typing import TYPE_CHECKING, Any

from oblix._convert.validation import whole_number
from oblix._facade.base import FacadePart
from oblix.answers import MOST_TURNS
from oblix.changes import Change, SessionChanged
from oblix.errors import NotFoundError
from oblix.events import Event

if TYPE_CHECKING:
    from oblix.reports import PullProgress, UsageGroup, UsageReport


class ExecutionCalls(FacadePart):
    """Going on with executions, seeing them, ending them."""

    async def attach(self, request_id: str, offset: int = 0) -> AsyncGenerator[Event, None]:
        """Go on with an execution that runs, or that ended: yield what `stream` yields, from the start.

        `offset`: how many bytes of UTF-8 of deltas are here already, as
        `delta.offset + len(delta.text.encode())` of the last one says; they are
        not sent again. Any number of programs may attach to one execution. An
        execution of a session can be attached to for the session's life, another
        one for ten minutes after its end.

        Closing the generator lets it run on where it was started with
        `on_disconnect="continue"` or somebody else reads it, else it cancels it.
        Raises NotFoundError where no such execution is known, InvalidArgumentError
        for an offset past its end, and what ended it: UnavailableError
        EXECUTION_INTERRUPTED where the daemon ended in the middle, with
        `session_id` and `kept_bytes` in its metadata.
        """
        async with aclosing(self._async.executions.attach(request_id, offset=offset)) as events:
            async for event in events:
                yield event

    async def cancel(self, request_id: str) -> dict[str, Any]:
        """Cancel an execution, and return it as `list_executions` shows it. What had come is kept.

        One that has ended stays as it was. Raises NotFoundError where no such
        execution runs or ended within the last ten minutes.
        """
        return (await self._async.executions.cancel(request_id)).to_dict()

    def list_executions(self, session_id: str | None = None) -> list[dict[str, Any]]:
        """Return what waits, runs, or ended within the last ten minutes, for all programs; the oldest first.

        `session_id`: only those of one session. Each dict has `request_id`,
        `session_id`, `state` (`queued`, `running`, `completed`, `failed` or
        `cancelled`), `model_id`, `created_at`, `ended_at`, `delta_bytes`,
        `attached_streams`, `place` (among those that wait, from 1), `waits_for`
        (the model; None: its session's turn), `priority`, `client`, `error_reason`
        and `prompt_excerpt` (at most 80 characters). What does not apply is None.
        """
        return [execution.to_dict() for execution in self._sync.executions.list(session_id)]

    def explain_session(self, session_id: str, limit: int = MOST_TURNS) -> list[dict[str, Any]] | None:
        """Return a session's newest turns with their routing, oldest first; None where there is no session.

        `limit`: 1 to 1,000 turns. A dict has `request_id`, `prompt` (the text before the
        answer), `timestamp`, `model` (that answered; None: none did), `routing_decision`
        as `execute` gives it, with those that failed first in `failed_attempts`, and `error`: None,
        or a dict of the `reason` and `message` with which the turn failed. A turn that failed without an
        answer has lost its decision ten minutes later: None. Left out are a turn that is running,
        and messages that were imported or written without a model.
        """
        try:
            return [turn.to_dict() for turn in self._sync.executions.history(session_id, limit=limit)]
        except NotFoundError:
            return None

    def search_messages(
        self,
        query: str,
        limit: int = 20,
        filter_metadata: Mapping[str, Any] | None = None,
        session_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Find messages and session titles by their words, best first: at most `limit`.

        `query`: words that must all be there, `"a phrase"`, `begin*`; 1 to 1,000
        characters. `filter_metadata` as in `list_sessions`; `session_id`: only
        there. Sessions that are put away are not searched. What was acknowledged
        before is found, but for a moment after very much was written at once.

        Each dict has `session_id`, `title`, `message_id`, `sequence` and `role`
        (of a title None, 0 and None), `timestamp`, `snippet` with the `spans` in it
        that the words take (`[start, length]` in characters), and `score`. Raises
        InvalidArgumentError, NotFoundError, and DeadlineExceededError
        SEARCH_TOO_SLOW.
        """
        hits = self._sync.sessions.search(
            query,
            metadata=self._filter(filter_metadata),
            session=session_id,
            limit=whole_number(limit, "limit", 0),
        )
        return [hit.to_dict() for hit in hits]

    async def watch(
        self,
        *,
        filter_metadata: Mapping[str, Any] | None = None,
        from_revision: int | None = None,
    ) -> AsyncGenerator[Change[dict[str, Any]], None]:
        """Yield the sessions that match as they are, `Synced`, then each change, whoever makes it.

        `filter_metadata`: as in `list_sessions`; archived sessions are not
        watched. `from_revision`: only what changed after that one, instead of
        all that match. A slow reader holds up nobody: it is told several changes
        of a session as one. It goes on until it is closed, or `ResyncRequired`
        came. What is being answered is not told word by word: the session has a
        `running_request_id`, to attach to.

        Raises UnavailableError where the daemon ends (go on from the last
        revision), and InvalidArgumentError, also for a revision of the future.
        """
        async with aclosing(
            self._async.sessions.watch(metadata=self._filter(filter_metadata), from_revision=from_revision)
        ) as changes:
            async for change in changes:
                if isinstance(change, SessionChanged):
                    yield SessionChanged(change.session.to_dict(), change.revision)
                else:
                    yield change

    def usage(
        self,
        by: UsageGroup = "model",
        first_day: date | str | None = None,
        last_day: date | str | None = None,
        *,
        session_id: str | None = None,
        model: str | None = None,
    ) -> UsageReport:
        """Return what all programs of this user used, by model, day, client (its program) or session.

        Days are those of `[usage] time_zone`, else the system's, at most 400 of them: dates, or
        texts as YYYY-MM-DD; without any, the last 30 and today. `session_id` and
        `model` (`provider:name`): only this one's. Raises InvalidArgumentError.
        """
        from oblix.reports import UsageReport

        used = self._sync.usage.report(
            by, first_day=first_day, last_day=last_day, session=session_id, model=model
        )
        total = used.total.to_dict()
        del total["key"]
        rows, budgets = ([one.to_dict() for one in each] for each in (used.rows, used.budgets))
        return UsageReport(rows, total, used.currency, budgets)

    async def pull_model(self, model: str) -> AsyncGenerator[PullProgress, None]:
        """Have Ollama fetch a model, and yield how far it is until the model is there.

        `model`: `ollama:NAME`. One that this client hooked is pulled where it was
        hooked, another one at the endpoint of the daemon's configuration. Several
        clients that pull the same share one pull. Leaving the loop stops it where
        nobody else waits for it; a later one goes on where it stopped.

        Raises InvalidArgumentError (PULL_UNSUPPORTED for another provider),
        FailedPreconditionError where there is no such model, and UnavailableError
        where the server can't be reached or fails.
        """
        async with aclosing(self._async.models.pull(model)) as steps:
            async for step in steps:
                yield step
