"""Takes minutes or root: `make robustness` runs all of this folder, `make robustness-quick` a part."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import scale

HERE = Path(__file__).parent
QUICK = ("test_damaged_stores.py", "test_machine.py", "test_power_loss.py")
"""Tests that need no quiet machine and no network of their own. They try less in the quick run."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is in here, so that the suite leaves it out; leave out what the quick run has no time for."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.robustness)
    left_out = [item for item in ours if scale.QUICK and item.path.name not in QUICK]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
