import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { OblixClient, OblixError, OnDisconnect } from "../src/index.js";
import { ModelServer, clientOf, ended, ownHome } from "./support.js";

const own = ownHome();
let server: ModelServer;
let client: OblixClient;

before(async () => {
  server = await ModelServer.start();
  client = await clientOf(server);
});
after(async () => {
  await client?.close();
  server?.close();
  await own.end();
});

async function firstDelta(events: AsyncGenerator<any>): Promise<string> {
  for (;;) {
    const { value } = await events.next();
    if (value.$case === "delta") return value.value.text;
  }
}

async function reasonOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => assert.fail("it did not fail"), (error: unknown) => error);
  assert.ok(error instanceof OblixError, String(error));
  return error.reason;
}

test("the daemon is started where none runs", async () => {
  const info = await client.info();
  assert.ok(info.version);
});

test("an answer streams and is recorded in its session", async () => {
  const session = await client.sessions.create({ title: "Trip", metadata: { project: "alps" } });
  const kinds: string[] = [];
  let text = "";
  for await (const event of client.execute("Where to?", { sessionId: session.id })) {
    kinds.push(event.$case);
    if (event.$case === "delta") text += event.value.text;
  }
  assert.equal(text, "Hello there.");
  assert.deepEqual([kinds[0], kinds.at(-1)], ["started", "completed"]);
  const said = [];
  for await (const message of client.sessions.messages(session.id)) said.push(message.parts[0]?.kind?.value);
  assert.deepEqual(said, ["Where to?", "Hello there."]);
});

test("leaving the loop frees the model", async () => {
  const silent = await ModelServer.start();
  const other = await clientOf(silent);
  silent.scripts.push({ pieces: ["one"] });
  for await (const event of other.execute("Hello")) if (event.$case === "delta") break;
  await silent.left;
  await other.close();
  silent.close();
});

test("a signal cancels the answer and throws its reason", async () => {
  const silent = await ModelServer.start();
  const other = await clientOf(silent);
  silent.scripts.push({ pieces: ["one"] });
  const stop = new AbortController();
  const events = other.execute("Hello", { signal: stop.signal });
  assert.equal(await firstDelta(events), "one");
  stop.abort(new Error("enough"));
  await assert.rejects(events.next(), /enough/);
  await silent.left;
  await other.close();
  silent.close();
});

test("every delta arrives before an error, however slowly it is read", async () => {
  const pieces = Array.from({ length: 200 }, (_, index) => ` ${index}`);
  server.scripts.push({ pieces, end: "break" });
  let [text, last] = ["", ""];
  const reading = (async () => {
    for await (const event of client.execute("Count")) {
      last = event.$case;
      if (event.$case === "delta") text += event.value.text;
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  assert.notEqual(await reasonOf(reading), "");
  assert.equal(text, pieces.join(""));
  assert.equal(last, "failed");
});

test("an execution goes on without its reader, and is attached to", async () => {
  const events = client.execute("Hello", { requestId: "node-1", onDisconnect: OnDisconnect.ON_DISCONNECT_CONTINUE });
  const first = await firstDelta(events);
  await events.return();
  let rest = "";
  for await (const event of client.attach("node-1", { offset: Buffer.byteLength(first) })) {
    if (event.$case === "delta") rest += event.value.text;
  }
  assert.equal(first + rest, "Hello there.");
});

test("a plain object filters, and an empty one is every session", async () => {
  const one = await client.sessions.create({ metadata: { project: "sea", year: 2026 } });
  const listed = [];
  for await (const session of client.sessions.list({ filter: { project: "sea" } })) listed.push(session);
  assert.deepEqual(listed.map((session) => [session.id, session.metadata]), [[one.id, { project: "sea", year: 2026 }]]);
  let all = 0;
  for await (const _ of client.sessions.list({ filter: {} })) all++;
  assert.ok(all > 1);
  for await (const _ of client.sessions.list({ updatedFrom: new Date(Date.now() + 86_400_000) })) assert.fail();
});

test("a watch tells what is there, and then every change", async () => {
  const session = await client.sessions.create({ metadata: { project: "watched" } });
  const seen: string[] = [];
  for await (const event of client.sessions.watch({ filter: { project: "watched" } })) {
    seen.push(event.$case);
    if (event.$case === "synced" && !seen.includes("removed")) {
      if (seen.length === 2) await client.sessions.update({ id: session.id, title: "Later" }, ["title"]);
    }
    if (event.$case === "session" && event.value.session?.title === "Later") break;
  }
  assert.deepEqual(seen.slice(0, 2), ["session", "synced"]);
});

test("what is written is found", async () => {
  const session = await client.sessions.create();
  await client.sessions.append(session.id, "The word is aspidistra.");
  const found = [];
  for await (const hit of client.sessions.search("aspidistra")) found.push(hit.sessionId);
  assert.deepEqual(found, [session.id]);
});

test("an error has a reason, a status and its values", async () => {
  const error = await client.sessions.get("no-such").catch((error: unknown) => error);
  assert.ok(error instanceof OblixError);
  assert.deepEqual([error.reason, error.code], ["SESSION_NOT_FOUND", "NOT_FOUND"]);
  assert.match(error.message, /no-such/);
  assert.equal(error.metadata.session_id, "no-such");
});

test("a daemon that was restarted goes unnoticed", async () => {
  await ended(spawn("oblix", ["stop"], { stdio: "ignore" }));
  assert.equal((await client.ask("Hello")).text, "Hello there.");
});

test("a command that can't be run is named", async () => {
  await ended(spawn("oblix", ["stop"], { stdio: "ignore" }));
  const other = new OblixClient({ command: "no-such-oblix" });
  await assert.rejects(other.info(), /no-such-oblix/);
});
