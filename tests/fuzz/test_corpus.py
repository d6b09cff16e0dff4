"""The kept inputs of the fuzzers, replayed: each parser returns, or raises what is documented."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fuzz_targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 300_000
"""Of all inputs together: they are read by people, too."""


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_is_read_or_refused_by_name(target: str) -> None:
    kept = sorted((CORPUS / target).iterdir())
    assert kept
    for path in kept:
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path.name}: {error!r}") from error


def test_the_corpus_is_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MOST_BYTES
