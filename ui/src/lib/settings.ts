/* SPDX-License-Identifier: Apache-2.0 */
/* Settings and outputs as the page edits them. */
import type { OutputConfig } from "../api/openapi";
import { list, num, object, text, texts } from "./loose";

export interface Setting { key: string; title: string; unit: string; value: number | string; fallback: number | string; min: number; max: number; says: string }

/* The known ones have a name and a unit for people; others, of a newer central, their key. */
const NAMES: Record<string, [group: string, title: string, unit: string]> = {
  "retention.days": ["Retention", "History", "days"],
  "retention.mib": ["Retention", "Database", "MiB at most"],
  "evidence.mib": ["Retention", "Evidence", "MiB at most"],
  "graph.minute_hours": ["Retention", "Connections, fine", "hours"],
  "graph.hour_days": ["Retention", "Connections, coarse", "days"],
  "backup.keep": ["Retention", "Backups", "kept"],
  "session.idle_minutes": ["Sessions", "Idle session", "minutes"],
  "session.hours": ["Sessions", "Session", "hours"],
  "models.slot_ms": ["Behaviour models", "Trial", "ms"],
  "models.bound_ppm": ["Behaviour models", "Bound of scoring", "new in a million"],
  "models.starting_seconds": ["Behaviour models", "Start of a container", "seconds"],
  "models.hold_seconds": ["Behaviour models", "New image", "seconds"],
  "query.seconds": ["Other", "Question to the database", "seconds"],
  "graph.networks": ["Other", "Networks outside", "JSON"],
};
export const GROUPS = ["Retention", "Sessions", "Behaviour models", "Other"];

export function settingsFrom(v: unknown): Map<string, Setting[]> {
  const out = new Map<string, Setting[]>(GROUPS.map((g) => [g, []]));
  for (const s of list(object(v).settings).map(object)) {
    const key = text(s.key);
    const [group, title, unit] = NAMES[key] ?? ["Other", key, ""];
    const value = (x: unknown) => (typeof x === "string" ? x : num(x));
    out.get(group)!.push({ key, title, unit, value: value(s.value), fallback: value(s.default), min: num(s.min), max: num(s.max), says: text(s.description) });
  }
  return out;
}

export type OutputType = OutputConfig["type"];
/* What the form holds: texts, as fields have them. */
export interface OutputForm { name: string; type: OutputType; enabled: boolean; format: string; priority: string; sources: string; tags: string; rules: string; file: string; transport: string; host: string; port: string; facility: string; url: string; urlSecret: string; headers: string; timeout: string; ca: string; certificate: string; key: string }

/* A secret is never told: where there is one its place says so, and left alone it stays. */
export const KEPT = "(kept)";

export function formOf(name: string, c: Record<string, unknown>): OutputForm {
  const lines = (v: unknown) => texts(v).join("\n");
  const secret = (v: unknown) => (v === true ? KEPT : "");
  return {
    name, type: (text(c.type) || "webhook") as OutputType, enabled: c.enabled !== false, format: text(c.format), priority: text(c.minimum_priority), sources: lines(c.sources), tags: lines(c.tags), rules: lines(c.rules), file: text(c.file),
    transport: text(c.transport) || "tls", host: text(c.host), port: c.port ? String(num(c.port)) : "", facility: text(c.facility), url: text(c.url), urlSecret: secret(c.url_secret), timeout: c.timeout ? String(num(c.timeout)) : "",
    headers: Object.entries(object(c.headers)).map(([k, v]) => `${k}: ${v === true ? KEPT : text(v)}`).join("\n"), ca: text(c.ca), certificate: text(c.certificate), key: secret(c.key),
  };
}

/* Only what its type has, and nothing that is empty. Throws a sentence. */
export function configOf(f: OutputForm): Record<string, unknown> {
  const split = (s: string) => s.split("\n").map((l) => l.trim()).filter(Boolean);
  const c: Record<string, unknown> = { type: f.type, enabled: f.enabled };
  const put = (key: string, v: unknown) => { if (v !== "" && !(Array.isArray(v) && !v.length)) c[key] = v; };
  const secret = (v: string) => (v === KEPT ? true : v);
  const whole = (what: string, v: string) => {
    if (v === "") return "";
    if (!/^\d{1,6}$/.test(v)) throw new Error(`${what} is a number`);
    return Number(v);
  };
  put("format", f.format);
  put("minimum_priority", f.priority);
  put("sources", split(f.sources));
  put("tags", split(f.tags));
  put("rules", split(f.rules));
  if (f.type === "file") put("file", f.file.trim());
  if (f.type === "syslog") {
    put("transport", f.transport);
    if (f.transport !== "local") {
      put("host", f.host.trim());
      put("port", whole("the port", f.port.trim()));
    }
    put("facility", f.facility.trim());
  }
  if (f.type === "webhook") {
    put("url", f.url.trim());
    put("url_secret", secret(f.urlSecret));
    put("timeout", whole("the timeout", f.timeout.trim()));
    const headers: Record<string, string | boolean> = {};
    for (const l of split(f.headers)) {
      const at = l.indexOf(":");
      if (at < 1) throw new Error(`a header is written "Name: value", and not "${l.slice(0, 40)}"`);
      headers[l.slice(0, at).trim()] = secret(l.slice(at + 1).trim());
    }
    if (Object.keys(headers).length) c.headers = headers;
  }
  if (f.type === "webhook" || (f.type === "syslog" && f.transport === "tls")) {
    put("ca", f.ca.trim() && f.ca);
    put("certificate", f.certificate.trim() && f.certificate);
    put("key", secret(f.key));
  }
  return c;
}
