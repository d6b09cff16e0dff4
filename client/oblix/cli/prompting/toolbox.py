"""Tools out of a Python file: its public functions, described by their annotations and docstrings."""

from __future__ import annotations

import asyncio
import inspect
import json
import runpy
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oblix.cli.errors import CommandError

MOST_RESULT_CHARACTERS = 100_000
_TYPES: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The functions of files, by name."""

    functions: Mapping[str, Callable[..., Any]]

    def definitions(self) -> list[dict[str, Any]]:
        """Return them as prompts take them."""
        return [_definition(name, function) for name, function in self.functions.items()]

    def result(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Call a function as the model asks, and return what to send. A failure is told to the model."""
        function, arguments = self.functions.get(call["name"]), call["arguments"]
        if function is None:
            return _failure(call, f"there is no tool {call['name']}")
        if arguments is None:
            return _failure(call, "the arguments are no JSON object")
        try:
            content = _call_function(function, arguments)
        except Exception as error:  # noqa: BLE001 - a person's own function may fail in any way
            return _failure(call, f"{type(error).__name__}: {error}")
        return {"call_id": call["call_id"], "content": _text(content)}


def load(paths: list[str]) -> Toolbox:
    """Run the files, and return their public functions. Raises CommandError."""
    functions: dict[str, Callable[..., Any]] = {}
    for path in paths:
        found = _functions_of(path)
        if not found:
            raise CommandError(f"{path} defines no function whose name begins with a letter.")
        functions |= found
    return Toolbox(functions)


def _functions_of(path: str) -> dict[str, Callable[..., Any]]:
    if not Path(path).is_file():
        raise CommandError(f"--tools {path}: there is no such file.")
    try:
        names = runpy.run_path(path, run_name="oblix_tools")
    except Exception as error:  # noqa: BLE001 - a person's own file may fail in any way
        raise CommandError(f"--tools {path} can't be run: {type(error).__name__}: {error}") from None
    return {
        name: value
        for name, value in names.items()
        if isinstance(value, types.FunctionType)
        and value.__module__ == "oblix_tools"
        and not name.startswith("_")
    }


def _definition(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    return {
        "name": name,
        "description": inspect.getdoc(function) or "",
        "parameters": {
            "type": "object",
            "properties": {each: _schema(hints.get(each, str)) for each in parameters},
            "required": [
                each for each, parameter in parameters.items() if parameter.default is parameter.empty
            ],
        },
    }


def _schema(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return _schema(next(each for each in arguments if each is not type(None)))
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is list and arguments:
        return {"type": "array", "items": _schema(arguments[0])}
    return {"type": _TYPES.get(origin or hint, "string")}


def _call_function(function: Callable[..., Any], arguments: Mapping[str, Any]) -> object:
    if inspect.iscoroutinefunction(function):
        return asyncio.run(function(**arguments))
    return function(**arguments)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text[:MOST_RESULT_CHARACTERS]


def _failure(call: Mapping[str, Any], why: str) -> dict[str, Any]:
    return {"call_id": call["call_id"], "content": why, "is_error": True}
