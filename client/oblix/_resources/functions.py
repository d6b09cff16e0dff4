"""Python functions as tools, and Python types as the form of an answer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast, get_type_hints

import msgspec

from oblix._convert.validation import describe, invalid
from oblix.errors import InvalidAnswerError
from oblix.options import ToolDefinition, ToolResult
from oblix.results import ToolCall

T = TypeVar("T")
_ARGUMENT = re.compile(r"^\s*\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.+)$")
_SECTION = re.compile(r"^\s*(Args|Arguments|Parameters|Returns|Raises|Yields|Example|Examples|Note):\s*$")


def schema_of_type(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a Pydantic model, a dataclass, a TypedDict, a msgspec Struct or another type.

    Raises InvalidArgumentError for what has none.
    """
    if hasattr(kind, "model_json_schema"):
        return dict(kind.model_json_schema())
    try:
        (schema,), parts = msgspec.json.schema_components(
            [kind], schema_hook=_schema_hook, ref_template="#/$defs/{name}"
        )
    except (TypeError, NotImplementedError) as error:
        raise invalid("response_model", "a type with a JSON Schema", f"{describe(kind)} ({error})") from None
    if name := schema.pop("$ref", "").removeprefix("#/$defs/"):
        schema |= parts.pop(name)
    return schema | ({"$defs": dict(parts)} if parts else {})


def parse_answer(kind: type[T], text: str, violation: str | None) -> T:
    """Return an answer as an instance of a type. Raises InvalidAnswerError where it is none."""
    try:
        if validate := getattr(kind, "model_validate_json", None):
            return cast("T", validate(text))
        return msgspec.json.decode(text, type=kind, dec_hook=_decode_hook)
    except ValueError as error:
        message = f"The model's answer is no {getattr(kind, '__name__', kind)}: {violation or error}"
        raise InvalidAnswerError(message, answer=text) from error


def definitions_of(tools: Sequence[Any]) -> list[Any]:
    """Return tools as schemas: those of functions, and what is a schema already."""
    return [Function.of(tool).definition if callable(tool) else tool for tool in tools]


def functions_of(tools: Sequence[Any]) -> dict[str, Function]:
    """Return the tools that are functions, by name."""
    functions = [Function.of(tool) for tool in tools if callable(tool)]
    return {function.definition["name"]: function for function in functions}


@dataclass(frozen=True, slots=True)
class Function:
    """A Python function as a tool."""

    call: Callable[..., Any]
    definition: ToolDefinition
    arguments: type[msgspec.Struct]
    """A struct with the function's parameters as fields."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Function:
        """Read a function's annotations and docstring. Raises InvalidArgumentError for what is no tool."""
        name = getattr(function, "__name__", type(function).__name__)
        description, described = _docstring(inspect.getdoc(function) or "")
        fields = [_field(parameter) for parameter in _parameters(function)]
        arguments = msgspec.defstruct(name, fields, kw_only=True)
        schema = schema_of_type(arguments)
        schema.pop("title", None)
        for field, text in described.items():
            if field in schema.get("properties", {}):
                schema["properties"][field].setdefault("description", text)
        definition = ToolDefinition(name=name, description=description, parameters=schema)
        return cls(function, definition, arguments)

    def values(self, call: ToolCall) -> dict[str, Any]:
        """Return the arguments of a call, as the types that the function wants. Raises ValueError."""
        if call.arguments is None:
            raise ValueError("The arguments are not a JSON object.")
        given = msgspec.convert(dict(call.arguments), self.arguments, dec_hook=_decode_hook)
        return {name: getattr(given, name) for name in given.__struct_fields__}


def result_of(call: ToolCall, value: object) -> ToolResult:
    """Return what a function gave as a tool's result: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return ToolResult(call_id=call.call_id, content=value)
    content = msgspec.json.encode(value, enc_hook=_encode_hook).decode()
    return ToolResult(call_id=call.call_id, content=content)


def failure_of(call: ToolCall, error: Exception) -> ToolResult:
    """Return a tool's failure, for the model to read."""
    return ToolResult(call_id=call.call_id, content=f"{type(error).__name__}: {error}", is_error=True)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        hints = get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
    except (NameError, TypeError, ValueError) as error:
        raise invalid("tools", "functions with annotations", f"{describe(function)} ({error})") from None
    given = [each.replace(annotation=hints.get(name, Any)) for name, each in signature.parameters.items()]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    positional = [each.name for each in given if each.kind is inspect.Parameter.POSITIONAL_ONLY]
    if positional:
        raise invalid("tools", "functions whose parameters have names", f"positional-only {positional[0]}")
    return [each for each in given if each.kind not in variadic]


def _field(parameter: inspect.Parameter) -> Any:
    kind = _annotate(parameter.annotation)
    if parameter.default is inspect.Parameter.empty:
        return (parameter.name, kind)
    if isinstance(parameter.default, list | dict | set):
        default = parameter.default
        return (parameter.name, kind, msgspec.field(default_factory=lambda: type(default)(default)))
    return (parameter.name, kind, parameter.default)


def _annotate(annotation: Any) -> Any:
    """Turn `Annotated[int, "what it is"]` into what msgspec understands."""
    texts = [each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, str)]
    if not texts:
        return annotation
    return Annotated[annotation.__origin__, msgspec.Meta(description=texts[0])]


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of a function, and of each argument under `Args:`."""
    described: dict[str, str] = {}
    general: list[str] = []
    section = ""
    for line in text.splitlines():
        if found := _SECTION.match(line):
            section = found[1]
        elif not section:
            general.append(line)
        elif section in ("Args", "Arguments", "Parameters") and (argument := _ARGUMENT.match(line)):
            described[argument[1]] = argument[2].strip()
    return "\n".join(general).strip(), described


def _schema_hook(kind: Any) -> dict[str, Any]:
    if hasattr(kind, "model_json_schema"):
        return dict(kind.model_json_schema())
    raise NotImplementedError(f"{kind} has no JSON Schema")


def _decode_hook(kind: Any, value: Any) -> Any:
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    raise NotImplementedError(f"{kind} can't be read from JSON")


def _encode_hook(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)
