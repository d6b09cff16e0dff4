"""Every way in which a model's server can fail, as one table: what it does, and what has to come of it.

`docs/reference/failures.md` shows the same table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from email.utils import formatdate

from oblix.testing import (
    Answer,
    Bomb,
    Cut,
    Dribble,
    End,
    Fault,
    Hang,
    HangUp,
    Insert,
    InStream,
    Page,
    Refuse,
    Repeat,
    Report,
    Stall,
    Wire,
)
from oblix.v1 import executions_pb2
from support.faults import bad_ports
from support.servers.providers import Kind

from oblixd.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    OblixdError,
    ResourceExhaustedError,
    UnavailableError,
)

PROVIDERS = ("ollama", "openai", "claude")
TEXT = "One two three four"
PART = "One two"

Place = Callable[[Kind], AbstractContextManager[str]]
"""Where such a server is, for as long as it is needed."""


@dataclass(frozen=True)
class FailureCase:
    """One way to fail."""

    what: str
    """What the server does."""
    at: Place
    status: type[OblixdError]
    reason: str
    says: str
    """The remedy, in the words of the error; they differ by provider where there is a bar."""
    kept: str = ""
    """What had come of the answer."""
    waits: str = ""
    """The limit that ends it, where the server says nothing more: only time tells."""
    tries: int = 1
    """How often the model is asked before it is given up."""
    providers: tuple[str, ...] = PROVIDERS


def playing(fault: Fault | Callable[[], Fault]) -> Place:
    """A server that answers each prompt with this fault."""

    @contextmanager
    def place(kind: Kind) -> Iterator[str]:
        with kind.server() as server:
            server.default = lambda _: Answer(TEXT, fault=fault() if callable(fault) else fault)
            yield server.url

    return place


@contextmanager
def wordless(kind: Kind) -> Iterator[str]:
    """A server whose answers end well and have no word in them."""
    with kind.server() as server:
        server.default = lambda _: Answer("")
        yield server.url


@contextmanager
def nobody(_: Kind) -> Iterator[str]:
    """A port that is taken, and on which nobody listens."""
    with bad_ports.unheard() as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def no_host(_: Kind) -> Iterator[str]:
    """A name that never leads anywhere (RFC 6761)."""
    yield "http://no-such-host.invalid"


@contextmanager
def without_tls(kind: Kind) -> Iterator[str]:
    """A server that is spoken to by TLS, and knows none."""
    with kind.server() as server:
        yield server.url.replace("http:", "https:")


@contextmanager
def deaf(_: Kind) -> Iterator[str]:
    """A port that drops whoever knocks."""
    with bad_ports.deaf() as port:
        yield f"http://127.0.0.1:{port}"


def later() -> Fault:
    """A refusal that names an instant, a minute from now."""
    return Refuse(429, headers={"Retry-After": formatdate(time.time() + 60, usegmt=True)})


OVERFLOW = Refuse(400, "This model's maximum context length is 4096 tokens")
UNFRAMED = Insert(b'{"error":{"message":"out of memory"}}\n')
ENDLESS = b"x" * (16 * 1024 * 1024 + 1)
EVENTS = ("openai", "claude")
CLAUDE = ("claude",)
OTHERS = ("ollama", "openai")
AGAIN = "Ask again, or use another model"
CHECK = "Check the endpoint and the network"
SILENT = "Try again, or use another model"
WAIT = "Wait a moment, or use another model"
WAIT_7_S, WAIT_AS_ASKED = "Wait 7 s, as it asks, or use another model", "as it asks, or use another model"
LOG = "The server's log says more"
NEW_KEY = "Give a key that is valid, by environment, configuration or hook"
GONE = (UnavailableError, "MODEL_UNREACHABLE")
BROKEN = (UnavailableError, "MODEL_STREAM_BROKEN")
EMPTY = (UnavailableError, "MODEL_ANSWER_EMPTY")
STALLED = (UnavailableError, "MODEL_STALLED")
FAILED = (UnavailableError, "MODEL_FAILED")
OVERLOADED = (UnavailableError, "MODEL_OVERLOADED")
LIMITED = (ResourceExhaustedError, "MODEL_RATE_LIMITED")
REFUSED = (InvalidArgumentError, "MODEL_REFUSED_REQUEST")
TOO_LONG = (InvalidArgumentError, "CONTEXT_OVERFLOW")
NO_KEY = (FailedPreconditionError, "MODEL_KEY_REFUSED")
NO_MODEL = (FailedPreconditionError, "MODEL_NOT_FOUND")

BEFORE = [
    FailureCase("nobody listens", nobody, *GONE, "ollama serve|check that its server runs"),
    FailureCase("there is no such host", no_host, *GONE, CHECK),
    FailureCase("TLS fails", without_tls, *GONE, CHECK),
    FailureCase("no connection comes about", deaf, *GONE, CHECK, waits="connect_s"),
    FailureCase("it never answers", playing(Hang()), *GONE, SILENT, waits="first_s"),
    FailureCase("it hangs up", playing(HangUp()), *GONE, CHECK),
    FailureCase("it resets the connection", playing(HangUp(reset=True)), *GONE, CHECK),
    FailureCase("it redirects", playing(Refuse(302, "", {"Location": "http://elsewhere/"})), *GONE, CHECK),
    FailureCase("502, bad gateway", playing(Refuse(502)), *GONE, CHECK),
    FailureCase("504, gateway timeout", playing(Refuse(504)), *GONE, CHECK),
    FailureCase("no first token", playing(Stall(0)), *GONE, SILENT, waits="first_s"),
    FailureCase(
        "comments only",
        playing(Repeat(b": on\n\n", 0.02)),
        *GONE,
        SILENT,
        waits="content_s",
        providers=EVENTS,
    ),
    FailureCase(
        "empty lines only",
        playing(Repeat(b"\n", 0.02)),
        *GONE,
        SILENT,
        waits="content_s",
        providers=("ollama",),
    ),
    FailureCase("the stream is cut at once", playing(Cut(0)), *BROKEN, AGAIN, tries=3),
    FailureCase("it ends without its last word, at once", playing(End(0)), *BROKEN, AGAIN, tries=3),
    FailureCase("it ends well, without a word", wordless, *EMPTY, AGAIN, tries=3),
    FailureCase("a web page, as a portal sends it", playing(Page()), *BROKEN, AGAIN, tries=3),
    FailureCase("a decompression bomb", playing(Bomb(4 << 20)), *BROKEN, AGAIN, tries=3),
    FailureCase(
        "400, it calls the request wrong", playing(Refuse(400, "bad top_p")), *REFUSED, "Change the request"
    ),
    FailureCase("400, the context overflows", playing(OVERFLOW), *TOO_LONG, "Send less"),
    FailureCase("401, no valid key", playing(Refuse(401)), *NO_KEY, NEW_KEY),
    FailureCase("403, not with this key", playing(Refuse(403)), *NO_KEY, NEW_KEY),
    FailureCase("404, no such model", playing(Refuse(404)), *NO_MODEL, "ollama pull|Check the model's name"),
    FailureCase(
        "429, come back in 7 s", playing(Refuse(429, headers={"Retry-After": "7"})), *LIMITED, WAIT_7_S
    ),
    FailureCase("429, come back at a time", playing(later), *LIMITED, WAIT_AS_ASKED),
    FailureCase(
        "429, come back in an age",
        playing(Refuse(429, headers={"Retry-After": "1e9"})),
        *LIMITED,
        WAIT,
        tries=3,
    ),
    FailureCase("500, a failure of its own", playing(Refuse(500)), *FAILED, LOG, tries=3),
    FailureCase("503, overloaded", playing(Refuse(503)), *OVERLOADED, WAIT, tries=3),
    FailureCase("529, overloaded", playing(Refuse(529)), *OVERLOADED, WAIT, tries=3),
    FailureCase(
        "an error in its stream, at once", playing(Report(0)), *FAILED, LOG, tries=3, providers=OTHERS
    ),
    FailureCase(
        "a report of overload in its stream, at once",
        playing(Report(0)),
        *OVERLOADED,
        WAIT,
        tries=3,
        providers=CLAUDE,
    ),
    FailureCase("an error without a frame, at once", playing(UNFRAMED), *FAILED, LOG, tries=3),
]
"""Before the first content: the next model answers, unseen but reported."""

AFTER = [
    FailureCase("it stalls", playing(Stall(2)), *STALLED, AGAIN, PART, waits="stall_s"),
    FailureCase(
        "comments go on",
        playing(Repeat(b": on\n\n", 0.02, 2)),
        *STALLED,
        AGAIN,
        PART,
        waits="content_s",
        providers=EVENTS,
    ),
    FailureCase("the stream is cut", playing(Cut(2)), *BROKEN, AGAIN, PART),
    FailureCase("the connection is reset", playing(Cut(2, reset=True)), *BROKEN, AGAIN, PART),
    FailureCase("it ends without its last word", playing(End(2)), *BROKEN, AGAIN, PART),
    FailureCase("an error in its stream", playing(Report(2)), *FAILED, LOG, PART, providers=OTHERS),
    FailureCase(
        "a report of overload in its stream", playing(Report(2)), *OVERLOADED, WAIT, PART, providers=CLAUDE
    ),
    FailureCase("an error without a frame", playing(replace(UNFRAMED, after=2)), *FAILED, LOG, PART),
    FailureCase("what can't be read", playing(Insert(b"data: nonsense\n\n", 2)), *BROKEN, AGAIN, PART),
    FailureCase("a line without end", playing(Insert(b"data: " + ENDLESS, 2)), *BROKEN, AGAIN, PART),
]
"""After it: the part is kept, or, where the request asked for it, the next model begins anew."""


@dataclass(frozen=True)
class Quirk:
    """What looks like a failure and is none."""

    what: str
    answer: Callable[[str], Answer]
    """What the provider of this name is to play."""
    text: str
    finish: executions_pb2.FinishReason.ValueType = executions_pb2.FINISH_REASON_STOP
    providers: tuple[str, ...] = PROVIDERS


class CutBehind(InStream):
    """Sends one frame more, then cuts the connection."""

    def __init__(self, after: int, frame: bytes) -> None:
        self.after = after
        self._frame = frame

    def strike(self, wire: Wire, error: bytes) -> bool:
        wire.chunk(self._frame)
        wire.cut(reset=False)
        return False


def token(provider: str, text: bytes) -> bytes:
    """A frame with a piece of the answer."""
    before, after = {
        "ollama": (b'{"message":{"role":"assistant","content":"', b'"},"done":false}\n'),
        "openai": (b'data: {"choices":[{"index":0,"delta":{"content":"', b'"}}]}\n\n'),
        "claude": (
            b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"',
            b'"}}\n\n',
        ),
    }[provider]
    return before + text + after


STOPS = {
    "openai": b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n',
    "claude": b'data: {"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{}}\n\n',
}
UMLAUTS = "Gr\u00fc\u00dfe aus \u6771\u4eac \U0001f30d"
MANY = 10_000_000
ROOM = (8 << 20) - (64 << 10)

QUIRKS = [
    Quirk("it sends one byte at a time", lambda _: Answer(UMLAUTS, fault=Dribble(1)), UMLAUTS),
    Quirk(
        "comments between the tokens",
        lambda _: Answer(TEXT, fault=Insert(b": on\n\n", 2)),
        TEXT,
        providers=EVENTS,
    ),
    Quirk(
        "bytes that are no UTF-8 stand as \ufffd",
        lambda name: Answer(PART, fault=Insert(token(name, b" \xff"), 2)),
        f"{PART} \ufffd",
    ),
    Quirk(
        "the connection is cut behind the stop reason",
        lambda name: Answer(TEXT, fault=CutBehind(2, STOPS[name])),
        PART,
        executions_pb2.FINISH_REASON_LENGTH,
        EVENTS,
    ),
    Quirk(
        "a line of 10 MB ends the answer at its longest",
        lambda name: Answer(PART, fault=Insert(token(name, b" " + b"x" * MANY), 2)),
        (PART + " " + "x" * MANY)[:ROOM],
        executions_pb2.FINISH_REASON_LENGTH,
    ),
]
"""The answer counts."""
