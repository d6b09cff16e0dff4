"""Python's dicts as google.protobuf.Struct and back.

A Struct has no integers and takes what JSON can't say; so what would come back
different is refused here, with the path of the value in question.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from oblix._convert.validation import describe, invalid, text
from oblix.limits import MAX_INTEGER, MAX_JSON_BYTES, MAX_KEYS, MAX_LEVELS

LONGEST_SHOWN_BITS = 256

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def to_struct(value: object, field: str) -> Struct:
    """Write a dict of JSON values as a Struct.

    Limits: 16 levels of nesting, 256 keys in all, 64 KiB as JSON; whole numbers
    within 2^53, no NaN, no infinity, no lone surrogate. Raises
    InvalidArgumentError that names the dotted path, the limit and what was given.
    """
    if not isinstance(value, Mapping):
        raise invalid(field, "a dict", describe(value))
    plain = _Checker(field).mapping(value, field, 1)
    size = len(json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_JSON_BYTES:
        raise invalid(field, f"at most {MAX_JSON_BYTES} bytes of JSON", f"{size} bytes", "TOO_LARGE")
    struct = Struct()
    struct.update(plain)
    return struct


def from_struct(struct: Struct) -> dict[str, Json]:
    """Read a Struct as a dict. Whole numbers come back as `int`. It kept no order: keys are sorted."""
    return {key: _from_value(struct.fields[key]) for key in sorted(struct.fields)}


class _Checker:
    """Copies JSON values while it checks them. One for each Struct: it counts the keys."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._keys = 0

    def mapping(self, values: Mapping[object, object], path: str, level: int) -> dict[str, Json]:
        self._check_level(path, level)
        self._keys += len(values)
        if self._keys > MAX_KEYS:
            raise invalid(self._field, f"at most {MAX_KEYS} keys in all", "more", "TOO_MANY_KEYS")
        return {
            (name := text(key, f"a key of {path}")): self._item(item, f"{path}.{name}", level + 1)
            for key, item in values.items()
        }

    def _item(self, item: object, path: str, level: int) -> Json:
        if item is None or isinstance(item, bool):
            return item
        if isinstance(item, str):
            return text(item, path)
        if isinstance(item, int | float):
            return _number(item, path)
        if isinstance(item, Mapping):
            return self.mapping(item, path, level)
        if isinstance(item, list | tuple):
            self._check_level(path, level)
            return [self._item(each, f"{path}[{index}]", level + 1) for index, each in enumerate(item)]
        raise invalid(path, "text, a number, True, False, None, a list or a dict", describe(item), "NOT_JSON")

    def _check_level(self, path: str, level: int) -> None:
        if level > MAX_LEVELS:
            raise invalid(self._field, f"at most {MAX_LEVELS} levels", "more", "TOO_DEEP")


def _number(number: float, path: str) -> int | float:
    if isinstance(number, float) and not math.isfinite(number):
        raise invalid(path, "finite numbers", number, "NOT_JSON")
    if abs(number) > MAX_INTEGER and number == int(number):
        limit = "whole numbers from -2^53 to 2^53; write a larger one as text"
        raise invalid(path, limit, _show_integer(int(number)), "INTEGER_TOO_LARGE")
    return number


def _show_integer(number: int) -> str:
    return str(number) if number.bit_length() < LONGEST_SHOWN_BITS else f"one of {number.bit_length()} bits"


def _from_value(value: Value) -> Json:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return _from_list(value.list_value)
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return value.string_value
    return value.bool_value if kind == "bool_value" else None


def _from_list(values: ListValue) -> list[Json]:
    return [_from_value(value) for value in values.values]
