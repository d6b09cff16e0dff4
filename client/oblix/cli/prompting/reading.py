"""Passages of documents for a question: which fit, how the model is shown them, and what is cited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from oblix._convert.terminal_text import DIM, PLAIN
from oblix.cli import daemon
from oblix.cli.errors import CommandError, error_text
from oblix.cli.output import answers
from oblix.cli.parser import suggestion
from oblix.errors import OblixError

if TYPE_CHECKING:
    from oblix.documents import Library, Passage
    from oblix.v1 import embeddings_pb2

INSTRUCTION = """Answer the question from these excerpts of documents. Put the number of the excerpt in square
brackets behind each statement that it supports, as in [1]. Where they do not answer the question, say so."""
MOST_PASSAGES = 8
EMBEDDING_TIMEOUT_S = 600.0
"""For a model that is loaded first, and reads a batch of passages on a slow machine."""


class DaemonEmbedder:
    """Vectors from a model of the daemon that is made for them, see `EmbedTexts`."""

    def __init__(self, name: str, *, is_local_only: bool) -> None:
        self.name = name
        self._is_local_only = is_local_only
        self._daemon = daemon.any_daemon()

    @classmethod
    def choose(cls, model: str, *, is_local_only: bool) -> Self:
        """Return the one for `provider:name`; for an empty name the model that routing chooses."""
        routed = cls(model, is_local_only=is_local_only)
        return cls(model or routed._ask(["passage"]).model, is_local_only=is_local_only)

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """Return a vector for each text. Raises OblixError."""
        return [one.values for one in self._ask(texts).embeddings]

    def _ask(self, texts: Sequence[str]) -> embeddings_pb2.EmbedTextsResponse:
        from oblix.v1 import embeddings_pb2

        request = embeddings_pb2.EmbedTextsRequest(
            texts=texts, model=self.name, local_only=self._is_local_only
        )
        return self._daemon.call(
            lambda link: link.embeddings.EmbedTexts,
            request,
            repeatable=True,
            timeout_s=EMBEDDING_TIMEOUT_S,
        )


def library(name: str) -> Library:
    """Return the library of that name. Raises CommandError."""
    from oblix.documents import Library, libraries

    if name not in libraries():
        near = suggestion(name, libraries())
        raise CommandError(f"there is no library {name}.{near} `oblix docs add DIR` makes one.")
    return Library.open(name)


def passages(library: Library, question: str) -> list[Passage]:
    """Return what fits a question best, by words alone where there are no vectors or their model fails."""
    if not library.embedder:
        return library.search(question, MOST_PASSAGES)
    embedder = DaemonEmbedder(library.embedder, is_local_only=library.is_local_only)
    try:
        return library.search(question, MOST_PASSAGES, embedder)
    except OblixError as error:
        answers.note(f"oblix: the documents are searched by words alone: {error_text(error)}")
        return library.search(question, MOST_PASSAGES)


def quote(question: str, passages: Sequence[Passage]) -> str:
    """Return the prompt: the passages with their numbers and places, then the question."""
    excerpts = [f"[{number}] {_short(one)}\n{one.text}" for number, one in enumerate(passages, 1)]
    return "\n\n".join([INSTRUCTION, *excerpts, f"Question: {question}"])


def tell_sources(answer: str, passages: Sequence[Passage]) -> None:
    """Tell which file and lines the numbers in an answer stand for; all of them where it names none."""
    cited = [(number, one) for number, one in enumerate(passages, 1) if f"[{number}]" in answer]
    for number, one in cited or list(enumerate(passages, 1)):
        answers.note(f"{DIM}[{number}] {_short(one)}{PLAIN}")


def _short(passage: Passage) -> str:
    """Return where it stands, from here where that is shorter."""
    place = passage.place
    here = f"{Path.cwd()}/"
    return place.removeprefix(here)
