/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour models as the page uses them: answers checked, and what a lock or a relearning would change, in words. */
import { count, toMs } from "./format";
import { list, num, object, text } from "./loose";
import { plural } from "./text";

export interface Family { key: string; title: string; state: string; locked: boolean; observed: boolean; learned: number; outstanding: number; once: number; acts: number; over: number; perTrial: number }
export interface Version { digest: string; state: string; locked: boolean; shadow: boolean; running: number; starts: number; trials: number; hours: number; first: number; last: number; families: Family[]; learned: number; outstanding: number }
export interface Model { application: string; workload: string; bytes: number; over: number; versions: Version[] }
export interface Item {
  id: string; family: string; actor: string; object: string; detail: string; uid: number; standing: string; inherited: boolean; starting: boolean; count: number; trials: number; replicas: number; first: number; last: number; example: string; why: string; says: string;
  risk: number;
}

function familyFrom(v: unknown): Family {
  const o = object(v);
  return {
    key: text(o.family), title: text(o.title) || text(o.family), state: text(o.state), locked: o.locked === true, observed: o.observed === true, learned: num(o.learned), outstanding: num(o.outstanding), once: num(o.seen_once), acts: num(o.acts),
    over: num(o.over), perTrial: typeof o.new_per_trial === "number" ? o.new_per_trial : NaN,
  };
}

export function versionFrom(v: unknown): Version {
  const o = object(v);
  return {
    digest: text(o.image_digest), state: text(o.state), locked: o.locked === true, shadow: o.shadow === true, running: num(o.running), starts: num(o.starts), trials: num(o.trials), hours: num(o.container_hours), first: toMs(o.first), last: toMs(o.last),
    families: list(o.families).map(familyFrom), learned: num(o.learned), outstanding: num(o.outstanding),
  };
}

export function modelFrom(v: unknown): Model {
  const o = object(v);
  return { application: text(o.application), workload: text(o.workload), bytes: num(o.bytes), over: num(o.over), versions: list(o.versions).map(versionFrom) };
}

export function itemFrom(v: unknown): Item {
  const o = object(v);
  return {
    id: text(o.item), family: text(o.family), actor: text(o.actor), object: text(o.object), detail: text(o.detail), uid: num(o.uid), standing: text(o.standing), inherited: o.inherited === true, starting: o.starting === true, count: num(o.count), trials: num(o.trials),
    replicas: num(o.replicas), first: toMs(o.first), last: toMs(o.last), example: text(o.example), why: text(o.why), says: text(o.says), risk: num(o.risk),
  };
}

export const STATES: Record<string, string> = {
  learning: "Learning: nothing new is told, but for what is never normal", shadow: "Compared with the version before", scored: "What is new is told", enforceable: "So little new is to be expected that it could be enforced",
};
export const STANDINGS: Record<string, [string, string]> = {
  learned: ["learned", "seen often enough, by itself"], accepted: ["accepted", "taken for normal by a person"], forbidden: ["forbidden", "told whenever it is seen"], refused: ["never normal", "seen, and not learned by itself"],
  drift: ["drift", "most replicas of the version do it"], held: ["waiting", "whether other replicas do it too is not known yet"], novel: ["new", "one replica did it"],
  observed: ["observed", "new, and no finding: more of the kind is to be expected"],
};
/* Items that a person is asked about. */
export const isOpen = (standing: string) => ["refused", "drift", "held", "novel", "observed"].includes(standing);

export const observed = (v: Version) => v.families.filter((f) => f.observed);
export const trusted = (v: Version) => observed(v).filter((f) => f.locked || f.state === "scored" || f.state === "enforceable");

/* What the lock of a version or of one of its families changes. */
export function lockChanges(v: Version, family?: string): string[] {
  const concerned = v.families.filter((f) => (!family || f.key === family) && !f.locked);
  const learning = concerned.filter((f) => f.observed && f.state !== "scored" && f.state !== "enforceable");
  const learned = concerned.reduce((n, f) => n + f.learned, 0);
  const open = concerned.reduce((n, f) => n + f.outstanding, 0);
  const out = [`${count(learned)} learned ${plural(learned, "item")} ${plural(learned, "stays", "stay")} normal; nothing is learned any more by itself.`];
  if (learning.length) out.push(`${learning.map((f) => f.title).join(", ")}: still learning. From now on whatever is new there is told.`);
  const silent = concerned.filter((f) => !f.observed);
  if (silent.length) out.push(`${silent.map((f) => f.title).join(", ")}: nothing was ever seen. The first act there is told.`);
  if (open) out.push(`${count(open)} ${plural(open, "item")} that nobody has judged ${plural(open, "stays", "stay")} outside of what is normal.`);
  return out;
}

export function relearnChanges(v: Version, family?: string): string[] {
  const concerned = v.families.filter((f) => !family || f.key === family);
  const learned = concerned.reduce((n, f) => n + f.learned, 0);
  const locked = concerned.filter((f) => f.locked);
  const out = [`Up to ${count(learned)} ${plural(learned, "item")} that ${plural(learned, "was", "were")} learned by themselves are forgotten. What a person accepted or forbade stays.`, "Until enough has been seen again, new acts there are learned and not told, but for what is never normal."];
  if (locked.length) out.push(`The lock of ${locked.map((f) => f.title).join(", ")} is taken away.`);
  return out;
}

export const shortDigest = (digest: string) => digest.replace(/^sha256:/, "").slice(0, 12) || "image not known";

/* --- An exported model, as a file ------------------------------------------------------------------------------------------------ */

export const MODEL_TEXT_MAX = 1024 * 1024; /* bytes, what the API takes */
export interface ModelText { application: string; workload: string; digest: string; hours: number; items: number; forbidden: number; families: [string, number][] }

/* What is in it; throws what is wrong. The central looks closer. */
export function modelTextFrom(all: string): ModelText {
  let head: Record<string, unknown> | undefined;
  const families = new Map<string, number>();
  let items = 0;
  let forbidden = 0;
  all.split("\n").forEach((line, n) => {
    if (!line.trim()) return;
    let o: Record<string, unknown>;
    try {
      o = object(JSON.parse(line));
    } catch {
      throw new Error(`Line ${n + 1} is not JSON: is this an exported model?`);
    }
    if (!head) {
      if (o.bulkhead_model !== 1) throw new Error("The first line is not that of an exported model.");
      head = o;
      return;
    }
    items++;
    if (o.forbidden === true) forbidden++;
    families.set(text(o.family), (families.get(text(o.family)) ?? 0) + 1);
  });
  if (!head) throw new Error("There is no model in this file.");
  return { application: text(head.application), workload: text(head.workload), digest: text(head.image_digest), hours: num(head.container_hours), items, forbidden, families: [...families].sort((a, b) => b[1] - a[1]) };
}
