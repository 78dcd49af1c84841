/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Incidents as the pages use them: answers checked, the lanes of the picture laid out, the forest of processes, the report. No
 * text here is markup; what an attacker wrote stays text until a part writes it out.
 */
import type * as api from "../api/openapi";
import { date, toMs } from "./format";
import { list, num, object, text, texts } from "./loose";

export const SEVERITIES = ["critical", "high", "medium", "low"] as const;
export type Severity = (typeof SEVERITIES)[number];
/* In the order of MITRE ATT&CK. */
export const TACTICS: [api.Tactic, string, string][] = [
  ["reconnaissance", "Reconnaissance", "Recon"], ["initial-access", "Initial access", "Entry"], ["execution", "Execution", "Execution"], ["persistence", "Persistence", "Persistence"],
  ["privilege-escalation", "Privilege escalation", "Privilege"], ["defense-evasion", "Defense evasion", "Evasion"], ["credential-access", "Credential access", "Credentials"], ["discovery", "Discovery", "Discovery"],
  ["lateral-movement", "Lateral movement", "Lateral"], ["collection", "Collection", "Collection"], ["command-and-control", "Command and control", "Control"], ["exfiltration", "Exfiltration", "Exfiltration"], ["impact", "Impact", "Impact"],
];
export const tacticName = (key: string) => TACTICS.find(([k]) => k === key)?.[1] ?? key;

/* Why a line belongs to what went before. */
export const BASES: Record<string, string> = {
  container: "in the same container", process: "by the same process, or one below it", file: "with a file that was written before", target: "on a process of it", asked: "the container was asked for", reached: "a connection led there", credential: "reached after what opens it was read",
};
export const VERDICTS: Record<string, [string, string]> = {
  true_positive: ["An attack", "It was what it looks like."], false_positive: ["A false alarm", "Nothing of the kind happened."], benign: ["Allowed", "It happened, and was meant to."],
};

export interface Place { key: string; node: string; container: string; name: string; workload: string; application: string; image: string; state: string; ended: number; privileged: boolean; asset: string }
export interface Line {
  finding: string; at: number; last: number; count: number; rule: string; priority: string; grave: boolean; tactics: string[]; basis: string; used: string; surprise: number; lane: string; node: string; containerId: string; container: string; workload: string;
  pid: number; exe: string; command: string; parent: string; object: string; output: string;
}
export interface Incident {
  id: number; state: string; mergedInto: number; severity: Severity; title: string; story: string; now: string; weighed: string; tactics: string[]; first: number; last: number; findings: number; dropped: number; nodes: string[]; applications: string[];
  workloads: string[]; places: Place[]; assignee: string; verdict: string; closedBy: string; closed: number; opened: number; changed: number; lines: Line[]; comments: { at: number; who: string; text: string }[]; whole: boolean;
}

const GRAVE = new Set(["emergency", "alert", "critical", "error"]);

export const laneKey = (node: string, container: string) => `${node}\n${container}`;

function lineFrom(v: unknown): Line {
  const o = object(v);
  const priority = text(o.priority).toLowerCase();
  const node = text(o.node);
  const containerId = text(o.container_id);
  return {
    finding: text(o.finding), at: toMs(o.time), last: toMs(o.last), count: num(o.count) || 1, rule: text(o.rule), priority, grave: GRAVE.has(priority), tactics: texts(o.tactics), basis: text(o.joined_by), used: text(o.used), surprise: num(o.surprise),
    lane: laneKey(node, containerId), node, containerId, container: text(o.container_name), workload: text(o.workload), pid: num(o.pid), exe: text(o.exe), command: text(o.command), parent: text(o.parent),
    object: text(o.object), output: text(o.output),
  };
}

const PARTS: [string, string][] = [["stages", "stages"], ["way_out", "way out"], ["node", "node"], ["asset", "asset"], ["surprise", "surprise"]];

/* "14 points: stages 9, way out 3, surprise 2"; empty where it is not told. `part`: not of all its lines, which the severity is of. */
function weighedOf(v: unknown, part: boolean): string {
  const o = object(v);
  const parts = PARTS.map(([key, name]) => [name, num(o[key]) || 0] as const).filter(([, points]) => points > 0);
  return parts.length ? `${part ? "at least " : ""}${parts.reduce((sum, [, points]) => sum + points, 0)} points: ${parts.map(([name, points]) => `${name} ${points}`).join(", ")}` : "";
}

