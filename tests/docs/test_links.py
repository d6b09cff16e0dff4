"""The README leads to every page, and no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.repository import files

PAGES = files.tracked_files("README.md", "CHANGELOG.md", "docs/*.md")


def _links(page: Path) -> set[Path]:
    found = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text())
    return {(page.parent / link).resolve() for link in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    assert [link for link in _links(page) if not link.exists()] == []


def test_every_file_that_a_page_for_contributors_names_is_there() -> None:
    bases = [
        files.ROOT / base for base in (".", "oblixd", "tests", "client/oblix", "client/oblix/cli/commands")
    ]
    # A decision record may name what was renamed since.
    pages = [files.ROOT / "CONTRIBUTING.md", *files.tracked_files("docs/explanation/*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"`([a-z_]+/[a-z_/]*\.(?:py|proto|md))`", page.read_text())
    }
    assert len(named) > 30
    assert [name for name in sorted(named) if not any((base / name).exists() for base in bases)] == []


def test_the_readme_leads_to_every_page() -> None:
    assert set(PAGES) - _links(files.ROOT / "README.md") == {files.ROOT / "README.md"}


def test_every_page_has_a_kind() -> None:
    pages = {path.relative_to(files.ROOT / "docs") for path in PAGES if files.ROOT / "docs" in path.parents}
    kinds = {"tutorials", "how-to", "reference", "explanation", "decisions", "contributing"}
    assert {str(page) for page in pages if page.parts[0] not in kinds} == {"index.md", "glossary.md"}
