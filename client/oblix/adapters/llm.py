"""A plugin for llm (https://llm.datasette.io), which finds it by itself where both are installed.

    llm -m oblix:auto "Why is the sky blue?"
    llm -c "And at night?"

A conversation of llm is a session of Oblix with the same id: each turn sends only what is new. What llm
does not log (`--no-log`, `llm logs off`) is not recorded here either.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from functools import cache
from itertools import count
from typing import Any, Literal, cast

import click
import llm
from llm.parts import AttachmentPart, ReasoningPart, StreamEvent, TextPart, ToolCallPart, ToolResultPart
from pydantic import Field

import oblix
from oblix.options import ExecuteOptions

POLICIES = ("balanced", "prefer-local", "prefer-cloud", "cheapest", "fastest", "private")
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
TITLE_CHARACTERS = 80
BATCH = 256
"""Texts that are sent to be embedded at once."""


class OblixOptions(llm.Options):
    """What `-o NAME VALUE` takes."""

    temperature: float | None = Field(default=None, ge=0, le=2, description="How freely the model words it.")
    max_tokens: int | None = Field(default=None, ge=1, description="The most tokens that it writes.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="The other way to say how freely.")
    seed: int | None = Field(default=None, description="The same seed asks for the same answer.")
    stop: str | None = Field(default=None, description="A text that ends the answer.")
    reasoning: Literal["off", "on", "low", "medium", "high", "max"] | None = Field(
        default=None, description="How much it thinks before it answers."
    )
    pin: str | None = Field(default=None, description="One model, as provider:name. Default: Oblix chooses.")
    policy: str | None = Field(default=None, description="The policy to route by, for example cheapest.")
    local_only: bool | None = Field(default=None, description="Whether no cloud model may see the prompt.")
    max_cost: float | None = Field(default=None, ge=0, description="The most that the prompt may cost.")
    timeout: float | None = Field(default=None, gt=0, description="Seconds, waiting included.")
    record: bool | None = Field(default=None, description="Whether Oblix keeps the conversation. Default: 1.")


class _Shared:
    """What both models say of themselves."""

    can_stream = True
    supports_schema = True
    supports_tools = True
    attachment_types = IMAGES
    Options = OblixOptions

    def __init__(self, policy: str | None = None) -> None:
        """Take the name of a routing policy. None: that of the request, the session or the daemon."""
        self.model_id = f"oblix:{policy or 'auto'}"
        self._policy = policy

    def __str__(self) -> str:
        return f"Oblix: {self.model_id}"


class OblixModel(_Shared, llm.Model):
    """A model that Oblix routes: each prompt goes to the local or cloud model that is right just now."""

    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None,
    ) -> Iterator[str | StreamEvent]:
        """Answer a prompt."""
        try:
            asked, options = _request(prompt, conversation, self._policy)
            for event in _client().stream(asked, **options):
                yield from _events(event, response)
        except oblix.OblixError as error:
            raise llm.ModelError(str(error)) from error


class AsyncOblixModel(_Shared, llm.AsyncModel):
    """The same for programs that use asyncio."""

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str | StreamEvent, None]:
        """Answer a prompt."""
        try:
            asked, options = await asyncio.to_thread(_request, prompt, conversation, self._policy)
            async with aclosing(_async_client().stream(asked, **options)) as events:
                async for event in events:
                    for told in _events(event, response):
                        yield told
        except oblix.OblixError as error:
            raise llm.ModelError(str(error)) from error


class OblixEmbeddings(llm.EmbeddingModel):
    """The models for embeddings that the daemon's configuration names."""

    model_id = "oblix:embed"
    batch_size = BATCH

    def embed_batch(self, items: Iterable[str | bytes], *, key: str | None = None) -> Iterator[list[float]]:
        """Return the vector of each text."""
        try:
            found = _client().embed([str(item) for item in items])
        except oblix.OblixError as error:
            raise llm.ModelError(str(error)) from error
        return map(list, found.vectors)


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    """Name the models. No daemon is asked: every command of llm comes by here."""
    for policy in (None, *POLICIES):
        register(OblixModel(policy), AsyncOblixModel(policy))


@llm.hookimpl
def register_embedding_models(register: Callable[..., None]) -> None:
    """Name the model for embeddings."""
    register(OblixEmbeddings())


@cache
def _client() -> oblix.Client:
    return oblix.Client()


@cache
def _async_client() -> oblix.AsyncClient:
    return oblix.AsyncClient()


def _request(prompt: llm.Prompt, conversation: Any, policy: str | None) -> tuple[list[oblix.Message], Any]:
    """Return what is to be said, and the options to say it with."""
    said = [message for one in prompt.messages for message in _messages(one)]
    options = _options(prompt, policy)
    if conversation is None or prompt.options.record is False or not _is_logged():
        return said, options
    split = _after_last_answer(said)
    session = _session(conversation.id, said[:split], said[split:])
    return said[split:], {**options, "session": session}


