"""OpenAI's Responses (`/v1/responses`): requests. `responses_reply` writes the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from oblix.v1 import executions_pb2, messages_pb2

from oblixd.http import prompt as prompts
from oblixd.http.body import Body, inline_image, invalid, schema_text, unsupported_error
from oblixd.http.dialects import openai
from oblixd.http.dialects.responses_reply import SEPARATOR, Reply
from oblixd.http.failures import Failure
from oblixd.http.prompt import Prompt

_ROLES = {
    "system": messages_pb2.ROLE_SYSTEM,
    "developer": messages_pb2.ROLE_SYSTEM,
    "user": messages_pb2.ROLE_USER,
    "assistant": messages_pb2.ROLE_ASSISTANT,
}
_CHOICE = {
    "auto": executions_pb2.TOOL_CHOICE_AUTO,
    "required": executions_pb2.TOOL_CHOICE_REQUIRED,
    "none": executions_pb2.TOOL_CHOICE_NONE,
}
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


class Responses:
    """The dialect."""

    @property
    def fields(self) -> Mapping[str, str]:
        """See `Dialect.fields`."""
        return {"options": ""}

    def prompt(self, body: Body) -> Prompt:
        """Translate a request."""
        openai.refuse_unsupported(body)
        result = Prompt(
            body.required_text("model"),
            executions_pb2.ExecuteRequest(),
            stream=body.flag("stream"),
            previous_response_id=body.text("previous_response_id"),
            store=body.flag("store"),
            body=body.values,
        )
        request = result.request
        if body.text("instructions"):
            request.input.append(prompts.text_message(messages_pb2.ROLE_SYSTEM, body.text("instructions")))
        request.input.extend(_input(body, result))
        openai.set_sampling(body, request.options)
        most = body.integer("max_output_tokens")
        if most is not None:
            request.options.max_tokens = most
        effort = body.child("reasoning").values.get("effort")
        prompts.set_effort(request.options, "reasoning.effort", effort)
        form = body.child("text").child("format")
        request.options.response_schema = openai.response_schema(form, form.child("schema"))
        _set_tools(body, result)
        return result

    def reply(self, prompt: Prompt, request_id: str) -> Reply:
        """Make the writer of one answer."""
        return Reply(prompt, request_id)

    def error(self, failure: Failure) -> dict[str, Any]:
        """Return an error's body."""
        return openai.error(failure)


def _input(body: Body, prompt: Prompt) -> Iterator[messages_pb2.Message]:
    """Items of one answer stand apart here; the calls and the text of one turn become one message."""
    value = body.values.get("input")
    if isinstance(value, str):
        yield prompts.text_message(messages_pb2.ROLE_USER, value)
        return
    answer: messages_pb2.Message | None = None
    for item in body.objects("input"):
        message = _item(item, prompt)
        if message is None:
            continue
        if message.role == messages_pb2.ROLE_ASSISTANT:
            if answer is None:
                answer = messages_pb2.Message(role=messages_pb2.ROLE_ASSISTANT)
            answer.parts.extend(message.parts)
            continue
        if answer is not None:
            yield answer
            answer = None
        yield message
    if answer is not None:
        yield answer


def _item(item: Body, prompt: Prompt) -> messages_pb2.Message | None:
    kind = item.text("type", "message")
    if kind == "message":
        return _message(item)
    if kind == "function_call":
        name = _full_name(item.text("namespace"), item.required_text("name"))
        part = prompts.tool_call(item.required_text("call_id"), name, item.text("arguments"))
        return messages_pb2.Message(role=messages_pb2.ROLE_ASSISTANT, parts=[part])
    if kind == "function_call_output":
        return prompts.tool_result(item.required_text("call_id"), _output(item))
    if kind == "reasoning":
        text = "".join(part.text("text") for name in ("summary", "content") for part in item.objects(name))
        parts = [messages_pb2.Part(reasoning=text)] if text else []
        return messages_pb2.Message(role=messages_pb2.ROLE_ASSISTANT, parts=parts) if text else None
    if kind == "item_reference":
        raise unsupported_error(item.field("type"), "send the item itself")
    prompt.ignored_fields.append(f"input:{kind}")
    return None


def _message(item: Body) -> messages_pb2.Message:
    role = _ROLES.get(item.text("role"))
    if role is None:
        raise invalid(item.field("role"), "one of " + ", ".join(_ROLES), item.values.get("role"))
    if isinstance(item.values.get("content"), str):
        return prompts.text_message(role, item.text("content"))
    return messages_pb2.Message(role=role, parts=[_part(part) for part in item.objects("content")])


def _part(part: Body) -> messages_pb2.Part:
    kind = part.text("type")
    if kind in _TEXTS:
        return messages_pb2.Part(text=part.text("text"))
    if kind == "refusal":
        return messages_pb2.Part(text=part.text("refusal"))
    if kind == "input_image":
        return inline_image(part.field("image_url"), part.text("image_url"))
    raise unsupported_error(part.field("type"), f"{kind!r} is neither text nor an image")


def _output(item: Body) -> str:
    value = item.values.get("output")
    if isinstance(value, str):
        return value
    return "\n".join(part.text("text") for part in item.objects("output") if part.text("type") in _TEXTS)


def _set_tools(body: Body, prompt: Prompt) -> None:
    for tool in body.objects("tools"):
        kind = tool.text("type")
        if kind == "function":
            _add_tool(prompt, "", tool)
        elif kind == "namespace":
            for function in tool.objects("tools"):
                _add_tool(prompt, tool.required_text("name"), function)
        else:
            prompt.ignored_fields.append(f"tools:{kind}")
    choice = body.values.get("tool_choice")
    if isinstance(choice, dict):
        prompts.choose_tool(prompt.request, body.child("tool_choice").required_text("name"))
    elif choice is not None:
        if choice not in _CHOICE:
            raise invalid("tool_choice", "auto, none, required or a function", choice)
        if prompt.request.tools:
            prompt.request.tool_choice = _CHOICE[choice]


def _add_tool(prompt: Prompt, namespace: str, tool: Body) -> None:
    if tool.text("type", "function") != "function":
        prompt.ignored_fields.append(f"tools:{tool.text('type')}")
        return
    prompt.request.tools.add(
        name=_full_name(namespace, tool.required_text("name")),
        description=tool.text("description"),
        parameters_schema=schema_text(tool.child("parameters").values),
    )


def _full_name(namespace: str, name: str) -> str:
    return f"{namespace}{SEPARATOR}{name}" if namespace else name
