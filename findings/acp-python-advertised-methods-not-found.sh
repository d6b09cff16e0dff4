#!/usr/bin/env bash
# The Agent Client Protocol's Python SDK: methods that an agent has and advertises are "Method not found".
#
# session/resume and session/close belong to the stable protocol, and to the stable entry of the TypeScript SDK.
# Expected: an agent that has resume_session and close_session, and says so in its capabilities, is asked. Seen: the SDK
# answers -32601 for both unless the agent is run with use_unstable_protocol=True; the agent's code never hears of it,
# and a client that goes by the capabilities fails. session/delete, which has a capability too, is never routed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check --no-input "agent-client-protocol==0.12.1"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work/js" "@agentclientprotocol/sdk@2.4.0"
(cd "$work/js" && node --input-type=module -e '
import { methods } from "@agentclientprotocol/sdk";
console.log("stable in TypeScript:", Object.values(methods.agent.session).join(" "));')
"$work/venv/bin/python" -W ignore - <<'PY'
import asyncio
import importlib.metadata
import json
import socket

from acp import run_agent, schema


class Agent:
    def on_connect(self, connection):
        pass

    async def resume_session(self, session_id, cwd, mcp_servers=None, **_):
        return schema.ResumeSessionResponse()

    async def close_session(self, session_id, **_):
        return schema.CloseSessionResponse()

    async def delete_session(self, session_id, **_):
        return schema.DeleteSessionResponse()


async def answers(unstable):
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    agent_reader, agent_writer = await asyncio.open_connection(sock=theirs)
    serving = asyncio.create_task(run_agent(Agent(), agent_writer, agent_reader, use_unstable_protocol=unstable))
    found = {}
    for number, method in enumerate(("resume", "close", "delete")):
        params = {"sessionId": "s", "cwd": "/", "mcpServers": []}
        request = {"jsonrpc": "2.0", "id": number, "method": f"session/{method}", "params": params}
        writer.write(json.dumps(request).encode() + b"\n")
        found[method] = json.loads(await reader.readline()).get("error", {}).get("code", "answered")
    writer.close()
    await serving
    agent_writer.close()
    return found


async def main():
    print("agent-client-protocol", importlib.metadata.version("agent-client-protocol"))
    stable, unstable = await answers(False), await answers(True)
    print("as it is run by default:", stable)
    print("use_unstable_protocol=True:", unstable)
    assert stable == {"resume": -32601, "close": -32601, "delete": -32601}, "they are routed now"
    assert unstable == {"resume": "answered", "close": "answered", "delete": -32601}


asyncio.run(main())
PY
