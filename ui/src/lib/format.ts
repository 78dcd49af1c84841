/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, sizes and times as people read them. Times are milliseconds since the epoch; NaN or 0 means "not known". */

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function count(n: number): string {
  return Number.isFinite(n) ? whole.format(n) : "–";
}

/* At most four characters and a letter: 950, 12.3k, 4.56M. */
export function brief(n: number): string {
  if (!Number.isFinite(n)) return "–";
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (Math.abs(n) >= unit * 0.9995) {
      const v = n / unit;
      return v.toFixed(v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2).replace(/\.?0+$/, (z) => (z.includes(".") ? "" : z)) + letter;
    }
  }
  return Number.isInteger(n) || n >= 100 ? String(Math.round(n)) : n.toFixed(1);
}

export function bytes(n: number): string {
  if (!Number.isFinite(n)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i && n < 100 ? n.toFixed(1).replace(/\.0$/, "") : Math.round(n)} ${units[i]}`;
}

/* RFC 3339 with up to nanoseconds, or nanoseconds or milliseconds as a number → milliseconds; NaN where it is none. */
export function toMs(value: unknown): number {
  if (typeof value === "number") return value > 1e16 ? value / 1e6 : value > 1e11 ? value : value > 0 ? value * 1000 : NaN;
  if (typeof value !== "string" || !value) return NaN;
  if (/^\d{16,}$/.test(value)) return Number(value) / 1e6;
  return Date.parse(value.replace(/(\.\d{3})\d+/, "$1"));
}

export function age(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`.replace(" 0 min", "");
  const d = Math.floor(s / 86400);
  return d < 10 ? `${d} d ${Math.floor((s % 86400) / 3600)} h`.replace(" 0 h", "") : `${count(d)} d`;
}

/* One unit, for columns. */
export function ageShort(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  const s = Math.max(0, Math.floor(ms / 1000));
  return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 86400 ? `${Math.floor(s / 3600)} h` : `${count(Math.floor(s / 86400))} d`;
}

const pad = (n: number, w = 2) => String(n).padStart(w, "0");

export function clock(ms: number, millis = false): string {
  if (!Number.isFinite(ms)) return "–";
  const d = new Date(ms);
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}${millis ? "." + pad(d.getMilliseconds(), 3) : ""}`;
}

export function date(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  const d = new Date(ms);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${clock(ms)}`;
}

export function percent(part: number, of: number): string {
  if (!of) return "0 %";
  const p = (part / of) * 100;
  return p > 0 && p < 0.1 ? "< 0.1 %" : `${p < 10 ? p.toFixed(1).replace(/\.0$/, "") : Math.round(p)} %`;
}
