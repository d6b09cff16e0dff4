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
    """Attach to, list, cancel and explain executions."""

    async def attach(self, request_id: str, offset: int = 0) -> AsyncGenerator[Event, None]:
        """Yield the events of a running or ended execution, as `stream` does, from the start.

        `offset`: the number of bytes of UTF-8 that the program already has, which is
        `delta.offset + len(delta.text.encode())` of its last delta; they are not sent
        again. Any number of programs can attach to one execution. An execution of a
        session can be attached to for the session's life, another one for ten minutes
        after its end.

        If the generator is closed, the execution continues if it was started with
        `on_disconnect="continue"` or another program reads it; otherwise it is
        cancelled. Raises NotFoundError for an unknown execution, InvalidArgumentError
        for an offset past its end, and the error that ended it: UnavailableError
        EXECUTION_INTERRUPTED if the daemon ended in the middle, with `session_id` and
        `kept_bytes` in its metadata.
        """
        async with aclosing(self._async.executions.attach(request_id, offset=offset)) as events:
            async for event in events:
                yield event

    async def cancel(self, request_id: str) -> dict[str, Any]:
        """Cancel an execution, and return it as `list_executions` does. The part that arrived is kept.

        An execution that has ended does not change. Raises NotFoundError if none with
        this id runs or ended within the last ten minutes.
        """
        return (await self._async.executions.cancel(request_id)).to_dict()

    def list_executions(self, session_id: str | None = None) -> list[dict[str, Any]]:
        """Return the prompts of all programs that wait, run, or ended within ten minutes, oldest first.

        `session_id`: only those of one session. Each dict has `request_id`,
        `session_id`, `state` (`queued`, `running`, `completed`, `failed` or
        `cancelled`), `model_id`, `created_at`, `ended_at`, `delta_bytes`,
        `attached_streams`, `place` (the position in the queue, from 1), `waits_for`
        (the model; None: its session's turn), `priority`, `client`, `error_reason` and
        `prompt_excerpt` (at most 80 characters). A value that does not apply is None.
        """
        return [execution.to_dict() for execution in self._sync.executions.list(session_id)]

    def explain_session(self, session_id: str, limit: int = MOST_TURNS) -> list[dict[str, Any]] | None:
        """Return a session's newest turns with their routing, oldest first; None for an unknown session.

        `limit`: 1 to 1,000 turns. A dict has `request_id`, `prompt` (the text before
        the answer), `timestamp`, `model` (None: no model answered), `routing_decision`
        as `execute` returns it, with the models that failed first in `failed_attempts`,
        and `error`: None, or a dict of the `reason` and `message` with which the turn
        failed. A turn that failed without an answer has its decision for ten minutes
        only, then None. The list leaves out a running turn, and messages that were
        imported or written without a model.
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
        characters. `filter_metadata` as in `list_sessions`; `session_id`: only in this
        one. Archived sessions are left out. The search finds every earlier write,
        unless very much was written just before.

        Each dict has `session_id`, `title`, `message_id`, `sequence` and `role` (None,
        0 and None for a title), `timestamp`, `snippet`, `spans` (the positions of the
        words in the snippet, `[start, length]` in characters), and `score`. Raises
        InvalidArgumentError, NotFoundError, and DeadlineExceededError SEARCH_TOO_SLOW.
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
        """Yield the matching sessions, `Synced`, then each change by any program.

        `filter_metadata`: as in `list_sessions`; archived sessions are not watched.
        `from_revision`: only changes after this one, instead of all matching sessions.
        A slow reader delays nobody: it gets several changes of a session as one. The
        stream ends when it is closed, or with `ResyncRequired`. It does not contain the
        text of answers: a session with a running answer has a `running_request_id`, to
        attach to.

        Raises UnavailableError if the daemon ends (continue from the last revision),
        and InvalidArgumentError, also for a revision of the future.
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
        """Return the usage of all programs of this user, by model, day, client (its program) or session.

        Days are dates or texts as YYYY-MM-DD, in `[usage] time_zone` or the system's
        time zone, at most 400 of them; by default today and the last 30. `session_id`
        and `model` (`provider:name`) limit the report to one. Raises
        InvalidArgumentError.
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
        """Make Ollama fetch a model, and yield the progress until the model is there.

        `model`: `ollama:NAME`. A model that this client hooked is pulled to its server,
        another one to the endpoint of the daemon's configuration. Clients that pull the
        same model share one pull. If you leave the loop and no other client waits, the
        pull stops; a later one continues there.

        Raises InvalidArgumentError (PULL_UNSUPPORTED for another provider),
        FailedPreconditionError if there is no such model, and UnavailableError if the
        server can't be reached or fails.
        """
        async with aclosing(self._async.models.pull(model)) as steps:
            async for step in steps:
                yield step
