"""docs/failures.md shows the table that the failure tests hold the daemon to."""

from __future__ import annotations

import pytest
from support.faults.failure_cases import AFTER, BEFORE, PROVIDERS, QUIRKS, Mishap
from support.repository.files import ROOT

PAGE = (ROOT / "docs" / "failures.md").read_text("utf-8")
STATUS = {
    "UnavailableError": "UNAVAILABLE",
    "ResourceExhaustedError": "RESOURCE_EXHAUSTED",
    "InvalidArgumentError": "INVALID_ARGUMENT",
    "FailedPreconditionError": "FAILED_PRECONDITION",
}


def row(mishap: Mishap) -> str:
    """A mishap as the page shows it. Where the remedy's words differ by provider, all are shown."""
    only = "" if mishap.providers == PROVIDERS else f" ({', '.join(mishap.providers)})"
    says = mishap.says.replace("|", " / ")
    again = "twice" if mishap.tries > 1 else "no"
    return (
        f"| {mishap.what}{only} | {STATUS[mishap.status.__name__]} | `{mishap.reason}` | {says} | {again} |"
    )


@pytest.mark.parametrize("mishap", [*BEFORE, *AFTER], ids=lambda mishap: mishap.what)
def test_every_failure_is_on_the_page(mishap: Mishap) -> None:
    assert row(mishap) in PAGE.splitlines()


def test_nothing_else_is_on_the_page() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "`MODEL_" in line]
    overflows = [line for line in PAGE.splitlines() if "`CONTEXT_OVERFLOW`" in line]
    assert len(rows) + len(overflows) == len(BEFORE) + len(AFTER)


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.what)
def test_what_is_no_failure_is_on_the_page(quirk: object) -> None:
    assert f"- {quirk.what}" in PAGE
