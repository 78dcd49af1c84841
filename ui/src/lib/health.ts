/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the status of the nodes means for a person: problems in order of weight, and the one sentence of the overview. The rule
 * above all: never "all clear" on missing data. A node that has not reported, a stream that has stopped, a hook that is not
 * effective or a status that was never read each take the sentence.
 */
import { age, count } from "./format";
import { plural } from "./text";

export interface HookStatus {
  type: string; backend: string; effective: boolean; tested?: boolean; generated: number; delivered: number; folded: number; received?: number;
  lost: Record<string, number>; why?: string;
}
export interface RingStatus { bytes: number; used: number; high_water: number; records: number }
export interface LossRow { type: string; cgroup?: number; cgroup_path?: string; container?: string; generated: number; delivered: number; folded: number; lost: Record<string, number> }
export interface SensorStatus {
  ready?: boolean; version?: string; node?: string; kernel?: string; uptime_s?: number; away_ms?: number; lost?: number; recursion_misses?: number;
  hooks?: HookStatus[]; rings?: Record<string, RingStatus>;
  recorder?: { state?: string; problem?: string; bytes?: number; segments?: number; dropped_records?: number; dropped_segments?: number; lost?: Record<string, number>; dir?: string };
  runtimes?: Record<string, { state?: string; version?: string; error?: string; socket?: string }>;
  events?: { recorded?: number; undecodable?: number; dropped_for_subscribers?: number; stalls?: number; subscribers?: number; released_without_metadata?: number };
  processes?: Record<string, number>; containers?: Record<string, number>; losses?: LossRow[]; canary?: { pid?: number; error?: string };
  bus?: BusStatus; inspector?: Record<string, unknown>;
}
export interface BusStatus { connected?: boolean; state?: string; spool_bytes?: number; spool_messages?: number; spool_max_bytes?: number; lost?: number | Record<string, number>; error?: string }
export interface NodeView { name: string; up: boolean; seen: number; status: SensorStatus | null }

export const STALE_AFTER_MS = 30_000;

export type Level = "bad" | "warn" | "note";
export interface Problem { level: Level; key: string; title: string; detail: string; href: string }

export function sum(o: number | Record<string, number> | undefined): number {
  return typeof o === "number" ? o : Object.values(o ?? {}).reduce((a, b) => a + (Number(b) || 0), 0);
}

export function hookSummary(s: SensorStatus | null): { total: number; effective: number; fallback: number; untested: number } {
  const hooks = s?.hooks ?? [];
  return {
    total: hooks.length,
    effective: hooks.filter((h) => h.effective).length,
    fallback: hooks.filter((h) => h.backend === "fallback").length,
    untested: hooks.filter((h) => h.tested === false).length,
  };
}

export function lostOf(s: SensorStatus | null): number {
  if (!s) return 0;
  return (s.lost ?? 0) + sum(s.recorder?.lost) + (s.events?.undecodable ?? 0);
}

export function nodeProblems(n: NodeView, now: number): Problem[] {
  const out: Problem[] = [];
  const href = `/health?node=${encodeURIComponent(n.name)}`;
  const add = (level: Level, key: string, title: string, detail: string) => out.push({ level, key: `${n.name} ${key}`, title, detail, href });

  if (!n.up) add("bad", "down", `${n.name} is not connected`, n.seen ? `Nothing has come from it for ${age(now - n.seen)}. What is shown of it is older than that.` : "It has never reported.");
  else if (!n.seen || now - n.seen > STALE_AFTER_MS) add("bad", "stale", `${n.name} has not reported`, n.seen ? `Its last status is ${age(now - n.seen)} old.` : "It is connected and has sent no status yet.");
  const s = n.status;
  if (!s) return out;
  const blind = (s.hooks ?? []).filter((h) => !h.effective);
  if (blind.length) {
    const names = blind.map((h) => h.type);
    add("bad", "hooks", `${n.name} does not see ${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`,
      `${blind.length} of ${s.hooks!.length} hooks ${plural(blind.length, "is", "are")} not effective${blind[0].why ? `: ${blind[0].why}` : "."}`);
  }
  if (s.canary?.error) add("warn", "canary", `${n.name} cannot test its hooks`, s.canary.error);
  if (s.recorder?.state && !["ok", "running", "writing", "recording", "good"].includes(s.recorder.state))
    add("bad", "recorder", `The recorder of ${n.name} is ${s.recorder.state}`, s.recorder.problem || "Events are not kept until that is mended.");
  for (const [name, r] of Object.entries(s.runtimes ?? {}))
    if (r.state && !["connected", "off", "absent"].includes(r.state)) add("warn", `runtime ${name}`, `${n.name} cannot ask ${name}`, r.error || "Containers are told by their cgroup alone: no names, images or labels.");
  const lost = lostOf(s);
  if (lost) add("warn", "lost", `${n.name} lost ${count(lost)} ${plural(lost, "event")}`, "Since its sensor started. The table of losses says of which containers and why.");
  if (s.events?.stalls) add("note", "stalls", `${n.name} held back its kernel rings ${count(s.events.stalls)} ${plural(s.events.stalls, "time")}`, "The recorder was slower than the events came. Nothing is lost by this alone.");
  if (s.bus && (s.bus.connected === false || sum(s.bus.lost))) add("warn", "bus", `${n.name} ${sum(s.bus.lost) ? `dropped ${count(sum(s.bus.lost))} messages from its spool` : "keeps its messages in the spool"}`, s.bus.error || "");
  return out;
}

