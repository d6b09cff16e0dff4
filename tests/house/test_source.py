"""The shape of the source: sizes, exports, and what must not be in it."""

from __future__ import annotations

import ast
import importlib
import re
import statistics

import pytest
from support import tree

OURS = tree.sources("oblixd", "client/oblix")
EVERYTHING = tree.sources("oblixd", "client", "tests", "tools")
FILE_LINES = 600
MEDIAN_LINES, NEARLY_ALL_LINES = 12, 35


def test_files_are_short() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in EVERYTHING}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def _lengths() -> dict[str, int]:
    lengths = {}
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[f"{path.relative_to(tree.ROOT)}:{node.lineno} {node.name}"] = _lines_of(node)
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
    ".".join(path.parent.relative_to(tree.ROOT).parts).removeprefix("client.")
    for path in OURS
    if path.name == "__init__.py" and len(ast.parse(path.read_text()).body) > 1
)


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_say_what_they_export(name: str) -> None:
    package = importlib.import_module(name)
    exported = package.__all__
    assert all(getattr(package, symbol) is not None for symbol in exported)


def _machine_paths() -> re.Pattern[str]:
    """The checkout's place and people's home directories; `/home/you` stays allowed in examples."""
    places = [re.escape(str(tree.ROOT)), "/ro" + "ot/", r"/ho" + r"me/(?!you\b)[a-z]", "/wo" + "rk/"]
    return re.compile("|".join(places))


def test_no_machine_path_is_written_down() -> None:
    pattern = _machine_paths()
    found = {str(path): pattern.search(path.read_text(errors="replace")) for path in tree.tracked()}
    assert {path: match for path, match in found.items() if match} == {}


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b")
    assert not [str(path) for path in EVERYTHING if later.search(path.read_text())]
