"""What the parts of `OblixClient` share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from oblix._convert.validation import data, text
from oblix._convert.values import to_struct
from oblix._resources.core import Core

if TYPE_CHECKING:
    from oblix._async.prompts import AsyncPrompts
    from oblix.async_client import AsyncClient
    from oblix.sync_client import Client


class SessionManager:
    """Writes into sessions. Every `OblixClient` has one, as `session_manager`."""

    def __init__(self, core: Core) -> None:
        self._transport = core.transport

    def save_message(
        self, session_id: str, content: str, role: str = "user", *, client_data: bytes | None = None
    ) -> bool:
        """Append a message to a session, and return True once it is on disk.

        `role` is user, assistant, system or tool; `content` has at most 8 MiB.
        `client_data`: the program's own data, at most 1 MiB, which is kept and never
        sent to a model, searched or shown. While an answer is being written, the
        message comes after it. Raises NotFoundError, InvalidArgumentError.
        """
        from oblix._convert.records import role_of
        from oblix.v1 import messages_pb2, sessions_pb2

        message = messages_pb2.Message(
            role=role_of(role),
            parts=[messages_pb2.Part(text=text(content, "content"))],
            client_data=data(client_data, "client_data") or b"",
        )
        request = sessions_pb2.AppendMessagesRequest(
            session_id=text(session_id, "session_id"), messages=[message]
        )
        self._transport.call(lambda link: link.sessions.AppendMessages, request)
        return True


class FacadePart:
    """A client's state: the clients of its core that do the work, and which session it is in."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._transport = core.transport
        self._agents = core.agents
        self.session_manager = SessionManager(core)
        self.current_session_id: str | None = None
        """The session that prompts belong to where none is named. Assign it as you like."""

    @cached_property
    def _async(self) -> AsyncClient:
        from oblix.async_client import AsyncClient

        return AsyncClient.over(self._core)

    @cached_property
    def _sync(self) -> Client:
        from oblix.sync_client import Client

        return Client.over(self._core)

    @cached_property
    def _prompts(self) -> AsyncPrompts:
        from oblix._async.prompts import AsyncPrompts

        return AsyncPrompts(self._core, self._async.models)

    @staticmethod
    def _filter(filter_metadata: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return a filter once it is known to be one: an error names the argument as it is called here."""
        if filter_metadata is not None:
            to_struct(filter_metadata, "filter_metadata")
        return filter_metadata

    def _use(self, session_id: str, use_immediately: bool) -> str:
        if use_immediately:
            self.current_session_id = session_id
        return session_id
