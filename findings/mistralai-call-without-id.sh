#!/usr/bin/env bash
# Mistral's Python SDK: a tool call that came without an id gets the id "null", a text of four letters.
#
# The types of the SDK say that `id` and `index` of a tool call may be left out. Expected: None for both, so that a
# program sees that they are missing. Seen: the id is the text "null" and the index is 0, for every call. Two calls of
# one answer then share both, nothing tells them apart, and what is sent back to the server holds "id": "null" twice.
# Only an id that is null in the JSON is None: leaving a field out and setting it to null are two different things here.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "mistralai==3.7.0"
"$work/venv/bin/python" - <<'PY'
import json
from importlib.metadata import version

from mistralai.client.models import DeltaMessage, ToolCall

print("mistralai", version("mistralai"))
calls = [{"function": {"name": name, "arguments": {}}} for name in ("weather", "clock")]
delta = DeltaMessage.model_validate({"role": "assistant", "tool_calls": calls})
for call in delta.tool_calls:
    print(f"{call.function.name}: id {call.id!r} ({type(call.id).__name__}), index {call.index!r}")
sent = json.loads(delta.model_dump_json(by_alias=True))["tool_calls"]
print("sent back:", [(call.get("id"), call.get("index")) for call in sent])
explicit = ToolCall.model_validate({"id": None, "function": {"name": "weather", "arguments": {}}})
print(f"an id of null: {explicit.id!r}")

assert [call.id for call in delta.tool_calls] == ["null", "null"], "a missing id is something else now"
assert [call.index for call in delta.tool_calls] == [0, 0], "a missing index is something else now"
assert [call.get("id") for call in sent] == ["null", "null"]
assert explicit.id is None
PY
