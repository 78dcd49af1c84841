/* SPDX-License-Identifier: Apache-2.0 */
/* What of the map stands in the address, so that a colleague sees the same: both ways, and times as the server reads them. Pure. */
import { LEVELS, type Level, type Quiet, QUIETS } from "./graph";

export interface MapAddress {
  level: Level | "auto"; query: string; show: Quiet[]; range: number; window: number; until: number; /* 0: now, and going on */
  select: string; to: string; edge: string; table: boolean; diff: boolean; at: { x: number; y: number; k: number } | null; sort: string;
}

export const HOUR = 3_600_000;
/* What the strip below can show, and the window that each begins with. */
export const RANGES: { ms: number; label: string; window: number }[] = [
  { ms: HOUR, label: "1 h", window: HOUR / 4 },
  { ms: 6 * HOUR, label: "6 h", window: HOUR },
  { ms: 24 * HOUR, label: "24 h", window: 4 * HOUR },
  { ms: 7 * 24 * HOUR, label: "7 d", window: 24 * HOUR },
];
export const MIN_WINDOW = 60_000;
const FAR = Date.UTC(2200); /* a time beyond what dates can say would end the page */
const DEFAULT = RANGES[1];

const whole = (s: string | null, low: number, high: number, otherwise: number) => {
  const n = Number(s);
  return s && Number.isFinite(n) ? Math.min(high, Math.max(low, Math.round(n))) : otherwise;
};

export function readAddress(p: URLSearchParams): MapAddress {
  const level = p.get("level") as Level;
  const range = RANGES.find((r) => r.ms === Number(p.get("range")) * 1000) ?? DEFAULT;
  const until = Date.parse(p.get("until") ?? "");
  const at = (p.get("at") ?? "").split(",").map(Number);
  return {
    level: LEVELS.includes(level) ? level : "auto", query: p.get("q") ?? "", show: QUIETS.map((q) => q.key).filter((k) => (p.get("show") ?? "").split(",").includes(k)), range: range.ms,
    window: whole(p.get("win"), MIN_WINDOW / 1000, range.ms / 1000, range.window / 1000) * 1000, until: until > 0 && until < FAR ? until : 0,
    select: p.get("sel") ?? "", to: p.get("to") ?? "", edge: p.get("edge") ?? "", table: p.get("view") === "table", diff: p.get("diff") === "1",
    at: at.length === 3 && at.every(Number.isFinite) && at[2] > 0 ? { x: at[0], y: at[1], k: at[2] } : null, sort: p.get("sort") ?? "",
  };
}

/* For router.patch(): what is as it would be anyway is left out. */
export function writeAddress(a: Partial<MapAddress>, range = DEFAULT.ms): Record<string, string | undefined> {
  const out: Record<string, string | undefined> = {};
  const r = a.range ?? range;
  if (a.level !== undefined) out.level = a.level === "auto" ? undefined : a.level;
  if (a.query !== undefined) out.q = a.query || undefined;
  if (a.show !== undefined) out.show = a.show.join(",") || undefined;
  if (a.range !== undefined) out.range = a.range === DEFAULT.ms ? undefined : String(a.range / 1000);
  if (a.window !== undefined) out.win = a.window === RANGES.find((x) => x.ms === r)?.window ? undefined : String(Math.round(a.window / 1000));
  if (a.until !== undefined) out.until = a.until ? new Date(a.until).toISOString().replace(".000Z", "Z") : undefined;
  if (a.select !== undefined) out.sel = a.select || undefined;
  if (a.to !== undefined) out.to = a.to || undefined;
  if (a.edge !== undefined) out.edge = a.edge || undefined;
  if (a.table !== undefined) out.view = a.table ? "table" : undefined;
  if (a.diff !== undefined) out.diff = a.diff ? "1" : undefined;
  if (a.at !== undefined) out.at = a.at ? `${Math.round(a.at.x)},${Math.round(a.at.y)},${Number(a.at.k.toPrecision(3))}` : undefined;
  if (a.sort !== undefined) out.sort = a.sort || undefined;
  return out;
}

/* Begin and end of the window; a live one's begin goes on in steps, so that equal questions have equal addresses. */
export function spanOf(a: MapAddress, now: number): { since: number; until: number } {
  if (a.until) return { since: a.until - a.window, until: a.until };
  return { since: Math.floor((now - a.window) / 10_000) * 10_000, until: 0 };
}

export const stamp = (ms: number): string | undefined => (ms ? new Date(ms).toISOString() : undefined);
