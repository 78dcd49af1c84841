/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the API's answers to what the pages use. Answers are checked where a wrong shape would break a page: a newer central
 * may leave fields out or add some, and a page then shows "–" instead of nothing at all.
 */
import type { Described } from "../lib/inventory";
import type { NodeView, Problem, SensorStatus } from "../lib/health";
import { toMs } from "../lib/format";

export type Role = "admin" | "analyst" | "viewer";
export interface Me { name: string; role: Role; mustChange: boolean; csrf: string }
export interface ContainerPage { items: Described[]; next?: string; total: number }
export interface StatusView { nodes: NodeView[]; central: Record<string, unknown>; problems: Problem[]; version: string }
export interface Paged<T> { items: T[]; next?: string; total: number }

type Json = Record<string, unknown>;
const object = (v: unknown): Json => (v && typeof v === "object" && !Array.isArray(v) ? (v as Json) : {});
const text = (v: unknown): string => (typeof v === "string" ? v : typeof v === "number" ? String(v) : "");

export function meFrom(v: unknown): Me {
  const o = object(v);
  const u = o.user && typeof o.user === "object" ? object(o.user) : o;
  const role = text(u.role);
  return {
    name: text(u.name) || text(u.user),
    role: role === "admin" || role === "analyst" ? role : "viewer",
    mustChange: !!(u.must_change_password ?? o.must_change_password),
    csrf: text(o.csrf ?? u.csrf ?? o.csrf_token),
  };
}

/* A listing: {items: […], next, total}; also a bare array, and a list under the kind's own name. */
export function pageFrom<T>(v: unknown, ...names: string[]): Paged<T> {
  if (Array.isArray(v)) return { items: v as T[], total: v.length };
  const o = object(v);
  const items = [o.items, o.rows, ...names.map((n) => o[n])].find(Array.isArray) as T[] | undefined;
  const next = text(o.next ?? o.next_cursor ?? o.cursor);
  return { items: items ?? [], next: next || undefined, total: Number(o.total ?? items?.length ?? 0) };
}

export function containersFrom(v: unknown): ContainerPage {
  const p = pageFrom<Json>(v, "containers");
  return { ...p, items: p.items.map((c) => ({ ...c, ...object(c.detail) }) as unknown as Described) };
}

export function nodeFrom(v: unknown): NodeView {
  const o = object(v);
  let s = o.status ?? o.sensor;
  if (typeof s === "string") {
    try {
      s = JSON.parse(s);
    } catch {
      s = null;
    }
  }
  const seen = toMs(o.status_time ?? o.last_seen);
  return {
    name: text(o.name ?? o.node) || "unnamed",
    up: !!(o.up ?? o.connected ?? o.online ?? false),
    seen: Number.isFinite(seen) ? seen : 0,
    since: toMs(o.since ?? o.first_seen) || 0,
    status: s && typeof s === "object" ? (s as SensorStatus) : null,
    lost: Number(o.lost ?? 0),
  };
}

/* The status, and the nodes from it or from their own route. */
export function statusFrom(status: unknown, nodes: unknown): StatusView {
  const o = object(status);
  const listed = new Map<string, NodeView>();
  for (const n of pageFrom<unknown>(nodes, "nodes").items) listed.set(nodeFrom(n).name, nodeFrom(n));
  for (const raw of Array.isArray(o.nodes) ? o.nodes : []) {
    const n = nodeFrom(raw);
    const known = listed.get(n.name);
    listed.set(n.name, known ? { ...known, ...n, seen: Math.max(n.seen, known.seen), status: n.status ?? known.status, up: n.up || known.up } : n);
  }
  const problems: Problem[] = [];
  for (const raw of Array.isArray(o.problems) ? o.problems : []) {
    const p = object(raw);
    const said = typeof raw === "string" ? raw : text(p.message ?? p.title);
    if (said) problems.push({ level: p.level === "bad" || p.level === "error" ? "bad" : p.level === "note" ? "note" : "warn", key: `central ${said}`, title: said, detail: text(p.detail), href: "/health" });
  }
  const central = object(o.central ?? o);
  return { nodes: [...listed.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), central, problems, version: text(central.version ?? o.version) };
}

export interface UserRow { name: string; role: Role; created: number; disabled: boolean; mustChange: boolean; lastLogin: number }
export function userFrom(v: unknown): UserRow {
  const o = object(v);
  const role = text(o.role);
  return { name: text(o.name), role: role === "admin" || role === "analyst" ? role : "viewer", created: toMs(o.created), disabled: !!o.disabled, mustChange: !!o.must_change_password, lastLogin: toMs(o.last_login) };
}

export interface TokenRow { id: string; name: string; user: string; role: string; created: number; expires: number; lastUsed: number; revoked: boolean; valid: boolean }
export function tokenFrom(v: unknown): TokenRow {
  const o = object(v);
  return { id: text(o.id), name: text(o.name), user: text(o.user), role: text(o.role), created: toMs(o.created), expires: toMs(o.expires), lastUsed: toMs(o.last_used), revoked: !!o.revoked, valid: o.valid !== false && !o.revoked };
}

export interface AuditRow { id: string; at: number; actor: string; role: string; address: string; action: string; object: string; outcome: string; detail: string }
export function auditFrom(v: unknown): AuditRow {
  const o = object(v);
  return { id: text(o.id), at: toMs(o.time), actor: text(o.actor), role: text(o.role), address: text(o.address), action: text(o.action), object: text(o.object), outcome: text(o.outcome), detail: typeof o.detail === "object" && o.detail ? JSON.stringify(o.detail) : text(o.detail) };
}
