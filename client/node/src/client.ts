import { randomBytes, randomUUID } from "node:crypto";
import { basename } from "node:path";
import {
  type CallOptions,
  type Client,
  type ClientReadableStream,
  type ClientUnaryCall,
  Metadata,
  type ServiceError,
  credentials,
} from "@grpc/grpc-js";
import { ensureDaemon } from "./daemon.js";
import { OblixError, toOblixError } from "./errors.js";
import { DaemonServiceClient, GetInfoRequest, type GetInfoResponse } from "./gen/oblix/v1/daemon.js";
import {
  AttachExecutionRequest,
  CancelExecutionRequest,
  type DeepPartial,
  DeltaKind,
  ExecuteRequest,
  type ExecuteResponse,
  type Execution,
  type ExecutionCompleted,
  ExecutionServiceClient,
} from "./gen/oblix/v1/executions.js";
import { Role } from "./gen/oblix/v1/messages.js";
import { HookModelRequest, type Model, ModelServiceClient } from "./gen/oblix/v1/models.js";
import { MonitorServiceClient } from "./gen/oblix/v1/monitor.js";
import { SessionServiceClient } from "./gen/oblix/v1/sessions.js";
import { Sessions } from "./sessions.js";
import { messagesOf } from "./stream.js";

const CALL_TIMEOUT_MS = 10_000;
/** A restarted daemon is connected to anew, and then told of the hooked models. */
const MOST_RECOVERIES = 2;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** One event of an execution: queued, started, delta, rerouted, completed, failed. `$case` says which. */
export type ExecutionEvent = NonNullable<ExecuteResponse["event"]>;

/** How a prompt is run: the fields of ExecuteRequest, and a signal that cancels it. */
export type ExecuteOptions = Omit<DeepPartial<ExecuteRequest>, "input"> & { signal?: AbortSignal };

/** The whole of an answer. */
export interface Answer {
  text: string;
  reasoning: string;
  completed: ExecutionCompleted;
}

/** Where the daemon is. Without any it is this user's, which is started where it does not run. */
export interface ClientOptions {
  /** A gRPC target, for example unix:/run/user/1000/oblix/oblixd.sock. Nothing is started then. */
  target?: string;
  /** The command that starts the daemon. Default oblix, as PATH finds it. */
  command?: string;
}

type Unary<Q, A> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, answer: A) => void,
) => ClientUnaryCall;

/** The generated clients on one connection, for calls that have no method here. */
export interface Stubs {
  daemon: DaemonServiceClient;
  executions: ExecutionServiceClient;
  models: ModelServiceClient;
  monitor: MonitorServiceClient;
  sessions: SessionServiceClient;
}

/** A program's way to its models and conversations. Nothing is connected before the first call. */
export class OblixClient {
  /** What there is to do with sessions. */
  readonly sessions = new Sessions(this);
  private readonly name = randomBytes(8).toString("hex");
  private readonly hooked = new Map<string, HookModelRequest>();
  private connecting: Promise<Stubs> | undefined;

  constructor(private readonly options: ClientOptions = {}) {}

  /**
   * Asks, and yields what happens. Leaving the loop cancels the answer and frees the model, unless
   * `onDisconnect` is ON_DISCONNECT_CONTINUE. Throws OblixError, after every event that came before it.
   */
  async *execute(prompt: string | DeepPartial<ExecuteRequest>["input"], options: ExecuteOptions = {}): AsyncGenerator<ExecutionEvent, void, void> {
    const { signal, ...given } = options;
    const input = typeof prompt === "string" ? [userMessage(prompt)] : prompt;
    const request = ExecuteRequest.fromPartial({ requestId: randomUUID(), ...given, input });
    for (let attempt = 0; ; attempt++) {
      request.candidates = given.candidates?.filter((one) => one !== undefined) ?? [...this.hooked.keys()];
      let hasBegun = false;
      try {
        const stubs = await this.stubs();
        for await (const answer of messagesOf(() => stubs.executions.execute(request, this.metadata()), signal)) {
          hasBegun = true;
          if (answer.event) yield answer.event;
        }
        return;
      } catch (error) {
        // The request's id makes it safe to send it again: it is never run twice.
        if (hasBegun || attempt === MOST_RECOVERIES || !(await this.recover(error))) throw error;
      }
    }
  }

  /** Asks, and returns the answer once it is whole. Throws OblixError. */
  async ask(prompt: string, options: ExecuteOptions = {}): Promise<Answer> {
    let [text, reasoning] = ["", ""];
    for await (const event of this.execute(prompt, options)) {
      if (event.$case === "rerouted") [text, reasoning] = ["", ""];
      if (event.$case === "delta" && event.value.kind === DeltaKind.DELTA_KIND_TEXT) text += event.value.text;
      if (event.$case === "delta" && event.value.kind === DeltaKind.DELTA_KIND_REASONING) reasoning += event.value.text;
      if (event.$case === "completed") return { text, reasoning, completed: event.value };
    }
    throw new OblixError("The stream ended before the answer did.", "ANSWER_INTERRUPTED", "UNAVAILABLE");
  }

