/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paints a scene. Two jobs: a part of it, as it stands, into a tile; and on top of everything what is under the pointer or
 * selected, with its neighbours. Colour is never alone: failing lines are dashed and crossed, scans dotted with a fan, new ones
 * carry a plus, gone ones wide dashes; running containers are filled, others hollow.
 */
import { DOT_PX, type Label, LABEL_PX, type Mode, pointAt, type Scene, type SLine, type SUnit, TITLE_PX } from "../../lib/mapscene";
import type { Flag } from "../../lib/graph";

export interface Theme {
  bg: string; surface: string; raised: string; line: string; strong: string; text: string; dim: string; faint: string; accent: string; amber: string; amberText: string; amberBg: string; fresh: string; green: string; onAmber: string; font: string; dark: boolean;
}

export function themeNow(): Theme {
  const s = getComputedStyle(document.documentElement);
  const v = (n: string) => s.getPropertyValue(n).trim();
  return {
    bg: v("--bg"), surface: v("--surface"), raised: v("--raised"), line: v("--line"), strong: v("--line-strong"), text: v("--text"), dim: v("--dim"), faint: v("--faint"), accent: v("--accent"), amber: v("--amber-fill"),
    amberText: v("--amber"), amberBg: v("--amber-bg"), fresh: v("--g-privilege"), green: v("--green"), onAmber: v("--on-amber"), font: v("--font") || "sans-serif", dark: document.documentElement.dataset.theme !== "light",
  };
}

const TAU = Math.PI * 2;
type Ctx = CanvasRenderingContext2D;

interface Pen { color: string; dash: number[]; alpha: number }
function penOf(t: Theme, flag: Flag, mode: Mode): Pen {
  if (mode === "gone") return { color: t.faint, dash: [10, 7], alpha: 0.95 };
  if (mode === "new" || flag === "new") return { color: t.fresh, dash: [], alpha: 0.8 };
  if (mode === "changed") return { color: t.accent, dash: [], alpha: 1 };
  if (flag === "scan") return { color: t.amber, dash: [1.5, 4.5], alpha: 1 };
  if (flag === "fail") return { color: t.amber, dash: [7, 5], alpha: 1 };
  return { color: t.accent, dash: [], alpha: 1 };
}

function trace(c: Ctx, l: SLine): void {
  const p = l.p;
  c.moveTo(p[0], p[1]);
  c.bezierCurveTo(p[2], p[3], p[4], p[5], p[6], p[7]);
}

function arrow(c: Ctx, l: SLine, size: number): void {
  const p = l.p;
  const dx = p[6] - p[4];
  const dy = p[7] - p[5];
  const d = Math.hypot(dx, dy) || 1;
  const ux = dx / d;
  const uy = dy / d;
  c.moveTo(p[6], p[7]);
  c.lineTo(p[6] - ux * size - uy * size * 0.5, p[7] - uy * size + ux * size * 0.5);
  c.lineTo(p[6] - ux * size + uy * size * 0.5, p[7] - uy * size - ux * size * 0.5);
  c.closePath();
}

/* The sign in the middle of a line that is not an ordinary one. */
function sign(c: Ctx, t: Theme, l: SLine, k: number, s: Scene): void {
  const kind = l.mode || l.flag;
  if (!kind || kind === "gone") return;
  const [x, y] = pointAt(l.p, s.signAt.get(l.key) ?? 0.5);
  const r = 6.5 / k;
  const pen = penOf(t, l.flag, l.mode);
  c.setLineDash([]);
  if (kind === "changed") {
    const text = l.ratio >= 1 ? `×${l.ratio >= 10 ? Math.round(l.ratio) : l.ratio.toFixed(1)}` : l.ratio > 0 ? `÷${(1 / l.ratio).toFixed(1)}` : "";
    if (!text) return;
    c.font = `650 ${10.5 / k}px ${t.font}`;
    c.textAlign = "center";
    const w = c.measureText(text).width + 10 / k;
    c.fillStyle = t.bg;
    c.strokeStyle = t.accent;
    c.lineWidth = 1 / k;
    c.beginPath();
    c.roundRect(x - w / 2, y - 8 / k, w, 16 / k, 8 / k);
    c.fill();
    c.stroke();
    c.fillStyle = t.text;
    c.fillText(text, x, y + 3.7 / k);
    c.textAlign = "left";
    return;
  }
  c.beginPath();
  c.arc(x, y, r, 0, TAU);
  c.fillStyle = t.bg;
  c.fill();
  c.lineWidth = 1.4 / k;
  c.strokeStyle = pen.color;
  c.stroke();
  c.beginPath();
  const half = r * 0.48;
  if (kind === "new") {
    c.moveTo(x - half, y);
    c.lineTo(x + half, y);
    c.moveTo(x, y - half);
    c.lineTo(x, y + half);
  } else if (kind === "fail") {
    c.moveTo(x - half, y - half);
    c.lineTo(x + half, y + half);
    c.moveTo(x + half, y - half);
    c.lineTo(x - half, y + half);
  } else
    for (const a of [-0.6, 0, 0.6]) {
      c.moveTo(x - half, y);
      c.lineTo(x - half + Math.cos(a) * half * 2, y + Math.sin(a) * half * 2);
    }
  c.stroke();
}

