/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection map's data: answers of /graph made safe to use, what an edge's state is, which edges are quiet, and the model
 * that is drawn: groups (an application; hosts; the outside) hold units (a workload; a host; a name), units hold containers.
 * Pure; no DOM.
 */
import { bytes, toMs } from "./format";
import { list, num, object, text, texts } from "./loose";

export const LEVELS = ["application", "workload", "container"] as const;
export type Level = (typeof LEVELS)[number];
export type NodeKind = "container" | "workload" | "application" | "host" | "name" | "network" | "runtime";

export interface GNode {
  id: string; kind: NodeKind; name: string; application: string; workload: string; container: string; node: string; image: string; state: string;
  running: number; containers: number; findings: number; tier: number;
}

export interface GEdge {
  id: string; from: string; to: string; proto: string; port: number; path: string; protocol: string; serverName: string; fingerprint: string; certificate: string;
  connections: number; open: number; halfOpen: number; refused: number; timedOut: number; unreachable: number; failed: number; reset: number;
  bytesOut: number; bytesIn: number; bytesKnown: boolean; packetsOut: number; packetsIn: number; duration: number; first: number; last: number; isNew: boolean; fresh: boolean; hidden: boolean;
  clients: string[]; servers: string[]; names: string[]; dialled: string[]; networks: string[]; ports: number; addresses: number; samples: number[]; sides: string;
}

export interface Answer { level: Level; nodes: GNode[]; edges: GEdge[]; since: number; until: number; generation: number; next: string; hidden: number }

const KINDS: NodeKind[] = ["container", "workload", "application", "host", "name", "network", "runtime"];
const BY_PREFIX: Record<string, NodeKind> = { c: "container", w: "workload", a: "application", h: "host", dns: "name", net: "network", rt: "runtime" };

export function kindOf(id: string): NodeKind {
  return BY_PREFIX[id.slice(0, Math.max(0, id.indexOf(":")))] ?? "name";
}

export function nodeFrom(v: unknown): GNode {
  const o = object(v);
  const id = text(o.id);
  const kind = KINDS.includes(o.kind as NodeKind) ? (o.kind as NodeKind) : kindOf(id);
  return {
    id, kind, name: text(o.name) || id.slice(id.indexOf(":") + 1), application: text(o.application), workload: text(o.workload), container: text(o.container), node: text(o.node), image: text(o.image),
    state: text(o.state), running: num(o.running), containers: num(o.containers), findings: num(o.findings), tier: num(o.level),
  };
}

export function edgeFrom(v: unknown): GEdge {
  const o = object(v);
  return {
    id: text(o.id), from: text(o.from), to: text(o.to), proto: text(o.proto), port: num(o.port), path: text(o.path), protocol: text(o.protocol), serverName: text(o.server_name), fingerprint: text(o.tls_fingerprint), certificate: text(o.tls_certificate),
    connections: num(o.connections), open: num(o.open), halfOpen: num(o.half_open), refused: num(o.refused), timedOut: num(o.timed_out), unreachable: num(o.unreachable), failed: num(o.failed), reset: num(o.reset),
    bytesOut: num(o.bytes_out), bytesIn: num(o.bytes_in), packetsOut: num(o.packets_out), packetsIn: num(o.packets_in), duration: num(o.duration), first: toMs(o.first_seen), last: toMs(o.last_seen),
    isNew: o.new === true, fresh: o.new === true, hidden: o.hidden === true, clients: texts(o.clients), servers: texts(o.servers), names: texts(o.names), dialled: texts(o.dialled), networks: texts(o.networks),
    ports: num(o.ports), addresses: num(o.addresses), samples: list(o.port_samples).map(num), sides: text(o.sides), bytesKnown: o.bytes_known !== false,
  };
}

export function answerFrom(v: unknown): Answer {
  const o = object(v);
  return {
    level: LEVELS.includes(o.level as Level) ? (o.level as Level) : "workload",
    nodes: list(o.nodes).map(nodeFrom).filter((n) => n.id), edges: list(o.edges).map(edgeFrom).filter((e) => e.id && e.from && e.to),
    since: toMs(o.since), until: toMs(o.until), generation: num(o.generation), next: text(o.next), hidden: num(object(o.counts).hidden),
  };
}

export interface Bucket { time: number; connections: number; bytes: number; failures: number; fresh: number }
export function bucketsFrom(v: unknown): Bucket[] {
  return list(object(v).buckets).map((b) => {
    const o = object(b);
    return { time: toMs(o.time), connections: num(o.connections), bytes: num(o.bytes), failures: num(o.failures), fresh: num(o.new_edges) };
  }).filter((b) => Number.isFinite(b.time));
}

