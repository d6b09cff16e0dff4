"""What a model gets to read: the system message, as much history as fits, and the input.

The system message and the input always stay: where they alone do not fit, that is
said with the numbers. History is left out from the oldest, whole turns at a time,
and the report says how much (`history`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2

from oblixd.execution.history import History, OpenTurn, Source
from oblixd.execution.tokens import Gauge, estimate, estimate_tools
from oblixd.models.base import ChatRequest, ModelError, ModelErrorKind, Options, Tool, ToolChoice

ANSWER_SHARE = 4
"""Where the request names no max_tokens, a window's quarter is kept free for the answer; half at most."""
SURE = 0.75
"""What of an estimate it takes at least: what does not fit even so is refused here, not by the server."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a context is put together from."""

    system: str
    """The system message; empty: none."""
    history: Callable[[], Iterable[messages_pb2.Message]]
    """Reads the session's messages, newest first, anew at each call."""
    history_count: int
    """How many there are."""
    given: Sequence[messages_pb2.Message]
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

    def estimated(self, most: int) -> int:
        """An estimate of what all of it takes, without the answer. No more is read once it is past `most`."""
        total = estimate_tools(self.tools) + sum(map(estimate, (*self.head, *self.given)))
        source = Source(self.history(), self.history_count, include_excluded=self.include_excluded)
        for message in source:
            total += estimate(message)
            if total > most:
                break
        return total


@dataclass(frozen=True, slots=True)
class Built:
    """A context for one model."""

    chat: ChatRequest
    report: executions_pb2.ContextReport


async def build(material: Material, window: int | None, gauge: Gauge, *, refuse: bool = False) -> Built:
    """Put a context together for a window in tokens, None where it is not known.

    Raises ModelError CONTEXT_OVERFLOW with the numbers where the system message and
    the input alone do not fit, and where something would be left out and `refuse` says
    that nothing may be.
    """
    source = Source(material.history(), material.history_count, include_excluded=material.include_excluded)
    turn = OpenTurn.read(source, material.given)
    head, given = material.head, material.given
    tools = estimate_tools(material.tools)
    fixed = tools + sum(await gauge.measure([*head, *turn.always, *given]))
    if window is not None and fixed * (1.0 if gauge.is_counted else SURE) >= window:
        raise _too_long(fixed, window, turn)
    room = None if window is None else max(0, window - fixed - _answer_room(material, window))
    history = await History.read(source, turn, gauge, room)
    if refuse and history.omitted and window is not None:
        needed = fixed + history.kept_tokens + history.omitted_tokens + _answer_room(material, window)
        raise _may_not_omit(needed, window, history.omitted)
    messages = [*head, *history.kept, *given]
    report = executions_pb2.ContextReport(
        sent_messages=len(messages),
        omitted_messages=history.omitted,
        omitted_tokens=history.omitted_tokens,
        sent_tokens=fixed + history.kept_tokens,
        is_counted=gauge.is_counted and not tools,
        excluded=source.excluded,
        excluded_messages=source.excluded_count,
    )
    chat = ChatRequest(
        messages,
        material.options,
        material.tools,
        material.tool_choice,
        is_local_only=material.is_local_only,
    )
    return Built(chat, report)


def fits(material: Material, needed: int, window: int | None) -> bool:
    """Whether `needed` tokens and an answer have room in a window. Not known is not too short."""
    return window is None or needed + _answer_room(material, window) <= window


def system_text(session: sessions_pb2.Session) -> str:
    """The system message: the text under `system` in the session's context, empty where there is none."""
    value = session.context.fields.get("system")
    return value.string_value if value is not None else ""


def _answer_room(material: Material, window: int) -> int:
    wanted = material.options.max_tokens or window // ANSWER_SHARE
    return min(wanted, window // 2)


def _too_long(needed: int, window: int, turn: OpenTurn) -> ModelError:
    what = "The system message, the tools and the prompt"
    if turn.required:
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
