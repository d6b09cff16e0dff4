"""Names and docstrings: a function is named by a verb or a noun, a field by what it holds."""

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


FLAGS = _words("closed enabled")
"""Participles that are the usual names of flags, as in Python's own `file.closed`."""
OUTSIDE_BASES = _words("Fields Struct")
"""What derives from these is written in a file or on a wire: its fields keep the names they have there."""
OUTSIDE = {"Tables": "its fields are the names of the tables on disk"}
"""Other classes whose fields have their names from outside, each with the reason."""

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


def _is_outside(holder: ast.ClassDef) -> bool:
    bases = {ast.unparse(base).rpartition(".")[2] for base in holder.bases}
    return bool(bases & OUTSIDE_BASES) or holder.name in OUTSIDE


def _fields(holder: ast.ClassDef) -> Iterator[tuple[int, str]]:
    """Yield the fields of a class and the attributes that its methods set, with their lines."""
    for statement in holder.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.lineno, statement.target.id
    for node in ast.walk(holder):
        is_set = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if is_set and isinstance(node.value, ast.Name) and node.value.id == "self":
            yield node.lineno, node.attr


def _is_callback(name: str) -> bool:
    """`on_deleted` is called when something is deleted."""
    return name.lstrip("_").startswith("on_")


def _bare_fields(path: Path) -> Iterator[str]:
    for holder in ast.walk(ast.parse(path.read_text())):
        if isinstance(holder, ast.ClassDef) and not _is_outside(holder):
            for line, name in _fields(holder):
                if _is_bare(name) and name.strip("_") not in FLAGS and not _is_callback(name):
                    yield f"{path.relative_to(files.ROOT)}:{line} {holder.name}.{name}"


BARE_AND_NAMED = """
class Bare:
    told: int
    def __init__(self):
        self._seen = {}

class Named(NamedTuple):
    told_position: int
    is_told: bool
    closed: bool
    on_deleted: Callable[[], None]

class Table(Fields):
    enabled_by: str
"""


def test_bare_fields_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROOT", tmp_path)
    source = tmp_path / "source.py"
    source.write_text(BARE_AND_NAMED)
    assert list(_bare_fields(source)) == ["source.py:3 Bare.told", "source.py:5 Bare._seen"]


def test_a_field_has_a_noun_in_its_name() -> None:
    bare = {field for path in files.sources("oblixd") for field in _bare_fields(path)}
    assert bare == set(), "name each by what it holds: `last_position`, `is_told`, `waiting_count`"


QUESTION_WORDS = ("of", "what", "whatever", "who", "whoever", "whose")


def test_a_tests_name_says_who_does_what() -> None:
    """`test_what_is_wrong_is_told` makes the reader guess; `test_a_wrong_price_is_refused` does not."""
    riddles = {
        f"{path.relative_to(files.ROOT)}:{function.lineno} {function.name}"
        for path in files.sources("tests")
        for function in _functions(path)
        if function.name.startswith(tuple(f"test_{word}_" for word in QUESTION_WORDS))
    }
    assert riddles == set(), "begin with the thing that the test is about"
