#!/usr/bin/env bash
# The Agent Client Protocol's Python SDK: a request's `_meta` replaces the request's own fields.
#
# The protocol reserves `_meta` for extensions. Expected: the
# agent's method gets it apart from the fields. Seen: the keys of `_meta` are merged into the keyword arguments after
# the fields were validated, so `_meta: {"cwd": ...}` is the working directory that the agent sees, of any type, and
# the real one is lost.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "agent-client-protocol==0.12.1"
"$work/venv/bin/python" - <<'PY'
import asyncio
import importlib.metadata
import json
import socket

from acp import run_agent, schema


class Agent:
    def on_connect(self, connection):
        pass

    async def new_session(self, cwd, mcp_servers=None, **extensions):
        return schema.NewSessionResponse(session_id=f"cwd={cwd!r}")


async def ask(meta):
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    agent_reader, agent_writer = await asyncio.open_connection(sock=theirs)
    serving = asyncio.create_task(run_agent(Agent(), agent_writer, agent_reader))
    params = {"cwd": "/asked/for", "mcpServers": [], "_meta": meta}
    request = {"jsonrpc": "2.0", "id": 1, "method": "session/new", "params": params}
    writer.write(json.dumps(request).encode() + b"\n")
    answer = json.loads(await reader.readline())["result"]["sessionId"]
    writer.close()
    await serving
    agent_writer.close()
    return answer


async def main():
    print("agent-client-protocol", importlib.metadata.version("agent-client-protocol"))
    seen = [await ask(meta) for meta in ({"trace": "x"}, {"cwd": "/of/meta"}, {"cwd": 7})]
    print("the agent sees:", *seen)
    assert seen == ["cwd='/asked/for'", "cwd='/of/meta'", "cwd=7"], "it keeps them apart now"


asyncio.run(main())
PY
