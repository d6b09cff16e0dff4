"""Read JSON bodies of other people's clients: each value is checked where it is taken."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from oblix.v1 import messages_pb2

from oblixd.errors import InvalidArgumentError, invalid_argument, out_of_range

_DATA_URL = "data:"
_KIND_OF = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def invalid(field: str, expected: str, value: object) -> InvalidArgumentError:
    """Make the error for a value that a field does not take."""
    return out_of_range("INVALID_REQUEST", field, expected, repr(value)[:80])


def unsupported_error(field: str, why: str) -> InvalidArgumentError:
    """Make the error for a field that would change the answer's meaning and can't be honoured."""
    return invalid_argument("UNSUPPORTED_FIELD", f"{field} is not supported: {why}", field=field)


def parse(data: bytes | bytearray) -> Body:
    """Parse a request's body. Raises InvalidArgumentError where it is no JSON object."""
    try:
        value = json.loads(data)
        if any(mark in data for mark in _SURROGATES):
            value = _well_formed(value)
    except (ValueError, RecursionError) as error:
        message = f"The body is not JSON: {error}. Send a JSON object."
        raise invalid_argument("MALFORMED_BODY", message, field="body", limit="a JSON object") from error
    if not isinstance(value, dict):
        raise invalid("body", "a JSON object", value)
    return Body(value)


_SURROGATES = (b"\\ud", b"\\uD", b"\xed")
"""How the half of a surrogate pair may be written. Whole pairs and other letters begin like this, too."""


def _well_formed(value: Any) -> Any:
    """Replace each half of a surrogate pair: tools cut text within an emoji, and UTF-8 has no halves."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_well_formed(one) for one in value]
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(one) for key, one in value.items()}
    return value


class Body:
    """An object of a request, with the path that leads to it for error messages."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.values = values
        self._path = path

    def field(self, name: str) -> str:
        """Return the field's full path, for example `messages[2].content`."""
        return f"{self._path}.{name}" if self._path else name

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self.values.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a string field."""
        return str(self._value(name, str, default))

    def required_text(self, name: str) -> str:
        """Return a string field that must be there and not be empty."""
        value = self.text(name)
        if not value:
            raise invalid(self.field(name), "a string that is not empty", self.values.get(name))
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean field."""
        return bool(self._value(name, bool, default))

    def number(self, name: str) -> float | None:
        """Return a number field; None where it is not given."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(self.field(name), _KIND_OF[float], value)
        return float(value)

    def integer(self, name: str) -> int | None:
        """Return a whole number that fits 64 bits; None where it is not given."""
        value = self.number(name)
        if value is None:
            return None
        if value != int(value) or abs(value) >= 1 << 63:
            raise invalid(self.field(name), _KIND_OF[int], self.values[name])
        return int(self.values[name])

    def child(self, name: str) -> Body:
        """Return an object field; an empty one where it is not given."""
        return Body(self._value(name, dict, {}), self.field(name))

    def list(self, name: str) -> list[Any]:
        """Return a list field as it is."""
        value: list[Any] = self._value(name, list, [])
        return value

    def objects(self, name: str) -> Iterator[Body]:
        """Yield the objects of a list field."""
        for number, value in enumerate(self.list(name)):
            field = f"{self.field(name)}[{number}]"
            if not isinstance(value, dict):
                raise invalid(field, _KIND_OF[dict], value)
            yield Body(value, field)

    def _value(self, name: str, kind: type, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise invalid(self.field(name), _KIND_OF[kind], value)
        return value


def compact(value: object) -> str:
    """Write a value as JSON without white space."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def schema_text(schema: Mapping[str, Any] | None) -> str:
    """Write a JSON Schema as the contract takes it. Empty: none."""
    return compact(schema) if schema else ""


def inline_image(field: str, url: str) -> messages_pb2.Part:
    """Read a `data:` URL (RFC 2397). Others are refused: the daemon fetches nothing that a client names."""
    if not url.startswith(_DATA_URL):
        raise unsupported_error(field, "send the image itself, as a data: URL; oblixd fetches no addresses")
    head, _, data = url[len(_DATA_URL) :].partition(",")
    media_type, *rest = head.split(";")
    if "base64" not in rest:
        raise invalid(field, "a data: URL with base64", url[:40])
    return image(field, media_type, data)


def image(field: str, media_type: str, data: str) -> messages_pb2.Part:
    """Make an image of its base64 text."""
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(field, "an image as base64", data[:40]) from None
    return messages_pb2.Part(image=messages_pb2.ImagePart(media_type=media_type or "image/png", data=content))
