"""How long an Ollama server keeps a model loaded after an answer, as its `keep_alive` says it.

It is a duration of Go's (https://pkg.go.dev/time#ParseDuration), or whole
seconds; a negative one means for ever.
"""

from __future__ import annotations

import math
import re

FORM = 'a duration such as "10m" or "1h30m", seconds such as "600", or "-1" for ever'
"""What it looks like, for a person."""
PATTERN = r"-?(\d{1,9}|(\d{1,9}(\.\d{1,9})?(ns|us|ms|s|m|h))+)"
"""The same as a regular expression."""
_SECONDS = {"": 1.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def wire(text: str) -> str:
    """Write it as the server reads it: it refuses a number that is a text without a unit."""
    return text if text[-1].isalpha() else f"{text}s"


def seconds(text: str) -> float:
    """Read it in seconds. Raises ValueError for what is none."""
    if not re.fullmatch(PATTERN, text, re.ASCII):
        raise ValueError(text)
    if text.startswith("-"):
        return math.inf
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([a-z]*)", text))
