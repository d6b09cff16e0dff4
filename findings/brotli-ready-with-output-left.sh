#!/usr/bin/env bash
# Brotli's Python binding: can_accept_more_data() says True while most of the output is still inside.
#
# The documentation of Decompressor.process says that after a call with output_buffer_limit it must be called with
# empty input "until can_accept_more_data() once returns True". Expected: False as long as output is held back, and
# no call that gives more than the limit. Seen: the first call gives 32 times the limit, and True is returned while
# 99 percent of the output is still to come. A loop that follows the documentation ends there and loses the rest,
# without an error; only is_finished(), or a call that gives nothing, tells.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "brotli==1.2.1"
"$work/venv/bin/python" - <<'PY'
import brotli

TOTAL, LIMIT = 5_000_000, 1024
print("brotli", brotli.__version__)
decompressor = brotli.Decompressor()
first = decompressor.process(brotli.compress(b"x" * TOTAL), output_buffer_limit=LIMIT)
ready, finished = decompressor.can_accept_more_data(), decompressor.is_finished()
print(f"limit {LIMIT}, given {len(first)}, can_accept_more_data() {ready}, is_finished() {finished}")

rest = 0
while piece := decompressor.process(b"", output_buffer_limit=LIMIT):
    rest += len(piece)
print(f"given afterwards, with empty input: {rest}; is_finished() {decompressor.is_finished()}")

assert len(first) > LIMIT, "the limit holds now"
assert ready, "it says now that output is left"
assert not finished
assert len(first) + rest == TOTAL
PY
