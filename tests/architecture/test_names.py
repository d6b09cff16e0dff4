"""Names and docstrings: a function is named by a verb or a noun, and its docstring says what it does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.repository import files

OURS = files.sources("oblixd", "client/oblix")
SHARED = files.sources("oblixd", "client", "tests/support", "tools")


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


Function = ast.FunctionDef | ast.AsyncFunctionDef
IRREGULAR = _words(
    "begun born bought brought built caught chosen drawn fallen forgotten found given gone grown "
    "heard held hidden kept known laid led left lent lost made meant met paid said seen sent shown spent "
    "spoken taken taught thought thrown told torn woken worn written asked full whole empty due late "
    "old new bare plain sound dead alone ready missing matching waiting running"
)
"""Participles without -ed, and the adjectives that stood alone as names."""
PARTICLES = _words("again after apart as aside at before by from in of off on out over to up with")
NO_PARTICIPLES = _words("embed exceed feed need proceed read seed shed speed")
CLOSED_WORDS = _words(
    "a all an any as at by each every false for from half how if in it its less more most none of on one "
    "only our same some that the their these this those to true what when where whether which who whose "
    "why with"
)
"""Words that begin a description, and never an order."""


def _functions(path: Path) -> Iterator[Function]:
    tree = ast.walk(ast.parse(path.read_text()))
    return (node for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _is_participle(word: str) -> bool:
    return word in IRREGULAR or (word.endswith("ed") and word not in NO_PARTICIPLES)


def _is_bare(name: str) -> bool:
    """`_told`, `_told_by` and `said_of` are bare; `_told_text` and `is_told` are not."""
    words = [word for word in name.split("_") if word and word not in PARTICLES]
    return not name.startswith("__") and bool(words) and all(_is_participle(word) for word in words)


def _returns(function: Function) -> bool:
    return function.returns is not None and ast.unparse(function.returns) != "None"


def _is_property(function: Function) -> bool:
    return any(
        ast.unparse(decorator).endswith(("property", ".setter")) for decorator in function.decorator_list
    )


@pytest.mark.parametrize("name", ["_told", "_told_by", "said_of", "checked", "_full"])
def test_these_names_are_bare(name: str) -> None:
    assert _is_bare(name)


@pytest.mark.parametrize(
    "name", ["_told_text", "is_told", "checked_id", "_full_error", "feed", "read", "_not_found"]
)
def test_these_names_say_what_comes_back(name: str) -> None:
    assert not _is_bare(name)


def test_a_function_that_returns_something_has_a_verb_or_a_noun_in_its_name() -> None:
    bare = {
        f"{path.relative_to(files.ROOT)}:{function.lineno} {function.name}"
        for path in SHARED
        for function in _functions(path)
        if _is_bare(function.name) and _returns(function) and not _is_property(function)
    }
    assert bare == set(), "name each by what it does or returns: `find_x`, `x_error`, `is_x`"


def test_docstrings_are_in_the_imperative_mood() -> None:
    """Ruff's D401 looks at verbs; this looks at what can be none. A property's says what it is."""
    descriptions = {
        f"{path.relative_to(files.ROOT)}:{function.lineno} {docstring.splitlines()[0]}"
        for path in OURS
        for function in _functions(path)
        if (docstring := ast.get_docstring(function)) and not _is_property(function)
        if docstring.split()[0].strip(".,:`").lower() in CLOSED_WORDS
    }
    assert descriptions == set(), "begin each with a verb: `Return whether ...`, `Make the error ...`"