  /** Goes on with an execution. `offset`: bytes of UTF-8 of deltas that this program has processed itself. */
  async *attach(requestId: string, options: { offset?: number; signal?: AbortSignal } = {}): AsyncGenerator<ExecutionEvent, void, void> {
    const request = AttachExecutionRequest.fromPartial({ requestId, offset: options.offset ?? 0 });
    const stubs = await this.stubs();
    const open = () => stubs.executions.attachExecution(request, this.metadata());
    for await (const answer of messagesOf(open, options.signal)) if (answer.event?.event) yield answer.event.event;
  }

  /** Cancels an execution; the part that had come is kept. */
  async cancel(requestId: string): Promise<Execution | undefined> {
    const request = CancelExecutionRequest.fromPartial({ requestId });
    return (await this.call((stubs) => [stubs.executions, stubs.executions.cancelExecution], request)).execution;
  }

  /** Adds a model to those that this client's prompts may go to. */
  async hookModel(model: DeepPartial<HookModelRequest>): Promise<Model | undefined> {
    const request = HookModelRequest.fromPartial(model);
    const answer = await this.call((stubs) => [stubs.models, stubs.models.hookModel], request);
    this.hooked.set(answer.handle, request);
    return answer.model;
  }

  /** What the daemon says of itself. */
  info(): Promise<GetInfoResponse> {
    return this.call((stubs) => [stubs.daemon, stubs.daemon.getInfo], GetInfoRequest.fromPartial({}));
  }

  /** Closes the connection. The daemon lives on; models that were hooked go after an hour. */
  async close(): Promise<void> {
    const stubs = await this.connecting?.catch(() => undefined);
    for (const stub of Object.values(stubs ?? {})) (stub as Client).close();
    this.connecting = undefined;
  }

  /** The generated clients, connected. The daemon is started where it does not run. */
  stubs(): Promise<Stubs> {
    this.connecting ??= this.connect();
    this.connecting.catch(() => (this.connecting = undefined));
    return this.connecting;
  }

  /** The metadata that names this client. Send it with every call of the generated clients. */
  metadata(): Metadata {
    const metadata = new Metadata();
    metadata.set("oblix-client", this.name);
    const program = basename(process.argv[1] ?? "node").replace(/[^ -~]/g, "?").slice(0, 100);
    metadata.set("oblix-program", `${program}/${process.pid}`);
    return metadata;
  }

  /** Makes a unary call of a generated client. Throws OblixError. */
  async call<Q, A, S extends Client>(method: (stubs: Stubs) => [S, Unary<Q, A>], request: Q): Promise<A> {
    try {
      return await this.callOnce(method, request);
    } catch (error) {
      if (!(error instanceof OblixError && error.isConnectionLost && (await this.recover(error)))) throw error;
      return this.callOnce(method, request);
    }
  }

  private async callOnce<Q, A, S extends Client>(method: (stubs: Stubs) => [S, Unary<Q, A>], request: Q): Promise<A> {
    const [stub, unary] = method(await this.stubs());
    return new Promise<A>((resolve, reject) => {
      const options = { deadline: Date.now() + CALL_TIMEOUT_MS };
      unary.call(stub, request, this.metadata(), options, (error, answer) =>
        error ? reject(toOblixError(error)) : resolve(answer),
      );
    });
  }

  /** Opens a stream of a generated client. */
  async *stream<T>(open: (stubs: Stubs, metadata: Metadata) => ClientReadableStream<T>, signal?: AbortSignal): AsyncGenerator<T, void, void> {
    const stubs = await this.stubs();
    yield* messagesOf(() => open(stubs, this.metadata()), signal);
  }

  private async connect(): Promise<Stubs> {
    const target = this.options.target ?? `unix:${await ensureDaemon(this.options.command)}`;
    const options = { "grpc.max_receive_message_length": MAX_ANSWER_BYTES, "grpc.enable_http_proxy": 0 };
    const daemon = new DaemonServiceClient(target, credentials.createInsecure(), options);
    const shared = { channelOverride: daemon.getChannel() };
    const insecure = credentials.createInsecure();
    return {
      daemon,
      executions: new ExecutionServiceClient(target, insecure, shared),
      models: new ModelServiceClient(target, insecure, shared),
      monitor: new MonitorServiceClient(target, insecure, shared),
      sessions: new SessionServiceClient(target, insecure, shared),
    };
  }

  /** Mends what a restarted daemon forgot. Returns whether the call may be made again. */
  private async recover(error: unknown): Promise<boolean> {
    if (!(error instanceof OblixError)) return false;
    if (error.isConnectionLost && !this.options.target) {
      await this.close();
      await this.stubs();
      return true;
    }
    if (error.reason !== "HANDLE_UNKNOWN" || this.hooked.size === 0) return false;
    const requests = [...this.hooked.values()];
    this.hooked.clear();
    for (const request of requests) await this.hookModel(request);
    return true;
  }
}

/** Returns a text as a person's message. */
export function userMessage(text: string) {
  return { role: Role.ROLE_USER, parts: [{ kind: { $case: "text" as const, value: text } }] };
}
