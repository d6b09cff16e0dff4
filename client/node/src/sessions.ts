import type { OblixClient } from "./client.js";
import type { DeepPartial } from "./gen/oblix/v1/executions.js";
import { type Message, Role } from "./gen/oblix/v1/messages.js";
import {
  AppendMessagesRequest,
  CreateSessionRequest,
  DeleteSessionRequest,
  GetSessionRequest,
  ListMessagesRequest,
  ListSessionsRequest,
  type SearchHit,
  SearchMessagesRequest,
  type Session,
  UpdateSessionRequest,
  WatchSessionsRequest,
  type WatchSessionsResponse,
} from "./gen/oblix/v1/sessions.js";

/** Values of metadata, all of which must be equal. A plain object: the stubs write the Struct. */
export type Filter = Record<string, string | number | boolean | null>;

/** What a watch tells: session, removed, synced, resync_required. `$case` says which. */
export type WatchEvent = NonNullable<WatchSessionsResponse["event"]>;

/** Sessions: made, found, read, written, watched. What was acknowledged is on disk. */
export class Sessions {
  constructor(private readonly client: OblixClient) {}

  /** Makes an empty session. */
  async create(session: DeepPartial<Session> = {}): Promise<Session> {
    const request = CreateSessionRequest.fromPartial({ session });
    const answer = await this.client.call((stubs) => [stubs.sessions, stubs.sessions.createSession], request);
    return answer.session!;
  }

  /** Returns a session without its messages. Throws OblixError SESSION_NOT_FOUND. */
  async get(sessionId: string): Promise<Session> {
    const request = GetSessionRequest.fromPartial({ sessionId });
    const answer = await this.client.call((stubs) => [stubs.sessions, stubs.sessions.getSession], request);
    return answer.session!;
  }

  /** Yields sessions, the most recently changed first. Pages are fetched as they are needed. */
  async *list(options: { filter?: Filter; updatedFrom?: Date; updatedBefore?: Date } = {}): AsyncGenerator<Session, void, void> {
    const request = ListSessionsRequest.fromPartial({ ...options, filter: filled(options.filter) });
    do {
      const page = await this.client.call((stubs) => [stubs.sessions, stubs.sessions.listSessions], request);
      yield* page.sessions;
      request.pageToken = page.nextPageToken;
    } while (request.pageToken);
  }

  /** Changes the fields that `paths` names, for example ["title", "metadata.project"]. */
  async update(session: DeepPartial<Session>, paths: string[]): Promise<Session> {
    const request = UpdateSessionRequest.fromPartial({ session, updateMask: paths });
    const answer = await this.client.call((stubs) => [stubs.sessions, stubs.sessions.updateSession], request);
    return answer.session!;
  }

  /** Deletes a session and cancels its running answer. It can be brought back, unless it is purged. */
  async delete(sessionId: string, options: { purge?: boolean } = {}): Promise<void> {
    const request = DeleteSessionRequest.fromPartial({ sessionId, purge: options.purge ?? false });
    await this.client.call((stubs) => [stubs.sessions, stubs.sessions.deleteSession], request);
  }

  /** Appends a message that no model wrote. */
  async append(sessionId: string, text: string, role: Role = Role.ROLE_USER): Promise<Message> {
    const message = { role, parts: [{ kind: { $case: "text" as const, value: text } }] };
    const request = AppendMessagesRequest.fromPartial({ sessionId, messages: [message] });
    const answer = await this.client.call((stubs) => [stubs.sessions, stubs.sessions.appendMessages], request);
    return answer.messages[0]!;
  }

  /** Yields the messages of a session, in order. */
  async *messages(sessionId: string): AsyncGenerator<Message, void, void> {
    const request = ListMessagesRequest.fromPartial({ sessionId });
    do {
      const page = await this.client.call((stubs) => [stubs.sessions, stubs.sessions.listMessages], request);
      yield* page.messages;
      request.pageToken = page.nextPageToken;
    } while (request.pageToken);
  }

  /** Yields what was found, best first. */
  async *search(query: string, options: { filter?: Filter; sessionId?: string } = {}): AsyncGenerator<SearchHit, void, void> {
    const request = SearchMessagesRequest.fromPartial({ query, ...options, filter: filled(options.filter) });
    do {
      const page = await this.client.call((stubs) => [stubs.sessions, stubs.sessions.searchMessages], request);
      yield* page.hits;
      request.pageToken = page.nextPageToken;
    } while (request.pageToken);
  }

  /**
   * Yields the matching sessions, then `synced`, then each change, until the signal or the loop's end.
   * `fromRevision` goes on after a revision that an earlier watch told.
   */
  async *watch(options: { filter?: Filter; fromRevision?: number; signal?: AbortSignal } = {}): AsyncGenerator<WatchEvent, void, void> {
    const request = WatchSessionsRequest.fromPartial({ filter: filled(options.filter), fromRevision: options.fromRevision });
    const answers = this.client.stream((stubs, metadata) => stubs.sessions.watchSessions(request, metadata), options.signal);
    for await (const answer of answers) if (answer.event) yield answer.event;
  }
}

/** An empty filter is left out: set and empty, the daemon refuses it. */
function filled(filter: Filter | undefined): Filter | undefined {
  return filter && Object.keys(filter).length > 0 ? filter : undefined;
}
