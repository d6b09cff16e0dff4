"""`oblix ask`: one question, one answer."""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import sys
from collections.abc import AsyncGenerator

from oblix import Completed, Event, FailedPreconditionError, InvalidArgumentError, OblixClient
from oblix._requests import Prompt, request_of
from oblix.cli import answers, hooks, output
from oblix.cli.errors import CommandError

EXAMPLES = """examples:
  oblix ask "Why is the sky blue?"
  git diff | oblix ask "Review this:" -
  oblix ask --last "And in one sentence?"

The answer goes to standard output as it arrives. What answered, why, and the session's id
go to standard error."""
TITLE_CHARACTERS = 60
REFUSALS = (InvalidArgumentError, FailedPreconditionError)

# What Python makes of bytes that are not text.
_UNDECODED = re.compile("[\udc80-\udcff]")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "words", nargs="*", metavar="PROMPT", help="the question; - stands for standard input"
    )
    session = parser.add_mutually_exclusive_group()
    session.add_argument("--session", metavar="ID", help="go on with this session")
    session.add_argument("--last", action="store_true", help="go on with the session that changed last")
    session.add_argument("--new", action="store_true", help="begin a new session (the default)")
    session.add_argument("--no-session", action="store_true", help="record nothing")
    hooks.add_model(parser)
    parser.add_argument(
        "--max-tokens", metavar="N", type=int, help="the most that the model may write: 1 to 1,000,000"
    )
    parser.add_argument("--temperature", metavar="X", type=float, help="0 (always the same) to 2 (wild)")
    parser.add_argument("--local-only", action="store_true", help="let no cloud model see it")
    parser.add_argument("--json", action="store_true", help="print the whole response as JSON at the end")
    parser.add_argument("--no-metrics", action="store_true", help="print the answer and nothing else")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Ask, and print the answer."""
    prompt = _prompt(arguments.words)
    completed = asyncio.run(_ask(prompt, arguments))
    if arguments.json:
        output.show_json(completed.response | {"session_id": completed.session_id})


async def _ask(prompt: str, arguments: argparse.Namespace) -> Completed:
    async with OblixClient() as client:
        options = {"model": await hooks.hook(client, arguments), "local_only": arguments.local_only}
        numbers = {"temperature": arguments.temperature, "max_tokens": arguments.max_tokens}
        # What can't be asked must leave no session behind.
        request_of(Prompt(prompt, None, None, **numbers, options=options))
        session_id = await _session(client, prompt, arguments)
        try:
            return await _shown(client.stream(prompt, session_id=session_id, **numbers, **options), arguments)
        except asyncio.CancelledError:
            kept = f"; what had come is kept in session {session_id}" if session_id else ""
            answers.note(f"\ncancelled{kept}")
            raise
        except REFUSALS:
            _discard(client, session_id, arguments)
            raise


async def _shown(events: AsyncGenerator[Event, None], arguments: argparse.Namespace) -> Completed:
    summary = None if arguments.json or arguments.no_metrics else answers.in_full
    return await answers.show(events, text=not arguments.json, summary=summary)


def _prompt(words: list[str]) -> str:
    """The command line's words, with standard input in the place of `-`, or alone where there are none."""
    if not words and (sys.stdin is None or sys.stdin.isatty()):
        raise CommandError('nothing was asked. Say: oblix ask "Why is the sky blue?"')
    return " ".join(_read_input() if word == "-" else _checked(word) for word in words or ["-"])


def _checked(word: str) -> str:
    if _UNDECODED.search(word):
        raise CommandError(f"the argument {word!a} is not UTF-8. Through standard input it may be: -")
    return word


def _read_input() -> str:
    """Standard input. Bytes that are no text become replacement signs, and are told."""
    if sys.stdin is None:
        raise CommandError("there is no standard input to read.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    text, count = _UNDECODED.subn("\N{REPLACEMENT CHARACTER}", sys.stdin.read())
    if count:
        answers.note(
            f"oblix: standard input is not {sys.stdin.encoding.upper()}: {count} bytes were replaced"
        )
    return text


async def _session(client: OblixClient, prompt: str, arguments: argparse.Namespace) -> str | None:
    if arguments.no_session:
        return None
    if arguments.last:
        return _last_session(client)
    if arguments.session:
        return str(arguments.session)
    return await client.create_session(title=_title(prompt), local_only=arguments.local_only)


def _discard(client: OblixClient, session_id: str | None, arguments: argparse.Namespace) -> None:
    """Remove the session that was made for a prompt which the daemon then refused."""
    if session_id is None or arguments.session or arguments.last:
        return
    session = client.get_session(session_id)
    if session and session["message_count"] == 0:
        client.delete_session(session_id)


def _last_session(client: OblixClient) -> str:
    sessions = client.list_sessions(limit=1)
    if not sessions:
        raise CommandError("there is no session yet. Ask without --last to begin one.")
    return str(sessions[0]["id"])


def _title(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= TITLE_CHARACTERS else f"{line[: TITLE_CHARACTERS - 1]}…"
