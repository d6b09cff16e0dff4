"""`oblix sessions search`: conversations by their words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from oblix._convert.terminal_text import BOLD, PLAIN
from oblix.cli import session_list
from oblix.cli.options import execution_ids, session_ids
from oblix.cli.options.pairs import pairs
from oblix.cli.output import answers, tables

ABOUT = """Finds messages and titles that have all of the words, in any order. "A phrase" in double quotes
finds these words in this order, and begin* finds words that begin so. Archived sessions are left out."""
COLUMNS = {"session_id": "ID", "sequence": "PLACE", "role": "ROLE", "time": "TIME", "snippet": "SNIPPET"}


def configure(actions: Any) -> None:
    """Declare the subcommand."""
    declare(actions.add_parser("search", help="find messages and titles by their words"))


def declare(search: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    search.description = ABOUT
    search.add_argument("words", nargs="+", metavar="WORD")
    search.add_argument("--limit", type=int, default=20, metavar="N", help="at most this many (default 20)")
    search.add_argument("--filter", **pairs("only where the session's metadata has this value"))
    search.add_argument("--session", metavar="ID", type=session_ids.SessionName, help="only in this session")
    search.add_argument("--json", action="store_true", help="print them as JSON")
    search.set_defaults(run=_search)


def _search(arguments: argparse.Namespace) -> None:
    found = session_list.search(
        " ".join(arguments.words),
        arguments.limit,
        metadata=dict(arguments.filter) or None,
        session_id=arguments.session,
    )
    if not found:
        answers.note(f"oblix: no message or title contains {' '.join(arguments.words)}.")
    if arguments.json:
        tables.show_json(found)
    elif sys.stdout.isatty():
        short = execution_ids.short([hit["session_id"] for hit in found], session_ids.SHOWN_CHARACTERS)
        for hit in found:
            _show(hit, short[hit["session_id"]])
    else:
        tables.show_rows([_row(hit) for hit in found], COLUMNS)


def _show(hit: dict[str, Any], short_id: str) -> None:
    """Print where it is, with as much of the title as the line has room for, and below it the snippet."""
    import shutil

    place = f"{hit['role']} {hit['sequence']}" if hit["sequence"] else "title"
    where = f"{short_id}  {tables.local_time(hit['timestamp'])}"
    head = f"{where}  {place}  "
    width = shutil.get_terminal_size().columns
    if width - len(head) < tables.NARROWEST_TITLE:
        print(where)
        head = f"  {place}  "
    print(f"{head}{tables.cut(hit['title'], max(width - len(head), tables.NARROWEST_TITLE))}")
    print("\n".join(tables.wrap_words(_highlight(hit["snippet"], hit["spans"]), "  ")), end="\n\n")


def _highlight(snippet: str, spans: Sequence[Sequence[int]]) -> str:
    pieces, end = [], 0
    for start, length in spans:
        words = tables.line(snippet[start : start + length])
        pieces += [tables.line(snippet[end:start]), BOLD, words, PLAIN]
        end = start + length
    return "".join([*pieces, tables.line(snippet[end:])])


def _row(hit: dict[str, Any]) -> dict[str, object]:
    return hit | {"time": tables.local_time(hit["timestamp"]), "role": hit["role"] or "-"}
