"""The README leads to every page, and no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.repository import files

PAGES = files.tracked("README.md", "CHANGELOG.md", "docs/*.md")


def _links(page: Path) -> set[Path]:
    found = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text())
    return {(page.parent / link).resolve() for link in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    assert [link for link in _links(page) if not link.exists()] == []


def test_the_readme_leads_to_every_page() -> None:
    assert set(PAGES) - _links(files.ROOT / "README.md") == {files.ROOT / "README.md"}
