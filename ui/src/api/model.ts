/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the API's answers to what the pages use. Answers are checked where a wrong shape would break a page: a newer central
 * may leave fields out or add some, and a page then shows "–" instead of nothing at all.
 */
import type * as api from "./openapi";
import type { Described } from "../lib/inventory";
import type { NodeView, Problem, SensorStatus } from "../lib/health";
import { toMs } from "../lib/format";
import { list, num, object, text } from "../lib/loose";

export type Role = api.Role;
export interface Me { name: string; role: Role; mustChange: boolean; csrf: string }
export interface ContainerPage { items: Described[]; next?: string; total: number }
export interface StatusView { nodes: NodeView[]; central: Record<string, unknown>; problems: Problem[]; version: string; findings: number; lost: number }
export interface Paged<T> { items: T[]; next?: string; total: number }

/* An answer's members by the names that the API's description has, each of a type that is still to be checked. */
type Loose<T> = Partial<Record<keyof T, unknown>>;

const role = (v: unknown): Role => (v === "admin" || v === "analyst" ? v : "viewer");

export function meFrom(v: unknown): Me {
  const o: Loose<api.Me> = object(v);
  return { name: text(o.user), role: role(o.role), mustChange: o.must_change_password === true, csrf: text(o.csrf) };
}

/* A listing: {NAME: […], next, total}. */
export function pageFrom<T>(v: unknown, name: string): Paged<T> {
  const o = object(v);
  const items = Array.isArray(o[name]) ? (o[name] as T[]) : [];
  return { items, next: text(o.next) || undefined, total: Number(o.total ?? items.length) };
}

export function containersFrom(v: unknown): ContainerPage {
  return pageFrom<Described>(v, "containers");
}

function nodeFrom(v: unknown): NodeView {
  const o: Loose<api.Node> = object(v);
  const status = object(o.status);
  const seen = toMs(o.status_time ?? o.last_seen);
  return {
    name: text(o.name) || "unnamed",
    up: o.up === true,
    seen: Number.isFinite(seen) ? seen : 0,
    status: Object.keys(status).length ? (status as SensorStatus) : null,
  };
}

/* What the central says of itself that somebody should know. */
function centralProblems(central: Loose<api.Status["central"]>): Problem[] {
  const out: Problem[] = [];
  const store: Loose<NonNullable<api.Status["central"]["store"]>> = object(central.store);
  const add = (level: Problem["level"], title: string, detail: string) => out.push({ level, key: `central ${title}`, title, detail, href: "/health" });
  if (text(store.restored_from)) add("warn", "The database was damaged and restored from a backup", `What was stored after that backup is gone. The damaged file is kept as ${text(store.damaged_kept_as) || "a file beside it"}.`);
  for (const [k, v] of Object.entries(object(central.upkeep))) if (/error|problem/.test(k) && text(v)) add("bad", `The central: ${k.replace(/_/g, " ")}`, text(v));
  return out;
}

export function statusFrom(status: unknown): StatusView {
  const o: Loose<api.Status> = object(status);
  const central = object(o.central);
  const overview: Loose<api.Status["overview"]> = object(o.overview);
  return {
    nodes: list(o.nodes).map(nodeFrom).sort((a, b) => (a.name < b.name ? -1 : 1)),
    central,
    problems: centralProblems(central),
    version: text(central.version),
    findings: num(overview.findings),
    lost: num(overview.lost),
  };
}

export interface FindingRow { id: string; at: number; rule: string; priority: string; node: string; container: string; containerId: string; output: string }
export function findingFrom(v: unknown): FindingRow {
  const o: Loose<api.Finding> = object(v);
  return { id: text(o.id), at: toMs(o.last ?? o.time), rule: text(o.rule), priority: text(o.priority).toLowerCase(), node: text(o.node), container: text(o.container_name), containerId: text(o.container_id), output: text(o.output) };
}

export interface LossRow { node: string; topic: string; reason: string; count: number; first: number; last: number }
export function lossFrom(v: unknown): LossRow {
  const o: Loose<api.Loss> = object(v);
  return { node: text(o.node), topic: text(o.topic), reason: text(o.reason), count: num(o.count), first: toMs(o.first), last: toMs(o.last) };
}

export interface UserRow { name: string; role: Role; created: number; disabled: boolean; mustChange: boolean; lastLogin: number }
export function userFrom(v: unknown): UserRow {
  const o: Loose<api.User> = object(v);
  return { name: text(o.name), role: role(o.role), created: toMs(o.created), disabled: !!o.disabled, mustChange: !!o.must_change_password, lastLogin: toMs(o.last_login) };
}

export interface TokenRow { id: string; name: string; user: string; role: string; created: number; expires: number; lastUsed: number; revoked: boolean; valid: boolean }
export function tokenFrom(v: unknown): TokenRow {
  const o: Loose<api.Token> = object(v);
  return { id: text(o.id), name: text(o.name), user: text(o.user), role: text(o.role), created: toMs(o.created), expires: toMs(o.expires), lastUsed: toMs(o.last_used), revoked: !!o.revoked, valid: o.valid !== false && !o.revoked };
}

export interface AuditRow { id: string; at: number; actor: string; role: string; address: string; action: string; object: string; outcome: string; detail: string }
export function auditFrom(v: unknown): AuditRow {
  const o: Loose<api.AuditRow> = object(v);
  return { id: text(o.id), at: toMs(o.time), actor: text(o.actor), role: text(o.role), address: text(o.address), action: text(o.action), object: text(o.object), outcome: text(o.outcome), detail: typeof o.detail === "object" && o.detail ? JSON.stringify(o.detail) : text(o.detail) };
}
