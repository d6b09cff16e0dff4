"""`oblix sessions import` and `export`: conversations from files of many programs, and into files."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oblix
from oblix._convert import file_io
from oblix.cli.errors import CommandError
from oblix.cli.options import session_ids
from oblix.cli.options.pairs import pairs
from oblix.cli.output import tables
from oblix.cli.output.progress import Show, progress
from oblix.formats import catalog, oblix_json
from oblix.formats.exports.tools import TARGETS

IMPORT = """Imports every conversation of files and directories: Oblix's own (also a whole directory of the
first Oblix: ~/.oblix/sessions), JSON Lines of OpenAI-style messages, the exports of ChatGPT, Claude, DeepSeek
(also the zip files with them), LibreChat, LM Studio, big-AGI and Open WebUI, data sets, and other files with
lists of messages; gzip files, too. The content of a file decides its format."""
IMPORTED = """For one conversation it prints the session's id, for several a line for each: the outcome,
the id, the number of messages, the title, the place in the file, and why it was skipped or refused. The
exit code is 1 if a conversation was refused; the others are imported."""
EXPORTED = """The file is a list of sessions (json), one session in each line (jsonl), a page for people
(markdown, html), lines for training (openai, sharegpt), or one session that another tool continues (codex,
claude-code, opencode; `--to TOOL` writes it to the place of that tool, and prints how to continue). With
one id, json is one object, not a list."""
STANDARD = "-"
"""As a file to export to: standard output."""
COLUMNS = {
    "outcome": "OUTCOME",
    "session_id": "ID",
    "message_count": "MESSAGES",
    "title": "TITLE",
    "from": "FROM",
    "note": "NOTE",
}

Subcommands = Any
"""argparse has no public name for what `add_subparsers` gives."""


def configure(actions: Subcommands) -> None:
    """Declare both subcommands."""
    _configure_export(actions.add_parser("export", help="write sessions to a file", epilog=EXPORTED))
    help_ = "import conversations from files of many programs"
    _configure_import(actions.add_parser("import", help=help_, description=IMPORT, epilog=IMPORTED))


def _configure_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", type=session_ids.SessionName, help=session_ids.HELP)
    parser.add_argument("file", metavar="FILE", help="- is standard output")
    parser.add_argument("-f", "--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--all", action="store_true", help="every session, also archived ones")
    parser.add_argument("--filter", **pairs("every session where the metadata has this value"))
    formats = f"{', '.join(catalog.WRITTEN)} (default: what FILE ends in, else json)"
    parser.add_argument("--format", choices=list(catalog.WRITTEN), metavar="FORMAT", help=formats)
    help_ = "instead of FILE: hand the one session over to this tool"
    parser.add_argument("--to", choices=list(TARGETS), metavar="TOOL", help=help_)
    parser.set_defaults(run=_export)


def _configure_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH")
    formats = f"{', '.join(catalog.READ)} (default: what each file looks like)"
    parser.add_argument("--format", choices=list(catalog.READ), metavar="FORMAT", help=formats)
    parser.add_argument(
        "--keep-id",
        action="store_true",
        help="keep the ids that the files name; one that is taken is refused",
    )
    parser.add_argument(
        "--again", action="store_true", help="import conversations again that were imported before"
    )
    parser.add_argument("--branches", action="store_true", help="take the other branches of trees, too")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=_import)


def _export(arguments: argparse.Namespace) -> None:
    if arguments.to:
        _hand_over([*arguments.ids, arguments.file], arguments.to)
        return
    if bool(arguments.ids) + bool(arguments.filter) + arguments.all != 1:
        raise CommandError("say which sessions: their ids, --filter or --all.")
    if arguments.file != STANDARD and Path(arguments.file).is_file() and not arguments.force:
        raise CommandError(f"{arguments.file} exists already: name another file, or replace it with --force.")
    format_ = arguments.format or catalog.SUFFIXES.get(Path(arguments.file).suffix.lower(), "json")
    with _target(arguments.file) as path:
        count = _write(arguments, path, format_)
    if count is not None and arguments.file != STANDARD:
        what = "1 session is" if count == 1 else f"{count:,} sessions are"
        print(f"oblix: {what} in {arguments.file}.", file=sys.stderr)


def _hand_over(ids: list[str], tool: str) -> None:
    """Put a session where a tool looks for its own. A file that is there is the tool's: it stays."""
    if len(ids) != 1:
        raise CommandError("one session at a time can be handed over.")
    client, target = oblix.OblixClient(), TARGETS[tool]
    loaded = client.load_session(ids[0])
    if loaded is None:
        raise CommandError(f"there is no session {ids[0]}.")
    if not loaded["metadata"].get("directory"):
        # It goes on where the person stands.
        loaded["metadata"]["directory"] = str(Path.cwd())
    conversation = oblix_json.read(loaded)
    path = target.path(conversation.session, Path.home(), os.environ)
    if path.exists():
        raise CommandError(
            f"{path} is there already. Go on with: {target.command(conversation.session, path)}"
        )
    file_io.write(path, catalog.WRITTEN[tool].dump(conversation.session, conversation.messages))
    print(path)
    print(f"oblix: go on with: {target.command(conversation.session, path)}", file=sys.stderr)