export interface Changed { edge: GEdge; bytesRatio: number; connectionsRatio: number }
export interface Diff { fresh: GEdge[]; gone: GEdge[]; changed: Changed[]; nodes: GNode[] }
export function diffFrom(v: unknown): Diff {
  const o = object(v);
  const edges = (x: unknown) => list(x).map(edgeFrom).filter((e) => e.id && e.from && e.to);
  return {
    fresh: edges(o.new), gone: edges(o.gone), nodes: list(o.nodes).map(nodeFrom).filter((n) => n.id),
    changed: list(o.changed).map((c) => {
      const k = object(c);
      return { edge: edgeFrom(k.edge ?? c), bytesRatio: num(k.bytes_ratio), connectionsRatio: num(k.connections_ratio) };
    }).filter((c) => c.edge.id && c.edge.from && c.edge.to),
  };
}

export interface Listens { node: string; container: string; containerName: string; application: string; workload: string; exe: string; pid: number; proto: string; address: string; port: number; path: string; reachedBy: string[] }
export function listenersFrom(v: unknown): Listens[] {
  return list(object(v).listeners).map((x) => {
    const o = object(x);
    return {
      node: text(o.node), container: text(o.container), containerName: text(o.container_name), application: text(o.application), workload: text(o.workload), exe: text(o.exe), pid: num(o.pid), proto: text(o.proto),
      address: text(o.address), port: num(o.port), path: text(o.path), reachedBy: texts(o.reached_by),
    };
  });
}

/* --- What an edge is ------------------------------------------------------------------------------------------------ */

export const failures = (e: GEdge) => e.refused + e.timedOut + e.unreachable + e.failed;
export const bytesOf = (e: GEdge) => e.bytesOut + e.bytesIn;
/* Of Unix sockets some kernels tell connections alone: that is not nought. */
export const bytesText = (e: GEdge, n: number) => (n || e.bytesKnown ? bytes(n) : "not known");

/* The heaviest first: what an edge is drawn as. */
export type Flag = "scan" | "fail" | "new" | "";
export const FLAGS: Flag[] = ["scan", "fail", "new"];

export function flagOf(e: GEdge): Flag {
  if (e.ports > 1 || e.addresses > 1) return "scan";
  const bad = failures(e);
  if (bad > 0 && bad * 2 >= e.connections) return "fail";
  if (e.halfOpen > 0 && !e.connections && !bytesOf(e)) return "fail";
  return e.fresh ? "new" : "";
}

/*
 * Where most is new, as in a platform's first hour, to be new says nothing and is not drawn as something to look at; `state:new`
 * still finds it. Sets `fresh` of the edges that it is given.
 */
export function settleFresh(edges: GEdge[]): void {
  const fresh = edges.reduce((n, e) => n + (e.isNew ? 1 : 0), 0);
  const telling = fresh <= 3 || fresh * 3 <= edges.length;
  for (const e of edges) e.fresh = e.isNew && telling;
}

/* All words that `state:` finds an edge by. */
export function statesOf(e: GEdge): string[] {
  const flag = flagOf(e);
  return [flag === "scan" ? "scanning" : flag === "fail" ? "failing" : "ok", e.isNew ? "new" : "", failures(e) ? "failed" : "", e.refused ? "refused" : "", e.timedOut ? "timeout timed_out" : "", e.unreachable ? "unreachable" : "",
    e.reset ? "reset" : "", e.open ? "open" : "", e.halfOpen ? "halfopen half_open" : "", e.hidden ? "hidden" : ""].filter(Boolean);
}

/* Why an edge is quiet: the server says that it is, this says which chip shows it. */
export type Quiet = "dns" | "runtime" | "health";
export const QUIETS: { key: Quiet; label: string; title: string }[] = [
  { key: "dns", label: "DNS", title: "Questions to name servers" },
  { key: "runtime", label: "Runtime", title: "Traffic with the container runtime itself: its API, its resolver" },
  { key: "health", label: "Health checks", title: "Probes, scrapers and health checks" },
];
export function quietOf(e: GEdge): Quiet | "" {
  if (!e.hidden) return "";
  if (e.port === 53 || e.protocol === "dns" || /^rt:.*dns/.test(e.to)) return "dns";
  if (kindOf(e.to) === "runtime" || kindOf(e.from) === "runtime" || e.proto === "unix") return "runtime";
  return "health";
}

