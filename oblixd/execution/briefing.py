"""What the models of one execution get to read: its request and session, as each one's window takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.execution import context
from oblixd.execution.requests import options, tool_choice, tools
from oblixd.execution.route import RouteQuery
from oblixd.execution.tokens import Corrections, Gauge, Tokeniser, estimate_tools
from oblixd.models.base import ChatRequest, Connection, Finished
from oblixd.models.registry import Hook
from oblixd.sessions import Sessions, Turn

_VERY_LONG = 100_000
"""Tokens past which a context is not read on for its price and time."""
_AFTER_ALL = 2**63 - 1


class Briefing:
    """Puts contexts together. `session` is the header before the turn; None without a session.

    `is_local_only`: as in `ChatRequest`.
    """

    def __init__(
        self,
        request: pb.ExecuteRequest,
        session: sessions_pb2.Session | None,
        sessions: Sessions,
        corrections: Corrections,
        is_local_only: Callable[[], bool],
    ) -> None:
        self._request = request
        self._session = session
        self._sessions = sessions
        self._corrections = corrections
        self._is_local_only = is_local_only
        self._material = self._gathered(_AFTER_ALL, session.message_count if session else 0, request.input)
        self.report = pb.ContextReport()
        """What the last context held, and what it left out."""

    def begin(self, turn: Turn) -> None:
        """The turn has begun: the history is what came before its question."""
        self._session = turn.session
        count = turn.session.message_count - len(turn.input)
        self._material = self._gathered(turn.input[0].sequence, count, turn.input)

    def query(
        self, session: sessions_pb2.Session | None, hooks: Sequence[Hook], deadline_s: float | None = None
    ) -> RouteQuery:
        """What routing has to know of it now; `session` is the header as it is now."""
        asked = self._asked()
        return RouteQuery(asked, hooks, session, self._too_short(hooks), self._prompt_tokens, deadline_s)

    def _asked(self) -> pb.ExecuteRequest:
        """The request; where it answers a question anew, with that as its input. Errors as `question_of`."""
        request = self._request
        if not request.regenerate_message_id:
            return request
        question = self._sessions.question_of(request.session_id, request.regenerate_message_id)
        count = self._session.message_count if self._session else 0
        self._material = self._gathered(question[0].sequence, count, question)
        asked = pb.ExecuteRequest()
        asked.CopyFrom(request)
        asked.input.extend(question)
        return asked

    def _too_short(self, hooks: Sequence[Hook]) -> Callable[[Hook], bool] | None:
        if self._request.context_policy != pb.CONTEXT_POLICY_LONGER:
            return None
        longest = max((hook.connection.context_window or 0 for hook in hooks), default=0)
        needed = self._material.estimated(longest)
        return lambda hook: not context.fits(self._material, needed, hook.connection.context_window)

    def _prompt_tokens(self) -> int:
        return self._material.estimated(_VERY_LONG)

    async def chat_for(self, hook: Hook) -> ChatRequest:
        """What this model is sent. Raises ModelError CONTEXT_OVERFLOW."""
        connection = hook.connection
        gauge = Gauge(self._tokeniser_of(connection), self._corrections.factor(hook.id))
        refuse = self._request.context_policy == pb.CONTEXT_POLICY_REFUSE
        built = await context.build(self._material, connection.context_window, gauge, refuse=refuse)
        self.report = built.report
        return built.chat

    def _tokeniser_of(self, connection: Connection) -> Tokeniser:
        return lambda messages: connection.count_tokens(messages, self._is_local_only)

    async def count(self, hook: Hook) -> int:
        """Count the tokens of the input and the tools, as this model's tokeniser does, else an estimate."""
        gauge = Gauge(self._tokeniser_of(hook.connection), self._corrections.factor(hook.id))
        messages = [*self._material.head, *self._material.given]
        return estimate_tools(self._material.tools) + sum(await gauge.measure(messages))

    def learn(self, model: str, finished: Finished) -> None:
        """Hear what the context really took."""
        if not self.report.is_counted and finished.counts.input_tokens:
            plain = self.report.sent_tokens / self._corrections.factor(model)
            self._corrections.learn(model, round(plain), finished.counts.input_tokens)

    def _gathered(self, before: int, count: int, given: Sequence[messages_pb2.Message]) -> context.Material:
        request, session, sessions = self._request, self._session, self._sessions
        if request.HasField("client_context"):
            # The client holds the conversation: what the session has stays out.
            session, count, given = None, 0, [*request.client_context.messages, *given]
        return context.Material(
            system=context.system_text(session) if session else "",
            history=lambda: sessions.history(request.session_id, before) if session else (),
            history_count=count,
            given=given,
            options=options(request.options),
            tools=tools(request),
            tool_choice=tool_choice(request),
            is_local_only=self._is_local_only,
            include_excluded=request.include_excluded,
        )
