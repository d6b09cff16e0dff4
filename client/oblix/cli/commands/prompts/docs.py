"""`oblix docs`: documents that `oblix ask --docs` finds passages in."""

from __future__ import annotations

import argparse
from pathlib import Path

from oblix.cli.errors import CommandError
from oblix.cli.options.json_output import add_json
from oblix.cli.output import answers, tables
from oblix.cli.output.progress import progress
from oblix.cli.prompting import reading
from oblix.documents import Library, Report, libraries

COLUMNS = {
    "name": "LIBRARY",
    "documents": "DOCUMENTS",
    "passages": "PASSAGES",
    "by": "FOUND BY",
    "title": "SOURCES",
}
HIT_COLUMNS = {"place": "WHERE", "title": "PASSAGE"}
EXAMPLES = """examples:
  oblix docs add ~/notes
  oblix docs add --name work --local-only ~/reports handbook.pdf
  oblix ask --docs notes "How warm does the heat pump run?"
  oblix docs update notes
  oblix docs embed notes ollama:nomic-embed-text

The documents stay where they are; what is made of them is an index, which `docs remove` deletes. Text and
PDF files are read here, and passages of them go along with a question."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    parser.epilog = EXAMPLES
    add_json(parser)
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    add_json(actions.add_parser("list", help="list the libraries (the default)"), is_default=False)
    add = actions.add_parser("add", help="read files and directories into a library")
    add.add_argument("sources", nargs="+", metavar="PATH")
    add.add_argument("--name", metavar="NAME", help="the library (default: what the first PATH is called)")
    add.add_argument("--local-only", action="store_true", help="never let a cloud model see it")
    add_json(add, "print what became of it as JSON", is_default=False)
    add.set_defaults(run=_add)
    update = actions.add_parser("update", help="read changed documents again, and forget deleted ones")
    update.add_argument("name", metavar="NAME")
    add_json(update, "print what became of it as JSON", is_default=False)
    update.set_defaults(run=_update)
    embed = actions.add_parser(
        "embed", help="have an embedding model read the passages, to find them by meaning"
    )
    embed.add_argument("name", metavar="NAME")
    embed.add_argument(
        "model",
        nargs="?",
        default="",
        metavar="PROVIDER:NAME",
        help='a model that the configuration names with task = "embedding" (default: routing chooses)',
    )
    add_json(embed, "print what became of it as JSON", is_default=False)
    embed.set_defaults(run=_embed)
    search = actions.add_parser("search", help="show the passages that a question would quote")
    search.add_argument("name", metavar="NAME")
    search.add_argument("words", nargs="+", metavar="WORD")
    add_json(search, is_default=False)
    search.set_defaults(run=_search)
    remove = actions.add_parser("remove", help="delete a library's index; the documents stay")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(run=_remove)


def _list(arguments: argparse.Namespace) -> None:
    rows = [_row(reading.library(name)) for name in libraries()]
    if arguments.json:
        tables.show_json(rows)
    elif rows:
        tables.show_rows(rows, COLUMNS)
    else:
        answers.note("oblix: there is no library yet. `oblix docs add DIR` makes one.")


def _row(library: Library) -> dict[str, object]:
    how = ["words", *(["meaning"] if library.embedder else [])]
    return {
        "name": library.name,
        "documents": len(library.documents),
        "passages": library.passage_count,
        "by": ", ".join(how),
        "title": ", ".join(library.sources),
        "local_only": library.is_local_only,
        "embedder": library.embedder,
    }


def _add(arguments: argparse.Namespace) -> int:
    name = arguments.name or Path(arguments.sources[0]).expanduser().resolve().stem
    library = Library.open(name)
    if arguments.local_only:
        library.keep_local()
    total = Report()
    try:
        with progress() as show:
            for source in arguments.sources:
                _sum(total, library.add(source, lambda what, count: show(what, count, None)))
    except OSError:
        if not library.passage_count:
            library.remove()
        raise
    return _finish(library, total, as_json=arguments.json)


def _update(arguments: argparse.Namespace) -> int:
    library = reading.library(arguments.name)
    with progress() as show:
        report = library.update(lambda what, count: show(what, count, None))
    return _finish(library, report, as_json=arguments.json)


def _embed(arguments: argparse.Namespace) -> None:
    library = reading.library(arguments.name)
    embedder = reading.DaemonEmbedder.choose(arguments.model, is_local_only=library.is_local_only)
    count = _give_vectors(library, embedder)
    if arguments.json:
        tables.show_json({"name": library.name, "embedder": embedder.name, "passages": count})
    else:
        print(f"{library.name}: {embedder.name} read {tables.count_text(count, 'passage')}.")


def _give_vectors(library: Library, embedder: reading.DaemonEmbedder) -> int:
    with progress() as show:
        return library.embed(embedder, lambda what, count: show(what, count, library.passage_count))


def _finish(library: Library, report: Report, *, as_json: bool) -> int:
    for name, why in report.left_out:
        answers.note(f"oblix: {name} is left out: {why}.")
    if not library.passage_count:
        library.remove()
        raise CommandError("no text was found there: nothing was taken in.")
    if library.embedder:
        embedder = reading.DaemonEmbedder(library.embedder, is_local_only=library.is_local_only)
        _give_vectors(library, embedder)
    if as_json:
        tables.show_json(_row(library) | _counts(report))
        return 0
    count = tables.count_text(len(library.documents), "document")
    print(
        f"{library.name}: {count}, {report.added:,} read, {report.unchanged:,} unchanged, "
        f"{report.removed:,} gone; {tables.count_text(library.passage_count, 'passage')}."
    )
    print(f'Ask about it: oblix ask --docs {library.name} "..."')
    return 0


def _counts(report: Report) -> dict[str, object]:
    left_out = [{"name": name, "why": why} for name, why in report.left_out]
    return {
        "added": report.added,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "left_out": left_out,
    }


def _sum(total: Report, report: Report) -> None:
    total.added += report.added
    total.unchanged += report.unchanged
    total.left_out += report.left_out


def _search(arguments: argparse.Namespace) -> None:
    library = reading.library(arguments.name)
    found = reading.passages(library, " ".join(arguments.words))
    if arguments.json:
        tables.show_json([{"place": one.place, "text": one.text} for one in found])
        return
    if not found:
        answers.note(f"oblix: nothing in {arguments.name} has these words.")
    tables.show_rows([{"place": one.place, "title": one.text} for one in found], HIT_COLUMNS)


def _remove(arguments: argparse.Namespace) -> None:
    reading.library(arguments.name).remove()
