"""`oblix chat`: a conversation at the terminal."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import nullcontext

import oblix
from oblix._convert.terminal_text import DIM, PLAIN
from oblix.cli import preferences
from oblix.cli.commands.prompts.chat import slash
from oblix.cli.commands.prompts.chat.conversation import Conversation
from oblix.cli.commands.prompts.chat.reader import EndOfInput, LineDropped, Reader, reader_for
from oblix.cli.errors import CommandError, error_text, unknown_session
from oblix.cli.keyboard import keyboard
from oblix.cli.options import models, session_ids
from oblix.cli.output import answers
from oblix.errors import OblixError

__all__ = ["configure", "run"]

EXAMPLES = """examples:
  oblix chat
  oblix chat --model ollama:llama3.2 --system "Answer in one sentence."
  oblix chat --last
  oblix chat --local-model ollama:llama2 --cloud-model openai:gpt-4o-mini

Enter sends. Alt-Enter, or a backslash at the end of a line, begins another line; a paste stays in one piece.
Ctrl-C cancels the answer; twice, it ends the chat, as /exit and Ctrl-D do. /help lists all commands.
The first prompt creates the session and becomes its title.
Give a key by OPENAI_API_KEY or ANTHROPIC_API_KEY: other users can read a command line."""
WARNING = (
    "oblix: --cloud-api-key stands in the process list, where others can read it. "
    "Better: --cloud-api-key-file, the keyring, OPENAI_API_KEY or ANTHROPIC_API_KEY."
)
INTERRUPTED = "EXECUTION_INTERRUPTED"
GREETING = "/help shows what you can do; Ctrl-D ends the chat."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLES
    session = parser.add_mutually_exclusive_group()
    session.add_argument("--session", metavar="ID", type=session_ids.SessionName, help=session_ids.HELP)
    session.add_argument(
        "-c",
        "--continue",
        "--last",
        dest="session",
        action="store_const",
        const=session_ids.SessionName(session_ids.LAST),
        help="continue the session that changed last",
    )
    parser.add_argument("-s", "--system", metavar="TEXT", help="the system message")
    models.add_model(parser)
    models.add_policy(parser)
    _configure_two_models(parser)
    parser.add_argument("--local-only", action="store_true", help="let no cloud model see it")
    parser.add_argument(
        "--plain", action="store_true", help="print answers as plain text, not as rendered Markdown"
    )
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--no-metrics", action="store_true", help="print the answers and nothing else")
    told.add_argument(
        "-v",
        "--verbose",
        "--show-metrics",
        action="store_true",
        help="print after each answer why this model gave it",
    )
    parser.set_defaults(run=run)


def _configure_two_models(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a local and a cloud model to choose between")
    local, cloud = "PROVIDER:NAME", "PROVIDER:NAME"
    group.add_argument("--local-model", metavar=local, type=models.model_id, help="a model on this machine")
    group.add_argument("--cloud-model", metavar=cloud, type=models.model_id, help="a model somewhere else")
    group.add_argument("--local-endpoint", metavar="URL", help="where the local model's server listens")
    group.add_argument("--cloud-endpoint", metavar="URL", help="where the cloud model's server listens")
    key = group.add_mutually_exclusive_group()
    key.add_argument(
        "--cloud-api-key-file", metavar="FILE", help="the cloud model's key: a file only you can read"
    )
    key.add_argument(
        "--cloud-api-key", metavar="KEY", help="the key itself; other users can see it in the process list"
    )


def run(arguments: argparse.Namespace) -> None:
    """Talk until `/exit`, Ctrl-D or the end of the input."""
    client = oblix.OblixClient()
    # One runner for all turns: while an answer comes, Ctrl-C cancels it and nothing else.
    with asyncio.Runner() as runner:
        try:
            conversation = runner.run(_begin(client, arguments))
            _talk(runner, conversation)
        finally:
            runner.run(client.shutdown())


async def _begin(client: oblix.OblixClient, arguments: argparse.Namespace) -> Conversation:
    if arguments.session and client.get_session(arguments.session) is None:
        raise unknown_session(arguments.session)
    await _hook_both(client, arguments)
    chosen = preferences.load()
    named = arguments.model or (None if arguments.local_model or arguments.cloud_model else chosen.model)
    conversation = Conversation(
        client,
        session_id=arguments.session,
        model=await models.hook(client, named, arguments),
        policy=arguments.policy or chosen.policy,
        system=arguments.system or (None if arguments.session else chosen.system),
        is_local_only=arguments.local_only,
        is_plain=arguments.plain,
        is_silent=arguments.no_metrics,
        is_verbose=arguments.verbose,
        named_cloud_model=":".join(arguments.cloud_model) if arguments.cloud_model else None,
    )
    if arguments.session and arguments.system:
        client.update_session(arguments.session, context={"system": arguments.system})
    return conversation


async def _hook_both(client: oblix.OblixClient, arguments: argparse.Namespace) -> None:
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


def _talk(runner: asyncio.Runner, conversation: Conversation) -> None:
    reader = reader_for(slash.NAMES, conversation.model_names)
    # What is typed while an answer comes is not shown between its lines: it waits for the next prompt.
    with keyboard.hold() if reader.is_terminal else nullcontext():
        _read_on(runner, conversation, reader)


def _read_on(runner: asyncio.Runner, conversation: Conversation, reader: Reader) -> None:
    if reader.is_terminal and not conversation.is_silent:
        answers.note(f"{DIM}{GREETING}{PLAIN}")
        if continued := conversation.summary():
            answers.note(f"{DIM}[this goes on with {continued}]{PLAIN}")
    was_interrupted = False
    while True:
        try:
            said = reader.read(conversation.take_draft())
        except EndOfInput:
            return
        except LineDropped as dropped:
            # Who drops one line after the other does not want to leave.
            if was_interrupted and not dropped.text:
                return
            answers.note(f"{DIM}[Ctrl-C once more, /exit or Ctrl-D end the chat]{PLAIN}")
            was_interrupted = True
            continue
        was_interrupted = False
        if said and not _is_going_on(runner, conversation, said):
            return


def _is_going_on(runner: asyncio.Runner, conversation: Conversation, line: str) -> bool:
    """Do what was said, and tell whether the chat goes on. Neither Ctrl-C nor a failing model ends it."""
    try:
        return runner.run(slash.obey(conversation, line))
    except KeyboardInterrupt:
        answers.note(f"\n[{conversation.recorded.cancelled_text('the part above')}]")
    except CommandError as error:
        answers.note(f"oblix: {error}")
    except OblixError as error:
        answers.note(f"oblix: {_error_text(error)}")
    except OSError as error:
        answers.note(f"oblix: {error.filename}: {error.strerror}.")
    return True


def _error_text(error: OblixError) -> str:
    """Put an error in the words of a chat, which has a command of its own to ask again."""
    if error.reason == INTERRUPTED:
        kept = "the part above is" if error.metadata.get("kept_bytes", "0") != "0" else "your question is"
        return f"oblixd ended before the answer did; {kept} kept. /retry asks again."
    return error_text(error)