def _options(prompt: llm.Prompt, policy: str | None) -> ExecuteOptions:
    given = prompt.options.model_dump(exclude_none=True, exclude={"pin", "record"})
    options: dict[str, Any] = {"policy": policy, "model": prompt.options.pin, **given}
    if prompt.schema:
        options["response_schema"] = prompt.schema
    if prompt.tools:
        options["tools"] = [
            {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
            for tool in prompt.tools
        ]
    return cast("ExecuteOptions", options)


def _is_logged() -> bool:
    """Return whether llm logs this prompt. A program that uses llm as a library logs as it likes."""
    context = click.get_current_context(silent=True)
    if context is None or context.params.get("log"):
        return True
    return not context.params.get("no_log") and not (llm.user_dir() / "logs-off").exists()


def _after_last_answer(history: Sequence[oblix.Message]) -> int:
    answers = [index for index, message in enumerate(history) if message.role == "assistant"]
    return answers[-1] + 1 if answers else 0


def _session(name: str, history: Sequence[oblix.Message], messages: Sequence[oblix.Message]) -> oblix.Session:
    """Return the session of a conversation, with its history in it: also what another model said.

    A history that was changed since is another conversation, and gets a session beside the first.
    """
    client = _client()
    for number in count(1):
        session_id = name if number == 1 else f"{name}.{number}"
        missing = _rest_of(history, _messages_in(session_id))
        if missing is None:
            continue
        title = next((_text(one) for one in [*history, *messages] if one.role == "user"), "")
        metadata = {"program": "llm", "conversation": name}
        session = client.sessions.get_or_create(session_id, title=title[:TITLE_CHARACTERS], metadata=metadata)
        if missing:
            client.sessions.append(session, missing)
        return session
    raise AssertionError("there is always another name")


def _messages_in(session_id: str) -> list[oblix.Message]:
    try:
        return _client().sessions.messages(session_id).all()
    except oblix.NotFoundError:
        return []


def _rest_of(
    history: Sequence[oblix.Message], recorded: Sequence[oblix.Message]
) -> Sequence[oblix.Message] | None:
    """Return what a session lacks of a history. None: they are two conversations.

    The session may hold more: turns that failed, and what other programs said.
    """
    keys, place = [_key(message) for message in recorded], 0
    for index, message in enumerate(history):
        try:
            place = keys.index(_key(message), place) + 1
        except ValueError:
            return history[index:] if place == len(keys) else None
    return []


def _key(message: oblix.Message) -> tuple[object, ...]:
    """Return what two records of a message have in common."""
    calls = [part.call.call_id for part in message.parts if isinstance(part, oblix.ToolCallPart)]
    results = [part.call_id for part in message.parts if isinstance(part, oblix.ToolResultPart)]
    return message.role, _text(message).strip(), *calls, *results


def _text(message: oblix.Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, oblix.TextPart))


def _messages(message: llm.Message) -> Iterator[oblix.Message]:
    """Return what a message of llm says, each result of a tool in a message of its own."""
    parts: list[oblix.Part] = []
    for part in message.parts:
        match part:
            case TextPart(text=text) if text:
                parts.append(oblix.TextPart(text))
            case ReasoningPart(text=text) if text:
                parts.append(oblix.ReasoningPart(text))
            case AttachmentPart(attachment=attachment) if attachment is not None:
                parts.append(oblix.ImagePart(attachment.resolve_type(), attachment.content_bytes()))
            case ToolCallPart():
                arguments = json.dumps(part.arguments, ensure_ascii=False)
                call = oblix.ToolCall(part.tool_call_id or "", part.name, part.arguments, arguments)
                parts.append(oblix.ToolCallPart(call))
            case ToolResultPart():
                yield _new_message("tool", [_result(part)])
    if parts:
        yield _new_message(message.role, parts)


def _result(part: ToolResultPart) -> oblix.ToolResultPart:
    return oblix.ToolResultPart(part.tool_call_id or "", part.output, is_error=part.exception is not None)


def _new_message(role: Any, parts: Sequence[oblix.Part]) -> oblix.Message:
    return oblix.Message("", role, "", tuple(parts))


def _events(event: oblix.Event, response: Any) -> Iterator[StreamEvent]:
    """Return what llm shows of an event. Note in the response what it keeps of the end."""
    match event:
        case oblix.Delta(kind="text" | "reasoning" as kind, text=text):
            yield StreamEvent(type=kind, chunk=text)
        case oblix.Completed(answer=answer):
            for call in answer.tool_calls:
                yield from _call(call, response)
            _note(answer, response)


def _call(call: oblix.ToolCall, response: Any) -> Iterator[StreamEvent]:
    if call.arguments is None:
        raise llm.ModelError(f"The model called {call.name} with no JSON object: {call.arguments_json}")
    response.add_tool_call(llm.ToolCall(call.name, dict(call.arguments), tool_call_id=call.call_id))
    yield StreamEvent(type="tool_call_name", chunk=call.name, tool_call_id=call.call_id)
    yield StreamEvent(type="tool_call_args", chunk=call.arguments_json, tool_call_id=call.call_id)


def _note(answer: oblix.Answer, response: Any) -> None:
    response.set_resolved_model(answer.model)
    response.response_json = {
        "request_id": answer.request_id,
        "session_id": answer.session_id,
        "finish_reason": answer.finish_reason,
        "decision": answer.decision.reason,
    }
    if answer.usage is not None:
        details = answer.usage.to_dict()
        counts = {"input": details.pop("input_tokens"), "output": details.pop("output_tokens")}
        response.set_usage(**counts, details=details or None)
