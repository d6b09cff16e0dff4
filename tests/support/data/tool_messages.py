"""Messages that call tools, and that bring their results."""

from __future__ import annotations

from oblix.v1 import messages_pb2


def call(*call_ids: str) -> messages_pb2.Message:
    """An assistant's message that calls tools."""
    calls = [messages_pb2.ToolCallPart(call_id=name, name="look", arguments_json="{}") for name in call_ids]
    return messages_pb2.Message(
        role=messages_pb2.ROLE_ASSISTANT, parts=[messages_pb2.Part(tool_call=made) for made in calls]
    )


def result(*call_ids: str) -> messages_pb2.Message:
    """A message with the results of tools."""
    results = [messages_pb2.ToolResultPart(call_id=name, content=name) for name in call_ids]
    return messages_pb2.Message(
        role=messages_pb2.ROLE_TOOL, parts=[messages_pb2.Part(tool_result=made) for made in results]
    )
