import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";
import { ModelServer, ended, ownHome } from "./support.js";

const own = ownHome();
let server: ModelServer;

before(async () => {
  server = await ModelServer.start();
});
after(async () => {
  server.close();
  await own.end();
});

interface Seen {
  updates: acp.SessionUpdate[];
  asked: acp.RequestPermissionRequest[];
  /** Resolves when the agent has said something. */
  news: () => Promise<void>;
}

/** Runs `oblix acp` under the protocol's TypeScript SDK, with an editor that offers its files. */
async function withAgent(work: (agent: acp.ClientContext, seen: Seen) => Promise<void>): Promise<void> {
  const process_ = spawn("oblix", ["acp", "--model", "custom:toy", "--endpoint", server.url], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let wake = () => {};
  const seen: Seen = { updates: [], asked: [], news: () => new Promise((resolve) => (wake = resolve)) };
  const editor = acp
    .client({ name: "test" })
    .onNotification("session/update", ({ params }) => {
      seen.updates.push(params.update);
      wake();
    })
    .onRequest("session/request_permission", ({ params }) => {
      seen.asked.push(params);
      return { outcome: { outcome: "selected", optionId: "allow" } };
    })
    .onRequest("fs/read_text_file", () => ({ content: "Beds north." }));
  const input = Readable.toWeb(process_.stdout) as ReadableStream<Uint8Array>;
  const output = Writable.toWeb(process_.stdin) as WritableStream<Uint8Array>;
  const connection = editor.connect(acp.ndJsonStream(output, input));
  const over = ended(process_);
  try {
    await connection.agent.request("initialize", {
      protocolVersion: acp.PROTOCOL_VERSION,
      clientCapabilities: { fs: { readTextFile: true, writeTextFile: false } },
    });
    await work(connection.agent, seen);
  } finally {
    connection.close();
    process_.stdin.destroy();
    await over;
  }
}

function said(seen: Seen, kind: string): string {
  return seen.updates
    .map((update) => ("content" in update && update.sessionUpdate === kind ? (update.content as any).text : ""))
    .join("");
}

test("sessions are made, asked, listed, loaded and resumed", async () => {
  await withAgent(async (agent, seen) => {
    const made = await agent.request("session/new", { cwd: "/home/you/garden", mcpServers: [] });
    assert.equal(made.modes?.currentModeId, "default");
    assert.deepEqual(made.configOptions?.map((option) => option.id), ["model", "mode", "thought_level"]);
    const { sessionId } = made;
    const answer = await agent.request("session/prompt", { sessionId, prompt: [{ type: "text", text: "Hello" }] });
    assert.equal(answer.stopReason, "end_turn");
    assert.equal(said(seen, "agent_message_chunk"), "Hello there.");
    const listed = await agent.request("session/list", { cwd: "/home/you/garden" });
    assert.deepEqual(listed.sessions.map((one) => [one.sessionId, one.title]), [[sessionId, "Hello"]]);
    await agent.request("session/load", { sessionId, cwd: "/home/you/garden", mcpServers: [] });
    assert.equal(said(seen, "user_message_chunk"), "Hello");
    await agent.request("session/resume", { sessionId, cwd: "/home/you/garden" });
    await agent.request("session/set_mode", { sessionId, modeId: "private" });
    await agent.request("session/close", { sessionId });
  });
});

test("cancelling ends the turn and frees the model", async () => {
  server.scripts.push({ pieces: ["one"] });
  await withAgent(async (agent, seen) => {
    const { sessionId } = await agent.request("session/new", { cwd: "/home/you", mcpServers: [] });
    const asking = agent.request("session/prompt", { sessionId, prompt: [{ type: "text", text: "Go" }] });
    while (!said(seen, "agent_message_chunk")) await seen.news();
    await agent.notify("session/cancel", { sessionId });
    assert.equal((await asking).stopReason, "cancelled");
    await server.left;
  });
});

test("a tool is run by the editor after the person was asked", async () => {
  const call = { index: 0, id: "c1", type: "function", function: { name: "read_file", arguments: '{"path": "plan.md"}' } };
  server.scripts.push({ pieces: [], calls: [call], end: "stop" }, { pieces: ["Read."], end: "stop" });
  await withAgent(async (agent, seen) => {
    const { sessionId } = await agent.request("session/new", { cwd: "/home/you", mcpServers: [] });
    await agent.request("session/prompt", { sessionId, prompt: [{ type: "text", text: "Read it" }] });
    assert.deepEqual(seen.asked.map((one) => one.toolCall.locations), [[{ path: "/home/you/plan.md" }]]);
    assert.equal(said(seen, "agent_message_chunk"), "Read.");
    assert.equal(server.bodies.at(-1).messages.at(-1).content, "Beds north.");
  });
});
