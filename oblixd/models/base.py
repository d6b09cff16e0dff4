"""What a connection to a model is, whoever serves the model.

A connection makes one stream of one request and nothing more: retry, fallback
and cooldown are the execution package's. A provider is one file beside this one.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from oblix.v1 import messages_pb2

from oblixd.models.http.outbound import OutboundRoute
from oblixd.redaction import clean


class Location(enum.Enum):
    """Where a model runs, as seen from this machine."""

    LOCAL = "local"
    CLOUD = "cloud"


class State(enum.Enum):
    """Whether a model can answer."""

    UNKNOWN = "unknown"
    """Worth a try: nothing was tried yet, or the last try failed and the status says how."""
    READY = "ready"
    """It can answer now."""
    IDLE = "idle"
    """It can answer, but has to be loaded first."""
    LOADING = "loading"
    """It is being loaded."""
    UNAVAILABLE = "unavailable"
    """It can't answer; the status says why and what to do."""


@dataclass(frozen=True, slots=True)
class Status:
    """A model's state, and the reason for a person where it can't answer or did not lately."""

    state: State = State.UNKNOWN
    reason: str = ""


class Reasoning(enum.Enum):
    """How much a model is to think before it answers."""

    OFF = "off"
    ON = "on"
    """As much as it does by itself."""
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is to write. None leaves it to the model's server."""

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    response_schema: str = ""
    """A JSON Schema that the answer has to fit, as JSON text. Empty: any text."""
    reasoning: Reasoning | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call."""

    name: str
    description: str = ""
    parameters_schema: str = ""
    """A JSON Schema of an object, as JSON text. Empty: it takes no arguments."""


class ToolChoice(enum.Enum):
    """Whether the model may, must or must not call tools."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as models see it: without its time and its status."""

    role: str
    """system, user, assistant or tool."""
    text: str = ""
    images: tuple[messages_pb2.ImagePart, ...] = ()
    calls: tuple[messages_pb2.ToolCallPart, ...] = ()
    results: tuple[messages_pb2.ToolResultPart, ...] = ()
    reasoning: str = ""
    """Only of an answer that the same model wrote at the same server."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """What that server wants back with it, in its own format."""

    @property
    def is_plain(self) -> bool:
        """Whether it has a text and nothing else."""
        return bool(self.text) and not (self.images or self.calls or self.results or self.state)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request to a model: the whole context, oldest message first.

    A provider whose server wants it joins neighbours of one role; an empty
    message is left out; reasoning parts are never sent.
    """

    messages: Sequence[messages_pb2.Message]
    options: Options = field(default_factory=Options)
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    """None leaves it to the model's server."""
    is_local_only: Callable[[], bool] = field(kw_only=True)
    """Whether it must stay on this machine, as things stand when it is called: see `models.egress`."""
    plain_messages: Sequence[ChatMessage | None] = field(default=(), kw_only=True)
    """For each of the messages what `encoding.plain_message` gives. Empty: it was not asked."""


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts that a model is to turn into vectors."""

    texts: Sequence[str]
    """At least one, none of them empty."""
    dimensions: int | None = None
    """How many numbers a vector is to have. None: as many as the model makes."""
    is_local_only: Callable[[], bool] = field(kw_only=True)
    """As in `ChatRequest`."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of texts."""

    vectors: Sequence[Sequence[float]]
    """One for each text, in their order, all of the same length."""
    input_tokens: int | None = None
    """As the server counted them. None: it did not say."""


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """What a request takes of a context, as its server's tokeniser counts it."""

    messages: int
    """All messages, with what the chat template writes around them: what the server bills without tools."""
    tools: int = 0
    """The definitions of tools, nearly: each template writes them in its own way."""


class ContentKind(enum.Enum):
    """What a piece of an answer is a piece of."""

    TEXT = "text"
    REASONING = "reasoning"
    TOOL_CALL = "tool_call"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Names a tool call whose arguments are being written."""

    call_id: str
    """Unique in its answer; made up where the server gives none."""
    name: str


@dataclass(frozen=True, slots=True)
class Seal:
    """What a provider adds to reasoning that it wants back unchanged. Means nothing to anybody else."""

    signature: str = ""
    """Its signature of the reasoning before this."""
    redacted_data: str = ""
    """Reasoning that it encrypted as a whole and shows nobody."""


@dataclass(frozen=True, slots=True)
class Content:
    """A piece of an answer: everything of one kind that arrived together.

    Never empty, but for a seal, and for the first piece of a tool call, which may come before its arguments.
    """

    kind: ContentKind
    text: str
    call: ToolCall | None = None
    """Which tool call `text` is a piece of the arguments of (JSON text). Only with TOOL_CALL."""
    seal: Seal | None = None
    """Seals the reasoning before it. Only with REASONING, and without text."""


class Finish(enum.Enum):
    """Why a model stopped."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What an answer consumed, as its server counted it. None: it did not say."""

    input_tokens: int | None = None
    """The whole context, what was read from and written to a cache included."""
    output_tokens: int | None = None
    """The whole answer, reasoning included."""
    cache_read_tokens: int | None = None
    """Of the input: what the server had in a cache."""
    cache_write_tokens: int | None = None
    """Of the input: what the server put into a cache."""
    reasoning_tokens: int | None = None
    """Of the output: what was reasoning."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The terminal signal: always the last thing of a stream that ended well."""

    reason: Finish
    counts: TokenCounts = TokenCounts()
    state: str = ""
    """What the server wants back with this answer later, as JSON of its format. Empty: nothing."""
    adaptations: tuple[str, ...] = ()
    """What was changed of the request because the server does not take it, for a person."""


