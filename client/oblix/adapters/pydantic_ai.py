"""A model and a message history for Pydantic AI: `pip install oblix[pydantic-ai]`.

from oblix.adapters.pydantic_ai import OblixModel, load_history, save_history

agent = Agent(OblixModel())
result = await agent.run("Hello", message_history=await load_history(client, "user-17"))
await save_history(client, "user-17", result.new_messages())
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.usage import RequestUsage

import oblix
from oblix import Answer, AsyncClient, Completed, Delta, Message, NotFoundError
from oblix.options import ExecuteOptions

SETTINGS = ("temperature", "max_tokens", "top_p", "seed", "timeout")
"""Settings of Pydantic AI that Oblix takes under the same name."""
Piece = str | dict[int, DeltaToolCall] | dict[int, DeltaThinkingPart]


class OblixModel(FunctionModel):
    """A model that Oblix routes: each request goes to the local or cloud model that is right just now."""

    def __init__(
        self,
        model: str | None = None,
        *,
        client: AsyncClient | None = None,
        policy: str | None = None,
        local_only: bool = False,
    ) -> None:
        """Take a `provider:name` to pin one model; None: Oblix chooses. `client`: one of yours."""
        super().__init__(self._respond, stream_function=self._stream, model_name=model or "oblix:auto")
        self._client = client or AsyncClient()
        self._own: ExecuteOptions = {"model": model, "policy": policy, "local_only": local_only}

    @property
    def system(self) -> str:
        """Who serves the model, as telemetry shows it."""
        return "oblix"

    async def _respond(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        answer = await self._client.execute(_inputs(messages, info), **self._options(info))
        return _response(answer)

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        async for event in self._client.stream(_inputs(messages, info), **self._options(info)):
            match event:
                case Delta(kind="text", text=text):
                    yield text
                case Delta(kind="reasoning", text=text):
                    yield {0: DeltaThinkingPart(content=text)}
                case Completed(answer=answer):
                    for index, call in enumerate(answer.tool_calls):
                        yield {
                            index + 1: DeltaToolCall(
                                call.name, call.arguments_json, tool_call_id=call.call_id
                            )
                        }
                    if not answer.text and not answer.tool_calls:
                        yield ""

    def _options(self, info: AgentInfo) -> ExecuteOptions:
        given = dict(info.model_settings or {})
        options: dict[str, Any] = {name: given[name] for name in SETTINGS if given.get(name) is not None}
        tools = [*info.function_tools, *info.output_tools]
        if tools:
            options["tools"] = [
                {
                    "name": tool.name,
                    "description": tool.description or "",
                    "parameters": tool.parameters_json_schema,
                }
                for tool in tools
            ]
        return cast("ExecuteOptions", {**self._own, **options})


async def load_history(client: AsyncClient, session: str, *, last: int | None = None) -> list[ModelMessage]:
    """Return what a session holds as Pydantic AI's messages, in order; nothing where there is no session.

    What other programs said in it comes along. `last`: so many messages from the end.
    """
    try:
        found = await client.sessions.messages(session, last=last).all()
    except NotFoundError:
        return []
    return [message for each in found if (message := _read(each)) is not None]


async def save_history(client: AsyncClient, session: str, messages: Sequence[ModelMessage]) -> None:
    """Append Pydantic AI's messages to a session, all of them or none. It is made where there is none.

    They are kept as they are. Their text can be searched and shown like any other message of Oblix.
    """
    if not messages:
        return
    await client.sessions.get_or_create(session)
    await client.sessions.append(session, [_write(message) for message in messages])


def _inputs(messages: Sequence[ModelMessage], info: AgentInfo) -> list[Message]:
    said = [message for each in messages for message in _messages(each)]
    if info.instructions:
        said.insert(0, _new_message("system", [oblix.TextPart(info.instructions)]))
    return said


def _messages(message: ModelMessage) -> Iterator[Message]:
    """Return what a message of Pydantic AI says, each role a message of its own."""
    if isinstance(message, ModelResponse):
        parts = [part for each in message.parts if (part := _response_part(each)) is not None]
        yield _new_message("assistant", parts or [oblix.TextPart(" ")])
        return
    for part in message.parts:
        match part:
            case SystemPromptPart():
                yield _new_message("system", [oblix.TextPart(part.content)])
            case UserPromptPart():
                yield _new_message("user", [oblix.TextPart(_text(part.content))])
            case ToolReturnPart():
                content = part.model_response_str()
                yield _new_message("tool", [oblix.ToolResultPart(part.tool_call_id, content)])
            case RetryPromptPart():
                yield _retry(part)


def _retry(part: RetryPromptPart) -> Message:
    if part.tool_name is None:
        return _new_message("user", [oblix.TextPart(part.model_response())])
    return _new_message(
        "tool", [oblix.ToolResultPart(part.tool_call_id, part.model_response(), is_error=True)]
    )


def _response_part(part: object) -> oblix.Part | None:
    match part:
        case TextPart():
            return oblix.TextPart(part.content) if part.content else None
        case ThinkingPart():
            return oblix.ReasoningPart(part.content) if part.content else None
        case ToolCallPart():
            written = part.args_as_json_str()
            return oblix.ToolCallPart(oblix.ToolCall(part.tool_call_id, part.tool_name, None, written))
    return None


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else []
    return "\n".join(part if isinstance(part, str) else f"[{type(part).__name__}]" for part in parts)


def _response(answer: Answer) -> ModelResponse:
    parts: list[Any] = [ThinkingPart(answer.reasoning)] if answer.reasoning else []
    parts += [TextPart(answer.text)] if answer.text else []
    parts += [
        ToolCallPart(call.name, call.arguments_json, tool_call_id=call.call_id) for call in answer.tool_calls
    ]
    usage = answer.usage
    counts = (
        RequestUsage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
        if usage
        else RequestUsage()
    )
    details = {"model": answer.model, "finish_reason": answer.finish_reason}
    return ModelResponse(parts or [TextPart("")], usage=counts, provider_details=details)


def _write(message: ModelMessage) -> Message:
    """Return a message as Oblix has it, with all of Pydantic AI's own as client data."""
    data = json.dumps(
        ModelMessagesTypeAdapter.dump_python([message], mode="json")[0], ensure_ascii=False
    ).encode()
    said = list(_messages(message))
    # One message of theirs stays one of ours; what it says beside its first role is in the client data.
    role, parts = (said[-1].role, said[-1].parts) if said else ("user", (oblix.TextPart(" "),))
    return Message("", role, "", parts, client_data=data)


def _read(message: Message) -> ModelMessage | None:
    if message.client_data:
        try:
            return ModelMessagesTypeAdapter.validate_python([json.loads(message.client_data)])[0]
        except ValueError:
            pass  # another program's data
    match message.role:
        case "assistant":
            calls = [
                ToolCallPart(call.name, call.arguments_json, tool_call_id=call.call_id)
                for call in message.tool_calls
            ]
            return ModelResponse([*([TextPart(message.content)] if message.content else []), *calls])
        case "system":
            return ModelRequest([SystemPromptPart(message.content)])
        case "tool":
            results = [part for part in message.parts if isinstance(part, oblix.ToolResultPart)]
            return ModelRequest([ToolReturnPart("tool", part.content, part.call_id) for part in results])
    return ModelRequest([UserPromptPart(message.content)])


def _new_message(role: Any, parts: Sequence[oblix.Part]) -> Message:
    return Message("", role, "", tuple(parts))
