"""What a model gets to read: the system message, as much history as fits, and the input.

The system message and the input always stay: where they alone do not fit, that is
said with the numbers. History is left out from the oldest, whole turns at a time,
and the report says how much (`history`).

`build` makes one context; `ContextBuilder` makes those of one execution, for the window of each model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2

from oblixd.execution.history import History, HistoryMessage, HistoryReader, OpenTurn, measure
from oblixd.execution.refused_content import Overflows, RefusedContent
from oblixd.execution.services import Services
from oblixd.execution.validation import options, tool_choice, tools
from oblixd.models import (
    ChatRequest,
    Connection,
    Finished,
    Hook,
    ModelError,
    ModelErrorKind,
    Options,
    RequestTokens,
    TokenCounter,
    Tokeniser,
    Tool,
    ToolChoice,
    estimate,
    estimate_tools,
    plain_message,
)
from oblixd.router import RouteQuery
from oblixd.sessions import Turn

ANSWER_SHARE = 4
"""Where the request names no max_tokens, a window's quarter is kept free for the answer; half at most."""
CERTAIN_SHARE = 0.75
"""What of an estimate it takes at least: what does not fit even so is refused here, not by the server."""


@dataclass(frozen=True, slots=True)
class ContextInput:
    """What a context is put together from."""

    system: str
    """The system message; empty: none."""
    history: Callable[[], Iterable[HistoryMessage]]
    """Reads the session's messages, newest first, anew at each call."""
    history_count: int
    """How many there are."""
    messages: Sequence[messages_pb2.Message]
    """The input."""
    options: Options
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    is_local_only: Callable[[], bool] = field(kw_only=True)
    """As in `ChatRequest`."""
    include_excluded: bool = False
    """Whether messages that are marked as left out of contexts are sent all the same."""

    @property
    def head(self) -> list[messages_pb2.Message]:
        """The system message, where there is one."""
        return [_text_message(self.system)] if self.system else []

    def estimate_tokens(self, most: int) -> int:
        """Estimate what all of it takes, without the answer. No more is read once it is past `most`."""
        total = estimate_tools(self.tools) + sum(map(estimate, (*self.head, *self.messages)))
        reader = HistoryReader(self.history(), self.history_count, include_excluded=self.include_excluded)
        for item in reader:
            total += item.estimate
            if total > most:
                break
        return total


@dataclass(frozen=True, slots=True)
class BuiltContext:
    """A context for one model."""

    chat: ChatRequest
    report: executions_pb2.ContextReport


async def build(
    inputs: ContextInput,
    window: int | None,
    counter: TokenCounter,
    *,
    refuse: bool = False,
    exclusions: Mapping[int, messages_pb2.ContextExclusion] = MappingProxyType({}),
    most: int | None = None,
) -> BuiltContext:
    """Put a context together for a window in tokens, None where it is not known.

    Raises ModelError CONTEXT_OVERFLOW with the numbers where the system message and
    the input alone do not fit, and where something would be left out and `refuse` says
    that nothing may be. `exclusions`: messages that are treated as marked, by their sequences.
    `most`: tokens that it may have at most, whatever the window is.
    """
    count, include = inputs.history_count, inputs.include_excluded
    reader = HistoryReader(inputs.history(), count, include_excluded=include, exclusions=exclusions)
    turn, head = OpenTurn.read(reader, inputs.messages), inputs.head
    tools = estimate_tools(inputs.tools)
    counts = await counter.measure([*head, *inputs.messages])
    fixed = tools + sum([*counts, *await measure(turn.fixed_items, counter)])
    if window is not None and fixed * (1.0 if counter.is_counted else CERTAIN_SHARE) >= window:
        raise _too_long(fixed, window, turn)
    history = await History.read(reader, turn, counter, _history_room(inputs, fixed, window, most))
    if refuse and history.omitted_count and window is not None:
        needed = fixed + history.kept_tokens + history.omitted_tokens + _answer_room(inputs, window)
        raise _may_not_omit(needed, window, history.omitted_count)
    chat = _chat_request(inputs, head, history)
    report = executions_pb2.ContextReport(
        sent_messages=len(chat.messages),
        omitted_messages=history.omitted_count,
        omitted_tokens=history.omitted_tokens,
        sent_tokens=fixed + history.kept_tokens,
        is_counted=counter.is_counted and not tools,
        excluded=reader.exclusions,
        excluded_messages=reader.excluded_count,
    )
    return BuiltContext(chat, report)


def _history_room(inputs: ContextInput, fixed: int, window: int | None, most: int | None) -> int | None:
    """Return the tokens that the history may have beside what is fixed. None: as many as there are."""
    limits = [most - fixed] if most is not None else []
    if window is not None:
        limits.append(window - fixed - _answer_room(inputs, window))
    return max(0, min(limits)) if limits else None