class ModelErrorKind(enum.Enum):
    """What went wrong at a model. The value is the reason code that a client sees."""

    UNREACHABLE = "MODEL_UNREACHABLE"
    """Refused, no such host, connection lost, timed out before the first content."""
    NOT_PULLED = "MODEL_NOT_FOUND"
    """The server is there and does not have this model."""
    UNAUTHENTICATED = "MODEL_KEY_REFUSED"
    NO_CREDIT = "MODEL_NO_CREDIT"
    """The account behind the key is empty, or its plan used up: no wait mends that."""
    WRONG_PATH = "MODEL_ENDPOINT_WRONG"
    """A server is there and knows no such call: the endpoint's path is likely wrong."""
    RATE_LIMITED = "MODEL_RATE_LIMITED"
    NO_MEMORY = "MODEL_NO_MEMORY"
    """It can't be loaded beside the others, or not at all."""
    QUEUE_FULL = "MODEL_QUEUE_FULL"
    """As many wait for a place at it as may."""
    OVERLOADED = "MODEL_OVERLOADED"
    CONTEXT_OVERFLOW = "CONTEXT_OVERFLOW"
    REFUSED = "MODEL_REFUSED_REQUEST"
    """The server calls our request wrong."""
    BROKEN_STREAM = "MODEL_STREAM_BROKEN"
    """It ended without a terminal signal, or sent what can't be read."""
    EMPTY = "MODEL_ANSWER_EMPTY"
    """It ended well, and without a word or a call."""
    STALLED = "MODEL_STALLED"
    """Nothing came for too long."""
    FAILED = "MODEL_FAILED"
    """The server reports an error of its own, or the worker died."""


class ModelError(Exception):
    """A model could not answer, or not to the end. The message says what to do next; it never holds a key."""

    def __init__(
        self,
        kind: ModelErrorKind,
        message: str,
        *,
        endpoint: str = "",
        retry_after_s: float | None = None,
        numbers: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        message = clean(message)
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.endpoint = endpoint
        """Where the model's server listens. Empty for the embedded one."""
        self.retry_after_s = retry_after_s
        """When the server wants to be asked again, in seconds."""
        self.way = ""
        """`direct` where a server could not be reached and nothing is configured for the way there."""
        self.numbers = numbers
        """The values of the message by name, for a program."""
        self.is_final = False
        """Whether the same request to the same model will end so again."""


class UnableError(ModelError):
    """The provider can't do what the request asks for. Said before its server was asked anything."""


class Connection(Protocol):
    """A connection to one model: warm, shared by all executions, closed by its registry."""

    provider: str
    """embedded, ollama, openai, claude or custom."""
    name: str
    """The provider's name for the model."""
    endpoint: str
    """A URL; empty for the embedded model."""
    location: Location
    context_window: int | None
    """In tokens; None while it is not known."""
    origin: str
    """Scheme, host and port of its server, as exchanges are reported by; empty for the embedded model."""
    author: str
    """Names the model at its server, as `provider_state.author_of` does."""
    max_running: int | None
    """Streams that its server works on at once; None: as many as come."""
    features: tuple[str, ...]
    """What it takes besides text: tools, images, json_schema, reasoning. Empty while it is not known.
    Of a model that is made for embeddings: embedding alone."""
    memory_bytes: int
    """What it takes of its server's memory while it is loaded. 0 while it is not known."""

    @property
    def limited_s(self) -> float:
        """Seconds until its server takes requests again, as its rate limit's headers say. 0: now."""

    async def count_tokens(
        self, messages: Sequence[messages_pb2.Message], is_local_only: Callable[[], bool]
    ) -> list[int] | None:
        """Count the tokens of each message by the server's own tokeniser; None if it offers none.

        Raises nothing: a server that can't be asked just now, or may not see them (`is_local_only`,
        as in `ChatRequest`), counts as having none.
        """

    async def count_request(self, request: ChatRequest) -> RequestTokens | None:
        """Count the tokens of a whole request. Returns None and raises nothing, as `count_tokens`."""

    @property
    def running(self) -> int:
        """Streams that run now."""

    def status(self) -> Status:
        """Return what is known now. Asks nobody."""

    def keep_warm(self) -> None:
        """Have a connection to its server open before the next stream, from here on. Sends nothing on it."""

    def outbound_route(self) -> OutboundRoute:
        """Return how its server is reached now: by which proxy, and by whose certificates."""

    async def confirm_location(self) -> None:
        """Make sure that `location`, `context_window` and `features` are true now.

        A server where a name can come to stand for a model somewhere else is asked at each call.
        Raises ModelError where it can't be asked.
        """

    async def probe(self) -> Status:
        """Ask the server, within a few seconds. Never raises: a failure is a status."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        """Send the request and yield the answer, then exactly one Finished.

        Raises ModelError; a stream that ends without its terminal signal is one.
        Closing the generator (or cancelling the task that reads it) closes the
        connection to the server at once, so that it stops working.
        """

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors. Raises ModelError; a text that is too long is never cut."""

    async def retire(self) -> None:
        """Let the running streams end, then close."""

    async def break_off(self) -> None:
        """Let go of sockets, because the network that they went through is gone: they would hang for long.

        A running stream fails with ModelError; a later one begins anew.
        """

    async def close(self) -> None:
        """Let go of sockets and processes. A running stream fails with ModelError."""
