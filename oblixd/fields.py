"""How a value from outside is declared, checked and refused: in the configuration and in a hook's options.

A type is declared with `number`, `text` and msgspec's structs; `convert` checks a value against it. A refusal
names the field, what it takes and what was given, in the same words wherever the value came from.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

LONGEST_SHOWN = 100
"""Characters of a refused value that its message repeats."""

_Type = TypeVar("_Type")
_PATH = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"unknown field `(.*?)`")
_MISSING = re.compile(r"missing required field `(.*?)`")


class Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of fields: immutable, and a name that it does not have is refused."""


class FieldError(Exception):
    """A value that its field does not take. The message is a sentence about it."""

    def __init__(self, path: str, message: str, *, limit: str = "", given: str = "") -> None:
        super().__init__(message)
        self.path = path
        """Which field: `daemon.grace_s`, `models[2].endpoint`."""
        self.message = message
        """Begins with the path."""
        self.limit = limit
        """What the field takes, for a person."""
        self.given_value = given


class UnknownFieldError(FieldError):
    """There is no such field."""

    def __init__(self, path: str, names: Sequence[str]) -> None:
        name = path.rpartition(".")[2]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        super().__init__(path, f"{path} is not a setting.{hint} There are: {', '.join(names)}.")
        self.known_names = names


def number(low: float, high: float) -> msgspec.Meta:
    """Declare a number's range, both ends included."""
    return msgspec.Meta(ge=low, le=high)


def text(pattern: str, form: str, *, is_secret: bool = False) -> msgspec.Meta:
    """Declare a text's form: all of it matches `pattern`, which `form` says to a person.

    `is_secret`: what was given is never repeated.
    """
    return msgspec.Meta(pattern=rf"\A(?:{pattern})\Z", extra={"form": form, "secret": is_secret})


def convert(value: object, kind: type[_Type], at: str = "") -> _Type:
    """Give a value as its type. `at`: the path of the value itself. Raises FieldError."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), value, kind, at) from None


def describe_type(kind: Any) -> str:
    """Say for a person what a type takes."""
    bare, meta = _split_annotation(kind)
    if get_origin(bare) is tuple:
        return f"a list of {_plural(get_args(bare)[0])}"
    if limit := _limit(meta):
        return f"{_word(bare)} {limit}"
    return _word(bare)


def names_of(kind: Any) -> tuple[str, ...]:
    """Name the fields of a struct."""
    return tuple(kind.__struct_fields__)


def hints_of(kind: Any) -> dict[str, Any]:
    """Give the declared types of a struct's fields, by name."""
    return get_type_hints(kind, include_extras=True)


def is_struct(kind: Any) -> bool:
    """Return whether a type is a table of fields."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def shorten(value: object) -> str:
    """Repeat a refused value, shortened."""
    return repr(value)[:LONGEST_SHOWN]


def _refusal(message: str, value: object, kind: Any, at: str) -> FieldError:
    match = _PATH.search(message)
    steps = [name or int(index) if (name or index.isdigit()) else index for name, index in _steps(match)]
    if " - at `key` in" in message:
        steps = steps[:-1] if steps[-1:] == ["..."] else steps
    path = _join_path(at, steps)
    inner = _type_at(kind, steps)
    if unknown := _UNKNOWN.search(message):
        return UnknownFieldError(_join_path(path, [unknown[1]]), _field_names(inner))
    if missing := _MISSING.search(message):
        limit = describe_type(hints_of(_struct_of(inner))[missing[1]])
        where = _join_path(path, [missing[1]])
        return FieldError(where, f"{where} is missing: it is {limit}.", limit=limit, given="nothing")
    if " - at `key` in" in message:
        limit = describe_type(get_args(_split_annotation(inner)[0])[0])
        return FieldError(path, f"Each name in {path} must be {limit}.", limit=limit)
    limit, given = describe_type(inner), _given_text(value, steps, inner)
    return FieldError(path, f"{path} must be {limit}; {given} was given.", limit=limit, given=given)


def _steps(match: re.Match[str] | None) -> list[tuple[str, str]]:
    return _STEP.findall(match[1]) if match else []


def _join_path(at: str, steps: Sequence[str | int]) -> str:
    for step in steps:
        at = f"{at}[{step}]" if isinstance(step, int) else at if step == "..." else f"{at}.{step}".lstrip(".")
    return at


def _given_text(value: Any, steps: Sequence[str | int], kind: Any) -> str:
    if _is_secret(kind):
        return "something else"
    for step in steps:
        if step == "...":
            break
        value = value[step]
    return shorten(value)


def _is_secret(kind: Any) -> bool:
    bare, meta = _split_annotation(kind)
    inner = [meta] if meta else [_split_annotation(argument)[1] for argument in get_args(bare)]
    return any(one is not None and bool((one.extra or {}).get("secret")) for one in inner)


def _type_at(kind: Any, steps: Sequence[str | int]) -> Any:
    """Give the declared type of what a path leads to."""
    for step in steps:
        bare = _split_annotation(kind)[0]
        if isinstance(step, int):
            kind = get_args(bare)[0]
        elif step == "...":
            kind = get_args(bare)[1]
        else:
            kind = hints_of(_struct_of(kind))[step]
    return kind


def _struct_of(kind: Any) -> Any:
    """Give the struct that a type is, or that stands in a union."""
    bare = _split_annotation(kind)[0]
    if is_struct(bare):
        return bare
    return next(inner for argument in get_args(bare) if is_struct(inner := _split_annotation(argument)[0]))


def _field_names(kind: Any) -> tuple[str, ...]:
    return names_of(_struct_of(kind))


def _split_annotation(kind: Any) -> tuple[Any, msgspec.Meta | None]:
    """Part a type from what it is annotated with; a type that may be left out counts as the type."""
    if get_origin(kind) is Annotated:
        return get_args(kind)[0], next(one for one in get_args(kind)[1:] if isinstance(one, msgspec.Meta))
    arguments = [one for one in get_args(kind) if one is not type(None)]
    if type(None) in get_args(kind) and len(arguments) == 1:
        return _split_annotation(arguments[0])
    return kind, None


def _limit(meta: msgspec.Meta | None) -> str:
    if meta is None:
        return ""
    if meta.extra:
        return f"({meta.extra['form']})"
    if meta.ge is not None and meta.le is not None:
        return f"from {meta.ge:g} to {meta.le:,.0f}"
    return f"of 1 to {meta.max_length:,} characters" if meta.max_length else ""


def _word(kind: Any) -> str:
    if get_origin(kind) is dict:
        return f"a table of {_plural(get_args(kind)[1])}"
    if is_struct(kind):
        return f"a table with {', '.join(names_of(kind))}"
    choices = [one for one in get_args(kind) if isinstance(one, str)]
    if choices:
        return f"one of {', '.join(choices)}"
    if get_args(kind):
        return " or ".join(describe_type(one) for one in get_args(kind))
    return _WORDS[kind]


def _plural(kind: Any) -> str:
    bare, meta = _split_annotation(kind)
    if limit := _limit(meta):
        return f"{_PLURALS[bare]} {limit}"
    if get_args(bare) and not is_struct(bare):
        return " or ".join(_plural(one) for one in get_args(bare))
    return f"tables with {', '.join(names_of(bare))}" if is_struct(bare) else _PLURALS[bare]


_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Any: "any value",
}
_PLURALS: Mapping[Any, str] = {str: "texts", int: "whole numbers", float: "numbers", Any: "any values"}