def _chat_request(
    inputs: ContextInput, head: Sequence[messages_pb2.Message], history: History
) -> ChatRequest:
    given = inputs.messages
    return ChatRequest(
        [*head, *(item.message for item in history.items), *given],
        inputs.options,
        inputs.tools,
        inputs.tool_choice,
        is_local_only=inputs.is_local_only,
        plain_messages=[
            *map(plain_message, head),
            *(item.chat_message for item in history.items),
            *map(plain_message, given),
        ],
    )


def fits(inputs: ContextInput, needed: int, window: int | None) -> bool:
    """Return whether `needed` tokens and an answer have room in a window. Not known is not too short."""
    return window is None or needed + _answer_room(inputs, window) <= window


def system_text(session: sessions_pb2.Session) -> str:
    """Return the system message: the text under `system` in the session's context, or an empty text."""
    value = session.context.fields.get("system")
    return value.string_value if value is not None else ""


def _answer_room(inputs: ContextInput, window: int) -> int:
    wanted = inputs.options.max_tokens or window // ANSWER_SHARE
    return min(wanted, window // 2)


def _too_long(needed: int, window: int, turn: OpenTurn) -> ModelError:
    what = "The system message, the tools and the prompt"
    if turn.required_items:
        what = "The system message, the tools, the question, the newest calls and their results"
    return _overflow(
        f"{what} alone take about {needed:,} tokens, and the model's window has {window:,}. "
        "Shorten them, or use a model with a longer context.",
        needed,
        window,
    )


def _may_not_omit(needed: int, window: int, omitted: int) -> ModelError:
    return _overflow(
        f"The conversation and its answer take about {needed:,} tokens, the model's window has {window:,}: "
        f"{omitted:,} messages would be left out, and the request allows none. "
        "Use a model with a longer context, or another context_policy.",
        needed,
        window,
    )


def _overflow(message: str, needed: int, window: int) -> ModelError:
    numbers = {"needed_tokens": needed, "window_tokens": window}
    return ModelError(ModelErrorKind.CONTEXT_OVERFLOW, message, numbers=numbers)


def _text_message(text: str) -> messages_pb2.Message:
    return messages_pb2.Message(role=messages_pb2.ROLE_SYSTEM, parts=[messages_pb2.Part(text=text)])


MEMORY_STEP_BYTES = 16 << 10
"""Messages of a history are counted together, up to so many bytes: a long one has thousands of small ones."""
_MOST_ESTIMATED = 100_000
"""Tokens past which a context is not read on for its price and time."""
_AFTER_LAST = 2**63 - 1


class ContextBuilder:
    """Puts contexts together. `session` is the header before the turn; None without a session.

    `is_local_only`: as in `ChatRequest`.
    """

    def __init__(
        self,
        request: executions_pb2.ExecuteRequest,
        session: sessions_pb2.Session | None,
        services: Services,
        is_local_only: Callable[[], bool],
    ) -> None:
        self._request = request
        self._session = session
        self._sessions = services.sessions
        self._histories = services.histories
        self._calibration = services.calibration
        self._is_local_only = is_local_only
        self._options = options(request.options)
        self._tools = tools(request)
        self._inputs = self._read_session(_AFTER_LAST, session.message_count if session else 0, request.input)
        self._request_tokens: RequestTokens | None = None
        self.report = executions_pb2.ContextReport()
        """What the last context held, and what it left out."""
        self.refused_content = RefusedContent()
        """What was refused for what it says."""
        self._overflows = Overflows()
        self._sent_messages: Sequence[messages_pb2.Message] = ()

    def begin(self, turn: Turn) -> None:
        """Begin the turn: the history is what came before its question."""
        self._session = turn.session
        count = turn.session.message_count - len(turn.input)
        given = self._request.input or turn.input
        self._inputs = self._read_session(turn.input[0].sequence, count, given)

    def _read_session(self, before: int, count: int, given: Sequence[messages_pb2.Message]) -> ContextInput:
        """Return the session's system message, and its `count` messages before a sequence; and the input."""
        request, session, histories = self._request, self._session, self._histories
        if request.HasField("client_context"):
            # The client holds the conversation: what the session has stays out.
            session, count, given = None, 0, [*request.client_context.messages, *given]
        return ContextInput(
            system=system_text(session) if session else "",
            history=lambda: histories.before(request.session_id, before) if session and count else (),
            history_count=count,
            messages=given,
            options=self._options,
            tools=self._tools,
            tool_choice=tool_choice(request),
            is_local_only=self._is_local_only,
            include_excluded=request.include_excluded,
        )

    def query(self, hooks: Sequence[Hook], deadline_s: float | None = None) -> RouteQuery:
        """Return what routing has to know of it now."""
        request = self._request_to_route()
        return RouteQuery(
            request, hooks, self._session, self._short_window_test(hooks), self._prompt_tokens, deadline_s
        )

    def _request_to_route(self) -> executions_pb2.ExecuteRequest:
        """Return the request, with its old question as input if it answers anew. Errors as `question_of`."""
        request = self._request
        if not request.regenerate_message_id:
            return request
        question = self._sessions.question_of(request.session_id, request.regenerate_message_id)
        count = self._session.message_count if self._session else 0
        self._inputs = self._read_session(question[0].sequence, count, question)
        copy = executions_pb2.ExecuteRequest()
        copy.CopyFrom(request)
        copy.input.extend(question)
        return copy

    def _short_window_test(self, hooks: Sequence[Hook]) -> Callable[[Hook], bool] | None:
        if self._request.context_policy != executions_pb2.CONTEXT_POLICY_LONGER:
            return None
        longest = max((hook.connection.context_window or 0 for hook in hooks), default=0)
        needed = self._inputs.estimate_tokens(longest)
        return lambda hook: not fits(self._inputs, needed, hook.connection.context_window)

    def _prompt_tokens(self) -> int:
        return self._inputs.estimate_tokens(_MOST_ESTIMATED)

    async def chat_for(self, hook: Hook, hold: Callable[[int], None]) -> ChatRequest:
        """Return what this model is sent. Raises ModelError CONTEXT_OVERFLOW.

        `hold` hears the bytes of the history before they are kept, some 16 KiB at a time, and may raise.
        """
        connection = hook.connection
        counter = TokenCounter(self._tokeniser_of(connection), self._calibration.factor(hook.id))
        refuse = self._request.context_policy == executions_pb2.CONTEXT_POLICY_REFUSE
        exclusions = self.refused_content.exclusions_for(hook.id)
        built = await build(
            self._count_memory_of_history(hold),
            connection.context_window,
            counter,
            refuse=refuse,
            exclusions=exclusions,
            most=self._overflows.most(hook.id),
        )
        self.report, self._sent_messages = built.report, built.chat.messages
        await self._count_request(hook, built.chat, is_counted=counter.is_counted)
        return built.chat

    def may_send_less(self, hook: Hook, error: ModelError) -> bool:
        """Hear how a model failed. True: a context with less in it is worth sending to it at once."""
        given = self._inputs.messages
        history = self._sent_messages[: len(self._sent_messages) - len(given)]
        # Who asks for marked messages wants them sent, or to hear that they are refused.
        may_leave_out = not self._request.include_excluded
        if may_leave_out and self.refused_content.hear(hook.id, error, history, given):
            return True
        may_omit = self._request.context_policy in (
            executions_pb2.CONTEXT_POLICY_UNSPECIFIED,
            executions_pb2.CONTEXT_POLICY_OMIT,
        )
        # The system message and the question always stay.
        has_more = len(history) > len(self._inputs.head)
        return may_omit and has_more and self._overflows.hear(hook.id, error, self.report.sent_tokens)

    def _count_memory_of_history(self, hold: Callable[[int], None]) -> ContextInput:
        if not self._inputs.history_count:
            return self._inputs

        def history() -> Iterator[HistoryMessage]:
            size = 0
            for item in self._inputs.history():
                size += item.size
                if size >= MEMORY_STEP_BYTES:
                    hold(size)
                    size = 0
                yield item
            hold(size)

        return replace(self._inputs, history=history)

    async def _count_request(self, hook: Hook, chat: ChatRequest, *, is_counted: bool) -> None:
        """Put the tokens of the whole request into the report, where the model's tokeniser can count it."""
        self._request_tokens = await hook.connection.count_request(chat) if is_counted else None
        if self._request_tokens is not None:
            factor = self._calibration.latest(_tools_of(hook.id))
            self.report.sent_tokens = self._request_tokens.messages + round(
                self._request_tokens.tools * factor
            )
            self.report.is_counted = not self._request_tokens.tools

    def _tokeniser_of(self, connection: Connection) -> Tokeniser:
        return lambda messages: connection.count_tokens(messages, self._is_local_only)

    async def count(self, hook: Hook) -> int:
        """Count the tokens of the input and the tools, as this model's tokeniser does, else an estimate."""
        counter = TokenCounter(self._tokeniser_of(hook.connection), self._calibration.factor(hook.id))
        messages = [*self._inputs.head, *self._inputs.messages]
        return estimate_tools(self._inputs.tools) + sum(await counter.measure(messages))

    def learn(self, model: str, finished: Finished) -> None:
        """Hear what the context really took."""
        if self._request_tokens is not None:
            # Messages are counted exactly, so that the rest of the bill is that of the tools.
            billed = (finished.counts.input_tokens or 0) - self._request_tokens.messages
            self._calibration.learn(_tools_of(model), self._request_tokens.tools, billed)
            return
        if not self.report.is_counted and finished.counts.input_tokens:
            plain = self.report.sent_tokens / self._calibration.factor(model)
            self._calibration.learn(model, round(plain), finished.counts.input_tokens)


def _tools_of(model: str) -> str:
    """Name the calibration of a model's tools."""
    return f"{model} tools"
