"""The shape of the source: sizes, folders, names, exports, and what must not be in it."""

from __future__ import annotations

import ast
import importlib
import io
import re
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.repository import files

OURS = files.sources("oblixd", "client/oblix")
EVERYTHING = files.sources("oblixd", "client", "tests", "tools")
FILE_LINES, USUAL_LINES, USUAL_SHARE = 600, 350, 0.9
MEDIAN_LINES, NEARLY_ALL_LINES = 12, 35
FLAT_MODULES = 15
SMALL_LINES = 60
SMALL_MODULES = {
    "oblixd.app.journal": "a protocol of its own: systemd's journal",
    "oblixd.app.single_instance": "one daemon for each user: the process and the offline commands ask it",
    "oblixd.background": "four packages begin work by it, and none of them is above the others",
    "oblixd.config.older": "forms from before the tables: the file goes when they go",
    "oblixd.execution.retry": "retry, fallback and cooldown are three words and three modules",
    "oblixd.execution.services": "what an execution and its parts take: in one of them it would be a circle",
    "oblixd.http.settings": "the listener makes endpoints; in one of both, each would import the other",
    "oblixd.models.http.loops": "the listener writes it and the way out reads it: neither is above the other",
    "oblixd.models.http.refusals.retry_delay": "when to come back is another question than what was refused",
    "oblixd.patterns": "four modules of rules use it, in packages of their own",
    "oblixd.protobuf_time": "packages on two levels write times of the contract",
    "oblixd.sessions.storage.retention_rules": "headers keep the rules and the upkeep applies them",
    "oblixd.store.backup_trailer": "a format of its own: the end of a backup file",
    "oblixd.usage.days": "budgets and reports count by the same days",
    "oblix.changes": "the records of a watch: the facade and both clients return them",
    "oblix.documents.passages": "how a document is cut is another question than how it is found",
    "oblix.health": "a command of its own: a container's health check runs it",
    "oblix.limits": "the limits of the daemon in one place, which a test compares",
    "oblix.models": "the enumeration of providers: all parts of the client take it",
    "oblix.testing.embeddings": "two test servers make the same vectors",
    "oblix._async.items": "the lists of three resources page by it",
    "oblix._convert.documents": "loads the library for PDF files late, for two callers",
    "oblix._resources.core": "what all parts of a client share, and the clients make: beneath all of them",
    "oblix._resources.transfer_plans": "the clients without and with async plan alike",
    "oblix._resources.usage": "one module for the requests of each resource",
    "oblix.cli.output.contract_json": "the form of JSON that three commands print",
    "oblix.cli.output.hints": "the lines that two commands print beside an answer",
    "oblix.cli.output.progress": "the progress bar of five commands",
}
"""Small modules that are files of their own, each with the reason."""


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_files_have_at_most_600_lines_and_most_350() -> None:
    lengths = {str(path.relative_to(files.ROOT)): _lines(path) for path in EVERYTHING}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}
    long = {path: lines for path, lines in lengths.items() if lines > USUAL_LINES}
    assert len(long) <= len(lengths) * (1 - USUAL_SHARE), long


def test_folders_hold_at_most_15_modules() -> None:
    folders = Counter(path.parent for path in OURS if path.name != "__init__.py")
    full = {
        folder.relative_to(files.ROOT).as_posix() for folder, count in folders.items() if count > FLAT_MODULES
    }
    assert full == set()


def _module(path: Path) -> str:
    dotted = path.relative_to(files.ROOT).with_suffix("").as_posix().replace("/", ".")
    return dotted.removeprefix("client.").removesuffix(".__init__")


ONE_EACH = {"commands", "formats", "migrations", "options", "providers", "rpc"}
"""Folders with one file for each command, format, migration, option, provider or service, however small."""
MADE = {"_sync"}
"""Folders that are written by a tool, from modules that are counted."""


def _is_counted(path: Path) -> bool:
    return not path.name.startswith("__") and not (ONE_EACH | MADE) & set(path.parts)


def test_a_small_module_has_a_reason() -> None:
    small = {_module(path) for path in OURS if _is_counted(path) and _lines(path) < SMALL_LINES}
    assert small - set(SMALL_MODULES) == set(), "merge them, or name the reason in SMALL_MODULES"
    assert set(SMALL_MODULES) <= {_module(path) for path in OURS}, "these are gone"


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    stems = {path.stem for path in OURS}
    assert {stem for stem in stems & sys.stdlib_module_names if not stem.startswith("__")} == set()


def _lengths() -> dict[str, int]:
    lengths = {}
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[f"{path.relative_to(files.ROOT)}:{node.lineno} {node.name}"] = _lines_of(node)
    return lengths


def _lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring not counted."""
    first = function.body[0]
    is_documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_functions_are_short() -> None:
    lengths = _lengths()
    longest = {name: lines for name, lines in lengths.items() if lines > NEARLY_ALL_LINES}
    assert statistics.median(lengths.values()) <= MEDIAN_LINES
    assert len(longest) <= len(lengths) / 100, longest


PACKAGES = sorted(
    _module(path) for path in OURS if path.name == "__init__.py" and len(ast.parse(path.read_text()).body) > 1
)


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_say_what_they_export(name: str) -> None:
    package = importlib.import_module(name)
    exported = package.__all__
    assert all(getattr(package, symbol) is not None for symbol in exported)


def _banned_words() -> set[str]:
    """The last column of the glossary's table: words that no name in the source has a part of."""
    rows = re.findall(r"^\|.*\|([^|]*)\|$", (files.ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`(\w+)`", row)}


def _names(path: Path) -> Iterator[str]:
    """The names in a file, and its own and its folders'."""
    yield from path.relative_to(files.ROOT).with_suffix("").parts
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.NAME:
            yield token.string


def _words(name: str) -> set[str]:
    """`_shelfMark_of` has shelf, mark and of."""
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


def test_names_use_no_word_that_the_glossary_bans() -> None:
    banned = _banned_words()
    assert len(banned) > 10
    wrong = {
        f"{path.relative_to(files.ROOT)}: {name}"
        for path in EVERYTHING
        for name in _names(path)
        if _words(name) & banned
    }
    assert wrong == set()


def _machine_paths() -> re.Pattern[str]:
    """The checkout's place and people's home directories; `/home/you` stays allowed in examples."""
    places = [re.escape(str(files.ROOT)), "/ro" + "ot/", r"/ho" + r"me/(?!you\b)[a-z]", "/wo" + "rk/"]
    return re.compile("|".join(places))


def test_no_machine_path_is_written_down() -> None:
    pattern = _machine_paths()
    found = {str(path): pattern.search(path.read_text(errors="replace")) for path in files.tracked_files()}
    assert {path: match for path, match in found.items() if match} == {}


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b")
    assert not [str(path) for path in EVERYTHING if later.search(path.read_text())]
