"""Options that are written KEY=VALUE."""

from __future__ import annotations

import argparse
from typing import Any


def pairs(meaning: str) -> dict[str, Any]:
    """Return what `add_argument` takes for a repeatable option KEY=VALUE."""
    usage = f"{meaning}; VALUE is JSON, or else text; may be repeated"
    return {"action": "append", "default": [], "type": _pair, "metavar": "KEY=VALUE", "help": usage}


def _pair(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    import json

    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
