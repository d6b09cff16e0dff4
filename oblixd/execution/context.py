"""What a model gets to read: the system message, as much history as fits, and the input.

The system message and the input always stay. History is left out from the
oldest, whole turns at a time, and the report says how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2

from oblixd.models.base import ChatRequest, Options

BYTES_PER_TOKEN = 3
"""A careful estimate: English has about 4 in common vocabularies, code and most other languages 2 to 3."""
TOKENS_PER_MESSAGE = 8
"""What a chat template adds around each message, rounded up."""
TOKENS_PER_IMAGE = 1000
ANSWER_SHARE = 4
"""Where the request names no max_tokens, a window's quarter is kept free for the answer."""


def build(
    system: str,
    history: Iterable[messages_pb2.Message],
    given: Sequence[messages_pb2.Message],
    options: Options,
    window: int | None,
) -> tuple[ChatRequest, executions_pb2.ContextReport]:
    """Put a context together. `history` comes newest first; `window` is in tokens, None: not known."""
    head = [_text_message(system)] if system else []
    fixed = sum(tokens(message) for message in (*head, *given))
    room = None if window is None else window - (options.max_tokens or window // ANSWER_SHARE) - fixed
    kept, omitted = _newest_that_fit(history, room)
    messages = [*head, *kept, *given]
    report = executions_pb2.ContextReport(
        sent_messages=len(messages),
        omitted_messages=len(omitted),
        omitted_tokens=sum(tokens(message) for message in omitted),
    )
    return ChatRequest(messages, options), report


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
