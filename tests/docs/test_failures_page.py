"""docs/reference/failures.md shows the table that the failure tests hold the daemon to."""

from __future__ import annotations

import pytest
from support.faults.failure_cases import AFTER, BEFORE, PROVIDERS, QUIRKS, FailureCase
from support.repository.files import ROOT

PAGE = (ROOT / "docs" / "reference" / "failures.md").read_text("utf-8")
STATUS = {
    "UnavailableError": "UNAVAILABLE",
    "ResourceExhaustedError": "RESOURCE_EXHAUSTED",
    "InvalidArgumentError": "INVALID_ARGUMENT",
    "FailedPreconditionError": "FAILED_PRECONDITION",
}


def row(case: FailureCase) -> str:
    """A failure case as the page shows it. Where the remedy's words differ by provider, all are shown."""
    only = "" if case.providers == PROVIDERS else f" ({', '.join(case.providers)})"
    says = case.says.replace("|", " / ")
    again = "twice" if case.tries > 1 else "no"
    return f"| {case.what}{only} | {STATUS[case.status.__name__]} | `{case.reason}` | {says} | {again} |"


@pytest.mark.parametrize("case", [*BEFORE, *AFTER], ids=lambda case: case.what)
def test_every_failure_is_on_the_page(case: FailureCase) -> None:
    assert row(case) in PAGE.splitlines()


def test_nothing_else_is_on_the_page() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "`MODEL_" in line]
    overflows = [line for line in PAGE.splitlines() if "`CONTEXT_OVERFLOW`" in line]
    assert len(rows) + len(overflows) == len(BEFORE) + len(AFTER)


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.what)
def test_events_that_are_no_failure_are_on_the_page(quirk: object) -> None:
    assert f"- {quirk.what}" in PAGE
