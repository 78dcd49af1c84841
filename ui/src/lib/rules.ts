/* SPDX-License-Identifier: Apache-2.0 */
/* Rules as the page shows them: those of all nodes by name, and the file that switches single ones on or off. */
import { num, object, text, texts } from "./loose";

export interface RuleRow { name: string; priority: string; source: string; tags: string[]; description: string; file: string; line: number; matches: number; nodes: string[]; enabled: boolean; runs: number; problems: [node: string, what: string][] }

export function mergeRules(list: unknown[]): RuleRow[] {
  const by = new Map<string, RuleRow>();
  for (const v of list) {
    const o = object(v);
    const name = text(o.name);
    const r = by.get(name) ?? { name, priority: text(o.priority).toLowerCase(), source: text(o.source), tags: texts(o.tags), description: text(o.description), file: text(o.file), line: num(o.line), matches: 0, nodes: [], enabled: false, runs: 0, problems: [] };
    r.matches += num(o.matches);
    r.nodes.push(text(o.node));
    r.enabled ||= o.enabled === true;
    r.runs += o.runs === true ? 1 : 0;
    if (text(o.problem)) r.problems.push([text(o.node), text(o.problem)]);
    by.set(name, r);
  }
  return [...by.values()];
}

export type RuleState = "on" | "off" | "blind" | "partly";
export const ruleState = (r: RuleRow): RuleState => (!r.enabled ? "off" : r.runs === 0 || r.problems.length >= r.nodes.length ? "blind" : r.runs < r.nodes.length || r.problems.length ? "partly" : "on");
export const RULE_STATES: Record<RuleState, [title: string, says: string]> = {
  on: ["runs", "evaluated on every node"], partly: ["partly", "some nodes cannot evaluate it"], blind: ["cannot match", "no node can evaluate it"], off: ["off", "switched off"],
};

/* The file of switches: read last, so that it has the last word. People may read it, but it is written here. */
export const SWITCHES = "zz-switches.yaml";
const HEAD = "# Rules that were switched on or off in the web interface, which writes this file. One item a rule.\n";
const ITEM = /^- rule: (".*")\n  enabled: (true|false)\n  override: \{enabled: replace\}\n/;

/* null: somebody else wrote in it, and it has to be changed by hand. */
export function readSwitches(file: string): Map<string, boolean> | null {
  const out = new Map<string, boolean>();
  if (!file.trim()) return out;
  if (!file.startsWith(HEAD)) return null;
  for (let rest = file.slice(HEAD.length); rest; ) {
    const m = ITEM.exec(rest);
    if (!m) return null;
    try {
      out.set(JSON.parse(m[1]) as string, m[2] === "true");
    } catch {
      return null;
    }
    rest = rest.slice(m[0].length);
  }
  return out;
}

export function writeSwitches(switches: Map<string, boolean>): string {
  return HEAD + [...switches].map(([name, on]) => `- rule: ${JSON.stringify(name)}\n  enabled: ${on}\n  override: {enabled: replace}\n`).join("");
}

export interface Problem { severity: "error" | "warning"; file: string; line: number; column: number; what: string; object: string }
export function problemFrom(v: unknown): Problem {
  const o = object(v);
  return { severity: o.severity === "warning" ? "warning" : "error", file: text(o.file), line: num(o.line), column: num(o.column), what: text(o.what), object: text(o.object) };
}

/* Where line and column (from 1, in characters) stand in a text. */
export function offsetOf(value: string, line: number, column: number): number {
  let at = 0;
  for (let n = 1; n < line; n++) {
    const end = value.indexOf("\n", at);
    if (end < 0) return value.length;
    at = end + 1;
  }
  const end = value.indexOf("\n", at);
  return Math.min(at + Math.max(0, column - 1), end < 0 ? value.length : end);
}

export const NEW_RULES = `# A rule file in Falco's language. "bulkhead rules fields" lists the fields, and so does docs/rules.md.
- rule: Shell in my application
  desc: A shell was started in a container of the application "shop"
  condition: >
    evt.type = execve and container.id != host
    and proc.name in (sh, bash, dash, ash)
  output: "A shell was started (command=%proc.cmdline parent=%proc.pname container=%container.name)"
  priority: WARNING
  tags: [mitre_execution, T1059]
`;

export const NEW_POLICY = `name: isolate-shells
description: Isolates a container in which a server program started a shell
when: {rules: [Server program started a shell]}
scope: {applications: [shop]}
action: isolate
ttl: 1h
rate: 5 per 1h
cool_down: 10m
blast_radius: {containers: 2, percent: 50}
# A policy only tells what it would do until this is false.
dry_run: true
`;

export const validFile = (name: string) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*\.ya?ml$/.test(name) && name.length <= 100;
export const validPolicy = (name: string) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name);
