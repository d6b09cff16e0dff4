#!/usr/bin/env bash
# opencode 1.18.33: `opencode run "two words"` stores the prompt, and sends it to the model, with double quotes around
# it; a prompt of one word has none. From the file alone nobody can tell quotes that a person typed.
# Guess before running: the words as they were typed.
set -euo pipefail
server=; dir=$(mktemp -d); trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix "$dir/tool" opencode-ai@1.18.33 >/dev/null
cat > server.py <<'PY'
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body.get("tools"):
            with open("asked.jsonl", "a") as file:
                file.write(json.dumps(body["messages"][-1]["content"]) + "\n")
        chunks = [{"delta": {"role": "assistant", "content": "Yes."}, "finish_reason": None},
                  {"delta": {}, "finish_reason": "stop"}]
        data = "".join("data: %s\n\n" % json.dumps({"id": "1", "object": "chat.completion.chunk", "created": 1,
            "model": "toy", "choices": [{"index": 0, **chunk}]}) for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
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
mkdir -p home/.config/opencode garden
cat > home/.config/opencode/opencode.json <<JSON
{"autoupdate": false, "share": "disabled", "model": "toy/toy", "provider": {"toy": {"npm": "@ai-sdk/openai-compatible",
 "name": "toy", "options": {"baseURL": "http://127.0.0.1:$(cat port)/v1", "apiKey": "none"}, "models": {"toy": {"name": "toy"}}}}}
JSON
run() { (cd garden && env -i PATH="$PATH" HOME="$dir/home" "$dir/tool/node_modules/.bin/opencode" "$@" 2>/dev/null); }
echo "opencode $(run --version)"
run run -m toy/toy "Which plants grow?" >/dev/null
run run -m toy/toy "Plants" >/dev/null
python3 - <<'PY'
import glob, json, sqlite3
(path,) = glob.glob("home/.local/share/opencode/*.db")
rows = sqlite3.connect(path).execute(
    "SELECT p.data FROM part p JOIN message m ON m.id = p.message_id WHERE m.data LIKE '%\"role\":\"user\"%' ORDER BY p.id")
stored = [json.loads(data)["text"] for (data,) in rows if json.loads(data).get("type") == "text"]
sent = [json.loads(line) for line in open("asked.jsonl")]
print("stored:", stored)
print("sent:  ", sent)
assert stored == ['"Which plants grow?"', "Plants"], "it changed"
assert '"Which plants grow?"' in json.dumps(sent, ensure_ascii=False).replace('\\"', '"'), "it changed"
PY