export function incidentFrom(v: unknown): Incident {
  const o = object(v);
  const severity = text(o.severity) as Severity;
  return {
    id: num(o.id), state: text(o.state), mergedInto: num(o.merged_into), severity: SEVERITIES.includes(severity) ? severity : "low", title: text(o.title), story: text(o.story), now: text(o.now), weighed: weighedOf(o.weighed, num(o.dropped) > 0), tactics: texts(o.tactics),
    first: toMs(o.first), last: toMs(o.last), findings: num(o.findings), dropped: num(o.dropped), nodes: texts(o.nodes), applications: texts(o.applications), workloads: texts(o.workloads),
    places: list(o.containers).map(object).map((c) => ({
      key: laneKey(text(c.node), text(c.id)), node: text(c.node), container: text(c.id), name: text(c.name), workload: text(c.workload), application: text(c.application), image: text(c.image), state: text(c.state), ended: toMs(c.ended),
      privileged: c.privileged === true, asset: text(c.asset),
    })),
    assignee: text(o.assignee), verdict: text(o.verdict), closedBy: text(o.closed_by), closed: toMs(o.closed), opened: toMs(o.opened), changed: toMs(o.changed), lines: list(o.timeline).map(lineFrom),
    comments: list(o.comments).map(object).map((c) => ({ at: toMs(c.time), who: text(c.who), text: text(c.text) })), whole: Array.isArray(o.timeline),
  };
}

/* The containers that both touch, by name. */
export const sharedWith = (a: Incident, b: Incident) => b.places.filter((p) => a.places.some((q) => q.key === p.key)).map((p) => p.name || p.container.slice(0, 12));

/* --- The picture: a lane for each container and node, time to the right, a mark for each line ------------------------------------ */

export interface Mark { i: number; lane: number; x: number; grave: boolean; count: number }
export interface Arrow { from: number; to: number; x0: number; x1: number; why: string }
export interface Lanes { lanes: { key: string; name: string; host: boolean; node: string }[]; marks: Mark[]; arrows: Arrow[]; ticks: { x: number; at: number }[]; span: number }

const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800].map((s) => s * 1000);

/* Positions in 0…1. Lanes stand in the order in which they come in; marks that would lie on each other are moved apart by `gap`. */
export function lanesOf(i: Incident, gap = 0.012): Lanes {
  const at = i.lines.map((l) => l.at).filter(Number.isFinite);
  const begin = Math.min(...at);
  const span = at.length ? Math.max(1, Math.max(...at) - begin) : 1;
  const lanes: Lanes["lanes"] = [];
  const index = new Map<string, number>();
  const marks: Mark[] = [];
  const arrows: Arrow[] = [];
  const lastX: number[] = [];
  const many = i.nodes.length > 1;
  i.lines.forEach((l, n) => {
    let lane = index.get(l.lane);
    if (lane === undefined) {
      lane = lanes.length;
      index.set(l.lane, lane);
      const name = l.containerId ? l.container || i.places.find((p) => p.key === l.lane)?.name || l.containerId.slice(0, 12) : l.node;
      lanes.push({ key: l.lane, name, host: !l.containerId, node: many && l.containerId ? l.node : "" });
    }
    const x = Math.min(1, Math.max(Number.isFinite(l.at) ? (l.at - begin) / span : 0, (lastX[lane] ?? -1) + gap));
    lastX[lane] = x;
    const before = marks.at(-1);
    if (before && before.lane !== lane && l.basis && l.basis !== "container") arrows.push({ from: before.lane, to: lane, x0: before.x, x1: x, why: l.basis });
    marks.push({ i: n, lane, x, grave: l.grave, count: l.count });
  });
  const step = STEPS.find((s) => span / s <= 6) ?? STEPS[STEPS.length - 1];
  const ticks: Lanes["ticks"] = [];
  for (let t = Math.ceil(begin / step) * step; at.length && t <= begin + span && ticks.length < 12; t += step) ticks.push({ x: (t - begin) / span, at: t });
  return { lanes, marks, arrows, ticks, span };
}

/* --- Processes ------------------------------------------------------------------------------------------------------------------ */

export interface Proc { key: string; name: string; pid: number; lines: number[]; depth: number; host: boolean; lane: string }