export interface Known {
  now: number;
  loaded: boolean;               /* a status was read at all */
  stream: "connecting" | "live" | "stale" | "denied" | "off";
  streamSince: number;
  nodes: NodeView[];
  central: Problem[];
  containers: number;
  running: number;
  exposed: number;
  inventoryComplete: boolean;
  incidents: number;             /* open; below 0: not known */
  incident?: string;             /* title of the latest of them */
}

const ORDER: Record<Level, number> = { bad: 0, warn: 1, note: 2 };

export function problemsOf(k: Known): Problem[] {
  const all = [...k.central, ...k.nodes.flatMap((n) => nodeProblems(n, k.now))];
  return all.map((p, i) => ({ p, i })).sort((a, b) => ORDER[a.p.level] - ORDER[b.p.level] || a.i - b.i).map((x) => x.p);
}

export interface Verdict { tone: "unknown" | "incident" | "bad" | "warn" | "good"; title: string; detail: string }

export function verdict(k: Known): Verdict {
  if (!k.loaded) return { tone: "unknown", title: "Nothing is known yet", detail: "Waiting for the first status." };
  if (!k.nodes.length) return { tone: "unknown", title: "No node is being watched", detail: "No sensor has ever connected. Start one with “bulkhead up” or point a sensor at this central." };
  const problems = problemsOf(k);
  const bad = problems.filter((p) => p.level === "bad");
  if (k.stream === "stale" || k.stream === "denied")
    return { tone: "bad", title: "This page has lost its connection", detail: `What is shown is ${age(k.now - k.streamSince)} old. It goes on by itself when the central answers.` };
  const up = k.nodes.filter((n) => n.up).length;
  if (k.incidents > 0) {
    const named = k.incident ? `${k.incidents === 1 ? "" : "The latest: "}${k.incident}` : "Each is told in order, with what it touched.";
    const gaps = bad.length ? `${k.incident ? `${named} · ` : ""}Also: ${bad.slice(0, 2).map((p) => p.title).join(" · ")}` : named;
    return { tone: "incident", title: k.incidents === 1 ? "One incident is open" : `${count(k.incidents)} incidents are open`, detail: gaps };
  }
  if (!up) return { tone: "bad", title: "No node is reporting", detail: "Containers run unwatched, or are gone: neither can be told from here." };
  if (bad.length) return { tone: "bad", title: bad.length === 1 ? bad[0].title : `${bad.length} things keep Bulkhead from seeing everything`, detail: bad.length === 1 ? bad[0].detail : bad.slice(0, 3).map((p) => p.title).join(" · ") };
  const watched = `${count(k.running)} running ${plural(k.running, "container")} on ${count(up)} ${plural(up, "node")}`;
  const exposed = k.exposed ? `${count(k.exposed)} of them ${plural(k.exposed, "has", "have")} a lever on the host.` : "None of them has a lever on the host.";
  if (!k.inventoryComplete) return { tone: "unknown", title: "Taking stock", detail: `${count(k.containers)} containers so far.` };
  if (!(k.incidents >= 0)) return { tone: "unknown", title: `Watching ${watched}`, detail: "Whether an incident is open is not known yet." };
  const warn = problems.filter((p) => p.level === "warn");
  if (warn.length) return { tone: "warn", title: `Watching ${watched}, with gaps`, detail: warn.slice(0, 2).map((p) => p.title).join(" · ") };
  return { tone: "good", title: `Watching ${watched}`, detail: `Every hook is effective and nothing was lost. ${exposed}` };
}