const lineWidth = (l: SLine, k: number, dense: number) => Math.max(0.8, l.width * Math.min(1.15, Math.max(0.75, k)) * (0.35 + 0.65 * dense)) / k;

/* Equal pens together: one path for up to a few dozen lines, which is much cheaper than one each. */
function strokeLines(c: Ctx, t: Theme, lines: SLine[], k: number, s: Scene): void {
  const plainAlpha = (s.diff ? 0.16 : s.level === "application" ? (t.dark ? 0.5 : 0.4) : t.dark ? 0.62 : 0.55) * (0.25 + 0.75 * s.dense);
  const heads = lines.length < 1200;
  c.lineCap = "round";
  const sets = new Map<string, SLine[]>();
  for (const l of lines) {
    const key = `${l.flag} ${l.mode} ${l.far} ${Math.round(l.width * 2)}`;
    const s = sets.get(key);
    if (s) s.push(l);
    else sets.set(key, [l]);
  }
  for (const list of sets.values()) {
    const l0 = list[0];
    const pen = penOf(t, l0.flag, l0.mode);
    const special = !!l0.flag || !!l0.mode;
    const w = Math.max(lineWidth(l0, k, special && s.signs ? 1 : s.dense), special ? (s.signs ? 1.7 : 1.3) / k : 0);
    c.strokeStyle = pen.color;
    c.fillStyle = pen.color;
    /* where it is dense, what stays within a group comes before what crosses the picture */
    const faint = l0.far ? 0.25 + 0.75 * s.dense : 1;
    c.globalAlpha = special ? pen.alpha : plainAlpha * faint;
    c.lineWidth = w;
    c.setLineDash(pen.dash.map((d) => d / k));
    for (let i = 0; i < list.length; i += 40) {
      c.beginPath();
      for (const l of list.slice(i, i + 40)) trace(c, l);
      c.stroke();
    }
    c.setLineDash([]);
    if (!special && !heads) continue;
    c.globalAlpha = special ? 1 : Math.min(1, plainAlpha * faint * (0.8 + 0.9 * s.dense));
    c.beginPath();
    for (const l of list) if (!l.loop) arrow(c, l, (special && s.signs ? 8 : 3 + 2.5 * s.dense) / k + w * 0.9);
    c.fill();
  }
  c.globalAlpha = 1;
}

function shape(c: Ctx, u: SUnit, r: number): void {
  const { x, y } = u;
  switch (u.kind) {
    case "host":
      c.roundRect(x - r * 0.85, y - r * 0.85, r * 1.7, r * 1.7, r * 0.28);
      break;
    case "name":
    case "network":
      c.moveTo(x, y - r * 1.1);
      c.lineTo(x + r * 1.1, y);
      c.lineTo(x, y + r * 1.1);
      c.lineTo(x - r * 1.1, y);
      c.closePath();
      break;
    case "runtime":
      for (let i = 0; i < 6; i++) c[i ? "lineTo" : "moveTo"](x + r * Math.cos((i * TAU) / 6), y + r * Math.sin((i * TAU) / 6));
      c.closePath();
      break;
    default:
      c.moveTo(x + r, y);
      c.arc(x, y, r, 0, TAU);
  }
}

