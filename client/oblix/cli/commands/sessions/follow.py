"""`oblix follow`: what is said in a session, as it is said, whoever says it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import aclosing
from typing import Any

import oblix
from oblix._convert.records import text_of
from oblix.cli.errors import unknown_session
from oblix.cli.options import session_ids
from oblix.v1 import messages_pb2

CHECKPOINT_S = 0.25
"""How often the daemon records what has come of an answer."""

EPILOG = """examples:
  oblix follow 01a223ff-f09f-7aa4-8860-1e442ba8c1d0
  oblix follow --from-now "$SESSION"

It prints each message under a line `## ROLE`, and a running answer while a model writes it. It ends
with Ctrl-C, or when the session is deleted or archived."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("session", metavar="SESSION", type=session_ids.SessionName, help=session_ids.HELP)
    parser.add_argument("--from-now", action="store_true", help="leave out older messages")
    parser.add_argument(
        "--json", action="store_true", help="print each message as a line of JSON, once it is whole"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print until the session is gone."""
    asyncio.run(_follow(arguments.session, from_now=arguments.from_now, as_json=arguments.json))


async def _follow(session_id: str, *, from_now: bool, as_json: bool) -> None:
    async with oblix.OblixClient() as client:
        session = client.load_session(session_id)
        if session is None:
            raise unknown_session(session_id)
        follower = (_JsonFollower if as_json else _Follower)(client, session_id)
        if from_now:
            follower.shown = {message["id"] for message in session["messages"] if _is_whole(message)}
        async with aclosing(client.watch()) as changes:
            async for change in changes:
                if isinstance(change, oblix.SessionRemoved) and change.session_id == session_id:
                    return
                if isinstance(change, oblix.SessionChanged) and change.session["id"] == session_id:
                    await follower.show_news()


class _Follower:
    """Prints a session, each message once."""

    def __init__(self, client: oblix.OblixClient, session_id: str) -> None:
        self._client = client
        self._session_id = session_id
        self._followed: set[str] = set()
        self.shown: set[str] = set()

    async def show_news(self) -> None:
        """Print the messages that are new, and a running answer to its end."""
        self._show_messages()
        while (running := self._running_request()) not in {"", *self._followed}:
            self._followed.add(running)
            await self._show_answer(running)
            self._show_messages()

    def _running_request(self) -> str:
        header = self._client.get_session(self._session_id) or {}
        return str(header.get("running_request_id", ""))

    def _show_messages(self) -> None:
        for message in self._messages():
            if _is_whole(message) and message["id"] not in self.shown:
                self.shown.add(message["id"])
                self._show_message(message)

    def _show_message(self, message: dict[str, Any]) -> None:
        _write(f"## {message['role']}\n\n{message['content'].rstrip()}\n\n")

    def _messages(self) -> list[dict[str, Any]]:
        return list((self._client.load_session(self._session_id) or {"messages": []})["messages"])

    async def _show_answer(self, request_id: str) -> None:
        """Print an answer as it is recorded. It is not attached to: who only looks on keeps no model busy."""
        _write("## assistant\n\n")
        written, is_over = "", False
        while not is_over:
            is_over = self._running_request() != request_id
            answer = self._newest_answer()
            text = text_of(answer) if answer else ""
            if not text.startswith(written):
                _write("\n\n[another model answers anew]\n\n")
                written = ""
            _write(text[len(written) :])
            written = text
            if not is_over:
                await asyncio.sleep(CHECKPOINT_S)
        _write("\n\n")
        if answer is not None:
            self.shown.add(answer.id)

    def _newest_answer(self) -> messages_pb2.Message | None:
        newest = self._client._sync.sessions.raw(self._session_id, newest_first=True, limit=4)
        answers = (message for message in newest if message.role == messages_pb2.ROLE_ASSISTANT)
        return next((message for message in answers if message.id not in self.shown), None)


class _JsonFollower(_Follower):
    """Prints a session for a program: a line of JSON for each message that is whole."""

    async def show_news(self) -> None:
        """Print the messages that are new. The end of an answer is a change, too."""
        self._show_messages()

    def _show_message(self, message: dict[str, Any]) -> None:
        _write(f"{json.dumps(message)}\n")


def _is_whole(message: dict[str, Any]) -> bool:
    return message.get("status") != "streaming"


def _write(words: str) -> None:
    sys.stdout.write(words)
    sys.stdout.flush()
