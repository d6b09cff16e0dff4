"""The check of a threshold."""

from __future__ import annotations

import math

from oblix._checks import invalid, shown


def threshold(value: object, field: str, most: float | None = None) -> float:
    """The value where it is a finite number from 0 to `most`, else InvalidArgumentError."""
    limit = "a number of 0 or more" if most is None else f"a number from 0 to {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, limit, shown(value))
    if not math.isfinite(value) or value < 0 or (most is not None and value > most):
        raise invalid(field, limit, value)
    return float(value)
