/* SPDX-License-Identifier: Apache-2.0 */
/* What a verification of evidence found, checked, and in one sentence. */
import { list, num, object, text } from "./loose";

/* Why an item's bytes are not here. */
export const DATA: Record<string, string> = { dropped: "its bytes went with age or size", missing: "its bytes have not come" };

export interface Report { ok: boolean; items: number; objects: number; elsewhere: number; first: number; gaps: number; count: number; problems: { what: string; text: string }[] }
export interface Chains { central: Report; nodes: { node: string; error: string; report: Report | null }[]; level: "good" | "warn" | "bad"; says: string }

function reportFrom(v: unknown): Report {
  const o = object(v);
  return {
    ok: o.ok === true, items: num(o.items), objects: num(o.objects), elsewhere: num(o.objects_elsewhere), first: num(o.first_seq), gaps: num(o.gaps), count: num(o.problem_count),
    problems: list(o.problems).map(object).map((p) => ({ what: text(p.what), text: text(p.text) })),
  };
}

/* Never "whole" for what was not asked: a node that did not answer may have anything. */
export function chainsFrom(v: unknown): Chains {
  const o = object(v);
  const central = reportFrom(o.central);
  const nodes = list(o.nodes).map(object).map((n) => {
    const report = object(n.answer).report;
    return { node: text(n.node), error: text(n.error) || "it gave no report", report: report ? reportFrom(report) : null };
  });
  const bad = !central.ok || nodes.some((n) => n.report && !n.report.ok);
  const silent = nodes.filter((n) => !n.report).length;
  return {
    central, nodes, level: bad ? "bad" : silent ? "warn" : "good",
    says: bad ? "Evidence is not as it was signed." : silent ? "What is here is whole; not every node could be asked." : !central.items ? "There is no evidence yet." : "All evidence is as it was signed.",
  };
}
