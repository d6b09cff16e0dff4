"""Every piece of configuration on a page is one that the daemon takes, in its form of today."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from support.repository import files

from oblixd.config import older
from oblixd.config.loader import parse

BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (page, text)
    for page in files.tracked_files("README.md", "docs/*.md")
    for text in BLOCK.findall(page.read_text())
    # A template of `oblix ask` is a file of its own.
    if "prompt" not in tomllib.loads(text)
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 10


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=lambda value: getattr(value, "name", ""))
def test_an_example_is_taken_and_not_in_an_old_form(page: Path, text: str) -> None:
    assert list(older.notices(parse(text, page), set())) == []
