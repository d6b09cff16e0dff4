"""The contract's commonest calls, in a line each, for tests that speak gRPC themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import grpc
from oblix.v1 import (
    daemon_pb2,
    daemon_pb2_grpc,
    executions_pb2,
    executions_pb2_grpc,
    messages_pb2,
    models_pb2,
    models_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
)

TIMEOUT_S = 60.0


class Wire:
    """Stubs on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.sessions = sessions_pb2_grpc.SessionServiceStub(channel)
        self.executions = executions_pb2_grpc.ExecutionServiceStub(channel)
        self.models = models_pb2_grpc.ModelServiceStub(channel)
        self.daemon = daemon_pb2_grpc.DaemonServiceStub(channel)

    def session(self, **fields: object) -> str:
        """A new session's id."""
        request = sessions_pb2.CreateSessionRequest(session=sessions_pb2.Session(**fields))
        return self.sessions.CreateSession(request, timeout=TIMEOUT_S).session.id

    def messages(self, session_id: str) -> Sequence[messages_pb2.Message]:
        """The first messages of a session."""
        request = sessions_pb2.ListMessagesRequest(session_id=session_id)
        return self.sessions.ListMessages(request, timeout=TIMEOUT_S).messages

    def hook(self, url: str, name: str = "llama2") -> str:
        """The handle of a model on an Ollama server."""
        request = models_pb2.HookModelRequest(provider=models_pb2.PROVIDER_OLLAMA, name=name, endpoint=url)
        return self.models.HookModel(request, timeout=TIMEOUT_S).handle

    def execute(self, text: str, **fields: object) -> Iterator[executions_pb2.ExecuteResponse]:
        """The events of a prompt."""
        given = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
        request = executions_pb2.ExecuteRequest(input=[given], **fields)
        return self.executions.Execute(request, timeout=TIMEOUT_S)

    def search(self, query: str) -> sessions_pb2.SearchMessagesResponse:
        """What a search finds."""
        return self.sessions.SearchMessages(
            sessions_pb2.SearchMessagesRequest(query=query), timeout=TIMEOUT_S
        )

    def shut_down(self) -> None:
        """End the daemon."""
        self.daemon.Shutdown(daemon_pb2.ShutdownRequest(), timeout=TIMEOUT_S)
