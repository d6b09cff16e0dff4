#!/usr/bin/env bash
# codex 0.171.0: `codex exec resume ID` goes on with a rollout that some other program wrote, of a head and bare items
# only: no ordinals, no turns, no index, calls of a tool that it does not have. Everything is sent to the model again.
# What counts is that the file's name ends in the id, in any folder of a day below `sessions`.
# Guess before running: it looks the thread up in its index (state_5.sqlite) and refuses what is not there.
set -euo pipefail
server=; dir=$(mktemp -d); trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix "$dir/tool" @openai/codex@0.171.0 >/dev/null
cat > server.py <<'PY'
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(b'{"data": [], "models": []}', "application/json")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        open("asked.json", "wb").write(body)
        message = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Moss."}]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        events = [{"type": "response.created", "response": {"id": "r"}},
                  {"type": "response.output_item.done", "output_index": 0, "item": message},
                  {"type": "response.completed", "response": {"id": "r", "output": [message], "usage": usage}}]
        data = "".join("event: %s\ndata: %s\n\n" % (event["type"], json.dumps(event)) for event in events)
        self.reply(data.encode(), "text/event-stream")
    def reply(self, data, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
open("port", "w").write(str(server.server_port))
server.serve_forever()
PY
python3 server.py & server=$!
until [ -s port ]; do sleep 0.1; done
id=01a22444-2298-74e0-899e-ac627f3d2aaa
mkdir -p codex/sessions/2001/01/01 garden
cat > codex/config.toml <<TOML
model = "toy"
model_provider = "toy"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.toy]
name = "toy"
base_url = "http://127.0.0.1:$(cat port)/v1"
wire_api = "responses"
TOML
python3 - "$dir" $id <<'PY'
import json, sys
folder, name = sys.argv[1:]
head = {"id": name, "timestamp": "2001-01-01T00:00:00Z", "cwd": folder + "/garden", "originator": "by hand",
        "cli_version": "0.171.0", "source": "cli"}
items = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Which plants?"}]},
    {"type": "function_call", "name": "look_in_the_garden", "arguments": "{}", "call_id": "c"},
    {"type": "function_call_output", "call_id": "c", "output": "moss"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Moss."}]},
]
lines = [{"timestamp": head["timestamp"], "type": "session_meta", "payload": head}]
lines += [{"timestamp": head["timestamp"], "type": "response_item", "payload": item} for item in items]
with open(f"{folder}/codex/sessions/2001/01/01/rollout-2001-01-01T00-00-00-{name}.jsonl", "w") as file:
    file.writelines(json.dumps(line) + "\n" for line in lines)
PY
codex() { (cd garden && env -i PATH="$PATH" HOME="$dir" CODEX_HOME="$dir/codex" "$dir/tool/node_modules/.bin/codex" "$@" 2>/dev/null); }
codex --version
codex exec --skip-git-repo-check resume $id "And now?" >/dev/null
python3 - <<'PY'
import json
sent = [(item["type"], json.dumps(item.get("content") or item.get("name") or item.get("output")))
        for item in json.load(open("asked.json"))["input"] if item.get("role") != "developer"]
for kind, what in sent:
    print(kind, what[:90])
told = " ".join(what for _, what in sent)
assert "Which plants?" in told and "look_in_the_garden" in told and "And now?" in told, "it changed"
PY
