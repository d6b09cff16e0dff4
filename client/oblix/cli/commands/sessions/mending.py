"""`oblix sessions remove`, `edit`, `regenerate` …: mending a conversation."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import oblix
from oblix.cli.errors import CommandError
from oblix.cli.options import models, session_ids
from oblix.cli.output import answers, screens, tables, wording
from oblix.cli.output.events import of_client

NAMES = (
    "A message is named by its id (see `view --ids`), by its place from 1, or from the end: -1 is the last."
)
VERSION_COLUMNS = {"version": "VERSION", "time": "TIME", "model": "MODEL", "content": "TEXT"}


def configure(actions: Any) -> None:
    """Declare the subcommands."""
    _configure_deletions(actions)
    edit = _add(actions, "edit", "replace what a message says; the old version is kept")
    edit.add_argument("message", type=name, metavar="MESSAGE")
    edit.add_argument("words", nargs="*", metavar="TEXT", help="the new text; - stands for standard input")
    edit.add_argument("--restore", type=int, metavar="N", help="make this older version the current one")
    edit.set_defaults(run=_edit)
    versions = _add(actions, "versions", "list what a message was before, newest first")
    versions.add_argument("message", type=name, metavar="MESSAGE")
    versions.add_argument("--json", action="store_true", help="print them as JSON")
    versions.set_defaults(run=_versions)
    for command, meaning in [
        ("exclude", "leave messages out of what models are sent; the session keeps them"),
        ("include", "send messages again that were left out"),
    ]:
        mark = _add(actions, command, meaning)
        mark.add_argument("messages", nargs="+", type=name, metavar="MESSAGE")
        mark.set_defaults(run=_mark, mark=command)
    again = _add(actions, "regenerate", "answer the last question anew; the old answer is kept as a version")
    again.add_argument("message", nargs="?", type=name, default=-1, metavar="MESSAGE")
    models.add_model(again)
    models.add_policy(again)
    again.add_argument("--json", action="store_true", help="print the whole response as JSON at the end")
    again.set_defaults(run=_regenerate)


def _configure_deletions(actions: Any) -> None:
    remove = _add(actions, "remove", "delete messages for good; a tool call and its results go together")
    remove.add_argument("messages", nargs="+", type=name, metavar="MESSAGE")
    remove.set_defaults(run=_remove)
    truncate = _add(actions, "truncate", "delete a message and all after it for good")
    truncate.add_argument("message", type=name, metavar="MESSAGE")
    truncate.set_defaults(run=_truncate)
    pop = _add(actions, "pop", "delete the last messages for good")
    pop.add_argument("count", nargs="?", type=int, default=1, metavar="N", help="how many (default 1)")
    pop.set_defaults(run=_pop)


def _add(actions: Any, command: str, meaning: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(command, help=meaning, epilog=NAMES)
    session_ids.add_id(parser)
    return parser


def name(text: str) -> str | int:
    """Return how a message is named: by a number or by its id."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def _remove(arguments: argparse.Namespace) -> None:
    _say(len(oblix.OblixClient().delete_messages(arguments.id, arguments.messages)))


def _truncate(arguments: argparse.Namespace) -> None:
    _say(oblix.OblixClient().truncate_session(arguments.id, arguments.message))


def _pop(arguments: argparse.Namespace) -> None:
    _say(len(oblix.OblixClient().pop_messages(arguments.id, arguments.count)))


def _say(count: int) -> None:
    what = "message was" if count == 1 else "messages were"
    print(f"oblix: {count:,} {what} deleted.", file=sys.stderr)


def _edit(arguments: argparse.Namespace) -> None:
    client = oblix.OblixClient()
    if arguments.restore is not None:
        client.restore_message(arguments.id, arguments.message, arguments.restore)
    else:
        said = wording.question(arguments.words, required=False)
        if not said.strip():
            raise CommandError("an edit needs what the message says now: give TEXT, or --restore N.")
        client.edit_message(arguments.id, arguments.message, said)


def _versions(arguments: argparse.Namespace) -> None:
    found = oblix.OblixClient().list_message_versions(arguments.id, arguments.message)
    if arguments.json:
        tables.show_json(found)
        return
    if not found and sys.stdout.isatty():
        print("oblix: this message was never changed.", file=sys.stderr)
    rows = [
        {"version": 0, "model": ""} | version | {"time": tables.local_time(version["timestamp"])}
        for version in found
    ]
    tables.show_rows(rows, VERSION_COLUMNS)


def _mark(arguments: argparse.Namespace) -> None:
    client = oblix.OblixClient()
    if arguments.mark == "exclude":
        count, done = client.exclude_messages(arguments.id, arguments.messages), "left out from now on"
    else:
        count, done = client.include_messages(arguments.id, arguments.messages), "sent again"
    what = "message is" if count == 1 else "messages are"
    print(f"oblix: {count:,} {what} {done}.", file=sys.stderr)


def _regenerate(arguments: argparse.Namespace) -> None:
    asyncio.run(_answer_anew(arguments))


async def _answer_anew(arguments: argparse.Namespace) -> None:
    async with oblix.OblixClient() as client:
        model = await models.hook(client, arguments.model, arguments)
        message_id = client.get_message(arguments.id, arguments.message)["id"]
        events = of_client(
            client.stream(
                session_id=arguments.id,
                regenerate_message_id=message_id,
                model=model,
                policy=arguments.policy,
            )
        )
        if arguments.json:
            completed = await answers.show(events, summary=None)
            tables.show_json(completed.response() | {"session_id": arguments.id})
        else:
            await answers.show(events, screen=screens.Text(), summary=answers.in_line)
