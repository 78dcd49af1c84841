/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is drawn of a model at one level of detail, as shapes in world units; which of the labels have room; what lies under a
 * point; which thing the arrow keys lead to. Pure: the painter only paints what stands here.
 */
import { type Changed, type Diff, type Flag, FLAGS, type GEdge, type Group, groupOf, kindOf, type Level, type Model, type NodeKind, type Pair, pairKey, pairsOf, type Unit, unitOf, widthOf } from "./graph";
import { CELL_H, CELL_W, dotAt, type Layout, Numbers, type Ring, ringOf, MAX_DOTS } from "./maplayout";
import type { Filter } from "./mapquery";
import { visible } from "./text";

/* Scale from which a level is shown; a level that is shown holds on a little, so that no scale flickers between two. */
const FROM: Record<Level, number> = { application: 0, workload: 0.46, container: 1.75 };
const HOLD = 0.92;
export function levelAt(k: number, now?: Level): Level {
  for (const l of ["container", "workload"] as const) if (k >= FROM[l] * (now === l || (now === "container" && l === "workload") ? HOLD : 1)) return l;
  return "application";
}

export type Mode = "" | "new" | "gone" | "changed";
export interface SBox { key: string; id: string; group: Group; x: number; y: number; w: number; h: number; title: string; note: string; flagged: number; findings: number; dim: boolean }
export interface SUnit { id: string; unit: Unit; kind: NodeKind; x: number; y: number; r: number; ring: Ring; flag: Flag; dim: boolean; order: number; dots: { id: string; x: number; y: number; running: boolean; index: number }[] }
export interface SLine {
  key: string; from: string; to: string; pair: Pair; flag: Flag; mode: Mode; ratio: number; width: number; top: boolean; loop: boolean; far: boolean; /* from one group to another */
  p: [number, number, number, number, number, number, number, number]; left: number; right: number; up: number; down: number;
}
export interface Scene {
  level: Level; boxes: SBox[]; units: SUnit[]; lines: SLine[]; byUnit: Map<string, SUnit>; byBox: Map<string, SBox>; touching: Map<string, SLine[]>;
  left: number; right: number; up: number; down: number; shownEdges: number; totalEdges: number; diff: boolean; dense: number; signs: boolean; signAt: Map<string, number>; /* along a line; 0.5 where none stands */
  /* The lines of one thing's ego network; at the level of applications those of a unit are not among `lines`. */
  ego(id: string): SLine[];
}

export interface Ask {
  model: Model; layout: Layout; numbers: Numbers; level: Level; filter: Filter;
  edges: Partial<Record<Level, GEdge[]>>; /* without those that are quiet */
  diff?: Diff | null;
}

const MAX_TOP = 400; /* flagged lines drawn one by one over the bundles of applications */

function curve(ax: number, ay: number, ar: number, bx: number, by: number, br: number): SLine["p"] {
  const dx = bx - ax;
  const dy = by - ay;
  if (Math.abs(dx) < ar + br + 24) {
    /* one above the other: a bow to the right going down, to the left going up */
    const side = dy >= 0 ? 1 : -1;
    const bow = Math.min(90, 34 + Math.abs(dy) * 0.18) * side;
    return [ax + ar * side, ay, ax + ar * side + bow, ay + dy * 0.12, bx + br * side + bow, by - dy * 0.12, bx + br * side, by];
  }
  const s = dx > 0 ? 1 : -1;
  if (Math.abs(dy) < CELL_H * 0.5 && Math.abs(dx) > CELL_W * 1.4) {
    /* along a row, past others: over them on the way there, under them on the way back */
    const bow = Math.min(70, 16 + Math.abs(dx) * 0.11) * -s;
    const up = Math.sign(bow);
    return [ax + ar * 0.6 * s, ay + ar * 0.8 * up, ax + dx * 0.28, ay + bow * 1.3, bx - dx * 0.28, by + bow * 1.3, bx - br * 0.6 * s, by + br * 0.8 * up];
  }
  const x0 = ax + ar * s;
  const x3 = bx - br * s;
  const reach = Math.max(26, Math.abs(x3 - x0) * 0.46);
  return [x0, ay, x0 + reach * s, ay, x3 - reach * s, by, x3, by];
}