const KNOWN_PORTS: Record<number, string> = { 22: "ssh", 25: "smtp", 53: "dns", 80: "http", 443: "https", 1433: "mssql", 2375: "docker", 2379: "etcd", 3306: "mysql", 5432: "postgresql", 5672: "amqp", 6379: "redis", 8080: "http", 9092: "kafka", 9200: "elasticsearch", 11211: "memcached", 27017: "mongodb" };

/* "6379/tcp redis", "/run/docker.sock"; what stands in a row. */
export function portText(e: GEdge): string {
  if (e.ports > 1) return `${e.ports} ports`;
  if (e.path) return e.path;
  return e.port ? `${e.port}/${e.proto || "tcp"}` : e.proto || "–";
}
export const protocolText = (e: GEdge) => e.protocol || (e.proto === "udp" && e.port !== 53 ? "" : KNOWN_PORTS[e.port] ? `${KNOWN_PORTS[e.port]}?` : "");

/* Logarithmic in bytes: a kilobyte is a hairline, a gigabyte four and a half. World units, as all of the map. */
export function widthOf(bytes: number): number {
  return Math.min(6, 0.9 + 0.6 * Math.max(0, Math.log10(1 + bytes / 1000)));
}

/* Edges of one pair of ends, drawn as one line. */
export interface Pair { key: string; from: string; to: string; edges: GEdge[]; bytes: number; connections: number; bad: number; flag: Flag; flagged: number }
/* Starts unlike any id, so that a selection is either. */
export const pairKey = (from: string, to: string) => `p\n${from}\n${to}`;
export const isPair = (id: string) => id.startsWith("p\n");

export function pairsOf(edges: Iterable<GEdge>, end: (id: string) => string = (id) => id): Map<string, Pair> {
  const out = new Map<string, Pair>();
  for (const e of edges) {
    const from = end(e.from);
    const to = end(e.to);
    const key = pairKey(from, to);
    let p = out.get(key);
    if (!p) out.set(key, (p = { key, from, to, edges: [], bytes: 0, connections: 0, bad: 0, flag: "", flagged: 0 }));
    p.edges.push(e);
    p.bytes += bytesOf(e);
    p.connections += e.connections;
    p.bad += failures(e);
    const f = flagOf(e);
    if (f) p.flagged++;
    if (f && (!p.flag || FLAGS.indexOf(f) < FLAGS.indexOf(p.flag))) p.flag = f;
  }
  return out;
}

/* --- What is drawn -------------------------------------------------------------------------------------------------- */

export interface Cont { id: string; unit: string; name: string; state: string; running: boolean; image: string; node: string; container: string; findings: number }
export interface Unit { id: string; group: string; kind: NodeKind; name: string; application: string; tier: number; conts: Cont[]; count: number; running: number; findings: number; image: string; node: string }
export type GroupKind = "application" | "hosts" | "in" | "out" | "runtime";
export interface Group { id: string; kind: GroupKind; name: string; tier: number; units: Unit[]; findings: number }
export interface Model { groups: Map<string, Group>; units: Map<string, Unit>; conts: Map<string, Cont> }

export interface Known { id: string; name: string; application: string; workload: string; node: string; state: string; image: string }