function paintUnits(c: Ctx, t: Theme, units: SUnit[], k: number): void {
  for (const dim of [true, false]) {
    const list = units.filter((u) => u.dim === dim);
    if (!list.length) continue;
    c.globalAlpha = dim ? 0.25 : 1;
    c.beginPath();
    for (const u of list) shape(c, u, u.r);
    c.fillStyle = t.raised;
    c.fill();
    c.lineWidth = Math.min(1.4, 1.1 / k);
    c.strokeStyle = t.strong;
    c.stroke();
    const flagged = list.filter((u) => u.flag);
    if (flagged.length) {
      c.beginPath();
      for (const u of flagged) shape(c, u, u.r + 1.5 / k);
      c.lineWidth = 1.8 / k;
      c.strokeStyle = t.amber;
      c.stroke();
    }
    /* what is inside: containers as dots, filled when they run; others by one mark */
    const small = 1.6 / k;
    c.beginPath();
    for (const u of list)
      for (const d of u.dots) {
        if (!d.running) continue;
        const r = u.ring.dot;
        if (r < small) c.rect(d.x - r, d.y - r, 2 * r, 2 * r);
        else {
          c.moveTo(d.x + r, d.y);
          c.arc(d.x, d.y, r, 0, TAU);
        }
      }
    c.fillStyle = t.green;
    c.fill();
    c.beginPath();
    for (const u of list)
      for (const d of u.dots) {
        if (d.running) continue;
        const r = u.ring.dot * 0.86;
        c.moveTo(d.x + r, d.y);
        c.arc(d.x, d.y, r, 0, TAU);
      }
    c.lineWidth = Math.min(1.2, 1.3 / k);
    c.strokeStyle = t.faint;
    c.stroke();
    c.beginPath();
    for (const u of list) if (u.kind !== "workload") {
      const r = u.r * 0.36;
      c.moveTo(u.x + r, u.y);
      c.arc(u.x, u.y, r, 0, TAU);
    }
    c.fillStyle = t.dim;
    c.fill();
  }
  c.globalAlpha = 1;
}

/* A number on a sign of its own shape: findings on a shield, flagged connections on a disc. Pixels. */
function badge(c: Ctx, t: Theme, x: number, y: number, n: number, kind: "flag" | "finding"): number {
  const text = n > 99 ? "99+" : String(n);
  c.font = `700 10.5px ${t.font}`;
  const w = Math.max(17, c.measureText(text).width + 10);
  c.beginPath();
  if (kind === "flag") c.roundRect(x, y - 8.5, w, 17, 8.5);
  else c.roundRect(x, y - 8.5, w, 17, 3);
  if (kind === "flag") {
    c.fillStyle = t.amber;
    c.fill();
    c.fillStyle = t.onAmber;
  } else {
    c.fillStyle = t.amberBg;
    c.fill();
    c.lineWidth = 1.2;
    c.strokeStyle = t.amber;
    c.stroke();
    c.fillStyle = t.amberText;
  }
  c.textAlign = "center";
  c.fillText(text, x + w / 2, y + 3.7);
  c.textAlign = "left";
  return w + 4;
}

function drawLabel(c: Ctx, t: Theme, l: Label, x: number, y: number, bright = false): void {
  const title = l.kind === "box";
  c.font = title ? `650 ${TITLE_PX}px ${t.font}` : `${l.kind === "unit" ? LABEL_PX : DOT_PX}px ${t.font}`;
  c.textAlign = l.kind === "unit" ? "center" : "left";
  c.globalAlpha = l.dim && !bright ? 0.35 : 1;
  if (l.kind !== "note") {
    c.lineWidth = 3;
    c.lineJoin = "round";
    c.strokeStyle = title ? t.bg : t.surface;
    c.strokeText(l.text, x, y);
  }
  c.fillStyle = l.flag ? t.amberText : bright || title ? t.text : l.kind === "note" ? t.faint : t.dim;
  c.fillText(l.text, x, y);
  c.globalAlpha = 1;
  c.textAlign = "left";
}

/* The part of the scene that begins at (wx, wy) and is w × h pixels at scale k. */
export function paintPart(c: Ctx, t: Theme, s: Scene, labels: Label[], k: number, dpr: number, wx: number, wy: number, w: number, h: number): void {
  const right = wx + w / k;
  const down = wy + h / k;
  c.setTransform(dpr, 0, 0, dpr, 0, 0);
  c.direction = "ltr";
  c.globalAlpha = 1;
  c.fillStyle = t.bg;
  c.fillRect(0, 0, w, h);
  c.setTransform(dpr * k, 0, 0, dpr * k, -wx * k * dpr, -wy * k * dpr);
  const lines = s.lines.filter((l) => l.right >= wx && l.left <= right && l.down >= wy && l.up <= down);
  const under = lines.filter((l) => !l.top);
  const over = lines.filter((l) => l.top);
  const boxes = s.boxes.filter((b) => b.x + b.w + 2 >= wx && b.x - 2 <= right && b.y + b.h + 2 >= wy && b.y - 2 <= down);
  const units = s.units.filter((u) => u.x + u.r * 1.2 + 2 >= wx && u.x - u.r * 1.2 - 2 <= right && u.y + u.r * 1.2 + 2 >= wy && u.y - u.r * 1.2 - 2 <= down);
  if (s.level === "application") strokeLines(c, t, under, k, s);
  for (const b of boxes) {
    c.globalAlpha = b.dim ? 0.4 : 1;
    c.beginPath();
    c.roundRect(b.x, b.y, b.w, b.h, Math.min(12, 7 / k));
    c.fillStyle = t.surface;
    c.fill();
    c.lineWidth = 1.1 / k;
    c.strokeStyle = t.strong;
    if (b.group.kind !== "application") c.setLineDash([4 / k, 3 / k]);
    c.stroke();
    c.setLineDash([]);
  }
  c.globalAlpha = 1;
  if (s.level !== "application") strokeLines(c, t, under, k, s);
  paintUnits(c, t, units, k);
  strokeLines(c, t, over, k, s);
  /* where hundreds are flagged the signs would hide what they mark; dash and colour still tell */
  if (s.signs) for (const l of lines) if (l.top || l.flag) sign(c, t, l, k, s);
  c.setTransform(dpr, 0, 0, dpr, 0, 0);
  const byId = new Map(boxes.map((b) => [b.id, b]));
  for (const l of labels) {
    const x = (l.x - wx) * k;
    const y = (l.y - wy) * k;
    if (x + l.w + 70 < 0 || x - l.w > w || y < -14 || y > h + 14) continue;
    const inBox = l.kind === "box" && 30 * k >= 20;
    drawLabel(c, t, l, x, inBox ? y + 4.5 : l.kind === "note" ? y + 4.5 : y);
    const b = l.kind === "box" ? byId.get(l.id) ?? s.byBox.get(l.id) : undefined;
    if (!b) continue;
    let at = x + l.w + 7;
    if (b.findings) at += badge(c, t, at, (inBox ? y + 4.5 : y) - 4.5, b.findings, "finding");
    if (b.flagged && !s.diff) badge(c, t, at, (inBox ? y + 4.5 : y) - 4.5, b.flagged, "flag");
  }
}

