/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection per stream for all tabs of a browser: HTTP/1.1 allows six connections to a host, and a stream keeps one for
 * ever. The hub runs in a SharedWorker, or in the tab that leads where there is none (see client.ts). Clients subscribe to
 * addresses; equal addresses share a connection. Bounds: MAX_STREAMS connections (one more subscription is refused and said),
 * and a client that has not been heard of for CLIENT_TTL is forgotten.
 */
import { backoff, SseReader } from "../lib/sse";

export type ToHub =
  | { op: "sub"; url: string; resume: boolean; lastId?: string }
  | { op: "unsub"; url: string }
  | { op: "ping" }
  | { op: "bye" };

export type StreamState = "connecting" | "live" | "stale" | "denied" | "full" | "ended";
export interface StreamEvent { id: string; event: string; data: string }
export type FromHub =
  | { url: string; kind: "state"; state: StreamState; at: number; status?: number; why?: string; lastId?: string }
  | { url: string; kind: "events"; events: StreamEvent[]; at: number }
  | { url: string; kind: "beat"; at: number };

export const MAX_STREAMS = 4;
/* The server's heartbeat comes every 15 s; after more than two missing ones the connection counts as dead. */
export const SILENCE_MS = 35_000;
const CLIENT_TTL = 180_000; /* timers of hidden tabs run once a minute */

interface Stream {
  url: string;
  resume: boolean;
  clients: Set<string>;
  stop: AbortController;
  state: StreamState;
  since: number;
  heard: number;
  lastId: string;
  attempts: number;
  why?: string;
  status?: number;
}

export class Hub {
  #streams = new Map<string, Stream>();
  #clients = new Map<string, { send: (m: FromHub) => void; seen: number }>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly doFetch: typeof fetch = (...a) => fetch(...a)) {}

  handle(client: string, message: ToHub, send: (m: FromHub) => void): void {
    const known = this.#clients.get(client);
    if (known) known.seen = Date.now();
    else this.#clients.set(client, { send, seen: Date.now() });
    this.#timer ??= setInterval(() => this.#watch(), 5_000);
    switch (message.op) {
      case "sub": this.#subscribe(client, message.url, message.resume, message.lastId ?? ""); break;
      case "unsub": this.#leave(client, message.url); break;
      case "bye": this.#forget(client); break;
      case "ping": break;
    }
  }

  close(): void {
    for (const s of this.#streams.values()) s.stop.abort();
    this.#streams.clear();
    this.#clients.clear();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #subscribe(client: string, url: string, resume: boolean, lastId: string): void {
    let s = this.#streams.get(url);
    if (!s) {
      if (this.#streams.size >= MAX_STREAMS) {
        this.#clients.get(client)?.send({ url, kind: "state", state: "full", at: Date.now(), why: "Other tabs of this browser have too many live views open. Close one of them." });
        return;
      }
      s = { url, resume, clients: new Set(), stop: new AbortController(), state: "connecting", since: Date.now(), heard: Date.now(), lastId, attempts: 0 };
      this.#streams.set(url, s);
      s.clients.add(client);
      void this.#run(s);
    } else {
      s.clients.add(client);
      /* Somebody logged in again in another tab: try anew what was refused. */
      if (s.state === "denied" || s.state === "ended") {
        s.attempts = 0;
        s.stop = new AbortController();
        void this.#run(s);
      }
    }
    this.#clients.get(client)?.send({ url, kind: "state", state: s.state, at: s.since, status: s.status, why: s.why, lastId: s.lastId });
  }

  #leave(client: string, url: string): void {
    const s = this.#streams.get(url);
    if (!s) return;
    s.clients.delete(client);
    if (!s.clients.size) {
      s.stop.abort();
      this.#streams.delete(url);
    }
  }

  #forget(client: string): void {
    for (const url of [...this.#streams.keys()]) this.#leave(client, url);
    this.#clients.delete(client);
  }

  #watch(): void {
    const now = Date.now();
    for (const [id, c] of this.#clients) if (now - c.seen > CLIENT_TTL) this.#forget(id);
    for (const s of this.#streams.values()) if (s.state === "live" && now - s.heard > SILENCE_MS) s.stop.abort();
  }

  #tell(s: Stream, m: FromHub): void {
    for (const id of s.clients) this.#clients.get(id)?.send(m);
  }

  #set(s: Stream, state: StreamState, status?: number, why?: string): void {
    s.status = status;
    s.why = why;
    if (s.state !== state) {
      s.state = state;
      /* "stale" dates from when something was last heard: that is how old the page is. */
      s.since = state === "stale" ? s.heard : Date.now();
    }
    this.#tell(s, { url: s.url, kind: "state", state, at: s.since, status, why });
  }

  async #run(s: Stream): Promise<void> {
    const mine = () => this.#streams.get(s.url) === s && s.clients.size > 0;
    while (mine()) {
      s.stop = new AbortController();
      let why = "The connection ended.";
      try {
        const headers: Record<string, string> = { accept: "text/event-stream" };
        if (s.resume && s.lastId) headers["last-event-id"] = s.lastId;
        const answer = await this.doFetch(s.url, { headers, signal: s.stop.signal, cache: "no-store", credentials: "same-origin" });
        if (answer.status === 401 || answer.status === 403) {
          this.#set(s, "denied", answer.status);
          return;
        }
        if (answer.status === 204) {
          this.#set(s, "ended", 204);
          return;
        }
        if (!answer.ok || !answer.body) {
          let said = "";
          try {
            said = String((JSON.parse((await answer.text()).slice(0, 4096)) as { error?: { message?: string } }).error?.message ?? "");
          } catch {
            /* not JSON: the number alone is told */
          }
          throw new Error(said || `The central answered ${answer.status}.`);
        }
        await this.#read(s, answer.body);
      } catch (e) {
        if (e instanceof Error && e.name !== "AbortError" && e.name !== "TypeError") why = e.message;
        else why = "The central does not answer.";
      }
      if (!mine()) return;
      this.#set(s, "stale", undefined, why);
      await new Promise((r) => setTimeout(r, backoff(s.attempts++)));
    }
  }

  async #read(s: Stream, body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    const sse = new SseReader();
    sse.lastId = s.lastId;
    s.heard = Date.now();
    this.#set(s, "live");
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      s.attempts = 0;
      s.heard = Date.now();
      const events = sse.push(decoder.decode(value, { stream: true }));
      s.lastId = sse.lastId;
      if (events.length) this.#tell(s, { url: s.url, kind: "events", events, at: s.heard });
      else this.#tell(s, { url: s.url, kind: "beat", at: s.heard });
    }
  }
}
