"""`oblix ask`: one question, one answer."""

from __future__ import annotations

import argparse
import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from oblix import (
    Completed,
    Event,
    FailedPreconditionError,
    InvalidArgumentError,
    OblixClient,
    ResourceExhaustedError,
)
from oblix.cli.errors import CommandError
from oblix.cli.options import models, ranges
from oblix.cli.output import answers, tables, wording

EXAMPLES = """examples:
  oblix ask "Why is the sky blue?"
  git diff | oblix ask "Review this:" -
  oblix ask --last "And in one sentence?"
  oblix ask --image holiday.jpg "Where is this?"
  oblix attach "$(oblix ask --detach --background "Tell me a long story.")"

The answer goes to standard output as it arrives. What answered, why, and the session's id
go to standard error."""
REFUSALS = (InvalidArgumentError, FailedPreconditionError, ResourceExhaustedError)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "words", nargs="*", metavar="PROMPT", help="the question; - stands for standard input"
    )
    parser.add_argument(
        "--image", dest="images", metavar="FILE", action="append", help="show this picture; may be repeated"
    )
    session = parser.add_mutually_exclusive_group()
    session.add_argument("--session", metavar="ID", help="go on with this session")
    session.add_argument("--last", action="store_true", help="go on with the session that changed last")
    session.add_argument("--new", action="store_true", help="begin a new session (the default)")
    session.add_argument("--no-session", action="store_true", help="record nothing")
    models.add_model(parser)
    models.add_policy(parser)
    parser.add_argument(
        "--max-tokens",
        metavar="N",
        type=ranges.max_tokens,
        help="the most that the model may write: 1 to 1,000,000",
    )
    parser.add_argument(
        "--temperature", metavar="X", type=ranges.temperature, help="0 (always the same) to 2 (wild)"
    )
    parser.add_argument(
        "--reasoning",
        choices=["off", "on", "low", "medium", "high", "max"],
        help="how much the model thinks before it answers (default: as its server has it)",
    )
    parser.add_argument("--local-only", action="store_true", help="let no cloud model see it")
    _configure_waiting(parser)
    parser.add_argument("--json", action="store_true", help="print the whole response as JSON at the end")
    parser.add_argument("--no-metrics", action="store_true", help="print the answer and nothing else")
    parser.set_defaults(run=run)


def _configure_waiting(parser: argparse.ArgumentParser) -> None:
    order = parser.add_mutually_exclusive_group()
    order.add_argument(
        "--priority",
        choices=["interactive", "background"],
        default="interactive",
        help="before or behind others that wait for the same model (default: %(default)s)",
    )
    order.add_argument(
        "--background",
        dest="priority",
        action="store_const",
        const="background",
        help="short for --priority background",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=ranges.timeout,
        help="how long it may take, waiting included: at most a day",
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="print the request's id and leave: it goes on in the daemon, see `oblix attach`",
    )


def run(arguments: argparse.Namespace) -> None:
    """Ask, and print the answer, or the request's id where it is detached."""
    prompt = wording.question(arguments.words, required=not arguments.images)
    if arguments.detach:
        asyncio.run(_detached(prompt, arguments))
        return
    completed = asyncio.run(_ask(prompt, arguments))
    if arguments.json:
        tables.show_json(completed.response | {"session_id": completed.session_id})


async def _ask(prompt: str, arguments: argparse.Namespace) -> Completed:
    async with OblixClient() as client:
        session_id, events = await _begin(client, prompt, arguments)
        summary = None if arguments.json or arguments.no_metrics else answers.in_full
        recorded = answers.Recorded()
        try:
            return await answers.show(events, text=not arguments.json, summary=summary, recorded=recorded)
        except asyncio.CancelledError:
            answers.note(f"\n{recorded.cancelled()}")
            raise
        except REFUSALS:
            _discard(client, session_id, arguments)
            raise


async def _detached(prompt: str, arguments: argparse.Namespace) -> None:
    request_id = str(uuid.uuid4())
    async with OblixClient() as client:
        session_id, events = await _begin(client, prompt, arguments, request_id)
        try:
            async with aclosing(events):
                await anext(events)  # it has begun, or waits
        except REFUSALS:
            _discard(client, session_id, arguments)
            raise
    print(request_id)
    if session_id and not arguments.no_metrics:
        answers.note(f"session  {session_id}")


async def _begin(
    client: OblixClient, prompt: str, arguments: argparse.Namespace, request_id: str | None = None
) -> tuple[str | None, AsyncGenerator[Event, None]]:
    """Return the session, made where a new one is wanted, and the answer's events."""
    options = _options(arguments) | {"model": await models.hook(client, arguments)}
    numbers = {"temperature": arguments.temperature, "max_tokens": arguments.max_tokens}
    session_id = _known_session(client, arguments)
    if session_id is None and not arguments.no_session:
        # What is refused must leave no session behind: it is asked without one, and says why.
        routes = await client.explain(prompt, **numbers, **options)
        if routes["model_routing"]["target"]:
            session_id = await client.create_session(wording.title(prompt), local_only=arguments.local_only)
    return session_id, client.stream(
        prompt, request_id=request_id, session_id=session_id, **numbers, **options
    )


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "local_only": arguments.local_only,
        "policy": arguments.policy,
        "reasoning": arguments.reasoning,
        "images": [wording.picture(path) for path in arguments.images or ()],
        "priority": arguments.priority,
        "timeout": arguments.timeout,
        "on_disconnect": "continue" if arguments.detach else "cancel",
    }


def _known_session(client: OblixClient, arguments: argparse.Namespace) -> str | None:
    if arguments.last:
        return _last_session(client)
    return str(arguments.session) if arguments.session else None


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
