"""JSON Schemas of requests: sound as JSON, and held against the answers that were to fit them.

Model servers enforce a schema while the answer is written, each as much of it as it knows, and none says
what it left out. So the answer is validated here, by a library whose regular expressions take linear time
and which fetches nothing: a schema is a stranger's text.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from typing import Any

LONGEST_VIOLATION = 300
"""Characters of what is said of an answer that does not fit."""
VALIDATED_S = 10.0
"""How long an answer may be held against its schema."""


def is_schema(text: str) -> bool:
    """Whether a text is a schema as far as models take one: a JSON object, or nothing."""
    try:
        return not text or isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


async def violation(schema: str, answer: str) -> str:
    """Say how an answer does not fit its schema, for a person. Empty: it fits."""
    try:
        async with asyncio.timeout(VALIDATED_S):
            return (await asyncio.to_thread(_violation, schema, answer))[:LONGEST_VIOLATION]
    except TimeoutError:
        return f"It could not be held against the schema within {VALIDATED_S:g} s."


def _violation(schema: str, answer: str) -> str:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError) as error:
        return f"The answer is no JSON: {error}."
    # Loaded with the first answer that has a schema.
    library = importlib.import_module("jsonschema_rs")
    try:
        validator = library.validator_for(json.loads(schema), retriever=_refuse, validate_formats=True)
    except ValueError as error:
        return f"The schema itself is not valid, so nothing was held against it: {_first_line(error)}."
    broken = next(validator.iter_errors(value), None)
    if broken is None:
        return ""
    path = "".join(f"[{json.dumps(step)}]" for step in broken.instance_path)
    return f"answer{path}: {broken.message}"


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not fetched: a schema has to be whole")


def _first_line(error: ValueError) -> str:
    return str(error).partition("\n")[0].rstrip(".")
