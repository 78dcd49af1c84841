/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as a file: CSV as in RFC 4180, JSON as one array. */

export type Columns<T> = [name: string, of: (row: T) => unknown][];

/* Spreadsheets run what begins with one of these, some also in their wide forms, and an attacker chooses names: an apostrophe makes it text. */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

function cell(v: unknown): string {
  if (v === null || v === undefined || (typeof v === "number" && !Number.isFinite(v))) return "";
  if (typeof v === "number" || typeof v === "boolean") return String(v);
  const raw = typeof v === "string" ? v : JSON.stringify(v);
  const text = FORMULA.test(raw) ? `'${raw}` : raw;
  return /[",\r\n']/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

export function csv<T>(columns: Columns<T>, rows: T[]): string {
  return [columns.map(([name]) => cell(name)), ...rows.map((r) => columns.map(([, of]) => cell(of(r))))].map((l) => l.join(",") + "\r\n").join("");
}

/* "findings" at a moment → bulkhead-findings-20261127T114000Z */
export function fileName(what: string, at: Date): string {
  return `bulkhead-${what}-${at.toISOString().replace(/[-:]|\.\d+/g, "")}`;
}
