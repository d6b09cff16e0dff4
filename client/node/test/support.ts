import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Location, OblixClient, Provider } from "../src/index.js";

/** A home of a test file's own. `end` stops the daemon there. */
export function ownHome(): { home: string; end: () => Promise<void> } {
  const home = mkdtempSync(join(tmpdir(), "oblix-node-"));
  Object.assign(process.env, { OBLIX_HOME: home, OBLIX_EMBEDDED_ENABLED: "false" });
  const end = async () => {
    await ended(spawn("oblix", ["stop"], { stdio: "ignore" }));
    rmSync(home, { recursive: true, force: true });
  };
  return { home, end };
}

/** Returns once a process has ended. */
export function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.on("close", () => resolve()));
}

/** What a model says: pieces of text, then how it ends. Without an end it is silent from there on. */
export interface Script {
  pieces: string[];
  calls?: object[];
  end?: "stop" | "break";
}

/** A model's server that speaks OpenAI's API, as far as a chat needs it. */
export class ModelServer {
  readonly scripts: Script[] = [];
  readonly bodies: any[] = [];
  /** Resolves when a client has left a request before its end. */
  readonly left: Promise<void>;
  private leave = () => {};
  private readonly server: Server;

  private constructor() {
    this.left = new Promise((resolve) => (this.leave = resolve));
    this.server = createServer((request, response) => void this.answer(request, response));
  }

  static async start(): Promise<ModelServer> {
    const made = new ModelServer();
    await new Promise<void>((resolve) => made.server.listen(0, "127.0.0.1", resolve));
    return made;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/v1`;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const piece of request) body += piece;
    if (!request.url?.endsWith("/chat/completions")) {
      response.end(JSON.stringify({ object: "list", data: [{ id: "toy", object: "model" }] }));
      return;
    }
    this.bodies.push(JSON.parse(body));
    const script = this.scripts.shift() ?? { pieces: ["Hello", " there."], end: "stop" };
    response.on("close", () => response.writableFinished || this.leave());
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const piece of script.pieces) response.write(chunk({ content: piece }));
    if (script.calls) response.write(chunk({ tool_calls: script.calls }));
    if (script.end === "stop") response.end(`${chunk({}, script.calls ? "tool_calls" : "stop")}data: [DONE]\n\n`);
    if (script.end === "break") response.end();
  }
}

function chunk(delta: object, finish: string | null = null): string {
  const choices = [{ index: 0, delta, finish_reason: finish }];
  return `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "toy", choices })}\n\n`;
}

/** A client whose prompts go to a server. */
export async function clientOf(server: ModelServer): Promise<OblixClient> {
  const client = new OblixClient();
  await client.hookModel({
    provider: Provider.PROVIDER_CUSTOM,
    name: "toy",
    endpoint: server.url,
    location: Location.LOCATION_LOCAL,
  });
  return client;
}
