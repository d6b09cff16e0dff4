"""Answers that were to fit a schema: held against it, and told where they do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from oblixd.execution import schemas
from oblixd.execution.schemas import LONGEST_VIOLATION, is_schema, violation

# Each keyword that llama.cpp let pass with a 200 when it was tried, and those that it held.
UNFIT: list[tuple[dict[str, Any], Any, str]] = [
    ({"pattern": "b"}, "aac", "b"),
    ({"pattern": "^a$"}, "b", "a"),
    ({"maximum": 1.5}, 2.5, "1.5"),
    ({"minimum": 3}, 2, "3"),
    ({"multipleOf": 3}, 4, "3"),
    ({"uniqueItems": True}, [1, 1], "unique"),
    ({"not": {"type": "string"}}, "x", "x"),
    ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "b"),
    ({"patternProperties": {"^n": {"type": "integer"}}}, {"n1": "x"}, '["n1"]'),
    ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"a": 1}, "b"),
    ({"contains": {"const": 1}}, [2], "[2]"),
    ({"minLength": 3}, "ab", "3"),
    ({"minProperties": 1}, {}, "propert"),
    ({"format": "date-time"}, "tomorrow", "date-time"),
    ({"enum": [1, 2]}, 3, "3"),
    ({"type": "object", "additionalProperties": False}, {"a": 1}, "a"),
    ({"required": ["city"]}, {}, "city"),
    ({"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}, "x", "integer"),
    ({"properties": {"list": {"items": {"type": "integer"}}}}, {"list": [1, "x"]}, '["list"][1]'),
]


@pytest.mark.parametrize(("schema", "value", "words"), UNFIT)
async def test_a_violation_says_where_it_is(schema: dict[str, Any], value: Any, words: str) -> None:
    said = await violation(json.dumps(schema), json.dumps(value))
    assert words in said
    assert len(said) <= LONGEST_VIOLATION


async def test_a_fitting_answer_has_no_violation() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 3}}, "required": ["n"]}
    assert await violation(json.dumps(schema), ' {"n": 9}\n') == ""
    assert await violation("{}", "null") == ""


@pytest.mark.parametrize("answer", ["", "prose", '{"n": ', "```json\n{}\n```", "[" * 100_000])
async def test_an_answer_that_is_no_json(answer: str) -> None:
    assert "no JSON" in await violation("{}", answer)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "nonsense"}, "nonsense"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "not fetched"),
        ({"pattern": "("}, "("),
    ],
)
async def test_a_schema_that_is_none_is_said_and_nothing_is_fetched(
    schema: dict[str, Any], words: str
) -> None:
    said = await violation(json.dumps(schema), '"x"')
    assert "schema itself" in said
    assert words in said


async def test_a_pattern_takes_linear_time() -> None:
    said = await violation(json.dumps({"pattern": "^(x+x+)+y$"}), json.dumps("x" * 50_000))
    assert "could not" not in said


async def test_a_schema_that_takes_for_ever_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "TIMEOUT_S", 1.0)
    turns = 0
    schema = json.dumps({"type": "array", "anyOf": [{"items": {"$ref": "#"}}] * 3})
    waiting = asyncio.create_task(violation(schema, "[" * 20 + '"x"' + "]" * 20))
    while not waiting.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert "could not be held against the schema within 1 s" in waiting.result()
    assert turns > 3, "the event loop went on"


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        *(("", True), ("{}", True), ("[]", False), ("x", False), ("[" * 100_000, False)),
        *(('{"a": "\\ud83d\\ude00"}', True), ('{"a": "\\ud83d"}', False), ('{"\\ude00": 1}', False)),
        *(('{"maximum": NaN}', False), ('{"maximum": 1e999}', False)),
    ],
)
def test_json_objects_are_schemas(text: str, sound: bool) -> None:
    assert is_schema(text) == sound
