"""Older spellings of `execute`."""

from __future__ import annotations

from typing import Any

from oblix._prompts import PromptCalls
from oblix._terminal import Printer, converse


class ChatCalls(PromptCalls):
    """Calls that older programs make. New ones say `execute`."""

    async def execute_streaming(
        self,
        prompt: str,
        temperature: float | None = None,
        max_tokens: int | None = None,
        request_id: str | None = None,
        display_metrics: bool = True,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """`execute` with `stream=True`."""
        return await self.execute(prompt, temperature, max_tokens, request_id, display_metrics, **kwargs)

    async def chat_once(self, prompt: str, session_id: str | None = None) -> dict[str, Any]:
        """Ask once in a session, or in a new one; writes nothing. The response has `session_id`, too."""
        session_id = session_id or await self.create_session()
        response = await self.execute(prompt, session_id=session_id, stream=False)
        return response | {"session_id": session_id}

    async def start_chat(self, session_id: str | None = None) -> str:
        """Talk at the terminal until `exit`, in a session or in a new one, and return its id."""
        return await self._talk(session_id, Printer(live=False, whole=True, metrics=True))

    async def chat_streaming(self, session_id: str | None = None) -> str:
        """`start_chat`, with the answers written as they arrive."""
        return await self._talk(session_id, Printer(live=True, whole=False, metrics=True))

    async def _talk(self, session_id: str | None, printer: Printer) -> str:
        session_id = session_id or await self.create_session()

        async def ask(said: str) -> dict[str, Any]:
            return await printer.response_of(self.stream(said, session_id=session_id))

        await converse(ask)
        return session_id
