"""The agent that an editor talks to: its sessions are the daemon's, its answers the daemon's models'."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from acp import Agent, Client, RequestError, run_agent, schema
from acp.core import DEFAULT_STDIO_BUFFER_LIMIT_BYTES

from oblix import InvalidArgumentError, NotFoundError, OblixClient, OblixError
from oblix._convert import records
from oblix._convert.values import from_struct
from oblix.protocols.acp import settings as choosing
from oblix.protocols.acp.content import Block, parts_of, question_of, updates_of
from oblix.protocols.acp.editor_tools import EditorTools
from oblix.protocols.acp.settings import ROUTED, Choices, Settings
from oblix.protocols.acp.turns import Turn
from oblix.protocols.conversations import Conversations, Scope
from oblix.v1 import sessions_pb2

MAX_LINE_BYTES = DEFAULT_STDIO_BUFFER_LIMIT_BYTES
PROTOCOL_VERSION = 1
SESSIONS_PAGE = 50
TITLE_CHARACTERS = 60
DIRECTORY = "directory"
"""The metadata's key of a session's working directory, the same as of imported sessions."""
INVALID_PARAMS, NOT_FOUND, INTERNAL = -32602, -32002, -32603

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def _answers(method: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Answer an OblixError as the protocol's errors: its sentence, and its reason in the data."""

    @functools.wraps(method)
    async def answer(*given: P.args, **options: P.kwargs) -> R:
        try:
            return await method(*given, **options)
        except OblixError as error:
            code = NOT_FOUND if isinstance(error, NotFoundError) else INTERNAL
            code = INVALID_PARAMS if isinstance(error, InvalidArgumentError) else code
            data = {"reason": error.reason, **error.metadata}
            raise RequestError(code, error.message, data) from error

    return answer


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the command line says of every session that the editor makes."""

    model: str = ROUTED
    policy: str = ""
    local_only: bool = False


@dataclass(slots=True)
class _Open:
    """A session that the editor has open."""

    tools: EditorTools
    settings: Settings
    turn: asyncio.Task[schema.PromptResponse] | None = None


class OblixAgent:
    """One editor's agent: the methods of the SDK's `acp.Agent`, with the parameters that are of use here."""

    def __init__(self, client: OblixClient, scope: Scope, defaults: Defaults) -> None:
        self._client = client
        self._conversations = Conversations(client, scope)
        self._defaults = defaults
        self._capabilities = schema.ClientCapabilities()
        self._open: dict[str, _Open] = {}
        self._editor: Client

    def on_connect(self, conn: Client) -> None:
        """Remember the editor."""
        self._editor = conn

    async def initialize(
        self,
        protocol_version: int,
        client_capabilities: schema.ClientCapabilities | None = None,
        client_info: schema.Implementation | None = None,
        **_: Any,
    ) -> schema.InitializeResponse:
        """Say what this agent can do."""
        self._capabilities = client_capabilities or schema.ClientCapabilities()
        version = importlib.metadata.version("oblix")
        return schema.InitializeResponse(
            protocol_version=PROTOCOL_VERSION,
            agent_info=schema.Implementation(name="oblix", title="Oblix", version=version),
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                prompt_capabilities=schema.PromptCapabilities(image=True, embedded_context=True),
                session_capabilities=schema.SessionCapabilities(
                    list=schema.SessionListCapabilities(),
                    resume=schema.SessionResumeCapabilities(),
                    close=schema.SessionCloseCapabilities(),
                    fork=schema.SessionForkCapabilities(),
                ),
            ),
            auth_methods=[],
        )

    @_answers
    async def new_session(
        self, cwd: str, mcp_servers: list[Any] | None = None, **_: Any
    ) -> schema.NewSessionResponse:
        """Make a session of this working directory, with the metadata that the scope's filter wants."""
        _note_servers(mcp_servers)
        metadata = {DIRECTORY: cwd, **(self._conversations.scope.filter or {})}
        session_id = await self._client.create_session(
            metadata=metadata,
            local_only=self._defaults.local_only,
            routing_policy=self._defaults.policy,
        )
        choices = await self._enter(await self._conversations.header(session_id), cwd)
        return schema.NewSessionResponse(session_id=session_id, **self._session_options(session_id, choices))

    @_answers
    async def load_session(
        self, cwd: str, session_id: str, mcp_servers: list[Any] | None = None, **_: Any
    ) -> schema.LoadSessionResponse:
        """Open a session, and show the editor what was said in it."""
        _note_servers(mcp_servers)
        choices = await self._enter(await self._conversations.header(session_id), cwd)
        async for update in updates_of(self._conversations.messages(session_id)):
            await self._show(session_id, update)
        return schema.LoadSessionResponse(**self._session_options(session_id, choices))

    @_answers
    async def resume_session(
        self, session_id: str, cwd: str, mcp_servers: list[Any] | None = None, **_: Any
    ) -> schema.ResumeSessionResponse:
        """Open a session whose history the editor has already."""
        _note_servers(mcp_servers)
        choices = await self._enter(await self._conversations.header(session_id), cwd)
        return schema.ResumeSessionResponse(**self._session_options(session_id, choices))

    @_answers
    async def fork_session(
        self, session_id: str, cwd: str, mcp_servers: list[Any] | None = None, **_: Any
    ) -> schema.ForkSessionResponse:
        """Copy a session, and open the copy."""
        _note_servers(mcp_servers)
        await self._conversations.header(session_id)
        fork_id = await self._client.fork_session(session_id)
        choices = await self._enter(await self._conversations.header(fork_id), cwd)
        return schema.ForkSessionResponse(session_id=fork_id, **self._session_options(fork_id, choices))

    @_answers
    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_: Any
    ) -> schema.ListSessionsResponse:
        """List the sessions of a working directory, or all of them, the most recently changed first."""
        also = {DIRECTORY: cwd} if cwd else None
        sessions, token = await self._conversations.page(SESSIONS_PAGE, cursor or "", also)
        shown = [_info(session) for session in sessions]
        return schema.ListSessionsResponse(sessions=shown, next_cursor=token or None)

    @_answers
    async def close_session(self, session_id: str, **_: Any) -> schema.CloseSessionResponse:
        """Cancel what runs in a session, and forget that it was open. The session stays."""
        await self.cancel(session_id)
        self._open.pop(session_id, None)
        return schema.CloseSessionResponse()

    @_answers
    async def set_session_mode(
        self, mode_id: str, session_id: str, **_: Any
    ) -> schema.SetSessionModeResponse:
        """Choose the session's routing policy."""
        choices = await self._change(session_id, choosing.MODE, mode_id)
        # Editors that show options instead of modes keep both alike.
        update = schema.ConfigOptionUpdate(
            session_update="config_option_update",
            config_options=list(choosing.config_options_of(self._open[session_id].settings, choices)),
        )
        await self._show(session_id, update)
        return schema.SetSessionModeResponse()

    @_answers
    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_: Any
    ) -> schema.SetSessionConfigOptionResponse:
        """Choose the policy, the model or how much it thinks."""
        choices = await self._change(session_id, config_id, value)
        chosen = self._open[session_id].settings
        if config_id == choosing.MODE:
            update = schema.CurrentModeUpdate(
                session_update="current_mode_update", current_mode_id=chosen.policy
            )
            await self._show(session_id, update)
        options = choosing.config_options_of(chosen, choices)
        return schema.SetSessionConfigOptionResponse(config_options=list(options))

    @_answers
    async def prompt(self, session_id: str, prompt: list[Block], **_: Any) -> schema.PromptResponse:
        """Ask, and stream what comes to the editor."""
        opened = self._open_session(session_id)
        if opened.turn is not None:
            why = "This session is answering already: cancel it, or wait for its end."
            raise InvalidArgumentError(why, reason="SESSION_BUSY")
        turn = opened.turn = asyncio.create_task(self._turn(session_id, opened, prompt))
        try:
            return await asyncio.shield(turn)
        except asyncio.CancelledError:
            if not turn.cancelled():  # the connection has ended
                turn.cancel()
                raise
            return schema.PromptResponse(stop_reason="cancelled")
        finally:
            opened.turn = None

    async def _turn(self, session_id: str, open_session: _Open, prompt: list[Block]) -> schema.PromptResponse:
        session = await self._conversations.header(session_id)
        parts = await parts_of(prompt, open_session.tools.read)
        if not session.title and (title := _title(question_of(parts))):
            await asyncio.to_thread(lambda: self._client.update_session(session_id, title=title))
            update = schema.SessionInfoUpdate(session_update="session_info_update", title=title)
            await self._show(session_id, update)
        options = open_session.settings.options()
        return await Turn(self._client, self._editor, session_id, open_session.tools, options).run(parts)

    async def cancel(self, session_id: str, **_: Any) -> None:
        """End the running answer. What had come is kept; `prompt` answers that it was cancelled."""
        opened = self._open.get(session_id)
        if opened is not None and opened.turn is not None:
            opened.turn.cancel()

    async def shutdown(self) -> None:
        """End every running answer, which frees its model."""
        turns = [opened.turn for opened in self._open.values() if opened.turn is not None]
        for turn in turns:
            turn.cancel()
        await asyncio.gather(*turns, return_exceptions=True)

    async def _enter(self, session: sessions_pb2.Session, cwd: str) -> Choices:
        if not Path(cwd).is_absolute():
            raise InvalidArgumentError(f"cwd is an absolute path; given: {cwd}")
        tools = EditorTools(self._editor, self._capabilities, session.id, cwd)
        before = self._open.get(session.id)
        opened = _Open(tools, choosing.settings_of(session, self._defaults.model))
        opened.turn = before.turn if before else None
        self._open[session.id] = opened
        return await choosing.choices_of(self._client)

    def _session_options(self, session_id: str, choices: Choices) -> dict[str, Any]:
        chosen = self._open[session_id].settings
        return {
            "modes": choosing.modes_of(chosen, choices),
            "config_options": choosing.config_options_of(chosen, choices),
        }

    def _open_session(self, session_id: str) -> _Open:
        if session_id not in self._open:
            why = f"Session {session_id} is not open here: make, load or resume it first."
            raise NotFoundError(why, reason="SESSION_NOT_FOUND")
        return self._open[session_id]

    async def _change(self, session_id: str, option: str, value: object) -> Choices:
        opened = self._open_session(session_id)
        choices = await choosing.choices_of(self._client)
        changed = opened.settings.change(option, value, choices)
        await choosing.keep(self._client, session_id, changed)
        opened.settings = changed
        return choices

    async def _show(self, session_id: str, update: Any) -> None:
        await self._editor.session_update(session_id=session_id, update=update)


async def run(agent: OblixAgent, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
    """Serve an editor until it closes its side."""
    # Resuming, closing and forking sessions stand behind this switch of the SDK.
    await run_agent(cast("Agent", agent), writer, reader, use_unstable_protocol=True)


def _info(session: sessions_pb2.Session) -> schema.SessionInfo:
    directory = from_struct(session.metadata).get(DIRECTORY)
    is_path = isinstance(directory, str) and Path(directory).is_absolute()
    return schema.SessionInfo(
        session_id=session.id,
        # The protocol wants a directory; conversations of other programs may have none.
        cwd=directory if is_path and isinstance(directory, str) else str(Path.home()),
        title=session.title or None,
        updated_at=records.to_text(session.update_time),
    )


def _title(question: str) -> str:
    return question if len(question) <= TITLE_CHARACTERS else f"{question[: TITLE_CHARACTERS - 1]}…"


def _note_servers(servers: list[Any] | None) -> None:
    if servers:
        names = ", ".join(server.name for server in servers)
        logger.warning("Oblix runs no tools, so these MCP servers are not used: %s", names)
