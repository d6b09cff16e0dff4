"""`oblix import`: what other tools keep on this machine, found, asked about, and kept up to date."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import oblix
from oblix.cli.errors import CommandError
from oblix.cli.keyboard import keyboard
from oblix.cli.output import tables
from oblix.cli.output.progress import Show, progress
from oblix.formats.agents import places
from oblix.formats.agents.places import Findings

DESCRIPTION = """Finds the conversations that other tools keep on this machine (codex, Claude Code, opencode,
gemini-cli, qwen-code, pi, mistral-vibe, gptme, aider, llm, hermes, LM Studio, Jan), counts them, asks, and
imports them. If you run it again, it adds new messages and imports nothing twice. It only reads the files of
the tools."""
EPILOG = """With PATH, it reads only these files and directories. `oblix sessions import` prints the
outcome of each conversation. The exit code is 1 if a conversation was refused; the others are imported."""
COLUMNS = {"tool": "TOOL", "conversations": "CONVERSATIONS", "files": "FILES", "where": "WHERE"}
MOST_NOTES = 20
Stamp = tuple[int, int]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("paths", nargs="*", metavar="PATH", help="only these, instead of the whole machine")
    parser.add_argument("--tool", action="append", metavar="NAME", help="only this tool's; may be repeated")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--list", action="store_true", help="say what there is, and take in nothing")
    parser.add_argument(
        "--watch", action="store_true", help="continue, and import new messages as they are written"
    )
    parser.add_argument(
        "--interval", type=float, default=5.0, metavar="SECONDS", help="of --watch (default: 5)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> None:
    client = oblix.OblixClient()
    files = _files(client, arguments)
    if not files:
        return
    # As the files are before they are read: what is written meanwhile is seen as a change.
    stamps = _stamps(files)
    report = _take(client, files)
    _tell(report, as_json=arguments.json)
    if arguments.watch:
        _watch(client, arguments, stamps)
    if report.refused:
        raise SystemExit(1)


def _files(client: oblix.OblixClient, arguments: argparse.Namespace) -> list[Path]:
    """Return the files to read. Empty where nothing is to be taken in."""
    if arguments.paths:
        return [Path(path) for path in arguments.paths]
    found = _find_places(client, arguments.tool)
    if not found:
        print("oblix: no conversations of other tools are on this machine.", file=sys.stderr)
        return []
    _show(found, arguments)
    for problem in (problem for each in found for problem in each.problems):
        print(f"oblix: {tables.cell(problem)}", file=sys.stderr)
    if arguments.list or not (arguments.yes or _is_agreed(found)):
        return []
    return [path for each in found for path in each.files]


def _show(findings: Sequence[Findings], arguments: argparse.Namespace) -> None:
    if arguments.json and arguments.list:
        tables.show_json([_row(each) | {"where": str(_common(each.files))} for each in findings])
    elif not arguments.json:
        tables.show_rows([_row(each) for each in findings], COLUMNS)


def _find_places(client: oblix.OblixClient, tools: Sequence[str] | None) -> list[Findings]:
    found = client.find_conversations()
    unknown = set(tools or ()) - {each.tool for each in found}
    if unknown:
        raise CommandError(f"no conversations of {', '.join(sorted(unknown))} are on this machine.")
    return [each for each in found if not tools or each.tool in tools]


def _row(finding: Findings) -> dict[str, object]:
    return {
        "tool": finding.tool,
        "conversations": finding.conversations,
        "files": len(finding.files),
        "where": _common(finding.files),
    }


def _common(files: Sequence[Path]) -> Path:
    """Return the directory that all files are in."""
    parents = [file.parents for file in files]
    return next(parent for parent in parents[0] if all(parent in each for each in parents))


def _is_agreed(findings: Sequence[Findings]) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError("nobody can be asked here: say --yes to take them in, or --list to only look.")
    count = sum(each.conversations for each in findings)
    return keyboard.question(f"Take in {tables.count_text(count, 'conversation')}? [Y/n] ") in {
        "",
        "y",
        "yes",
    }


def _take(client: oblix.OblixClient, files: Sequence[Path]) -> oblix.ImportReport:
    with progress() as show:
        return asyncio.run(_import_place(client, files, show))


async def _import_place(client: oblix.OblixClient, files: Sequence[Path], show: Show) -> oblix.ImportReport:
    return await client.import_sessions(
        files, on_progress=lambda report: show(_totals(report), report.bytes_read, report.bytes_total)
    )


def _tell(report: oblix.ImportReport, *, as_json: bool) -> None:
    if as_json:
        tables.show_json(dataclasses.asdict(report))
        return
    for session in report.sessions:
        if session.outcome == "refused":
            print(f"oblix: {session.file}: {tables.cell(session.detail)}", file=sys.stderr)
    for note, count in _notes(report).most_common(MOST_NOTES):
        print(f"oblix: {tables.cell(note)}: {count:,}", file=sys.stderr)
    print(f"oblix: {_totals(report)}", file=sys.stderr)


def _notes(report: oblix.ImportReport) -> Counter[str]:
    """Return what was left out of the sessions that were taken in, all together."""
    notes: Counter[str] = Counter()
    for session in report.sessions:
        for note in session.notes if session.outcome in ("imported", "grown") else ():
            what, _, count = note.rpartition(": ")
            notes[what] += int(count) if count.isdigit() else 1
    return notes


def _totals(report: oblix.ImportReport) -> str:
    taken = f"{report.imported:,} imported, {report.grown:,} grown ({report.messages:,} messages)"
    return f"{taken}, {report.skipped:,} unchanged, {report.refused:,} refused."


def _watch(client: oblix.OblixClient, arguments: argparse.Namespace, stamps: dict[Path, Stamp]) -> None:
    """Import what changes, until the command is ended. A file is read once nobody wrote to it for a while."""
    print("oblix: watching; end it with Ctrl-C.", file=sys.stderr, flush=True)
    before = stamps
    while True:
        time.sleep(max(arguments.interval, 0.1))
        paths = [Path(path) for path in arguments.paths]
        now = _stamps(paths or places.every_file(Path.home(), arguments.tool or ()))
        changed = [path for path, stamp in now.items() if before.get(path) == stamp != stamps.get(path)]
        before = now
        if changed:
            report = _take(client, changed)
            stamps = stamps | {path: now[path] for path in changed}
            if report.imported or report.grown or report.refused:
                _tell(report, as_json=arguments.json)


def _stamps(files: Sequence[Path]) -> dict[Path, Stamp]:
    """Return when each file was written last, a database's log included."""
    return {path: stamp for path in files if (stamp := _stamp(path)) is not None}


def _stamp(path: Path) -> Stamp | None:
    sizes = newest = 0
    for each in (path, Path(f"{path}-wal")):
        try:
            stat = each.stat()
        except OSError:
            continue
        sizes, newest = sizes + stat.st_size, max(newest, stat.st_mtime_ns)
    return (sizes, newest) if newest else None
