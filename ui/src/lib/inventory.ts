/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The containers as the page keeps them: one small row each, facet values as numbers, so that 100,000 rows are filtered and
 * counted in a few milliseconds without a worker. A row holds what the table shows; the drawer asks the server for the rest.
 */
import { toMs } from "./format";
import { matcher, parseQuery } from "./query";
import { repository } from "./text";

export interface Exposure { bit: number; key: string; label: string; weight: number; why: string }

/* What gives a container a lever on its host, the strongest first. The order is the order of display. */
export const EXPOSURES: Exposure[] = [
  ["privileged", "Privileged", 100, "Runs with every capability and without device limits: its root is the host's root."],
  ["host_mount", "Host mount", 60, "A mount hands it a lever on the host: the root, /proc, /etc or a runtime's socket."],
  ["host_pid", "Host PID", 40, "Sees and can signal every process of the host."],
  ["no_seccomp", "No seccomp", 30, "The system call filter is off."],
  ["no_apparmor", "No AppArmor", 20, "The mandatory access control profile is off."],
  ["caps", "Added caps", 20, "Capabilities beyond the runtime's default were added."],
  ["devices", "Devices", 20, "Host devices are passed in."],
  ["host_network", "Host network", 15, "Shares the host's network: no isolation of ports and interfaces."],
  ["host_ipc", "Host IPC", 10, "Shares the host's System V IPC and POSIX queues."],
].map(([key, label, weight, why], i) => ({ bit: 1 << i, key, label, weight, why }) as Exposure);

export const STATES = ["running", "paused", "restarting", "created", "exited", "dead", "removed", "unknown"] as const;

export interface Row {
  id: string;
  name: string;
  image: string;
  application: string;
  workload: string;
  node: string;
  runtime: string;
  state: string;
  health: string;
  exposure: number;
  score: number;
  since: number; /* ms: when the present state began */
  hay: string;   /* lower case; what free text is looked for in */
  codes: number[]; /* value of each single-valued facet, an index of that facet's dictionary */
}

/* The part of the API's container that a row is made of; anything may be missing. */
export interface Described {
  id: string; name?: string; display_name?: string; image?: string; application?: string; workload?: string; node?: string; runtime?: string; state?: string;
  health?: string; privileged?: boolean; host_network?: boolean; host_pid?: boolean; host_ipc?: boolean;
  mounts?: { sensitive?: boolean }[]; cap_add?: string[]; devices?: string[]; security_opt?: string[];
  labels?: Record<string, string>; created?: unknown; started?: unknown; finished?: unknown;
}

export function exposureOf(c: Described): number {
  const off = (name: string) => (c.security_opt ?? []).some((o) => o.replace("=", ":") === `${name}:unconfined`);
  const has: Record<string, boolean> = {
    privileged: !!c.privileged,
    host_mount: (c.mounts ?? []).some((m) => m.sensitive),
    host_pid: !!c.host_pid,
    no_seccomp: off("seccomp"),
    no_apparmor: off("apparmor"),
    caps: !!c.cap_add?.length,
    devices: !!c.devices?.length,
    host_network: !!c.host_network,
    host_ipc: !!c.host_ipc,
  };
  return EXPOSURES.reduce((bits, e) => (has[e.key] ? bits | e.bit : bits), 0);
}

export function scoreOf(exposure: number): number {
  return EXPOSURES.reduce((sum, e) => (exposure & e.bit ? sum + e.weight : sum), 0);
}

export interface FacetDef { key: string; label: string; none: string; of(row: Row): string }

export const FACETS: FacetDef[] = [
  { key: "state", label: "State", none: "unknown", of: (r) => r.state },
  { key: "app", label: "Application", none: "no application", of: (r) => r.application },
  { key: "image", label: "Image", none: "no image", of: (r) => repository(r.image) },
  { key: "node", label: "Node", none: "unknown node", of: (r) => r.node },
  { key: "runtime", label: "Runtime", none: "unknown", of: (r) => r.runtime },
];
export const EXPOSURE_FACET = "exposure";
/* Stands in an address for the value that is empty. */
export const NONE = "~";

