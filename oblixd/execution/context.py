"""What a model gets to read: the system message, as much history as fits, and the input.

The system message and the input always stay. History is left out from the
oldest, whole turns at a time, and the report says how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2

from oblixd.errors import InvalidArgumentError
from oblixd.models.base import ChatRequest, Options

BYTES_PER_TOKEN = 3
"""A careful estimate: English has about 4 in common vocabularies, code and most other languages 2 to 3."""
TOKENS_PER_MESSAGE = 8
"""What a chat template adds around each message, rounded up."""
TOKENS_PER_IMAGE = 1000
ANSWER_SHARE = 4
"""Where the request names no max_tokens, a window's quarter is kept free for the answer."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a context is put together from."""

    system: str
    """The system message; empty: none."""
    history: Callable[[], Iterable[messages_pb2.Message]]
    """Reads the session's messages, newest first, anew at each call."""
    given: Sequence[messages_pb2.Message]
    """The input."""
    options: Options

    @property
    def head(self) -> list[messages_pb2.Message]:
        """The system message, where there is one."""
        return [_text_message(self.system)] if self.system else []

    def tokens(self) -> int:
        """An estimate of what all of it takes, without the answer."""
        return sum(tokens(message) for message in (*self.head, *self.history(), *self.given))


def build(
    material: Material, window: int | None, *, refuse: bool = False
) -> tuple[ChatRequest, executions_pb2.ContextReport]:
    """Put a context together for a window in tokens, None where it is not known.

    Raises InvalidArgumentError CONTEXT_OVERFLOW with the numbers where something
    would be left out and `refuse` says that nothing may be.
    """
    head, given = material.head, material.given
    fixed = sum(tokens(message) for message in (*head, *given))
    room = None if window is None else window - _answer_room(material, window) - fixed
    kept, omitted = _newest_that_fit(material.history(), room)
    left_out = sum(tokens(message) for message in omitted)
    if refuse and omitted and window is not None:
        raise _overflow(window - (room or 0) + left_out + sum(map(tokens, kept)), window, len(omitted))
    messages = [*head, *kept, *given]
    report = executions_pb2.ContextReport(
        sent_messages=len(messages), omitted_messages=len(omitted), omitted_tokens=left_out
    )
    return ChatRequest(messages, material.options), report


def fits(material: Material, needed: int, window: int | None) -> bool:
    """Whether `needed` tokens and an answer have room in a window. Not known is not too short."""
    return window is None or needed + _answer_room(material, window) <= window


def _answer_room(material: Material, window: int) -> int:
    return material.options.max_tokens or window // ANSWER_SHARE


def _overflow(needed: int, window: int, omitted: int) -> InvalidArgumentError:
    return InvalidArgumentError(
        "CONTEXT_OVERFLOW",
        f"The conversation and its answer take about {needed:,} tokens, the model's window has {window:,}: "
        f"{omitted} messages would be left out, and the request allows none. "
        "Use a model with a longer context, or another context_policy.",
        needed_tokens=needed,
        window_tokens=window,
    )


def system_text(session: sessions_pb2.Session) -> str:
    """The system message: the text under `system` in the session's context, empty where there is none."""
    value = session.context.fields.get("system")
    return value.string_value if value is not None else ""


def tokens(message: messages_pb2.Message) -> int:
    """An estimate of what a message takes of a context window."""
    size = images = 0
    for part in message.parts:
        kind = part.WhichOneof("kind")
        images += kind == "image"
        size += 0 if kind in ("image", "reasoning") else part.ByteSize()
    return TOKENS_PER_MESSAGE + TOKENS_PER_IMAGE * images + -(-size // BYTES_PER_TOKEN)


def _newest_that_fit(
    history: Iterable[messages_pb2.Message], room: int | None
) -> tuple[list[messages_pb2.Message], list[messages_pb2.Message]]:
    everything = [message for message in history if message.parts]
    if room is None:
        return everything[::-1], []
    fits = used = 0
    for count, message in enumerate(everything, 1):
        used += tokens(message)
        if used > room:
            break
        if message.role == messages_pb2.ROLE_USER or count == len(everything):
            fits = count
    return everything[:fits][::-1], everything[fits:]


def _text_message(text: str) -> messages_pb2.Message:
    return messages_pb2.Message(role=messages_pb2.ROLE_SYSTEM, parts=[messages_pb2.Part(text=text)])