function bounds(l: SLine): SLine {
  const p = l.p;
  l.left = Math.min(p[0], p[2], p[4], p[6]) - 4;
  l.right = Math.max(p[0], p[2], p[4], p[6]) + 4;
  l.up = Math.min(p[1], p[3], p[5], p[7]) - 4;
  l.down = Math.max(p[1], p[3], p[5], p[7]) + 4;
  return l;
}

export function buildScene(a: Ask): Scene {
  const { model, layout, level, filter } = a;
  const scene: Scene = {
    level, boxes: [], units: [], lines: [], byUnit: new Map(), byBox: new Map(), touching: new Map(), left: 0, right: 0, up: 0, down: 0, shownEdges: 0, totalEdges: 0,
    diff: !!a.diff, dense: 1, signs: true, signAt: new Map(), ego: () => [],
  };
  const own = level === "application" ? a.edges.workload ?? a.edges.application ?? [] : a.edges[level] ?? a.edges.workload ?? [];
  const passing = filter.empty ? own : own.filter((e) => filter.edge(e));
  scene.totalEdges = own.length;
  scene.shownEdges = passing.length;

  /* --- diff: what is new, gone or grown, by pair --- */
  const modes = new Map<string, { mode: Mode; ratio: number }>();
  const goneEdges: GEdge[] = [];
  if (a.diff) {
    const note = (e: GEdge, mode: Mode, ratio: number) => modes.set(pairKey(e.from, e.to), { mode, ratio });
    for (const c of a.diff.changed as Changed[]) if (filter.empty || filter.edge(c.edge)) note(c.edge, "changed", c.bytesRatio || c.connectionsRatio);
    for (const e of a.diff.gone) if (filter.empty || filter.edge(e)) {
      if (!modes.has(pairKey(e.from, e.to))) note(e, "gone", 0);
      goneEdges.push(e);
    }
    for (const e of a.diff.fresh) if (filter.empty || filter.edge(e)) note(e, "new", 0);
  }

  /* --- units --- */
  const touched = new Set<string>();
  const flagOfUnit = new Map<string, Flag>();
  const heavier = (x: Flag | undefined, y: Flag): Flag => (!x ? y : !y ? x : FLAGS.indexOf(y) < FLAGS.indexOf(x) ? y : x);
  const pairs = pairsOf(passing);
  for (const p of pairs.values()) {
    const f = unitOf(model, p.from)?.id ?? p.from;
    const t = unitOf(model, p.to)?.id ?? p.to;
    touched.add(f).add(t);
    if (p.flag && p.flag !== "new") flagOfUnit.set(f, heavier(flagOfUnit.get(f), p.flag));
  }
  for (const e of goneEdges) touched.add(unitOf(model, e.from)?.id ?? e.from).add(unitOf(model, e.to)?.id ?? e.to);
  for (const u of model.units.values()) {
    const at = layout.at(u.id);
    if (!at) continue;
    const ring = ringOf(u.kind === "workload" ? Math.max(1, u.count) : 1);
    const s: SUnit = { id: u.id, unit: u, kind: u.kind, x: at.x, y: at.y, r: ring.r, ring, flag: flagOfUnit.get(u.id) ?? "", dim: !filter.empty && !touched.has(u.id) && !filter.unit(u), order: 0, dots: [] };
    if (u.kind === "workload") {
      const ids = u.conts.map((c) => c.id);
      const numbers = a.numbers.assign(u.id, u.conts.length > 1 ? u.conts.slice().sort((x, y) => (x.name < y.name ? -1 : x.name > y.name ? 1 : x.id < y.id ? -1 : 1)).map((c) => c.id) : ids);
      for (const c of u.conts) {
        const i = numbers.get(c.id)!;
        if (i >= MAX_DOTS) continue;
        const d = dotAt(i, ring);
        s.dots.push({ id: c.id, x: at.x + d.x, y: at.y + d.y, running: c.running, index: i });
      }
      for (let i = s.dots.length; i < Math.min(MAX_DOTS, u.count); i++) {
        const d = dotAt(i, ring);
        s.dots.push({ id: "", x: at.x + d.x, y: at.y + d.y, running: i < u.running, index: i });
      }
    }
    scene.units.push(s);
    scene.byUnit.set(u.id, s);
  }
  scene.units.sort((x, y) => y.unit.count - x.unit.count || (x.id < y.id ? -1 : 1));
  scene.units.forEach((u, i) => (u.order = i));

  /* --- boxes --- */
  const groupTouched = new Set<string>();
  for (const u of scene.units) if (!u.dim) groupTouched.add(u.unit.group);
  for (const g of model.groups.values())
    for (const b of layout.boxesOf(g.id)) {
      const n = g.units.length;
      const box: SBox = {
        key: b.key, id: g.id, group: g, x: b.x, y: b.y, w: b.w, h: b.h, title: visible(g.name, 32) + (b.annex ? " (continued)" : ""), dim: !filter.empty && !groupTouched.has(g.id), flagged: 0, findings: g.findings,
        note: g.kind === "application" ? `${n} ${n === 1 ? "workload" : "workloads"}` : g.kind === "hosts" ? `${n} ${n === 1 ? "machine" : "machines"}` : g.kind === "in" ? "come in" : g.kind === "out" ? "asked from here" : "",
      };
      scene.boxes.push(box);
      if (!scene.byBox.has(g.id)) scene.byBox.set(g.id, box);
    }

  /* --- lines --- */
  const place = (id: string): { x: number; y: number; r: number } | undefined => {
    if (level === "container") {
      const c = model.conts.get(id);
      const u = c && scene.byUnit.get(c.unit);
      const d = u?.dots.find((x) => x.id === id);
      if (u && d) return { x: d.x, y: d.y, r: u.ring.dot };
    }
    const u = scene.byUnit.get(unitOf(model, id)?.id ?? id);
    return u && { x: u.x, y: u.y, r: u.r };
  };
  const keep = (l: SLine) => {
    scene.lines.push(bounds(l));
    for (const id of new Set([l.from, l.to, unitOf(model, l.from)?.id ?? l.from, unitOf(model, l.to)?.id ?? l.to, groupOf(model, l.from)?.id ?? "", groupOf(model, l.to)?.id ?? ""])) {
      const of = scene.touching.get(id);
      if (of) of.push(l);
      else scene.touching.set(id, [l]);
    }
  };
  const line = (p: Pair, mode: Mode, ratio: number, top: boolean): SLine | undefined => {
    const from = place(p.from);
    const to = place(p.to);
    if (!from || !to) return undefined;
    const loop = from.x === to.x && from.y === to.y;
    const flag: Flag = a.diff ? "" : p.flag;
    const l: SLine = {
      key: p.key, from: p.from, to: p.to, pair: p, flag, mode, ratio, width: widthOf(p.bytes), top: top || (!!flag && flag !== "new") || !!mode, loop, far: groupOf(model, p.from) !== groupOf(model, p.to),
      p: loop ? [from.x - from.r * 0.7, from.y - from.r * 0.7, from.x - from.r * 1.6, from.y - from.r * 2.6, from.x + from.r * 1.6, from.y - from.r * 2.6, from.x + from.r * 0.7, from.y - from.r * 0.7] : curve(from.x, from.y, from.r, to.x, to.y, to.r),
      left: 0, right: 0, up: 0, down: 0,
    };
    return l;
  };
  const goneOnly = pairsOf(goneEdges.filter((e) => !pairs.has(pairKey(e.from, e.to))));

  if (level === "application") {
    const bundles = pairsOf(passing, (id) => groupOf(model, id)?.id ?? id);
    const ends = new Map<string, { line: SLine; end: 0 | 6; other: number }[]>();
    const lines: SLine[] = [];
    for (const p of bundles.values()) {
      const from = scene.byBox.get(p.from);
      const to = scene.byBox.get(p.to);
      if (!from || !to || from === to) continue;
      const l: SLine = { key: p.key, from: p.from, to: p.to, pair: p, flag: p.flag === "new" && !a.diff ? "new" : "", mode: "", ratio: 0, width: widthOf(p.bytes), top: false, loop: false, far: false, p: [0, 0, 0, 0, 0, 0, 0, 0], left: 0, right: 0, up: 0, down: 0 };
      const forward = to.x + to.w / 2 >= from.x + from.w / 2;
      const over = Math.abs(to.x + to.w / 2 - from.x - from.w / 2) < (from.w + to.w) / 2;
      const outSide = over ? "r" : forward ? "r" : "l";
      const inSide = over ? "r" : forward ? "l" : "r";
      for (const [box, side, end, other] of [[from, outSide, 0, to], [to, inSide, 6, from]] as const) {
        const k = `${box.key} ${side}`;
        const list = ends.get(k) ?? [];
        list.push({ line: l, end, other: other.y + other.h / 2 });
        ends.set(k, list);
      }
      lines.push(l);
    }
    /* Ends are spread along the side that they share, in the order of where they lead, so that they do not cross at the box. */
    for (const [k, list] of ends) {
      const cut = k.lastIndexOf(" ");
      const box = scene.boxes.find((b) => b.key === k.slice(0, cut))!;
      const right = k.slice(cut + 1) === "r";
      list.sort((x, y) => x.other - y.other || (x.line.key < y.line.key ? -1 : 1));
      const step = Math.min(16, (box.h * 0.66) / list.length);
      list.forEach((e, i) => {
        e.line.p[e.end] = right ? box.x + box.w : box.x;
        e.line.p[e.end + 1] = box.y + box.h / 2 + (i - (list.length - 1) / 2) * step;
      });
    }
    for (const l of lines) {
      const p = l.p;
      const from = scene.byBox.get(l.from)!;
      const to = scene.byBox.get(l.to)!;
      const so = p[0] > from.x + 1 ? 1 : -1;
      const si = p[6] > to.x + 1 ? 1 : -1;
      const reach = so === si ? 70 + Math.abs(p[7] - p[1]) * 0.12 : Math.max(46, Math.abs(p[6] - p[0]) * 0.5);
      p[2] = p[0] + reach * so;
      p[3] = p[1];
      p[4] = p[6] + reach * si;
      p[5] = p[7];
      keep(l);
    }
    let tops = 0;
    for (const p of pairs.values()) {
      const change = modes.get(p.key);
      const flagged = !a.diff && p.flag && p.flag !== "new";
      if ((!flagged && !change) || tops >= MAX_TOP) continue;
      const l = line(p, change?.mode ?? "", change?.ratio ?? 0, true);
      if (l && !l.loop) {
        keep(l);
        tops++;
      }
    }
    for (const p of goneOnly.values()) {
      const l = tops++ < MAX_TOP ? line(p, "gone", 0, true) : undefined;
      if (l) keep(l);
    }
  } else {
    for (const p of pairs.values()) {
      const change = modes.get(p.key);
      const l = line(p, change?.mode ?? "", change?.ratio ?? 0, false);
      if (l) keep(l);
    }
    for (const p of goneOnly.values()) {
      const l = line(p, "gone", 0, true);
      if (l) keep(l);
    }
  }
  /* A box tells how many flagged pairs begin in it. */
  for (const p of pairs.values())
    if (p.flag && p.flag !== "new") {
      const b = scene.byBox.get(groupOf(model, p.from)?.id ?? "");
      if (b) b.flagged++;
    }
  const weight = (l: SLine) => (l.mode ? 4 : 0) + (l.flag === "scan" ? 3 : l.flag === "fail" ? 2 : l.flag === "new" ? 1 : 0);
  scene.lines.sort((x, y) => Number(x.top) - Number(y.top) || weight(x) - weight(y) || x.width - y.width || (x.key < y.key ? -1 : 1));

  /* Many lines are drawn finer and fainter, or they would be all that is seen. */
  scene.dense = Math.min(1, Math.max(0.3, Math.sqrt(350 / Math.max(1, scene.lines.length))));
  scene.signs = scene.lines.reduce((n, l) => n + (l.flag || l.mode ? 1 : 0), 0) <= (level === "application" ? 36 : 160);
  let byUnit: Map<string, Pair[]> | null = null;
  scene.ego = (id) => {
    const have = scene.touching.get(id) ?? [];
    if (level !== "application" || !scene.byUnit.has(id)) return have;
    if (!byUnit) {
      byUnit = new Map();
      for (const p of pairs.values())
        for (const end of new Set([p.from, p.to])) {
          const l = byUnit.get(end);
          if (l) l.push(p);
          else byUnit.set(end, [p]);
        }
    }
    return (byUnit.get(id) ?? []).slice(0, MAX_TOP).map((p) => line(p, modes.get(p.key)?.mode ?? "", modes.get(p.key)?.ratio ?? 0, true)).filter((l): l is SLine => !!l).map(bounds);
  };
  scene.left = Math.min(...scene.boxes.map((b) => b.x), Infinity);
  scene.right = Math.max(...scene.boxes.map((b) => b.x + b.w), -Infinity);
  scene.up = Math.min(...scene.boxes.map((b) => b.y), Infinity);
  scene.down = Math.max(...scene.boxes.map((b) => b.y + b.h), -Infinity);
  if (!scene.boxes.length) scene.left = scene.up = scene.right = scene.down = 0;
  return scene;
}

