"""The limits of metadata and context: 16 levels, 64 KiB as JSON, 256 keys, numbers that JSON can hold."""

from __future__ import annotations

import math
from json.encoder import encode_basestring

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from oblixd.errors import InvalidArgumentError
from oblixd.sessions.validation import invalid

MAX_LEVELS = 16
MAX_JSON_BYTES = 64 * 1024
MAX_KEYS = 256
MAX_INTEGER = 2**53
MAX_FILTER_KEYS = 16


def check_struct(struct: Struct, field: str) -> None:
    """InvalidArgumentError where a limit is passed. Stops at the first, however much follows."""
    _Measure(field).object(struct, 1, "")


class _Measure:
    """Walks a Struct once, counting keys and the bytes of its shortest JSON."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._keys = 0
        self._bytes = 0

    def object(self, struct: Struct, level: int, path: str) -> None:
        self._enter(level, len(struct.fields))
        self._keys += len(struct.fields)
        if self._keys > MAX_KEYS:
            raise self._invalid("TOO_MANY_KEYS", f"must have at most {MAX_KEYS} keys in all.", MAX_KEYS)
        for key, value in struct.fields.items():
            self._text(key)
            self._add(1)
            self._value(value, level, f"{path}.{key}")

    def _list(self, values: ListValue, level: int, path: str) -> None:
        self._enter(level, len(values.values))
        for place, value in enumerate(values.values):
            self._value(value, level, f"{path}[{place}]")

    def _value(self, value: Value, level: int, path: str) -> None:
        match value.WhichOneof("kind"):
            case "struct_value":
                self.object(value.struct_value, level + 1, path)
            case "list_value":
                self._list(value.list_value, level + 1, path)
            case "string_value":
                self._text(value.string_value)
            case "number_value":
                self._number(value.number_value, path)
            case "bool_value" | "null_value":
                self._add(5 if value.WhichOneof("kind") == "bool_value" and not value.bool_value else 4)
            case _:
                raise invalid("NOT_JSON", f"{self._field}{path}", "must have a value; null is a value, too.")

    def _enter(self, level: int, children: int) -> None:
        if level > MAX_LEVELS:
            raise self._invalid("TOO_DEEP", f"must be at most {MAX_LEVELS} levels deep.", MAX_LEVELS)
        self._add(2 + max(children - 1, 0))

    def _text(self, text: str) -> None:
        self._add(len(encode_basestring(text).encode()))

    def _number(self, number: float, path: str) -> None:
        check_number(number, f"{self._field}{path}")
        self._add(len(repr(int(number) if number.is_integer() else number)))

    def _add(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MAX_JSON_BYTES:
            raise self._invalid(
                "TOO_LARGE", f"must be at most {MAX_JSON_BYTES:,} bytes (64 KiB) as JSON.", MAX_JSON_BYTES
            )

    def _invalid(self, reason: str, problem: str, limit: int) -> InvalidArgumentError:
        return invalid(reason, self._field, problem, limit=limit, given=f"more than {limit}")


def check_number(number: float, field: str) -> None:
    """A number that JSON can hold, and that stays what it is as a double."""
    if not math.isfinite(number):
        raise invalid("NOT_JSON", field, f"must be a finite number, not {number}.", given=number)
    if number.is_integer() and abs(number) > MAX_INTEGER:
        raise invalid(
            "INTEGER_TOO_LARGE",
            field,
            "must be a whole number of at most 2^53 (9,007,199,254,740,992), or a text.",
            limit=MAX_INTEGER,
            given=number,
        )
