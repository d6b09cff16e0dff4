"""An editor of a test: the official SDK's client."""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from acp import PROTOCOL_VERSION, connect_to_agent
from acp.client.connection import ClientSideConnection
from acp.exceptions import RequestError
from acp.schema import (
    AllowedOutcome,
    ClientCapabilities,
    CreateTerminalResponse,
    DeniedOutcome,
    FileSystemCapabilities,
    InitializeResponse,
    ReadTextFileResponse,
    RequestPermissionResponse,
    TerminalOutputResponse,
    WaitForTerminalExitResponse,
    WriteTextFileResponse,
)
from oblix.cli.commands.tools import acp as command
from oblix.protocols.acp import agent as agent_module

COMMAND = (sys.executable, "-m", "oblix", "acp")
TOOLS = ClientCapabilities(
    fs=FileSystemCapabilities(read_text_file=True, write_text_file=True), terminal=True
)
WAIT_S = 60.0


@dataclass
class Editor:
    """What an editor has and sees. `decision` answers every question: allow, always, reject or None."""

    files: dict[str, str] = field(default_factory=dict)
    decision: str | None = "allow"
    output: str = "done\n"
    exit_code: int = 0
    updates: list[Any] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    terminals: list[Any] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        self.updates.append(update)
        self.news.set()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **_: Any
    ) -> RequestPermissionResponse:
        self.asked.append(tool_call)
        self.news.set()
        if self.decision is None:
            await asyncio.Event().wait()
        if self.decision == "cancelled":
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        outcome = AllowedOutcome(outcome="selected", option_id=str(self.decision))
        return RequestPermissionResponse(outcome=outcome)

    async def read_text_file(self, session_id: str, path: str, **_: Any) -> ReadTextFileResponse:
        if path not in self.files:
            raise RequestError.resource_not_found(path)
        return ReadTextFileResponse(content=self.files[path])

    async def write_text_file(
        self, session_id: str, path: str, content: str, **_: Any
    ) -> WriteTextFileResponse:
        self.files[path] = content
        return WriteTextFileResponse()

    async def create_terminal(self, session_id: str, command: str, **given: Any) -> CreateTerminalResponse:
        self.terminals.append((command, given.get("args"), given.get("cwd")))
        return CreateTerminalResponse(terminal_id=f"term-{len(self.terminals)}")

    async def wait_for_terminal_exit(self, **_: Any) -> WaitForTerminalExitResponse:
        return WaitForTerminalExitResponse(exit_code=self.exit_code)

    async def terminal_output(self, **_: Any) -> TerminalOutputResponse:
        return TerminalOutputResponse(output=self.output, truncated=False)

    async def release_terminal(self, session_id: str, terminal_id: str, **_: Any) -> None:
        self.released.append(terminal_id)

    async def kill_terminal(self, **_: Any) -> None:
        """Nothing runs here that could be killed."""

    def of(self, kind: str) -> list[Any]:
        """The updates of one kind, for example agent_message_chunk."""
        return [update for update in self.updates if update.session_update == kind]

    def text(self, kind: str = "agent_message_chunk") -> str:
        """What the chunks of a kind say together."""
        return "".join(update.content.text for update in self.of(kind))

    async def until(self, condition: Any) -> None:
        """Return once the condition holds; it is asked again at everything that the agent says."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.news.clear()
                await self.news.wait()


@dataclass
class Connected:
    """An editor with its agent."""

    editor: Editor
    agent: ClientSideConnection
    welcome: InitializeResponse
    hang_up: Callable[[], None]
    """Closes the editor's side, as one that ends does."""


@asynccontextmanager
async def connect(
    *words: str, editor: Editor | None = None, tools: ClientCapabilities | None = None
) -> AsyncIterator[Connected]:
    """Serve `oblix acp WORDS` from this process, over a pair of sockets, and say hello."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    of_agent = await asyncio.open_connection(sock=theirs, limit=agent_module.MAX_LINE_BYTES)
    parser = argparse.ArgumentParser()
    command.configure(parser)
    arguments = parser.parse_args(words)
    serving = asyncio.create_task(command.serve(agent_module, arguments, of_agent[1], of_agent[0]))
    try:
        async with asyncio.timeout(WAIT_S * 2):
            editor = editor or Editor()
            agent = connect_to_agent(editor, writer, reader, use_unstable_protocol=True)
            welcome = await agent.initialize(protocol_version=PROTOCOL_VERSION, client_capabilities=tools)
            yield Connected(editor, agent, welcome, writer.close)
            await agent.close()
    finally:
        for closing in (writer, of_agent[1]):
            closing.close()
            await closing.wait_closed()
        await serving
