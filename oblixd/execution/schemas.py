"""JSON Schemas of requests: sound as JSON, and held against the answers that were to fit them.

Model servers enforce a schema while the answer is written, each as much of it as it knows, and none says
what it left out. So the answer is validated here, in a process of its own: a schema is a stranger's text,
can be written so that it takes for ever, and such a process can be ended. It is this file, started by its
path, and imports nothing of the daemon, so that it starts quickly.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

LONGEST_VIOLATION = 300
"""Characters of what is said of an answer that does not fit."""
TIMEOUT_S = 5.0
"""How long an answer may be held against its schema. It takes some tens of milliseconds."""
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL")


def is_schema(text: str) -> bool:
    """Return whether a text is a schema as far as models take one: a JSON object, or nothing."""
    try:
        schema = json.loads(text) if text else {}
        # Half of a surrogate pair can be written as JSON, and can't be sent as UTF-8.
        json.dumps(schema, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(schema, dict)


async def violation(schema: str, answer: str) -> str:
    """Say how an answer does not fit its schema, for a person. Empty: it fits."""
    try:
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            __file__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            cwd="/",
        )
    except OSError as error:
        return f"It could not be held against the schema: {error.strerror}."
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await worker.communicate(json.dumps({"schema": schema, "answer": answer}).encode())
    except TimeoutError:
        return f"It could not be held against the schema within {TIMEOUT_S:g} s."
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    if worker.returncode:
        return "It could not be held against the schema: the process that does that failed."
    return output.decode("utf-8", "replace")[:LONGEST_VIOLATION]


def _validate(schema: str, answer: str) -> str:
    """Say in the process of its own how an answer does not fit."""
    import jsonschema_rs  # noqa: PLC0415 - the daemon itself has no need of it

    try:
        value = json.loads(answer)
    except (ValueError, RecursionError) as error:
        return f"The answer is no JSON: {error}."
    try:
        validator = jsonschema_rs.validator_for(json.loads(schema), retriever=_refuse, validate_formats=True)
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


if __name__ == "__main__":
    sys.stdout.buffer.write(_validate(**json.load(sys.stdin.buffer)).encode("utf-8", "replace"))
