#!/usr/bin/env bash
# msgspec: `json.Decoder.decode_lines` reads newline-delimited JSON, and does not look at the newlines.
#
# Streams of models come as one JSON value a line. Expected: a line that holds two values, or a part of one, is refused
# as `json.loads` of that line is, and the result has as many values as there are lines. Seen: values are read one behind
# the other, whatever is between them: two on one line are two, one over two lines is one, blank lines are none. So the
# number of values says nothing of the number of lines, and who needs value and line to belong together has to count.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "msgspec==0.22.0"
"$work/venv/bin/python" - <<'PY'
import json

import msgspec

INPUTS = {
    "two values on one line": (b'{"a":1}{"b":2}\n', [{"a": 1}, {"b": 2}]),
    "two numbers on one line": (b"1 2\n3\n", [1, 2, 3]),
    "one value over two lines": (b'{"a":\n1}\n{"b":2}\n', [{"a": 1}, {"b": 2}]),
    "blank lines": (b"\n1\n\n2\n", [1, 2]),
}
decoder = msgspec.json.Decoder()
print("msgspec", msgspec.__version__)
for what, (data, seen) in INPUTS.items():
    values = decoder.decode_lines(data)
    lines = data.splitlines()
    refused = 0
    for line in lines:
        try:
            json.loads(line)
        except ValueError:
            refused += 1
    print(f"{what}: {len(lines)} lines, of which json.loads refuses {refused}; decode_lines gives {values}")
    if values != seen or not refused:
        raise SystemExit("that has changed")
PY