export interface FacetValue { value: string; label: string; count: number; selected: boolean }
export interface FacetCounts { key: string; label: string; values: FacetValue[] }

export type SortKey = "attention" | "name" | "application" | "image" | "node" | "state" | "since";
export interface View { query: string; selected: Record<string, string[]>; sort: SortKey; descending: boolean }
export interface Result { rows: Row[]; facets: FacetCounts[]; total: number }

class Dictionary {
  names: string[] = [];
  #codes = new Map<string, number>();
  code(name: string): number {
    let c = this.#codes.get(name);
    if (c === undefined) {
      c = this.names.length;
      this.names.push(name);
      this.#codes.set(name, c);
    }
    return c;
  }
  find(name: string): number {
    return this.#codes.get(name) ?? -1;
  }
}

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export class Inventory {
  version = 0;
  costMs = 0; /* of the last select(); tells how often the page can afford one */
  #rows: Row[] = [];
  #at = new Map<string, number>();
  #dictionaries = FACETS.map(() => new Dictionary());
  #order: Row[] = [];
  #orderOf = "";
  #interned = new Map<string, string>();

  get size(): number {
    return this.#rows.length;
  }
  get rows(): readonly Row[] {
    return this.#rows;
  }
  get(id: string): Row | undefined {
    const i = this.#at.get(id);
    return i === undefined ? undefined : this.#rows[i];
  }
  /* By full id, or by a prefix of at least twelve digits. */
  find(id: string): Row | undefined {
    return this.get(id) ?? (id.length >= 12 ? this.#rows.find((r) => r.id.startsWith(id)) : undefined);
  }
  clear(): void {
    this.#rows = [];
    this.#at.clear();
    this.version++;
  }

  upsert(list: Described[]): void {
    for (const c of list) {
      if (!c || typeof c.id !== "string" || !c.id) continue;
      const row = this.#make(c);
      const i = this.#at.get(row.id);
      if (i === undefined) {
        this.#at.set(row.id, this.#rows.length);
        this.#rows.push(row);
      } else {
        this.#rows[i] = row;
      }
    }
    this.version++;
  }

  remove(id: string): void {
    const i = this.#at.get(id);
    if (i === undefined) return;
    const last = this.#rows.pop()!;
    this.#at.delete(id);
    if (last.id !== id) {
      this.#rows[i] = last;
      this.#at.set(last.id, i);
    }
    this.version++;
  }

  /* Rows whose id a complete listing did not have. */
  keepOnly(ids: Set<string>): void {
    for (const row of [...this.#rows]) if (!ids.has(row.id)) this.remove(row.id);
  }

  #intern(s: string | undefined): string {
    if (!s) return "";
    const known = this.#interned.get(s);
    if (known !== undefined) return known;
    this.#interned.set(s, s);
    return s;
  }

  #make(c: Described): Row {
    const state = c.state || "unknown";
    const exposure = exposureOf(c);
    const labels = Object.entries(c.labels ?? {}).map(([k, v]) => `${k}=${v}`).join(" ").slice(0, 1024);
    const row: Row = {
      id: c.id,
      name: c.name || c.display_name || c.id.slice(0, 12),
      image: this.#intern(c.image),
      application: this.#intern(c.application),
      workload: this.#intern(c.workload),
      node: this.#intern(c.node),
      runtime: this.#intern(c.runtime),
      state: this.#intern(state),
      health: this.#intern(c.health),
      exposure,
      score: scoreOf(exposure),
      since: toMs(state === "exited" || state === "dead" ? c.finished || c.created : c.started || c.created),
      hay: "",
      codes: [],
    };
    row.hay = `${row.name} ${row.image} ${row.workload} ${row.application} ${row.node} ${row.id} ${labels}`.toLowerCase();
    row.codes = FACETS.map((f, i) => this.#dictionaries[i].code(f.of(row)));
    return row;
  }

  #sorted(sort: SortKey, descending: boolean): Row[] {
    const key = `${this.version} ${sort} ${descending}`;
    if (this.#orderOf === key) return this.#order;
    const rank = (r: Row) => (r.state === "running" ? 0 : r.state === "removed" ? 2 : 1);
    const name = (a: Row, b: Row) => compare(a.name, b.name) || compare(a.id, b.id);
    const by: Record<SortKey, (a: Row, b: Row) => number> = {
      attention: (a, b) => rank(a) - rank(b) || b.score - a.score || name(a, b),
      name,
      application: (a, b) => compare(a.application, b.application) || compare(a.workload, b.workload) || name(a, b),
      image: (a, b) => compare(a.image, b.image) || name(a, b),
      node: (a, b) => compare(a.node, b.node) || name(a, b),
      state: (a, b) => STATES.indexOf(a.state as never) - STATES.indexOf(b.state as never) || name(a, b),
      since: (a, b) => compare(b.since || 0, a.since || 0) || name(a, b),
    };
    this.#order = this.#rows.slice().sort(by[sort] ?? by.attention);
    if (descending) this.#order.reverse();
    this.#orderOf = key;
    return this.#order;
  }

  /*
   * Rows that pass, in order, and for each facet how many rows each value would give: a row that fails one facet alone counts
   * for that facet's other values, so that choosing a second value widens the result as people expect.
   */
  select(view: View): Result {
    const began = performance.now();
    const matches = matcher(parseQuery(view.query));
    const masks = FACETS.map((f, i) => {
      const chosen = view.selected[f.key] ?? [];
      if (!chosen.length) return null;
      return new Set(chosen.map((v) => this.#dictionaries[i].find(v)));
    });
    const exposureMask = (view.selected[EXPOSURE_FACET] ?? []).reduce((m, k) => m | (EXPOSURES.find((e) => e.key === k)?.bit ?? 0), 0);
    const counts = this.#dictionaries.map((d) => new Uint32Array(d.names.length));
    const exposureCounts = new Uint32Array(EXPOSURES.length);
    const rows: Row[] = [];

    for (const row of this.#sorted(view.sort, view.descending)) {
      if (!matches(row)) continue;
      let failed = -1;
      let failures = 0;
      for (let f = 0; f < masks.length && failures < 2; f++) {
        if (masks[f] && !masks[f]!.has(row.codes[f])) {
          failed = f;
          failures++;
        }
      }
      const exposed = !exposureMask || (row.exposure & exposureMask) !== 0;
      if (failures === 0 && exposed) rows.push(row);
      if (exposed) {
        if (failures === 0) for (let f = 0; f < counts.length; f++) counts[f][row.codes[f]]++;
        else if (failures === 1) counts[failed][row.codes[failed]]++;
      }
      if (failures === 0 && row.exposure) for (let e = 0; e < EXPOSURES.length; e++) if (row.exposure & EXPOSURES[e].bit) exposureCounts[e]++;
    }

    const facets: FacetCounts[] = FACETS.map((f, i) => {
      const chosen = new Set(view.selected[f.key] ?? []);
      const values = this.#dictionaries[i].names
        .map((value, code) => ({ value, label: value || f.none, count: counts[i][code], selected: chosen.has(value) }))
        .filter((v) => v.count || v.selected);
      values.sort((a, b) => Number(b.selected) - Number(a.selected) || b.count - a.count || compare(a.label, b.label));
      return { key: f.key, label: f.label, values };
    });
    const chosen = new Set(view.selected[EXPOSURE_FACET] ?? []);
    facets.splice(1, 0, {
      key: EXPOSURE_FACET,
      label: "Exposure",
      values: EXPOSURES.map((e, i) => ({ value: e.key, label: e.label, count: exposureCounts[i], selected: chosen.has(e.key) })).filter((v) => v.count || v.selected),
    });
    this.costMs = performance.now() - began;
    return { rows, facets, total: this.#rows.length };
  }
}