export interface Focus { ids: Set<string>; lines: SLine[]; selected: string; active: string; phase: number }

/* What is looked at, over the faded rest. The transform is that of the whole canvas. */
export function paintFocus(c: Ctx, t: Theme, s: Scene, labels: Map<string, Label>, k: number, dpr: number, left: number, top: number, f: Focus, fade: number): void {
  c.setTransform(dpr * k, 0, 0, dpr * k, -left * k * dpr, -top * k * dpr);
  c.direction = "ltr";
  c.globalAlpha = fade;
  c.lineCap = "round";
  for (const l of f.lines) {
    const pen = penOf(t, l.flag, l.mode);
    const w = Math.max(lineWidth(l, k, 0.6) * 1.15, 1.6 / k);
    c.strokeStyle = pen.color;
    c.fillStyle = pen.color;
    c.lineWidth = w;
    c.setLineDash(pen.dash.map((d) => d / k));
    c.lineDashOffset = 0;
    c.beginPath();
    trace(c, l);
    c.stroke();
    c.setLineDash([]);
    c.beginPath();
    if (!l.loop) arrow(c, l, 8 / k + w * 0.8);
    c.fill();
  }
  c.globalAlpha = 1;
  if (fade < 1) c.globalAlpha = fade;
  const units = s.units.filter((u) => f.ids.has(u.id) || (s.level === "application" && f.ids.has(u.unit.group)));
  paintUnits(c, t, units.map((u) => (u.dim ? { ...u, dim: false } : u)), k);
  for (const id of f.ids) {
    const b = s.byBox.get(id);
    if (!b) continue;
    c.beginPath();
    c.roundRect(b.x, b.y, b.w, b.h, Math.min(12, 7 / k));
    c.lineWidth = 1.6 / k;
    c.strokeStyle = t.accent;
    c.stroke();
  }
  for (const l of f.lines) sign(c, t, l, k, s);
  ring(c, t, s, f.selected, k, 2.2);
  if (f.active !== f.selected) ring(c, t, s, f.active, k, 1.6);
  c.setTransform(dpr, 0, 0, dpr, 0, 0);
  for (const id of f.ids) {
    const l = labels.get(id);
    if (!l) continue;
    const title = l.kind === "box";
    const inBox = title && 30 * k >= 20;
    drawLabel(c, t, l, (l.x - left) * k, (l.y - top) * k + (inBox ? 4.5 : 0), true);
  }
  c.globalAlpha = 1;
}

function ring(c: Ctx, t: Theme, s: Scene, id: string, k: number, width: number): void {
  if (!id) return;
  c.strokeStyle = t.accent;
  c.lineWidth = width / k;
  c.beginPath();
  const b = s.byBox.get(id);
  const u = s.byUnit.get(id);
  if (b) c.roundRect(b.x - 3 / k, b.y - 3 / k, b.w + 6 / k, b.h + 6 / k, Math.min(14, 9 / k));
  else if (u) c.arc(u.x, u.y, u.r + 4.5 / k, 0, TAU);
  else for (const x of s.units) {
    const d = x.dots.find((y) => y.id === id);
    if (d) {
      c.arc(d.x, d.y, x.ring.dot + 3.5 / k, 0, TAU);
      break;
    }
  }
  c.stroke();
}
