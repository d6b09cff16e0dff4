"""`oblix ask`: one question, one answer."""

from __future__ import annotations

import argparse
import asyncio
import sys

from oblix import Completed, OblixClient
from oblix.cli import answers, hooks, output
from oblix.cli.errors import CommandError

EXAMPLES = """examples:
  oblix ask "Why is the sky blue?"
  git diff | oblix ask "Review this:" -
  oblix ask --last "And in one sentence?"

The answer goes to standard output as it arrives. What answered, why, and the session's id
go to standard error."""
TITLE_CHARACTERS = 60


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
    parser.add_argument("--max-tokens", metavar="N", type=int, help="the most that the model may write")
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
    client = OblixClient()
    try:
        model = await hooks.hook(client, arguments)
        session_id = await _session(client, prompt, arguments)
        events = client.stream(
            prompt,
            session_id=session_id,
            model=model,
            temperature=arguments.temperature,
            max_tokens=arguments.max_tokens,
            local_only=arguments.local_only,
        )
        is_quiet = arguments.json or arguments.no_metrics
        return await answers.show(events, text=not arguments.json, summary=not is_quiet)
    finally:
        await client.shutdown()


def _prompt(words: list[str]) -> str:
    """The command line's words, with standard input in the place of `-`, or alone where there are none."""
    if not words and sys.stdin.isatty():
        raise CommandError('nothing was asked. Say: oblix ask "Why is the sky blue?"')
    return " ".join(_read_input() if word == "-" else word for word in words or ["-"])


def _read_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise CommandError(
            f"standard input is not UTF-8 text: {error.reason} at byte {error.start}."
        ) from None


async def _session(client: OblixClient, prompt: str, arguments: argparse.Namespace) -> str | None:
    if arguments.no_session:
        return None
    if arguments.last:
        return _last_session(client)
    if arguments.session:
        return str(arguments.session)
    return await client.create_session(title=_title(prompt), local_only=arguments.local_only)


def _last_session(client: OblixClient) -> str:
    sessions = client.list_sessions(limit=1)
    if not sessions:
        raise CommandError("there is no session yet. Ask without --last to begin one.")
    return str(sessions[0]["id"])


def _title(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= TITLE_CHARACTERS else f"{line[: TITLE_CHARACTERS - 1]}…"
