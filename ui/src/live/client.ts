/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tab's side of the hub. Three ways to reach it, the first that works: a SharedWorker; else the tabs elect a leader by a web
 * lock and talk over a BroadcastChannel; else (neither exists) the hub runs in this tab. Callers see no difference.
 */
import { Hub, type FromHub, type StreamEvent, type StreamState, type ToHub } from "./hub";

declare const __WORKER__: string;

export interface Listener {
  state?(state: StreamState, at: number, status?: number, why?: string): void;
  events?(events: StreamEvent[], at: number): void;
  beat?(at: number): void;
}

interface Transport { send(m: ToHub): void }

const listeners = new Map<string, { set: Set<Listener>; resume: boolean }>();
let transport: Transport | undefined;

function receive(m: FromHub): void {
  for (const l of listeners.get(m.url)?.set ?? []) {
    if (m.kind === "state") l.state?.(m.state, m.at, m.status, m.why);
    else if (m.kind === "events") l.events?.(m.events, m.at);
    else l.beat?.(m.at);
  }
}

function resubscribe(): void {
  for (const [url, { resume }] of listeners) transport?.send({ op: "sub", url, resume });
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
  setInterval(() => transport?.send({ op: "ping" }), 20_000);
  addEventListener("pagehide", () => transport?.send({ op: "bye" }));
  addEventListener("pageshow", (e) => e.persisted && resubscribe());
  return transport;
}

/* Returns the function that ends it. `resume`: the server goes on after the last event's id when the connection breaks. */
export function listen(url: string, listener: Listener, resume = false): () => void {
  const t = connect();
  let entry = listeners.get(url);
  if (!entry) {
    entry = { set: new Set(), resume };
    listeners.set(url, entry);
  }
  entry.set.add(listener);
  t.send({ op: "sub", url, resume });
  return () => {
    entry.set.delete(listener);
    if (!entry.set.size && listeners.get(url) === entry) {
      listeners.delete(url);
      transport?.send({ op: "unsub", url });
    }
  };
}
