"""What the parts of a client share.

Messages that no model wrote.
"""

from __future__ import annotations

from oblix._convert.records import role_of
from oblix._convert.validation import data, text
from oblix._launcher.address import Address
from oblix._resources.agents import Agents
from oblix._resources.hooked_models import Hooks
from oblix._transport.channel import Transport
from oblix.v1 import messages_pb2, sessions_pb2


class SessionManager:
    """Writes into sessions. Every client has one, as `session_manager`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def save_message(
        self, session_id: str, content: str, role: str = "user", *, client_data: bytes | None = None
    ) -> bool:
        """Append a message to a session, and return True once it is on disk.

        `role` is user, assistant, system or tool; `content` has at most 8 MiB.
        `client_data`: the program's own data, at most 1 MiB, which is kept and never
        sent to a model, searched or shown. While an answer is being written, the
        message comes after it. Raises NotFoundError, InvalidArgumentError.
        """
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


class Core:
    """A client's state: its way to the daemon, what it hooked, and which session it is in."""

    def __init__(self, address: Address) -> None:
        self._transport = Transport(address)
        self._hooks = Hooks(self._transport)
        self._agents = Agents()
        self.session_manager = SessionManager(self._transport)
        self.current_session_id: str | None = None
        """The session that prompts belong to where none is named. Assign it as you like."""
