"""`oblix sessions archive`, `fork`, `prune`, `watch` …: keeping conversations in order."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import aclosing
from typing import Any

import oblix
from oblix.cli.errors import CommandError, unknown_session
from oblix.cli.options import session_ids
from oblix.cli.options.pairs import pairs
from oblix.cli.output import tables

PRUNED_COLUMNS = {"id": "ID", "updated": "UPDATED", "action": "ACTION", "title": "TITLE"}
WATCH_ABOUT = """prints the sessions as they are, a line `synced`, then a line for each change, until Ctrl-C.
A line has, between tabs: what happened (changed, removed, synced), the session's id, when it changed,
how many messages it has, the request that it is answering, its title."""


def configure(actions: Any) -> None:
    """Declare the subcommands."""
    _configure_marks(actions)
    rename = actions.add_parser("rename", help="give a session another title")
    session_ids.add_id(rename)
    rename.add_argument("title", nargs="+", metavar="TITLE", help="the new title, in quotes or without")
    rename.set_defaults(run=_rename)
    fork = actions.add_parser("fork", help="copy a session up to a message and print the copy's id")
    session_ids.add_id(fork)
    fork.add_argument("--up-to", type=_message, metavar="MESSAGE", help="its id, or its place from 1")
    fork.add_argument("--title", metavar="TITLE", help="the copy's title (default: the same)")
    fork.add_argument("--json", action="store_true", help="print the copy as JSON, and not its id alone")
    fork.set_defaults(run=_fork)
    _configure_prune(actions.add_parser("prune", help="archive or delete sessions without recent messages"))
    watch = actions.add_parser("watch", help="print changes of sessions as they happen", epilog=WATCH_ABOUT)
    watch.add_argument("--filter", **pairs("only where the metadata has this value"))
    watch.add_argument("--from-revision", type=int, metavar="N", help="only what changed after this revision")
    watch.add_argument("--json", action="store_true", help="print a JSON object a line")
    watch.set_defaults(run=_watch)


def _configure_marks(actions: Any) -> None:
    for name, meaning in [
        ("archive", "archive sessions: lists leave them out"),
        ("unarchive", "take sessions out of the archive"),
        ("undelete", "restore deleted sessions"),
    ]:
        action = actions.add_parser(name, help=meaning)
        kind = session_ids.DeletedSessionName if name == "undelete" else session_ids.SessionName
        action.add_argument("ids", nargs="+", metavar="ID", type=kind, help=session_ids.HELP)
        action.set_defaults(run=_mark, mark=name)


def _configure_prune(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Without --days the retention of each session, or of the configuration, is applied."
    parser.add_argument("--days", type=int, metavar="N", help="for so many days")
    parser.add_argument("--delete", action="store_true", help="delete them (default: archive); needs --days")
    parser.add_argument("--filter", **pairs("only where the metadata has this value; needs --days"))
    parser.add_argument("--dry-run", action="store_true", help="only say which it would be")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=_prune)


def _message(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _mark(arguments: argparse.Namespace) -> None:
    client = oblix.OblixClient()
    unknown = [
        session_id for session_id in arguments.ids if not _set_mark(client, arguments.mark, session_id)
    ]
    if unknown:
        raise unknown_session(", ".join(unknown))


def _set_mark(client: oblix.OblixClient, mark: str, session_id: str) -> bool:
    if mark == "undelete":
        return client.undelete_session(session_id)
    return client.update_session(session_id, archived=mark == "archive") is not None


def _rename(arguments: argparse.Namespace) -> None:
    if oblix.OblixClient().update_session(arguments.id, title=" ".join(arguments.title)) is None:
        raise unknown_session(arguments.id)


def _fork(arguments: argparse.Namespace) -> None:
    client = oblix.OblixClient()
    copy_id = asyncio.run(client.fork_session(arguments.id, arguments.up_to, arguments.title))
    if arguments.json:
        tables.show_json(client.get_session(copy_id))
    else:
        print(copy_id)


def _prune(arguments: argparse.Namespace) -> None:
    if arguments.days is None and (arguments.delete or arguments.filter):
        raise CommandError("--delete and --filter need --days: say for how long nobody added anything.")
    report = asyncio.run(
        oblix.OblixClient().prune_sessions(
            arguments.days,
            "delete" if arguments.delete else "archive",
            dict(arguments.filter) or None,
            dry_run=arguments.dry_run,
        )
    )
    if arguments.json:
        tables.show_json({"sessions": report.sessions, "total_count": report.total_count})
        return
    rows = [session | {"updated": tables.local_time(session["updated_at"])} for session in report.sessions]
    tables.show_rows(rows, PRUNED_COLUMNS)
    done = "would be pruned" if arguments.dry_run else "pruned"
    print(f"oblix: {report.total_count:,} sessions {done}.", file=sys.stderr)


def _watch(arguments: argparse.Namespace) -> None:
    asyncio.run(_follow(arguments))


async def _follow(arguments: argparse.Namespace) -> None:
    changes = oblix.OblixClient().watch(
        filter_metadata=dict(arguments.filter) or None, from_revision=arguments.from_revision
    )
    async with aclosing(changes):
        async for change in changes:
            print(
                json.dumps(_change_dict(change)) if arguments.json else "\t".join(_line(change)), flush=True
            )


def _change_dict(change: oblix.Change[dict[str, Any]]) -> dict[str, Any]:
    match change:
        case oblix.SessionChanged(session, revision):
            return {"event": "changed", "session": session, "revision": revision}
        case oblix.SessionRemoved(session_id, revision):
            return {"event": "removed", "session_id": session_id, "revision": revision}
        case oblix.Synced(revision):
            return {"event": "synced", "revision": revision}
        case oblix.ResyncRequired():
            raise _too_old()


def _line(change: oblix.Change[dict[str, Any]]) -> list[str]:
    match change:
        case oblix.SessionChanged(session):
            time, running = tables.local_time(session["updated_at"]), session.get("running_request_id", "")
            cells = ["changed", session["id"], time, session["message_count"], running, session["title"]]
            return [tables.cell(cell) for cell in cells]
        case oblix.SessionRemoved(session_id):
            return ["removed", session_id]
        case oblix.Synced(revision):
            return ["synced", str(revision)]
        case oblix.ResyncRequired():
            raise _too_old()


def _too_old() -> CommandError:
    return CommandError("the changes since then are no longer known: watch again without --from-revision.")
