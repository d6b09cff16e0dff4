"""The arguments of a client's calls: prompts, messages, and the options that an editor completes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Required, TypeAlias, TypedDict

from oblix.results import Message, RoleName, Session

SessionRef: TypeAlias = str | Session
"""A session, or its id."""
MessageRef: TypeAlias = str | int | Message
"""A message; its id; its place in the session, from 1; or counted from the end: -1 is the last."""
AnyPath: TypeAlias = str | PathLike[str]
Json: TypeAlias = Mapping[str, Any]
ImageSource: TypeAlias = str | PathLike[str] | bytes
"""The path of an image, or its bytes."""


class ContentPart(TypedDict, total=False):
    """A piece of a message's content."""

    type: Required[Literal["text", "image", "image_url"]]
    text: str
    path: str
    """Of an image: its file."""
    data: bytes | str
    """Of an image: its bytes, or base64."""
    media_type: str
    image_url: str | Mapping[str, str]
    """OpenAI's form: a `data:` URL."""


class ToolCallInput(TypedDict, total=False):
    """A call that an assistant's message makes."""

    call_id: Required[str]
    name: Required[str]
    arguments: Json
    arguments_json: str
    """The arguments as JSON text, exactly as the model wrote them."""


class MessageInput(TypedDict, total=False):
    """A message as a program writes it."""

    role: Required[RoleName]
    content: str | Sequence[ContentPart]
    tool_calls: Sequence[ToolCallInput]
    """Of an assistant."""
    call_id: str
    """Of a tool: the call that it answers."""
    is_error: bool
    """Of a tool: it failed, and the content says how."""
    client_data: bytes
    """The program's own data, at most 1 MiB: kept, and never sent to a model, searched or shown."""


class ToolResult(TypedDict, total=False):
    """The result of a tool."""

    call_id: Required[str]
    content: Required[str]
    is_error: bool


class ToolDefinition(TypedDict, total=False):
    """A tool that the model may call."""

    name: Required[str]
    description: str
    parameters: Json
    """Its arguments, as a JSON Schema of an object."""


Prompt: TypeAlias = str | Sequence[MessageInput | Message]
"""A text, or several messages, the last of them from a user or a tool."""
Tool: TypeAlias = Callable[..., Any] | ToolDefinition | Json
"""A function, whose annotations and docstring become its schema; or a schema, also in OpenAI's form."""


class WritingOptions(TypedDict, total=False):
    """How the model writes. The model's server decides options that are left out."""

    temperature: float | None
    """0 to 2."""
    max_tokens: int | None
    """1 to 1,000,000."""
    top_p: float | None
    """Over 0 to 1."""
    seed: int | None
    stop: str | Sequence[str] | None
    """Texts that end the answer: at most 16, each 1 to 256 characters."""
    reasoning: Literal["off", "on", "low", "medium", "high", "max"] | None
    """How much the model reasons before it answers."""
    response_schema: Json | None
    """The answer is JSON that this JSON Schema describes."""
    images: Sequence[ImageSource]
    """Shown with the prompt: PNG, JPEG, GIF or WebP, at most 8 MiB each."""


class RoutingOptions(TypedDict, total=False):
    """Where a prompt goes, and when."""

    model: str | None
    """One model, as `provider:name`, instead of routing."""
    local_only: bool
    """True: no cloud model sees the prompt. Default False."""
    policy: str | None
    """`balanced`, `prefer-local`, `prefer-cloud`, `cheapest`, `fastest`, `private`, or one of the
    configuration."""
    max_cost: float | None
    """The maximum cost, in the configuration's currency."""
    priority: Literal["interactive", "background"]
    """`background` goes behind all others that wait for the same model. Default `interactive`."""
    when_busy: Literal["wait", "fail"]
    """What happens if a turn of the session runs already. Default `wait`."""
    timeout: float | None
    """Seconds, including the time in queues, at most a day. Default: no limit."""
    on_disconnect: Literal["cancel", "continue"]
    """What happens to the answer if this program disconnects. Default `cancel`."""
    on_break: Literal["keep", "restart"]
    """What happens if the model fails in the middle: the part is kept, or the next model starts again.
    Default `keep`."""
    context_policy: Literal["omit", "refuse", "longer"]
    """What happens if the history does not fit: leave out its oldest turns, refuse the prompt, or prefer a
    model with a longer context window. Default `omit`."""
    include_excluded: bool
    """True: also send messages that are marked as left out of contexts. Default False."""


class ExecuteOptions(WritingOptions, RoutingOptions, total=False):
    """All options of a prompt."""

    request_id: str | None
    """1 to 128 printable ASCII characters. The same id again returns the same answer."""
    tools: Sequence[Tool]
    tool_choice: Literal["auto", "required", "none"] | None
    tool_results: Sequence[ToolResult]
    """Answers to the calls of the turn before, in the same session."""


class EmbedOptions(TypedDict, total=False):
    """The options of `embed`."""

    model: str | None
    """One model, as `provider:name`. Vectors of two models can't be compared."""
    dimensions: int | None
    """The length of a vector, 1 to 65,536. Default: the model's own."""
    local_only: bool
    """True: no cloud model sees the texts. Default False."""
    policy: str | None
    """As for prompts."""
    max_cost: float | None
    """The maximum cost, in the configuration's currency."""
    priority: Literal["interactive", "background"]
    """As for prompts. Default `interactive`."""
    timeout: float | None
    """Seconds, including the time in queues, at most a day. Default: no limit."""


class ModelOptions(TypedDict, total=False):
    """The options of a model, as in a `[[models]]` table of the configuration (docs/reference/models.md)."""

    task: Literal["chat", "embedding"]
    """`embedding`: the model turns texts into vectors, and gets no prompts. Default `chat`."""

    num_ctx: int
    """Ollama and embedded: the context window to load the model with, in tokens."""
    keep_alive: str | int
    """Ollama: how long the model stays loaded after an answer."""
    context_window: int
    """In tokens, if the server does not report it."""
    max_running: int
    """The number of prompts that the model gets at once."""
    headers: Mapping[str, str]
    query: Mapping[str, str]
    extra_body: Json
    omit: Sequence[str]
    """Fields of the body to leave out."""
    key_header: str
    connect_timeout_s: float
    first_token_timeout_s: float
    idle_timeout_s: float
    api: str
    price: Json
    aliases: Sequence[str]
    proxy: str
    ca_file: str
    """A file with certificates; the client reads it and sends its content."""
    ca_dir: str
    ca_data: str


OPTIONS = frozenset(ExecuteOptions.__annotations__)
"""The names of all that a prompt takes."""
EMBED_OPTIONS = frozenset(EmbedOptions.__annotations__)
"""The names of all that texts to embed take."""
