"""`oblix chat`: a conversation at the terminal."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys

from oblix import OblixClient, OblixError
from oblix.cli.errors import error_text, unknown_session
from oblix.cli.options import models
from oblix.cli.output import answers, wording

EXAMPLES = """examples:
  oblix chat
  oblix chat --local-model ollama:llama2 --cloud-model openai:gpt-4o-mini

Ctrl-C ends the answer, not the chat; exit, quit or Ctrl-D end the chat; /help says so there.
A new session is called after the first thing that you say.
A key is better given by OPENAI_API_KEY or ANTHROPIC_API_KEY: others can read a command line."""
HELP = "[/help shows this; Ctrl-C ends an answer or drops a line; exit, quit or Ctrl-D end the chat]"
WARNING = (
    "oblix: --cloud-api-key stands in the process list, where others can read it. "
    "Better: --cloud-api-key-file, the keyring, OPENAI_API_KEY or ANTHROPIC_API_KEY."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    local, cloud = "PROVIDER:NAME", "PROVIDER:NAME"
    parser.add_argument("--local-model", metavar=local, type=models.model_id, help="a model on this machine")
    parser.add_argument("--cloud-model", metavar=cloud, type=models.model_id, help="a model somewhere else")
    parser.add_argument("--local-endpoint", metavar="URL", help="where the local model's server listens")
    parser.add_argument("--cloud-endpoint", metavar="URL", help="where the cloud model's server listens")
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--cloud-api-key-file", metavar="FILE", help="the cloud model's key: a file only you can read"
    )
    key.add_argument("--cloud-api-key", metavar="KEY", help="the key itself, which others can see meanwhile")
    parser.add_argument("--session", metavar="ID", help="go on with this session instead of a new one")
    models.add_policy(parser)
    parser.add_argument("--local-only", action="store_true", help="let no cloud model see it")
    parser.add_argument("--no-metrics", action="store_true", help="print the answers and nothing else")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Talk until `exit`, `quit` or the end of the input."""
    if sys.stdin.isatty():
        importlib.import_module("readline")  # gives input() a line that can be edited, and a history
    client = OblixClient()
    # One runner for all turns: while an answer comes, Ctrl-C cancels it and nothing else.
    with asyncio.Runner() as runner:
        try:
            session_id = runner.run(_begin(client, arguments))
            is_named = arguments.session is not None
            while (line := _read_line()) is not None:
                if line.startswith("/help"):
                    answers.note(HELP)
                elif line:
                    _turn(runner, client, session_id, line, arguments, title=None if is_named else line)
                    is_named = True
        finally:
            runner.run(client.shutdown())


async def _begin(client: OblixClient, arguments: argparse.Namespace) -> str:
    if arguments.local_model:
        provider, name = arguments.local_model
        await client.hook_model(
            provider, name, arguments.local_endpoint, **models.location_option(provider, "local")
        )
    if arguments.cloud_model:
        provider, name = arguments.cloud_model
        if arguments.cloud_api_key:
            answers.note(WARNING)
        await client.hook_model(
            provider,
            name,
            arguments.cloud_endpoint,
            arguments.cloud_api_key,
            api_key_file=arguments.cloud_api_key_file,
            **models.location_option(provider, "cloud"),
        )
    session_id = await _session(client, arguments)
    if not arguments.no_metrics:
        answers.note(f"Session {session_id}. Ctrl-C ends an answer, exit ends the chat, /help helps.")
    return session_id


async def _session(client: OblixClient, arguments: argparse.Namespace) -> str:
    if arguments.session is None:
        return await client.create_session(local_only=arguments.local_only)
    if client.get_session(arguments.session) is None:
        raise unknown_session(arguments.session)
    return str(arguments.session)


def _turn(
    runner: asyncio.Runner,
    client: OblixClient,
    session_id: str,
    line: str,
    arguments: argparse.Namespace,
    *,
    title: str | None,
) -> None:
    """One question and its answer. Neither Ctrl-C nor a failing model ends the chat.

    `title`: what the session is called from now on, cut to a line.
    """
    # An answer that breaks off begins anew on the other model, where there is one.
    events = client.stream(
        line,
        session_id=session_id,
        local_only=arguments.local_only,
        policy=arguments.policy,
        on_break="restart",
    )
    recorded, summary = answers.Recorded(), None if arguments.no_metrics else answers.in_short
    try:
        if title is not None:
            client.update_session(session_id, title=wording.title(title))
        runner.run(answers.show(events, summary=summary, recorded=recorded))
    except KeyboardInterrupt:
        answers.note(f"\n[{recorded.cancelled('the part above')}]")
    except OblixError as error:
        answers.note(f"\noblix: {error_text(error)}")


def _read_line() -> str | None:
    """Return what the person says; None at the end. Ctrl-C drops the line."""
    try:
        line = input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        if sys.stdin.isatty():
            answers.note("")  # what the shell says next begins a line
        return None
    except KeyboardInterrupt:
        answers.note("\n[exit or Ctrl-D end the chat]")
        return ""
    return None if line in {"exit", "quit"} else line
