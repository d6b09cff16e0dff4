import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type ServiceError, status } from "@grpc/grpc-js";

/** The reason of an error that the connection itself is: oblixd has ended, or was never there. */
export const CONNECTION_LOST = "CONNECTION_LOST";

/** An error with a sentence for a person and a reason for a program. docs/reference/errors.md lists the reasons. */
export class OblixError extends Error {
  constructor(
    message: string,
    /** UPPER_SNAKE and stable, for example SESSION_NOT_FOUND. Empty where gRPC itself failed the call. */
    readonly reason: string,
    /** The name of the gRPC status, for example NOT_FOUND. */
    readonly code: string,
    /** The values in the message, by name. */
    readonly metadata: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = "OblixError";
  }

  /** Whether the connection broke. An execution may go on: `attach` to its request id. */
  get isConnectionLost(): boolean {
    return this.reason === CONNECTION_LOST;
  }
}

/** Returns the error of a failed call as ours. */
export function toOblixError(error: unknown): OblixError {
  if (error instanceof OblixError) return error;
  const failed = error as ServiceError;
  const code = status[failed.code] ?? "UNKNOWN";
  const info = errorInfo(failed);
  if (info.reason) return new OblixError(failed.details, info.reason, code, info.metadata);
  const reason = isLost(failed) ? CONNECTION_LOST : "";
  return new OblixError(failed.details || failed.message || String(error), reason, code);
}

/** A server that stops at once resets its streams, which grpc-js tells as INTERNAL. */
function isLost(error: ServiceError): boolean {
  const isReset = error.code === status.INTERNAL && /RST_STREAM|internal client error/i.test(error.details);
  return error.code === status.UNAVAILABLE || isReset;
}

interface Info {
  reason: string;
  metadata: Record<string, string>;
}

/** Reads google.rpc.ErrorInfo out of the google.rpc.Status that travels in the trailers. */
function errorInfo(error: ServiceError): Info {
  const info: Info = { reason: "", metadata: {} };
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!Buffer.isBuffer(bytes)) return info;
  for (const detail of fields(bytes, 3)) {
    const [url] = fields(detail, 1);
    const [value] = fields(detail, 2);
    if (!value || !text(url).endsWith("/google.rpc.ErrorInfo")) continue;
    info.reason = text(fields(value, 1)[0]);
    for (const entry of fields(value, 3)) info.metadata[text(fields(entry, 1)[0])] = text(fields(entry, 2)[0]);
  }
  return info;
}

function fields(bytes: Uint8Array, wanted: number): Uint8Array[] {
  const reader = new BinaryReader(bytes);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === wanted && type === 2) found.push(reader.bytes());
    else reader.skip(type);
  }
  return found;
}

function text(bytes: Uint8Array | undefined): string {
  return bytes ? new TextDecoder().decode(bytes) : "";
}
