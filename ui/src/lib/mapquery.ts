/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map's filter: words that must all be found, `key:value` for one side of a thing, a value with commas for any of several,
 * "quotes" around spaces, a leading - for "not". app, svc, container, node and image hold when either end does; from and to ask
 * one end; port takes a range. An unknown key is plain text.
 */
import { groupOf, protocolText, statesOf, unitOf, type GEdge, type Model, type Unit } from "./graph";

export interface Term { key: string; values: string[]; not: boolean }
export const KEYS: { key: string; says: string; like: string }[] = [
  { key: "app", says: "application at either end", like: "app:shop" },
  { key: "svc", says: "workload at either end", like: "svc:db" },
  { key: "container", says: "container at either end", like: "container:web-1" },
  { key: "from", says: "who began it", like: "from:web" },
  { key: "to", says: "who was asked", like: "to:db" },
  { key: "port", says: "port or range", like: "port:5432" },
  { key: "proto", says: "tcp, udp, unix, or what is spoken", like: "proto:redis" },
  { key: "state", says: "failing, scanning, new, open, refused, timeout, reset", like: "state:failing" },
  { key: "node", says: "machine at either end", like: "node:node-a" },
  { key: "image", says: "image at either end", like: "image:nginx" },
  { key: "exe", says: "program at either end", like: "exe:curl" },
];
const ALIASES: Record<string, string> = { application: "app", ns: "app", workload: "svc", service: "svc", protocol: "proto", process: "exe", host: "node", text: "" };
const NAMES = new Set(KEYS.map((k) => k.key));

export function parse(query: string): Term[] {
  const terms: Term[] = [];
  for (const m of query.slice(0, 512).matchAll(/(-?)(?:([a-z]+):)?(?:"([^"]*)"?|(\S+))/gi)) {
    let key = (m[2] ?? "").toLowerCase();
    let value = (m[3] ?? m[4] ?? "").toLowerCase();
    /* a key whose value is still to be written */
    if (!key && /^[a-z]+:$/.test(value) && (NAMES.has(value.slice(0, -1)) || value.slice(0, -1) in ALIASES)) continue;
    if (key in ALIASES) key = ALIASES[key];
    else if (key && !NAMES.has(key)) {
      value = `${key}:${value}`;
      key = "";
    }
    const values = key && m[3] === undefined ? value.split(",").filter(Boolean) : value ? [value] : [];
    if (values.length) terms.push({ key, values, not: m[1] === "-" });
  }
  return terms;
}

/* Containers are only told apart at the level of containers. */
export const asksContainers = (terms: Term[]) => terms.some((t) => t.key === "container");

function portTest(value: string): (e: GEdge) => boolean {
  const m = /^(\d+)?(?:(-)(\d+)?)?$/.exec(value);
  if (!m || (!m[1] && !m[3])) return (e) => e.path.toLowerCase().includes(value);
  const low = Number(m[1] ?? 0);
  const high = m[2] ? Number(m[3] ?? 65535) : low;
  return (e) => (e.port >= low && e.port <= high && e.port > 0) || e.samples.some((p) => p >= low && p <= high);
}

export interface Filter { empty: boolean; terms: Term[]; edge(e: GEdge): boolean; unit(u: Unit): boolean }

export function compile(query: string, m: Model): Filter {
  const terms = parse(query);
  const cache = new Map<string, Record<string, string>>();
  const facts = (id: string): Record<string, string> => {
    let f = cache.get(id);
    if (f) return f;
    const c = m.conts.get(id);
    const u = unitOf(m, id);
    const g = groupOf(m, id);
    const low = (...s: (string | undefined)[]) => s.filter(Boolean).join("\n").toLowerCase();
    f = { app: low(g?.name), svc: low(u?.name), container: low(c?.name, c?.container), node: low(c?.node, u?.node), image: low(c?.image ?? u?.image), all: low(g?.name, u?.name, c?.name, id) };
    cache.set(id, f);
    return f;
  };
  const either = (key: string, v: string) => (e: GEdge) => facts(e.from)[key].includes(v) || facts(e.to)[key].includes(v);
  const test = (key: string, v: string): ((e: GEdge) => boolean) => {
    switch (key) {
      case "from": return (e) => facts(e.from).all.includes(v);
      case "to": return (e) => facts(e.to).all.includes(v);
      case "port": return portTest(v);
      case "proto": return (e) => e.proto === v || protocolText(e).replace("?", "").includes(v);
      case "state": return (e) => statesOf(e).some((s) => s.includes(v));
      case "exe": return (e) => e.clients.some((x) => x.toLowerCase().includes(v)) || e.servers.some((x) => x.toLowerCase().includes(v));
      case "": return (e) => facts(e.from).all.includes(v) || facts(e.to).all.includes(v) || [e.serverName, e.path, e.protocol, ...e.names, ...e.dialled, ...e.clients, ...e.servers].some((s) => s.toLowerCase().includes(v));
      default: return either(key, v);
    }
  };
  const tests = terms.map((t) => {
    const any = t.values.map((v) => test(t.key, v));
    return (e: GEdge) => any.some((f) => f(e)) !== t.not;
  });
  /* A unit passes by itself when every term is about units and holds for it. */
  const own = terms.map((t) => (u: Unit) => {
    const f = facts(u.id);
    const hay = t.key === "" ? f.all : t.key === "container" ? u.conts.map((c) => c.name.toLowerCase()).join("\n") : ["app", "svc", "node", "image"].includes(t.key) ? f[t.key] : null;
    return hay !== null && t.values.some((v) => hay.includes(v)) !== t.not;
  });
  return {
    empty: !terms.length, terms,
    edge: (e) => tests.every((f) => f(e)),
    unit: (u) => own.every((f) => f(u)),
  };
}

/* A term added to what is written already, or taken away when it stands there. */
export function toggleTerm(query: string, term: string): string {
  const words: string[] = query.match(/-?(?:[a-z]+:)?(?:"[^"]*"?|\S+)/gi) ?? [];
  return (words.includes(term) ? words.filter((w) => w !== term) : [...words, term]).join(" ");
}
export const quoted = (s: string) => (/[\s",]/.test(s) ? `"${s.replace(/"/g, "")}"` : s);
