import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OblixError } from "./errors.js";

const START_TIMEOUT_MS = 40_000;

/** Returns the path of this user's socket, as the daemon publishes it, else where it is by default. */
export function socketPath(environment: NodeJS.ProcessEnv = process.env): string {
  const home = environment.OBLIX_HOME;
  const state = environment.XDG_STATE_HOME || join(environment.HOME ?? "", ".local/state");
  return published(home || join(state, "oblix")) ?? defaultPath(environment, home);
}

function published(data: string): string | undefined {
  try {
    return readFileSync(join(data, "socket"), "utf8").replace(/\n$/, "") || undefined;
  } catch {
    return undefined;
  }
}

function defaultPath(environment: NodeJS.ProcessEnv, home: string | undefined): string {
  if (home) return join(home, "oblixd.sock");
  const runtime = environment.XDG_RUNTIME_DIR;
  return runtime ? join(runtime, "oblix/oblixd.sock") : `/tmp/oblix-${process.getuid?.() ?? 0}/oblixd.sock`;
}

/** Whether something listens at a path. */
export function listens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on("connect", () => (socket.destroy(), resolve(true)));
    socket.on("error", () => resolve(false));
  });
}

/**
 * Returns once the daemon serves. Where none runs, `oblix` starts it, which sees to it that there is
 * only ever one, and uses the systemd unit where that is installed.
 */
export async function ensureDaemon(command = "oblix"): Promise<string> {
  if (!(await listens(socketPath()))) await start(command);
  return socketPath();
}

function start(command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new OblixError(why, "DAEMON_FAILED", "UNAVAILABLE"));
    const child = spawn(command, ["models"], {
      cwd: tmpdir(),
      stdio: ["ignore", "ignore", "pipe"],
      timeout: START_TIMEOUT_MS,
    });
    let said = "";
    child.stderr.on("data", (bytes: Buffer) => (said += bytes));
    child.on("error", () => fail(`oblixd does not run, and \`${command}\` can't be run to start it: install oblix.`));
    child.on("close", (code) => (code === 0 ? resolve() : fail(said.trim() || `\`${command}\` ended with ${code}.`)));
  });
}