/* By lane: whoever started something stands above it. What a line knows is its process and the name of its parent. */
export function forestOf(i: Incident): Proc[] {
  const out: Proc[] = [];
  const groups = new Map<string, Map<string, Map<string, Proc>>>();
  i.lines.forEach((l, n) => {
    if (!l.exe && !l.pid) return;
    let parents = groups.get(l.lane);
    if (!parents) groups.set(l.lane, (parents = new Map()));
    let children = parents.get(l.parent);
    if (!children) parents.set(l.parent, (children = new Map()));
    const key = `${l.pid} ${l.exe}`;
    const p = children.get(key);
    if (p) p.lines.push(n);
    else children.set(key, { key: `${l.lane} ${l.parent} ${key}`, name: l.command || l.exe, pid: l.pid, lines: [n], depth: l.parent ? 1 : 0, host: !l.containerId, lane: l.lane });
  });
  for (const [lane, parents] of groups) {
    for (const [parent, children] of parents) {
      if (parent) out.push({ key: `${lane} ${parent}`, name: parent, pid: 0, lines: [], depth: 0, host: false, lane });
      out.push(...children.values());
    }
  }
  return out;
}

/* --- For other hands -------------------------------------------------------------------------------------------------------------- */

/* Text that stands in Markdown as itself: an attacker's names may hold anything. */
const plain = (s: string) => s.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069]/g, (c) => `‹${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}›`).replace(/[&<>]/g, (c) => (c === "&" ? "&amp;" : c === "<" ? "&lt;" : "&gt;")).replace(/[\\`*_{}[\]()#+\-.!|~]/g, "\\$&");
const iso = (ms: number) => (Number.isFinite(ms) ? new Date(ms).toISOString() : "not known");

/* What a verdict should have taught models and could not, one sentence; "" for nothing. */
export function untaught(v: unknown): string {
  const t = object(object(v).taught);
  const parts = ([["forbidden", "forbidden by name, which stays"], ["gone", "not in the model any more"], ["failed", "not stored, so in force until the next start only"]] as const)
    .filter(([key]) => num(t[key]) > 0).map(([key, why]) => `${num(t[key])} ${why}`);
  if (t.more === true) parts.push("older findings were not looked at");
  return parts.length ? `Models did not take all of it: ${parts.join("; ")}.` : "";
}

export function reportOf(i: Incident, made = Date.now()): string {
  const out = [`# Incident ${i.id}: ${plain(i.title)}`, "", `${i.severity}, ${i.state}${i.verdict ? ` (${plain(VERDICTS[i.verdict]?.[0] ?? i.verdict)}, by ${plain(i.closedBy)})` : ""}. ${iso(i.first)} to ${iso(i.last)}, ${i.findings} findings. Times are UTC.`, "", "## What happened", "", plain(i.story), "", ...(i.now ? [`As of ${iso(made)}, when this report was made: ${plain(i.now)}`, ""] : []), ...(i.weighed ? [`Severity of ${i.weighed} (7 are high, 12 critical).`, ""] : []),
    `Tactics (MITRE ATT&CK): ${i.tactics.map(tacticName).join(", ") || "none"}.`, "", "## Where", "", "| Container | Id | Workload | Application | Node | State |", "|---|---|---|---|---|---|"];
  for (const p of i.places) out.push(`| ${[p.name, p.container, p.workload, p.application, p.node, p.state].map(plain).join(" | ")} |`);
  out.push("", "## Timeline", "", "| Time | Where | What | Process | Object | Times | Finding |", "|---|---|---|---|---|---|---|");
  for (const l of i.lines) out.push(`| ${iso(l.at)} | ${[l.container || l.node, l.rule, [l.command || l.exe, l.pid ? `pid ${l.pid}` : "", l.parent ? `started by ${l.parent}` : ""].filter(Boolean).join(", "), l.object].map(plain).join(" | ")} | ${l.count} | ${plain(l.finding)} |`);
  if (i.dropped) out.push("", `${i.dropped} further kinds of findings are not in the timeline.`);
  if (i.comments.length) out.push("", "## Comments", "", ...i.comments.map((c) => `* ${iso(c.at)} ${plain(c.who)}: ${plain(c.text)}`));
  return out.join("\n") + "\n";
}

/* "12:03:04", with the day where it is not that of `beside`. */
export function stamp(ms: number, beside: number): string {
  if (!Number.isFinite(ms)) return "–";
  const whole = date(ms);
  return Number.isFinite(beside) && date(beside).slice(0, 10) === whole.slice(0, 10) ? whole.slice(11) : whole;
}
