"""Files of conversations as an import reads them, without a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix import InvalidArgumentError
from oblix.formats import catalog, opening, values


def conversations_in(path: Path) -> Iterator[object]:
    """Each conversation, the problem with it, or None where it is of no known format."""
    with opening.open_binary(path) as file:
        for source, stream in opening.streams(file, str(path)):
            for found in values.values(stream, source):
                format_ = catalog.detect(found.value)
                yield found.problem or (format_.read(found.value) if format_ else None)


def read(path: Path) -> list[object]:
    """All of them."""
    return list(conversations_in(path))


def problem(path: Path) -> str:
    """What is said of a file that is refused; it has to be named."""
    with pytest.raises(InvalidArgumentError) as caught:
        read(path)
    assert str(path) in caught.value.message
    return caught.value.message
