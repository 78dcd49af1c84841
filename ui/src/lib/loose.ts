/* SPDX-License-Identifier: Apache-2.0 */
/* What answers hold is of no type until somebody has looked: each of these gives a value of its own type, whatever it is given. */
export type Json = Record<string, unknown>;
export const object = (v: unknown): Json => (v && typeof v === "object" && !Array.isArray(v) ? (v as Json) : {});
export const text = (v: unknown): string => (typeof v === "string" ? v : typeof v === "number" ? String(v) : "");
export const num = (v: unknown): number => (typeof v === "number" && Number.isFinite(v) ? v : typeof v === "string" && v ? Number(v) || 0 : 0);
export const list = (v: unknown): unknown[] => (Array.isArray(v) ? v : []);
/* One empty array for all, as a map has thousands of them. */
const NONE: string[] = [];
export const texts = (v: unknown): string[] => (Array.isArray(v) && v.length ? v.map(text).filter(Boolean) : NONE);
