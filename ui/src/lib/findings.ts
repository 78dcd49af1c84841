/* SPDX-License-Identifier: Apache-2.0 */
/* The list of findings: its filters as they stand in the address, and its columns as they are exported. */
import type { Finding } from "../api/openapi";
import type { Columns } from "./export";

export const PRIORITIES = ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];
export const KINDS: [string, string][] = [["rule", "Rules"], ["model", "Behaviour models"], ["web", "Web attacks"], ["dns", "DNS"], ["decoy", "Decoys"], ["sensor", "Sensor's health"]];
export const SPANS: [string, string][] = [["1h", "Last hour"], ["24h", "Last day"], ["7d", "Last week"], ["", "All time"]];

/* Bars of four, as the severity of incidents has them. */
export const level = (priority: string): number => {
  const at = PRIORITIES.indexOf(priority.toLowerCase());
  return at < 0 ? 0 : at <= 2 ? 4 : at === 3 ? 3 : at === 4 ? 2 : 1;
};

/* Names in the address → of the API's query. */
const QUERY: [string, string][] = [["q", "search"], ["priority", "priority"], ["kind", "kind"], ["rule", "rule"], ["container", "container"], ["app", "application"], ["workload", "workload"], ["node", "node"], ["tag", "tag"], ["since", "since"]];
export const FILTERS = QUERY.map(([name]) => name);

export function queryOf(params: URLSearchParams): Record<string, string> {
  const q: Record<string, string> = {};
  for (const [name, to] of QUERY) {
    const v = params.get(name);
    if (v) q[to] = v;
  }
  return q;
}

export const COLUMNS: Columns<Finding> = [
  ["time", (f) => f.time], ["last", (f) => f.last], ["count", (f) => f.count], ["priority", (f) => f.priority], ["rule", (f) => f.rule], ["kind", (f) => f.kind], ["node", (f) => f.node], ["application", (f) => f.application],
  ["workload", (f) => f.workload], ["container", (f) => f.container_name], ["container_id", (f) => f.container_id], ["image", (f) => f.image], ["output", (f) => f.output], ["tags", (f) => f.tags?.join(" ")], ["id", (f) => f.id],
];