/* --- Labels --------------------------------------------------------------------------------------------------------- */

export interface Label { id: string; text: string; x: number; y: number; w: number; kind: "unit" | "dot" | "box" | "note"; flag: Flag; dim: boolean }

/* Which of many rectangles, given by weight, fit without lying on each other; a grid of cells makes that cheap. */
export class Occupancy {
  #cells = new Map<number, [number, number, number, number][]>();
  constructor(private readonly size = 64) {}
  take(x: number, y: number, w: number, h: number, force = false): boolean {
    const x0 = Math.floor(x / this.size);
    const x1 = Math.floor((x + w) / this.size);
    const y0 = Math.floor(y / this.size);
    const y1 = Math.floor((y + h) / this.size);
    if (!force)
      for (let i = x0; i <= x1; i++) for (let j = y0; j <= y1; j++)
        for (const r of this.#cells.get(i * 65_536 + j) ?? []) if (x < r[0] + r[2] && x + w > r[0] && y < r[1] + r[3] && y + h > r[1]) return false;
    const rect: [number, number, number, number] = [x, y, w, h];
    for (let i = x0; i <= x1; i++) for (let j = y0; j <= y1; j++) {
      const key = i * 65_536 + j;
      const list = this.#cells.get(key);
      if (list) list.push(rect);
      else this.#cells.set(key, [rect]);
    }
    return true;
  }
}

export const TITLE_PX = 12.5;
export const LABEL_PX = 11.5;
export const DOT_PX = 10.5;

/* `measure(text, px)` gives a width in pixels. Positions are world units, widths pixels: labels keep their size at every scale. */
export function placeLabels(s: Scene, k: number, measure: (text: string, px: number) => number): Label[] {
  const out: Label[] = [];
  const room = new Occupancy();
  for (const b of s.boxes) {
    const inside = 30 * k >= 20;
    const most = Math.max(56, (b.w + 110) * k - 24);
    const text = fit(b.title, TITLE_PX, most, measure);
    const w = measure(text, TITLE_PX);
    const x = b.x + (inside ? 13 / k : 2 / k);
    const y = inside ? b.y + 15 : b.y - 5 / k;
    room.take(x * k, y * k - 14, w + 20, 18, true);
    out.push({ id: b.id, text, x, y, w, kind: "box", flag: "", dim: b.dim });
    const note = measure(b.note, DOT_PX);
    const badges = (b.flagged ? 26 : 0) + (b.findings ? 26 : 0);
    if (inside && b.note && w + note + badges + 40 < b.w * k) out.push({ id: b.id, text: b.note, x: x + (w + 9 + badges) / k, y, w: note, kind: "note", flag: "", dim: b.dim });
  }
  if (k >= 0.42) {
    for (const u of s.units) room.take((u.x - u.r) * k, (u.y - u.r) * k, 2 * u.r * k, 2 * u.r * k, true);
    const order = s.units.slice().sort((a, b) => Number(!!b.flag) - Number(!!a.flag) || a.order - b.order);
    for (const u of order) {
      /* whole where there is room, else shortened */
      const name = visible(u.kind === "network" ? u.unit.name.replace(/^internet (?=[0-9a-f:.]+\/)/, "") : u.unit.name, 48);
      const y = u.y + u.r + 13 / k;
      for (const most of [150, Math.max(56, CELL_W * k - 6)]) {
        const text = fit(name, LABEL_PX, most, measure);
        const w = measure(text, LABEL_PX);
        if (!room.take(u.x * k - w / 2 - 3, y * k - 10, w + 6, 13, most < 150 && u.flag !== "")) continue;
        out.push({ id: u.id, text, x: u.x, y, w, kind: "unit", flag: u.flag, dim: u.dim });
        break;
      }
    }
  }
  /* The signs of lines: in the middle, else beside what stands there. */
  s.signAt.clear();
  if (s.signs)
    for (const l of s.lines) {
      if (!l.flag && !l.mode) continue;
      for (const t of [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74]) {
        const [x, y] = pointAt(l.p, t);
        if (!room.take(x * k - 9, y * k - 9, 18, 18)) continue;
        s.signAt.set(l.key, t);
        break;
      }
    }
  if (s.level === "container" && k >= 1.7) {
    const among = new Occupancy();
    for (const u of s.units) for (const d of u.dots) among.take(d.x * k - u.ring.dot * k, d.y * k - u.ring.dot * k, 2 * u.ring.dot * k, 2 * u.ring.dot * k, true);
    for (const u of s.units) {
      if (u.dots.length < 2) continue;
      for (const d of u.dots) {
        const c = u.unit.conts.find((x) => x.id === d.id);
        if (!c) continue;
        const name = visible(c.name, 48);
        const cut = u.unit.name ? name.lastIndexOf(u.unit.name) : -1;
        const short = cut >= 0 && cut + u.unit.name.length < name.length ? "…" + name.slice(cut + u.unit.name.length) : name;
        const text = fit(short, DOT_PX, 96, measure);
        const w = measure(text, DOT_PX);
        if (among.take((d.x + u.ring.dot) * k + 3, d.y * k - 6, w + 2, 12)) out.push({ id: d.id, text, x: d.x + u.ring.dot + 4 / k, y: d.y + 3.5 / k, w, kind: "dot", flag: "", dim: u.dim });
      }
    }
  }
  return out;
}

/* Cut in the middle, where container names differ least. */
export function fit(text: string, px: number, most: number, measure: (text: string, px: number) => number): string {
  const w = measure(text, px);
  if (w <= most) return text;
  const chars = [...text];
  const keep = Math.max(3, Math.floor((chars.length * most) / w) - 1);
  const tail = Math.min(4, Math.floor(keep / 3));
  return chars.slice(0, keep - tail).join("") + "…" + (tail ? chars.slice(-tail).join("") : "");
}

/* --- Under the pointer, and by the arrow keys --------------------------------------------------------------------------- */

export type Hit = { kind: "box" | "unit" | "dot"; id: string } | { kind: "line"; id: string; line: SLine } | null;

export function pointAt(p: SLine["p"], t: number): [number, number] {
  const m = 1 - t;
  return [m * m * m * p[0] + 3 * m * m * t * p[2] + 3 * m * t * t * p[4] + t * t * t * p[6], m * m * m * p[1] + 3 * m * m * t * p[3] + 3 * m * t * t * p[5] + t * t * t * p[7]];
}

/* Squared distance of a point to a curve, by sixteen pieces. */
export function toCurve(p: SLine["p"], x: number, y: number): number {
  let best = Infinity;
  let px = p[0];
  let py = p[1];
  for (let i = 1; i <= 16; i++) {
    const t = i / 16;
    const [qx, qy] = pointAt(p, t);
    const dx = qx - px;
    const dy = qy - py;
    const l = dx * dx + dy * dy;
    const f = l ? Math.max(0, Math.min(1, ((x - px) * dx + (y - py) * dy) / l)) : 0;
    const ex = px + f * dx - x;
    const ey = py + f * dy - y;
    best = Math.min(best, ex * ex + ey * ey);
    px = qx;
    py = qy;
  }
  return best;
}

export function hitTest(s: Scene, x: number, y: number, k: number): Hit {
  const slack = 5 / k;
  for (const u of s.units) {
    if (Math.abs(u.x - x) > u.r + slack || Math.abs(u.y - y) > u.r + slack) continue;
    if (Math.hypot(u.x - x, u.y - y) > u.r + slack * 0.5) continue;
    if (s.level === "container" && u.dots.length > 1) {
      let best: Hit = null;
      let d2 = Math.max(u.ring.dot, 6 / k) ** 2;
      for (const d of u.dots) {
        const e = (d.x - x) ** 2 + (d.y - y) ** 2;
        if (d.id && e <= d2) {
          d2 = e;
          best = { kind: "dot", id: d.id };
        }
      }
      if (best) return best;
    }
    return { kind: "unit", id: u.id };
  }
  const box = s.boxes.find((b) => x >= b.x && x <= b.x + b.w && y >= b.y - 14 / k && y <= b.y + b.h);
  let line: SLine | null = null;
  let d2 = slack * slack;
  for (let i = s.lines.length - 1; i >= 0; i--) {
    const l = s.lines[i];
    if (x < l.left - slack || x > l.right + slack || y < l.up - slack || y > l.down + slack) continue;
    if (s.level === "application" && box && !l.top) continue; /* those lie under the boxes */
    const d = toCurve(l.p, x, y);
    if (d < d2) {
      d2 = d;
      line = l;
    }
  }
  if (line) return { kind: "line", id: line.key, line };
  return box ? { kind: "box", id: box.id } : null;
}

const WAYS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/* The next thing in a direction: near, and rather ahead than aside. Boxes at the level of applications, else units, and containers of the same circle first. */
export function nextIn(s: Scene, from: string, key: string): string {
  const way = WAYS[key];
  if (!way) return "";
  const things = s.level === "application" ? [...s.byBox.values()].map((b) => ({ id: b.id, x: b.x + b.w / 2, y: b.y + b.h / 2 })) : s.units.filter((u) => !u.dim).map((u) => ({ id: u.id, x: u.x, y: u.y }));
  if (!things.length) return "";
  const at = positionOf(s, from);
  if (!at) return things.reduce((a, b) => (b.x + b.y < a.x + a.y ? b : a)).id;
  let best = "";
  let least = Infinity;
  for (const t of things) {
    if (t.id === from) continue;
    const ahead = (t.x - at.x) * way[0] + (t.y - at.y) * way[1];
    const aside = Math.abs((t.x - at.x) * way[1]) + Math.abs((t.y - at.y) * way[0]);
    if (ahead <= 1) continue;
    const cost = ahead + aside * 2.2;
    if (cost < least || (cost === least && t.id < best)) {
      least = cost;
      best = t.id;
    }
  }
  return best;
}

export function positionOf(s: Scene, id: string): { x: number; y: number; r: number } | undefined {
  const b = s.byBox.get(id);
  if (b) return { x: b.x + b.w / 2, y: b.y + b.h / 2, r: Math.max(b.w, b.h) / 2 };
  const u = s.byUnit.get(id);
  if (u) return { x: u.x, y: u.y, r: u.r };
  if (kindOf(id) === "container")
    for (const x of s.units) for (const d of x.dots) if (d.id === id) return { x: d.x, y: d.y, r: x.ring.dot };
  return undefined;
}
