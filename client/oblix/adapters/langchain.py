"""A chat model and a message history for LangChain: `pip install oblix[langchain]`.

from oblix.adapters.langchain import ChatOblix, OblixChatMessageHistory

chain = RunnableWithMessageHistory(prompt | ChatOblix(), OblixChatMessageHistory)
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

import oblix
from oblix import Answer, AsyncClient, Client, Completed, Delta, Event, Message, NotFoundError
from oblix.options import ExecuteOptions


class OblixChatMessageHistory(BaseChatMessageHistory):
    """The messages of a chain's conversation, kept in an Oblix session.

    A message is kept as it is. Its text can be searched and shown like any other message of Oblix, and
    what other programs say in the session is part of the history.
    """

    def __init__(
        self,
        session_id: str,
        *,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Name the session: 1 to 128 characters of A-Z a-z 0-9 . _ -. It is made with the first message."""
        self.session_id = session_id
        self._client = client or Client()
        self._async = async_client or AsyncClient()
        self._metadata = metadata

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The messages, in order."""
        try:
            return [_read(message) for message in self._client.sessions.messages(self.session_id)]
        except NotFoundError:
            return []

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages, in order."""
        try:
            return [_read(message) async for message in self._async.sessions.messages(self.session_id)]
        except NotFoundError:
            return []

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages: all of them or none."""
        if messages:
            self._client.sessions.get_or_create(self.session_id, metadata=self._metadata)
            self._client.sessions.append(self.session_id, [_write(message) for message in messages])

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages: all of them or none."""
        if messages:
            await self._async.sessions.get_or_create(self.session_id, metadata=self._metadata)
            await self._async.sessions.append(self.session_id, [_write(message) for message in messages])

    def clear(self) -> None:
        """Remove all messages. The session stays, with its title and metadata."""
        try:
            self._client.sessions.truncate(self.session_id, 1, exact=True)
        except NotFoundError:
            return

    async def aclear(self) -> None:
        """Remove all messages. The session stays, with its title and metadata."""
        try:
            await self._async.sessions.truncate(self.session_id, 1, exact=True)
        except NotFoundError:
            return


class ChatOblix(BaseChatModel):
    """A chat model that Oblix routes: each call goes to the local or cloud model that is right just now."""

    model: str | None = None
    """Pins one model, as `provider:name`. None: Oblix chooses."""
    temperature: float | None = None
    max_tokens: int | None = None
    policy: str | None = None
    local_only: bool = False
    session: str | None = None
    """A session that records the calls. Then only new messages are to be sent. None: nothing is recorded."""
    _client: Client = PrivateAttr(default_factory=Client)
    _async: AsyncClient = PrivateAttr(default_factory=AsyncClient)

    @property
    def _llm_type(self) -> str:
        return "oblix"

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools that it may call. `tool_choice`: `auto`, `required`, or `none`."""
        choice = "required" if tool_choice in {"any", "required"} else tool_choice
        known = choice if choice in {"auto", "required", "none"} else "required"
        given = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=given, **({"tool_choice": known} if choice else {}), **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._client.execute(_inputs(messages), session=self.session, **self._options(stop, kwargs))
        return ChatResult(generations=[ChatGeneration(message=_answer(answer))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        options = self._options(stop, kwargs)
        answer = await self._async.execute(_inputs(messages), session=self.session, **options)
        return ChatResult(generations=[ChatGeneration(message=_answer(answer))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        options = self._options(stop, kwargs)
        for event in self._client.stream(_inputs(messages), session=self.session, **options):
            if (chunk := _chunk(event)) is not None:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        options = self._options(stop, kwargs)
        async for event in self._async.stream(_inputs(messages), session=self.session, **options):
            if (chunk := _chunk(event)) is not None:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _options(self, stop: list[str] | None, arguments: Mapping[str, Any]) -> ExecuteOptions:
        own: dict[str, Any] = {
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        own |= {"policy": self.policy, "local_only": self.local_only, "stop": stop}
        known = {name: value for name, value in arguments.items() if name in oblix.options.OPTIONS}
        return cast("ExecuteOptions", {name: value for name, value in own.items() if value} | known)


def _answer(answer: Answer) -> AIMessage:
    usage = answer.usage
    counts = None
    if usage:
        total = usage.input_tokens + usage.output_tokens
        counts = UsageMetadata(
            input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, total_tokens=total
        )
    calls = [
        tool_call(name=call.name, args=dict(call.arguments or {}), id=call.call_id)
        for call in answer.tool_calls
    ]
    about = {"model_name": answer.model, "finish_reason": answer.finish_reason}
    return AIMessage(answer.text, tool_calls=calls, usage_metadata=counts, response_metadata=about)


def _chunk(event: Event) -> ChatGenerationChunk | None:
    match event:
        case Delta(kind="text", text=text):
            return ChatGenerationChunk(message=AIMessageChunk(text))
        case Delta(kind="tool_call"):
            return None  # the whole calls come at the end
        case Completed(answer=answer):
            whole = _answer(answer)
            calls = [
                tool_call_chunk(name=call.name, args=call.arguments_json, id=call.call_id, index=index)
                for index, call in enumerate(answer.tool_calls)
            ]
            end = AIMessageChunk(
                "",
                tool_call_chunks=calls,
                usage_metadata=whole.usage_metadata,
                response_metadata=whole.response_metadata,
            )
            return ChatGenerationChunk(message=end)
    return None


def _inputs(messages: Sequence[BaseMessage]) -> list[Message]:
    return [_write(message, keep=False) for message in messages]


def _write(message: BaseMessage, *, keep: bool = True) -> Message:
    """Return a message as Oblix has it. `keep`: with all of LangChain's own as client data."""
    data = json.dumps(message_to_dict(message), ensure_ascii=False).encode() if keep else b""
    match message:
        case ToolMessage():
            failed = message.status == "error"
            result = oblix.ToolResultPart(message.tool_call_id, str(message.text), failed)
            return Message("", "tool", "", (result,), client_data=data)
        case AIMessage():
            calls = [
                oblix.ToolCall(call["id"] or "", call["name"], call["args"], json.dumps(call["args"]))
                for call in message.tool_calls
            ]
            said = _parts(message, required=not calls)
            return Message("", "assistant", "", (*said, *map(oblix.ToolCallPart, calls)), client_data=data)
        case SystemMessage():
            return Message("", "system", "", _parts(message), client_data=data)
    role = message.role if isinstance(message, ChatMessage) else "user"
    known = role if role in {"assistant", "system"} else "user"
    return Message("", cast("oblix.results.RoleName", known), "", _parts(message), client_data=data)


def _parts(message: BaseMessage, *, required: bool = True) -> tuple[oblix.TextPart, ...]:
    text = str(message.text)
    return (oblix.TextPart(text),) if text or required else ()


def _read(message: Message) -> BaseMessage:
    """Return a message as the one that it was, or that says what it says."""
    if message.client_data:
        try:
            return messages_from_dict([json.loads(message.client_data)])[0]
        except (ValueError, KeyError, TypeError):
            pass  # another program's data
    match message.role:
        case "assistant":
            calls = [
                tool_call(name=call.name, args=dict(call.arguments or {}), id=call.call_id)
                for call in message.tool_calls
            ]
            return AIMessage(message.content, tool_calls=calls)
        case "system":
            return SystemMessage(message.content)
        case "tool":
            result = next(part for part in message.parts if isinstance(part, oblix.ToolResultPart))
            return ToolMessage(result.content, tool_call_id=result.call_id)
    return HumanMessage(message.content)
