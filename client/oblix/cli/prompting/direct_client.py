"""What one prompt of the command line needs of the daemon, by its stubs alone.

`oblix ask` lives for one answer: the classes of the Python client would take longer to load than a model
takes for its first word. What few prompts need, as hooking a model, loads the rest of the client.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from oblix._convert.validation import text
from oblix.cli import daemon
from oblix.cli.output.events import Decoder, Event
from oblix.errors import FailedPreconditionError

if TYPE_CHECKING:
    from oblix._sync.models import Models
    from oblix.models import ModelType
    from oblix.v1 import executions_pb2, routing_pb2

HANDLE_UNKNOWN = "HANDLE_UNKNOWN"


def new_id() -> str:
    """Return an id for a request, a random UUID. The module `uuid` loads half a dozen others."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class DirectClient:
    """Asks over one connection, and lets go of what it hooked when it is closed."""

    def __init__(self) -> None:
        self._transport = daemon.any_daemon()
        self._models: Models | None = None

    def list_models(self) -> dict[str, list[str]]:
        """Return the models of the daemon, by provider."""
        from oblix.v1 import models_pb2

        request = models_pb2.ListModelsRequest()
        answer = self._transport.call(lambda link: link.models.ListModels, request, repeatable=True)
        listed: dict[str, list[str]] = {}
        for model_id in dict.fromkeys(model.id for model in answer.models):
            provider, _, name = model_id.partition(":")
            listed.setdefault(provider, []).append(name)
        return listed

    async def hook_model(
        self, model_type: ModelType, model_name: str, endpoint: str | None = None, **options: Any
    ) -> None:
        """Add a model that prompts may go to."""
        from oblix._resources.core import Core
        from oblix._sync.models import Models

        if self._models is None:
            self._core = Core(self._transport)
            self._models = Models(self._core)
        self._models.hook(model_type, model_name, endpoint=endpoint, **options)

    def create_session(self, title: str, system: str | None, *, local_only: bool) -> str:
        """Make a session, and return its id."""
        from oblix.v1 import sessions_pb2

        session = sessions_pb2.Session(title=text(title, "title"), local_only=local_only)
        if system:
            session.context["system"] = text(system, "system")
        request = sessions_pb2.CreateSessionRequest(session=session)
        answer = self._transport.call(lambda link: link.sessions.CreateSession, request)
        return answer.session.id

    def instruct(self, session_id: str, system: str) -> None:
        """Give a session another system message."""
        from oblix.v1 import sessions_pb2

        request = sessions_pb2.UpdateSessionRequest(session=sessions_pb2.Session(id=session_id))
        request.session.context["system"] = text(system, "system")
        request.update_mask.paths.append("context.system")
        self._transport.call(lambda link: link.sessions.UpdateSession, request)

    def delete_session(self, session_id: str) -> None:
        """Delete a session."""
        from oblix.v1 import sessions_pb2

        request = sessions_pb2.DeleteSessionRequest(session_id=session_id)
        self._transport.call(lambda link: link.sessions.DeleteSession, request)

    def explain(self, request: executions_pb2.ExecuteRequest) -> routing_pb2.RoutingDecision:
        """Return where a prompt would go."""
        try:
            return self._decision(request)
        except FailedPreconditionError as error:
            self._hook_again(error)
        return self._decision(request)

    async def stream(self, request: executions_pb2.ExecuteRequest) -> AsyncGenerator[Event, None]:
        """Ask, and yield what happens."""
        decoder = Decoder()
        with closing(self._responses(request)) as responses:
            for response in responses:
                if (event := decoder.event(response)) is not None:
                    yield event

    def close(self) -> None:
        """Let go of what was hooked."""
        if self._models is not None:
            self._models.release()
        self._transport.close()

    def _decision(self, request: executions_pb2.ExecuteRequest) -> routing_pb2.RoutingDecision:
        from oblix.v1 import executions_pb2

        request.candidates[:] = self._handles()
        explain = executions_pb2.ExplainRouteRequest(request=request)
        answer = self._transport.call(lambda link: link.executions.ExplainRoute, explain, repeatable=True)
        return answer.decision

    def _hook_again(self, error: FailedPreconditionError) -> None:
        """Call `hook` again where the daemon was started anew since. Raises any other error."""
        if error.reason != HANDLE_UNKNOWN or self._models is None:
            raise error
        self._models.renew()

    def _handles(self) -> Sequence[str]:
        return self._core.hooked.handles() if self._models is not None else ()

    def _responses(
        self, request: executions_pb2.ExecuteRequest
    ) -> Generator[executions_pb2.ExecuteResponse, None, None]:
        from oblix._sync.resumable import ResumableStream
        from oblix.v1 import executions_pb2

        following = ResumableStream(
            self._transport,
            request.request_id,
            session_id=request.session_id,
            cancels=request.on_disconnect == executions_pb2.ON_DISCONNECT_CANCEL,
        )
        try:
            yield from following.responses(lambda: self._execute(request))
        except FailedPreconditionError as error:
            self._hook_again(error)
        else:
            return
        yield from following.responses(lambda: self._execute(request))

    def _execute(
        self, request: executions_pb2.ExecuteRequest
    ) -> Generator[executions_pb2.ExecuteResponse, None, None]:
        # The request's id makes it safe to send it again: it is never run twice.
        request.candidates[:] = self._handles()
        return self._transport.iterate(
            lambda link: link.executions.Execute(request, metadata=link.metadata), repeatable=True
        )
