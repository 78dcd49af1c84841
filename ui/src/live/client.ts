/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tab's side of the hub. Three ways to reach it, the first that works: a SharedWorker; else the tabs elect a leader by a web
 * lock and talk over a BroadcastChannel; else (neither exists) the hub runs in this tab. Callers see no difference.
 */
import { Hub, SILENCE_MS, type FromHub, type StreamEvent, type StreamState, type ToHub } from "./hub";

declare const __WORKER__: string;

export interface Listener {
  state?(state: StreamState, at: number, status?: number, why?: string): void;
  events?(events: StreamEvent[], at: number): void;
  beat?(at: number): void;
}

interface Transport { send(m: ToHub): void }

/* What is listened to; `lastId` makes a hub that is new (the leading tab was closed) go on where the last one was. */
interface Entry { set: Set<Listener>; resume: boolean; lastId: string; live: boolean; heard: number }
const listeners = new Map<string, Entry>();
/* A hub that falls silent altogether, with its tab frozen, is known by this. */
const HUB_SILENCE_MS = SILENCE_MS + 15_000;
let transport: Transport | undefined;

function receive(m: FromHub): void {
  const entry = listeners.get(m.url);
  if (!entry) return;
  entry.heard = Date.now();
  if (m.kind === "state") {
    entry.live = m.state === "live";
    entry.lastId = m.lastId || entry.lastId;
  } else if (m.kind === "events") entry.lastId = m.events[m.events.length - 1].id || entry.lastId;
  for (const l of entry.set) {
    if (m.kind === "state") l.state?.(m.state, m.at, m.status, m.why);
    else if (m.kind === "events") l.events?.(m.events, m.at);
    else l.beat?.(m.at);
  }
}

function resubscribe(): void {
  for (const [url, { resume, lastId }] of listeners) transport?.send({ op: "sub", url, resume, lastId });
}

function watch(): void {
  for (const [url, e] of listeners) {
    if (!e.live || Date.now() - e.heard < HUB_SILENCE_MS) continue;
    e.live = false;
    for (const l of e.set) l.state?.("stale", e.heard, undefined, "Nothing came for a while.");
    transport?.send({ op: "sub", url, resume: e.resume, lastId: e.lastId });
  }
}

function inTab(): Transport {
  const hub = new Hub();
  return { send: (m) => hub.handle("tab", m, receive) };
}

function shared(): Transport {
  const worker = new SharedWorker(__WORKER__, { name: "bulkhead" });
  worker.port.onmessage = (m) => receive(m.data as FromHub);
  worker.onerror = () => {
    transport = elected();
    resubscribe();
  };
  worker.port.start();
  return { send: (m) => worker.port.postMessage(m) };
}

function elected(): Transport {
  if (!("locks" in navigator) || !("BroadcastChannel" in self)) return inTab();
  const me = crypto.getRandomValues(new Uint32Array(2)).join("-");
  const channel = new BroadcastChannel("bulkhead");
  let hub: Hub | undefined;
  channel.onmessage = ({ data }) => {
    if (data.to === me) receive(data.message as FromHub);
    else if (data.to === "hub" && hub) hub.handle(data.from, data.message as ToHub, (message) => channel.postMessage({ to: data.from, message }));
    else if (data.to === "all") resubscribe();
  };
  void navigator.locks.request("bulkhead-hub", () => {
    hub = new Hub();
    channel.postMessage({ to: "all" });
    resubscribe();
    return new Promise(() => undefined); /* held until this tab goes */
  });
  return {
    send: (message) => {
      if (hub) hub.handle(me, message, receive);
      else channel.postMessage({ to: "hub", from: me, message });
    },
  };
}

function connect(): Transport {
  if (transport) return transport;
  try {
    transport = "SharedWorker" in self ? shared() : elected();
  } catch {
    transport = elected();
  }
  setInterval(() => {
    transport?.send({ op: "ping" });
    watch();
  }, 20_000);
  addEventListener("pagehide", () => transport?.send({ op: "bye" }));
  addEventListener("pageshow", (e) => e.persisted && resubscribe());
  return transport;
}

/* Returns the function that ends it. `resume`: the server goes on after the last event's id when the connection breaks. */
export function listen(url: string, listener: Listener, resume = false): () => void {
  const t = connect();
  let entry = listeners.get(url);
  if (!entry) {
    entry = { set: new Set(), resume, lastId: "", live: false, heard: Date.now() };
    listeners.set(url, entry);
  }
  entry.set.add(listener);
  t.send({ op: "sub", url, resume, lastId: entry.lastId });
  return () => {
    entry.set.delete(listener);
    if (!entry.set.size && listeners.get(url) === entry) {
      listeners.delete(url);
      transport?.send({ op: "unsub", url });
    }
  };
}