const ALIVE = new Set(["running", "paused", "restarting", "created", ""]);
const GROUP_NAMES: Record<Exclude<GroupKind, "application">, string> = { hosts: "Hosts", in: "Outside", out: "Outside", runtime: "Container runtime" };
/* As the server writes ids: in a part that another follows, the sign between them is written otherwise. */
const part = (s: string) => s.replace(/%/g, "%25").replace(/\//g, "%2F");
export const unitId = (application: string, workload: string) => `w:${part(application)}/${workload}`;
export const containerId = (node: string, id: string) => `c:${part(node)}/${id}`;
export const appId = (application: string) => `a:${application}`;

/*
 * `known`: the inventory, so that what talks to nobody has its place too. `keep`: the group in which a unit of the outside was
 * placed before; it stays there when its first connection in the other direction is seen.
 */
export function buildModel(known: Iterable<Known>, answers: (Answer | Diff)[], keep: (unit: string) => string | undefined = () => undefined): Model {
  const m: Model = { groups: new Map(), units: new Map(), conts: new Map() };
  const group = (id: string, kind: GroupKind, name: string): Group => {
    let g = m.groups.get(id);
    if (!g) m.groups.set(id, (g = { id, kind, name, tier: 0, units: [], findings: 0 }));
    return g;
  };
  const unit = (id: string, kind: NodeKind, name: string, g: Group, application = ""): Unit => {
    let u = m.units.get(id);
    if (!u) {
      m.units.set(id, (u = { id, group: g.id, kind, name, application, tier: 0, conts: [], count: 0, running: 0, findings: 0, image: "", node: "" }));
      g.units.push(u);
    }
    return u;
  };
  const app = (name: string) => group(appId(name), "application", name || "No application");
  const workload = (application: string, name: string) => unit(unitId(application, name), "workload", name || "no workload", app(application), application);
  const container = (c: Cont, application: string, name: string) => {
    const old = m.conts.get(c.id);
    if (old) {
      old.findings = Math.max(old.findings, c.findings);
      return;
    }
    const u = workload(application, name);
    c.unit = u.id;
    m.conts.set(c.id, c);
    u.conts.push(c);
    u.image ||= c.image;
  };
  for (const r of known) {
    if (!ALIVE.has(r.state)) continue;
    container({ id: containerId(r.node, r.id), unit: "", name: r.name, state: r.state, running: r.state === "running", image: r.image, node: r.node, container: r.id, findings: 0 }, r.application, r.workload);
  }
  const sides = new Map<string, number>();
  for (const a of answers) for (const e of "edges" in a ? a.edges : [...a.fresh, ...a.gone, ...a.changed.map((c) => c.edge)]) {
    sides.set(e.from, (sides.get(e.from) ?? 0) + 1);
    sides.set(e.to, (sides.get(e.to) ?? 0) - 1);
  }
  const tiered = new Map<string, number>();
  for (const a of answers) for (const n of a.nodes) {
    if (n.kind === "application") {
      const g = app(n.application || n.id.slice(2));
      g.tier = Math.max(g.tier, n.tier);
      g.findings = Math.max(g.findings, n.findings);
      continue;
    }
    /* at the level of applications hosts are one; the finer answers have each */
    if ("level" in a && a.level === "application") continue;
    if (n.kind === "container") {
      container({ id: n.id, unit: "", name: n.name, state: n.state, running: n.state === "running" || n.running > 0, image: n.image, node: n.node, container: n.container || n.id.slice(n.id.lastIndexOf("/") + 1), findings: n.findings }, n.application, n.workload);
      continue;
    }
    /* what is outside is there for its connections alone */
    if (n.kind !== "workload" && !sides.has(n.id)) continue;
    let u: Unit;
    if (n.kind === "workload") {
      u = workload(n.application, n.workload || n.name);
      u.running = Math.max(u.running, n.running);
      u.count = Math.max(u.count, n.containers);
      tiered.set(u.group, Math.max(tiered.get(u.group) ?? 0, n.tier));
    } else {
      const kind: Exclude<GroupKind, "application"> = n.kind === "host" ? "hosts" : n.kind === "runtime" ? "runtime" : (sides.get(n.id) ?? 0) > 0 ? "in" : "out";
      const kept = kind === "in" || kind === "out" ? keep(n.id) : undefined;
      const to = kept === "g:in" || kept === "g:out" ? (kept.slice(2) as "in" | "out") : kind;
      u = unit(n.id, n.kind, n.name, group(`g:${to}`, to, GROUP_NAMES[to]));
      u.node ||= n.node;
    }
    u.tier = Math.max(u.tier, n.tier);
    u.findings = Math.max(u.findings, n.findings);
    u.image ||= n.image;
  }
  for (const g of m.groups.values()) {
    if (!g.tier) g.tier = tiered.get(g.id) ?? 0;
    for (const u of g.units) {
      u.count = Math.max(u.count, u.conts.length);
      u.running = Math.max(u.running, u.conts.reduce((n, c) => n + (c.running ? 1 : 0), 0));
      if (!u.findings) u.findings = u.conts.reduce((n, c) => n + c.findings, 0);
    }
    if (!g.findings) g.findings = g.units.reduce((n, u) => n + u.findings, 0);
  }
  return m;
}

/* The name that people see for any id of the map. */
export function nameOf(m: Model, id: string): string {
  return m.conts.get(id)?.name ?? m.units.get(id)?.name ?? m.groups.get(id)?.name ?? id.slice(id.indexOf(":") + 1);
}
/* The unit or group that stands for `id` one or more levels up; the id itself where it is one. */
export function unitOf(m: Model, id: string): Unit | undefined {
  return m.units.get(m.conts.get(id)?.unit ?? id);
}
export function groupOf(m: Model, id: string): Group | undefined {
  return m.groups.get(unitOf(m, id)?.group ?? id);
}
