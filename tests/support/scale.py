"""How much the robustness tests try: all of it, or what fits into five minutes (`ROBUSTNESS=quick`)."""

from __future__ import annotations

import os

QUICK = os.environ.get("ROBUSTNESS") == "quick"


def count(name: str, *, full: int, quick: int) -> int:
    """Return how often something is tried. The environment variable `name` overrides both numbers."""
    return int(os.environ.get(name, quick if QUICK else full))
