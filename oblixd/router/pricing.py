"""What a hooked model costs."""

from __future__ import annotations

from msgspec.structs import astuple

from oblixd.models import Hook
from oblixd.usage import Price


def price_of(hook: Hook) -> Price | None:
    """Return the price that a model was hooked with. None: the configuration's counts."""
    own = hook.spec.options.price
    return Price(*astuple(own)) if own else None
