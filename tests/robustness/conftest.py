"""Everything in this folder takes minutes or root: `make robustness` runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in here, so that the suite leaves it out."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.robustness)
