"""Passages of documents for a question: which fit, how the model is shown them, and what is cited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oblix._convert.terminal_text import DIM, PLAIN
from oblix.cli.errors import CommandError
from oblix.cli.output import answers
from oblix.cli.parser import suggestion
from oblix.documents import Library, Passage, libraries

INSTRUCTION = """Answer the question from these excerpts of documents. Put the number of the excerpt in square
brackets behind each statement that it supports, as in [1]. Where they do not answer the question, say so."""
MOST_PASSAGES = 8


def library(name: str) -> Library:
    """Return the library of that name. Raises CommandError."""
    if name not in libraries():
        near = suggestion(name, libraries())
        raise CommandError(f"there is no library {name}.{near} `oblix docs add DIR` makes one.")
    return Library.open(name)


def passages(found: Library, question: str) -> list[Passage]:
    """Return what fits a question best."""
    return found.search(question, MOST_PASSAGES)


def quote(question: str, found: Sequence[Passage]) -> str:
    """Return the prompt: the passages with their numbers and places, then the question."""
    excerpts = [f"[{number}] {_short(one)}\n{one.text}" for number, one in enumerate(found, 1)]
    return "\n\n".join([INSTRUCTION, *excerpts, f"Question: {question}"])


def tell_sources(answer: str, found: Sequence[Passage]) -> None:
    """Tell which file and lines the numbers in an answer stand for; all of them where it names none."""
    cited = [(number, one) for number, one in enumerate(found, 1) if f"[{number}]" in answer]
    for number, one in cited or list(enumerate(found, 1)):
        answers.note(f"{DIM}[{number}] {_short(one)}{PLAIN}")


def _short(passage: Passage) -> str:
    """Return where it stands, from here where that is shorter."""
    place = passage.place
    here = f"{Path.cwd()}/"
    return place.removeprefix(here)
