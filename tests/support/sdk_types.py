"""Hold what the endpoint sends against the types of an official SDK, more strictly than the SDK does."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import pydantic

Sent = dict[str, Any]


def strict(kind: Any, sent: Sent, *, more: Collection[str] = ()) -> Any:
    """Return the object that this is. Fail for a field that its type lacks, and for one that is missing.

    `more`: the names of fields that the types lack and that other servers of this API send, too.
    """
    value = pydantic.TypeAdapter(kind).validate_json(json.dumps(sent), strict=True)
    unknown = [path for path in unknown_fields(value, sent) if path.rpartition(".")[2] not in more]
    assert not unknown, f"{unknown} in {sent}"
    return value


def unknown_fields(value: Any, sent: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each field that was sent and that its type does not declare."""
    if isinstance(value, pydantic.BaseModel):
        known = {field.alias or name: name for name, field in type(value).model_fields.items()}
        for key, one in sent.items():
            if key in known:
                yield from unknown_fields(getattr(value, known[key]), one, f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(value, list | tuple):
        for number, (one, given) in enumerate(zip(value, sent, strict=True)):
            yield from unknown_fields(one, given, f"{path}[{number}]")


def events(text: str) -> list[Sent]:
    """Return the data of each server-sent event, with the name of the event held against its type."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields.get("data", "[DONE]") == "[DONE]":
            continue
        data = json.loads(fields["data"])
        assert fields.get("event", data.get("type", "")) == data.get("type", ""), block
        found.append(data)
    return found