@contextlib.contextmanager
def _target(file: str) -> Iterator[str]:
    """Open where to write. Standard output gets it whole at the end: half of it would look like all."""
    if file != STANDARD:
        yield file
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "export"
        yield str(path)
        sys.stdout.flush()
        with path.open("rb") as written:
            shutil.copyfileobj(written, sys.stdout.buffer)
        sys.stdout.flush()


def _write(arguments: argparse.Namespace, path: str, format_: str) -> int | None:
    """Export, and give the count where it is worth telling."""
    client = oblix.OblixClient()
    if format_ == "json" and len(arguments.ids) == 1:
        asyncio.run(client.export_session(arguments.ids[0], path))
        return None
    wanted = arguments.ids or dict(arguments.filter) or None
    with progress() as show:
        return asyncio.run(
            client.export_sessions(
                wanted,
                path,
                format_,
                on_progress=lambda count: show(f"{count} sessions", count, len(arguments.ids) or None),
            )
        )


def _import(arguments: argparse.Namespace) -> None:
    with progress() as show:
        report = asyncio.run(_import_files(arguments, show))
    if arguments.json:
        tables.show_json(dataclasses.asdict(report))
    elif len(report.sessions) == 1:
        _tell_one(report.sessions[0])
        return
    else:
        tables.show_rows([_row(session) for session in report.sessions], COLUMNS)
    if report.refused:
        raise CommandError(_totals(report))
    print(f"oblix: {_totals(report)}", file=sys.stderr)


async def _import_files(arguments: argparse.Namespace, show: Show) -> oblix.ImportReport:
    return await oblix.OblixClient().import_sessions(
        arguments.paths,
        arguments.format,
        keep_ids=arguments.keep_id,
        # Who wants the very id is not served by a copy that has another one.
        skip_existing=not (arguments.again or arguments.keep_id),
        branches=arguments.branches,
        on_progress=lambda report: show(_totals(report), report.bytes_read, report.bytes_total),
    )


def _tell_one(session: oblix.ImportedSession) -> None:
    if session.outcome == "refused":
        raise CommandError(f"{_place(session)} can't be imported: {session.detail.removesuffix('.')}.")
    print(session.session_id)
    told = [session.detail, *session.notes] if session.outcome == "skipped" else session.notes
    for note in told:
        print(f"oblix: {note}", file=sys.stderr)


def _totals(report: oblix.ImportReport) -> str:
    grown = f", {report.grown} grown" if report.grown else ""
    taken = f"{report.imported} imported{grown} ({report.messages} messages)"
    return f"{taken}, {report.skipped} skipped, {report.refused} refused."


def _row(session: oblix.ImportedSession) -> dict[str, object]:
    return {
        "outcome": session.outcome,
        "session_id": session.session_id or "-",
        "message_count": session.message_count,
        "title": session.title or "-",
        "from": _place(session),
        "note": "; ".join(note for note in (session.detail, *session.notes) if note) or "-",
    }


def _place(session: oblix.ImportedSession) -> str:
    return f"{session.file}, {session.place}" if session.place else session.file
