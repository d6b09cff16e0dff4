"""`oblix sessions`: the conversations that the daemon keeps."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import oblix
from oblix.cli import session_list
from oblix.cli.errors import CommandError, unknown_session
from oblix.cli.options import execution_ids, session_ids
from oblix.cli.options.json_output import add_json
from oblix.cli.options.pairs import pairs
from oblix.cli.output import tables
from oblix.cli.parser import Parser
from oblix.cli.prompting import consent

if TYPE_CHECKING:
    from oblix.cli.session_list import Listed

LIMIT = 50
MODULES = {
    "oblix.cli.commands.sessions.pick": ("pick",),
    "oblix.cli.commands.sessions.search": ("search",),
    "oblix.cli.commands.sessions.upkeep": (
        "rename",
        "fork",
        "archive",
        "unarchive",
        "undelete",
        "prune",
        "watch",
    ),
    "oblix.cli.commands.sessions.mending": (
        "remove",
        "truncate",
        "pop",
        "edit",
        "versions",
        "exclude",
        "include",
        "regenerate",
    ),
    "oblix.cli.commands.sessions.transfer": ("export", "import"),
}
"""The subcommands that other modules declare."""
COLUMNS = {"id": "ID", "updated": "UPDATED", "message_count": "MESSAGES", "title": "TITLE"}


def configure(parser: Parser) -> None:
    """Declare the subcommands."""
    _configure_list(parser)
    actions = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    listing = actions.add_parser("list", help="list sessions, most recently changed first (the default)")
    _configure_list(listing, is_default=False)
    _configure_one(actions)
    for module in parser.subcommand_modules(MODULES):
        module.configure(actions)


def _configure_one(actions: Any) -> None:
    """Declare what is done with one session, or a few."""
    view = actions.add_parser("view", help="print a session's messages")
    session_ids.add_id(view)
    view.add_argument("--json", action="store_true", help="print the session as JSON")
    view.add_argument("--ids", action="store_true", help="print each message's id, to edit or remove it by")
    view.set_defaults(run=_view)
    create = actions.add_parser("create", help="make an empty session and print its id")
    title = create.add_mutually_exclusive_group()
    title.add_argument("title", nargs="?", metavar="TITLE")
    title.add_argument("--title", dest="given_title", metavar="TITLE", help="the same")
    create.add_argument("--metadata", **pairs("set this key of the metadata"))
    create.add_argument("--local-only", action="store_true", help="never let a cloud model see it")
    create.add_argument(
        "--id", metavar="ID", help="its id: 1 to 128 of A-Z a-z 0-9 . _ - (default: a new one)"
    )
    create.add_argument("--get", action="store_true", help="use an existing session with this --id")
    add_json(create, "print the session as JSON, and not its id alone", is_default=False)
    create.set_defaults(run=_create)
    delete = actions.add_parser("delete", help="delete sessions and their messages; `undelete` restores them")
    delete.add_argument("ids", nargs="+", metavar="ID", type=session_ids.SessionName, help=session_ids.HELP)
    delete.add_argument(
        "--purge",
        action="store_true",
        help="delete permanently, also a session that was deleted before, and free its id",
    )
    delete.add_argument(
        "-y", "--yes", action="store_true", help="do not ask; without a terminal, it never asks"
    )
    delete.set_defaults(run=_delete)


def _configure_list(parser: argparse.ArgumentParser, *, is_default: bool = True) -> None:
    """Declare what a list takes, alike before and behind the word `list`."""
    given = argparse.ArgumentParser(
        argument_default=None if is_default else argparse.SUPPRESS,
        add_help=False,
        # It prints nothing, so no width has to be looked up.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
    )
    given.add_argument("--limit", type=int, metavar="N", help=f"at most this many (default {LIMIT})")
    given.add_argument("--filter", **pairs("only where the metadata has this value"))
    given.add_argument(
        "--from",
        dest="start",
        metavar="TIME",
        help="only sessions that changed at this time or later (ISO 8601)",
    )
    given.add_argument(
        "--before", metavar="TIME", help="only sessions that changed before this time (ISO 8601)"
    )
    which = given.add_mutually_exclusive_group()
    which.add_argument("--archived", action="store_true", help="only archived sessions")
    which.add_argument("--all", action="store_true", help="archived sessions, too")
    which.add_argument("--deleted", action="store_true", help="only deleted sessions that can be restored")
    add_json(given, "print them as JSON", is_default=is_default)
    parser._add_container_actions(given)
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> None:
    found = session_list.fetch(
        # One more than is shown tells whether there are more.
        limit=LIMIT + 1 if arguments.limit is None else arguments.limit,
        metadata=dict(arguments.filter),
        archived=None if arguments.all else arguments.archived,
        updated_from=arguments.start,
        updated_before=arguments.before,
        deleted=arguments.deleted,
    )
    shown = found[:LIMIT] if arguments.limit is None else found
    if arguments.json:
        tables.show_json([session.summary() for session in shown])
    else:
        _show(shown)
    if len(found) > len(shown):
        print(f"oblix: {LIMIT} are shown, and there are more: --limit N shows N.", file=sys.stderr)


def _show(sessions: list[Listed]) -> None:
    if not sessions and sys.stdout.isatty():
        print("oblix: there is no such session.", file=sys.stderr)
    ids = [session.id for session in sessions]
    # On a terminal the beginning of an id leaves room for the title, and is enough to type.
    short = (
        execution_ids.short(ids, session_ids.SHOWN_CHARACTERS)
        if sys.stdout.isatty()
        else dict(zip(ids, ids, strict=True))
    )
    tables.show_rows([_row(session, short[session.id]) for session in sessions], COLUMNS)
    for session in sessions:
        if session.damage:
            print(f"oblix: {session.damage}", file=sys.stderr)


def _row(session: Listed, shown_id: str) -> dict[str, object]:
    time = "(damaged)" if session.damage else tables.local_time_of(session.changed_at)
    return {
        "id": shown_id,
        "updated": time,
        "message_count": session.message_count,
        "title": session.title,
    }


def _view(arguments: argparse.Namespace) -> None:
    session = session_list.document(arguments.id)
    if session is None:
        raise unknown_session(arguments.id)
    if arguments.json:
        tables.show_json(session)
        return
    print(session["title"] or "(no title)")
    for message in session["messages"]:
        name = f" {message['id']}" if arguments.ids else ""
        print(f"\n[{message['role']} {tables.local_time(message['timestamp'])}{_note(message)}{name}]")
        print("\n".join(_lines(message)))


def _lines(message: dict[str, Any]) -> Iterator[str]:
    """Give what a message holds, for reading: text as it is, and everything else in a line that says what."""
    parts: list[dict[str, Any]] = message.get("parts") or [{"text": message["content"]}]
    for part in parts:
        kind, value = next(iter(part.items()))
        match kind:
            case "text":
                yield value
            case "reasoning":
                yield f"(thinks) {value}"
            case "image":
                yield f"(an image: {value.get('media_type')}, {len(value.get('data', '')) * 3 // 4:,} bytes)"
            case "tool_call":
                yield f"(calls {value['name']}) {value['arguments_json']}"
            case "tool_result":
                yield f"({'failed' if value.get('is_error') else 'result'}) {value['content']}"


def _note(message: dict[str, Any]) -> str:
    """Say what is unusual about a message: how it ended, a revision, an exclusion from contexts."""
    notes = [message.get("status", "")]
    if "version" in message:
        notes.append(f"version {message['version']}")
    if "excluded" in message:
        notes.append(f"left out of contexts: {message['excluded']['reason']}")
    said = ", ".join(note for note in notes if note)
    return f" ({said})" if said else ""


def _create(arguments: argparse.Namespace) -> None:
    client = oblix.OblixClient()
    created = client.create_session(
        arguments.given_title or arguments.title,
        metadata=dict(arguments.metadata),
        local_only=arguments.local_only,
        session_id=arguments.id,
        get_or_create=arguments.get,
    )
    session_id = asyncio.run(created)
    if arguments.json:
        tables.show_json(client.get_session(session_id))
    else:
        print(session_id)


def _delete(arguments: argparse.Namespace) -> None:
    client = oblix.OblixClient()
    if not (arguments.yes or _is_agreed(client, arguments)):
        raise CommandError("nothing was deleted.")
    unknown = [
        session_id
        for session_id in arguments.ids
        if not client.delete_session(session_id, purge=arguments.purge)
    ]
    if unknown:
        raise unknown_session(", ".join(unknown))


def _is_agreed(client: oblix.OblixClient, arguments: argparse.Namespace) -> bool:
    """Ask a person at a terminal, with the titles: a beginning of an id says little. Nobody else is asked."""
    from oblix.cli.keyboard import keyboard

    if not consent.can_ask():
        return True
    names = [_title(client, session_id) for session_id in arguments.ids]
    manner = "for good" if arguments.purge else "(`oblix sessions undelete` brings back)"
    return keyboard.question(f"Delete {', '.join(names)} {manner}? [y/N] ") in {"y", "yes"}


def _title(client: oblix.OblixClient, session_id: str) -> str:
    """Return a session's title; the id of one that has none, or that is deleted already."""
    session = client.get_session(session_id)
    return f'"{session["title"]}"' if session and session["title"] else session_id
