import type { ClientReadableStream } from "@grpc/grpc-js";
import { toOblixError } from "./errors.js";

/**
 * Yields a stream's messages. Leaving the loop, or the signal, cancels the call.
 *
 * `for await` over a stream of grpc-js does neither: a loop that is left leaves the
 * call running, and messages that wait unread are dropped when an error arrives. So
 * messages are taken as they come and kept here, and an error is thrown after them.
 */
export async function* messagesOf<T>(
  open: () => ClientReadableStream<T>,
  signal?: AbortSignal,
): AsyncGenerator<T, void, void> {
  signal?.throwIfAborted();
  const call = open();
  const waiting: T[] = [];
  let end: { error?: unknown } | undefined;
  let wake = () => {};
  call.on("data", (message: T) => {
    waiting.push(message);
    wake();
  });
  const finish = (error?: unknown) => {
    end ??= { error };
    wake();
  };
  call.on("end", () => finish());
  call.on("error", finish);
  const abort = () => {
    finish(signal?.reason);
    call.cancel();
  };
  signal?.addEventListener("abort", abort, { once: true });
  try {
    while (true) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else if (end) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    if (end.error !== undefined) throw signal?.aborted ? signal.reason : toOblixError(end.error);
  } finally {
    signal?.removeEventListener("abort", abort);
    call.cancel();
  }
}
