"""Regular expressions that are compiled at their first use.

Most describe what servers write when they refuse, and many daemons never meet one. Compiling all of them took
a twentieth of the time until the daemon serves.
"""

from __future__ import annotations

import re
from typing import Any, cast


def pattern(text: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Return what `re.compile` returns, but compile it when something of it is asked for."""
    return cast("re.Pattern[str]", _Pattern(text, flags))


class _Pattern:
    def __init__(self, text: str, flags: re.RegexFlag) -> None:
        self.pattern = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self.pattern, self._flags), name)
        # Found without this method the next time.
        setattr(self, name, value)
        return value
