#!/usr/bin/env bash
# llm 0.36: an image that came through a pipe is kept as bytes in logs.db, for it has no path. If a file with the same
# content is attached in any later conversation, the row is replaced: the bytes of the first conversation are gone, and
# it names a file that the person never attached there. Without that file the image cannot be had again.
# Guess before running: rows are named by the hash of the content, so the second one changes nothing.
set -euo pipefail
server=; dir=$(mktemp -d); trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv tool
tool/bin/pip install -q --disable-pip-version-check llm==0.36
cat > server.py <<'PY'
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = {"index": 0, "message": {"role": "assistant", "content": "Moss."}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        data = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "toy", "choices": [answer],
                           "usage": usage})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())
    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
open("port", "w").write(str(server.server_port))
server.serve_forever()
PY
python3 server.py & server=$!
until [ -s port ]; do sleep 0.1; done
mkdir user
cat > user/extra-openai-models.yaml <<YAML
- model_id: toy
  model_name: toy
  api_base: "http://127.0.0.1:$(cat port)/v1"
  vision: true
YAML
echo iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII= | base64 -d > a.png
ask() { env -u HTTP_PROXY -u HTTPS_PROXY NO_PROXY='*' LLM_USER_PATH="$dir/user" OPENAI_API_KEY=none tool/bin/llm "$@"; }
ask --version
ask -m toy --no-stream "What is this?" -a - < a.png
cat > look.py <<'PY'
import sqlite3
connection = sqlite3.connect("user/logs.db")
rows = connection.execute("SELECT path IS NOT NULL, length(content) FROM attachments").fetchall()
parts = connection.execute("SELECT count(*) FROM parts WHERE type = 'attachment'").fetchone()[0]
print("messages with the image:", parts, " rows of attachments (has a path, bytes):", rows)
PY
python3 look.py | tee first
ask -m toy --no-stream "And this?" -a a.png
python3 look.py | tee second
grep -q "image: 1 .*\[(0, 68)\]" first && grep -q "image: 2 .*\[(1, None)\]" second || { echo "it changed"; exit 1; }
