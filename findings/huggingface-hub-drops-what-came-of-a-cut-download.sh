#!/usr/bin/env bash
# huggingface_hub: a download whose connection is lost for good leaves nothing behind, however much had come.
#
# The library goes on with a Range request while its own five tries last, and its cache has had files named
# `*.incomplete` for that. Expected: a second hf_hub_download goes on where the first one gave up. Seen: each call
# writes to a file of a random name and removes it when it fails, so the second call begins at byte 0 again: of 23 GB
# of a 24 GB model nothing is kept. What came less than one step of ten megabytes ago is lost at each of the five
# tries, too. Who wants to go on passes a file of their own to file_download.http_get with `resume_size`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "huggingface_hub==2.4.0"
HF_HOME="$work/hub" HF_HUB_DISABLE_PROGRESS_BARS=1 HF_HUB_DISABLE_XET=1 "$work/venv/bin/python" - <<'PY'
import hashlib
import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

DATA = bytes(24_000_000)
ranges, cuts = [], [100]


class Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range") or ""
        start = int((asked or "bytes=0-")[6:].partition("-")[0])
        rest = DATA[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(DATA).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.command == "GET":
            ranges.append(start)
            if cuts[0]:
                cuts[0] -= 1
                rest = rest[: len(rest) // 2]
                self.close_connection = True
            self.wfile.write(rest)

    do_HEAD = do_GET

    def log_message(self, *_):
        return


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"

from huggingface_hub import hf_hub_download  # noqa: E402 - it reads the endpoint when it is imported

logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
print("huggingface_hub", version("huggingface_hub"))
try:
    hf_hub_download("someone/model", "model.gguf")
except Exception as error:
    print("the network stays away:", type(error).__name__)
print("asked from byte:", ranges)
left = [path.stat().st_size for path in Path(os.environ["HF_HOME"]).rglob("*") if path.is_file()]
print("kept of it:", max(left, default=0), "bytes")
first = len(ranges)
cuts[0] = 0
hf_hub_download("someone/model", "model.gguf")
print("the next call asked from byte:", ranges[first:])
assert max(ranges[:first]) > 0, "it does not go on within a call any more"
assert max(left, default=0) < 1000, "what came is kept now"
assert ranges[first:] == [0], "the next call goes on now"
PY
