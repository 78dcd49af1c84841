/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search field's language: words that must all be found, `key:value` for one column, "quotes" around spaces, and a
 * leading - for "not". An unknown key is taken as plain text, so that an image's "name:tag" finds what it says.
 */
import type { Row } from "./inventory";

export interface Term { key: string; value: string; not: boolean }

const KEYS: Record<string, (r: Row) => string> = {
  name: (r) => r.name,
  image: (r) => r.image,
  app: (r) => r.application,
  application: (r) => r.application,
  ns: (r) => r.application,
  workload: (r) => r.workload,
  svc: (r) => r.workload,
  node: (r) => r.node,
  state: (r) => r.state,
  runtime: (r) => r.runtime,
  id: (r) => r.id,
  health: (r) => r.health,
  label: (r) => r.hay,
};

export function parseQuery(text: string): Term[] {
  const terms: Term[] = [];
  for (const m of text.slice(0, 512).matchAll(/(-?)(?:([a-z]+):)?(?:"([^"]*)"?|(\S+))/gi)) {
    const key = (m[2] ?? "").toLowerCase();
    const value = (m[3] ?? m[4] ?? "").toLowerCase();
    if (key && !(key in KEYS)) terms.push({ key: "", value: `${key}:${value}`, not: m[1] === "-" });
    else if (value) terms.push({ key, value, not: m[1] === "-" });
  }
  return terms;
}

export function matcher(terms: Term[]): (row: Row) => boolean {
  if (!terms.length) return () => true;
  const tests = terms.map((t) => {
    const of = t.key ? KEYS[t.key] : null;
    return (r: Row) => (of ? of(r).toLowerCase() : r.hay).includes(t.value) !== t.not;
  });
  return (row) => tests.every((test) => test(row));
}
