/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where everything stands. The first arrangement puts groups into columns by tier, left to right, and units into the cells of
 * their group; it depends on the data alone. From then on places are only added, never changed: a new unit takes a free cell of
 * its box, else the box grows into free space, else an annex is opened; a new group goes below the last of its column. So nothing
 * that a person has learned to find moves, until arrange() is asked for. Places of what has gone are kept for when it comes back,
 * up to MAX_KEPT. Pure; lengths are world units, which are pixels at a scale of one.
 */
import { type Group, groupOf, type Model, type Unit } from "./graph";

export const CELL_W = 84;
export const CELL_H = 78;
export const PAD = 14;
export const HEAD = 30;
const GAP_X = 132;
const GAP_Y = 62;
const CLEAR = 26; /* left between a grown box and its neighbours */
export const MAX_KEPT = 20_000;

export interface Box { key: string; group: string; x: number; y: number; w: number; h: number; cols: number; rows: number; annex: boolean; later: boolean }
export interface Place { box: string; col: number; row: number }
export interface Column { tier: number; x: number; w: number; bottom: number }
export interface Saved { v: 1; boxes: [string, string, number, number, number, number, number][]; places: [string, string, number, number][]; columns: [number, number, number, number][] }

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
const boxW = (cols: number) => cols * CELL_W + 2 * PAD;
const boxH = (rows: number) => rows * CELL_H + HEAD + PAD;

/* Cells of a first arrangement: tiers from left to right, each in as many columns as keep the box near to a square. */
export function cellsOf(units: Unit[], tiered = true): { cols: number; rows: number; at: Map<string, [number, number]> } {
  const sorted = units.slice().sort((a, b) => a.tier - b.tier || b.count - a.count || compare(a.name, b.name) || compare(a.id, b.id));
  const at = new Map<string, [number, number]>();
  const n = sorted.length;
  const rows = n <= 3 ? Math.max(1, Math.min(n, tiered ? 2 : 3)) : Math.max(2, Math.ceil(Math.sqrt(n * 0.9)));
  const tiers = new Map<number, Unit[]>();
  for (const u of sorted) {
    const list = tiers.get(tiered ? u.tier : 0);
    if (list) list.push(u);
    else tiers.set(tiered ? u.tier : 0, [u]);
  }
  let col = 0;
  let tall = 1;
  if (n > 18 || tiers.size > 6) {
    sorted.forEach((u, i) => at.set(u.id, [Math.floor(i / rows), i % rows]));
    return { cols: Math.max(1, Math.ceil(n / rows)), rows: Math.min(rows, n || 1), at };
  }
  for (const list of tiers.values()) tall = Math.max(tall, Math.ceil(list.length / Math.ceil(list.length / rows)));
  if (tiers.size > 2) tall = Math.max(tall, 2);
  for (const list of tiers.values()) {
    const cols = Math.ceil(list.length / rows);
    const high = Math.ceil(list.length / cols);
    for (let c = 0; c < cols; c++) {
      const of = list.slice(c * high, (c + 1) * high);
      /* turn about at the top and at the bottom, so that a line that passes a column does not run through its nodes */
      const down = (col + c) % 2 ? tall - of.length : 0;
      of.forEach((u, i) => at.set(u.id, [col + c, down + i]));
    }
    col += cols;
  }
  return { cols: Math.max(1, col), rows: tall, at };
}

/*
 * Tiers in columns: a tall tier takes several, and neighbouring short tiers may share one where the picture would else be a thin
 * strip. Of a dozen heights the one that lets the whole be drawn largest is taken; sharing must be well worth it. What is outside
 * shares with nobody.
 */
function columnsFor(tiers: Group[][], size: (g: Group) => { w: number; h: number }, aspect: number): Group[][] {
  const high = (c: Group[]) => c.reduce((n, g) => n + size(g).h + GAP_Y, 0) - GAP_Y;
  const tallest = Math.max(...tiers.flat().map((g) => size(g).h));
  const all = high(tiers.flat());
  let best: Group[][] = [];
  let most = -1;
  for (const share of [false, true])
    for (let step = 0; step <= 12; step++) {
      const limit = tallest * (Math.max(all, tallest + 1) / tallest) ** (step / 12) + 1;
      const columns: Group[][] = [];
      for (const list of tiers) {
        const last = columns[columns.length - 1];
        const outer = (g: Group) => g.kind !== "application";
        if (share && last && !last.some(outer) && !list.some(outer) && high([...last, ...list]) <= limit) {
          last.push(...list);
          continue;
        }
        const total = high(list);
        const parts = Math.max(1, Math.ceil(total / limit));
        let c: Group[] = [];
        columns.push(c);
        for (const g of list) {
          if (c.length && high([...c, g]) - size(g).h / 2 > total / parts && parts > 1) columns.push((c = []));
          c.push(g);
        }
      }
      const w = columns.reduce((n, c) => n + Math.max(...c.map((g) => size(g).w)) + GAP_X, 0) - GAP_X;
      const h = Math.max(...columns.map(high));
      const worth = Math.min(aspect / w, 1 / h) * (share ? 0.78 : 1);
      if (worth > most * 1.0001) {
        most = worth;
        best = columns;
      }
    }
  return best;
}

export class Layout {
  boxes = new Map<string, Box>();
  places = new Map<string, Place>();
  columns: Column[] = [];
  version = 0;
  #taken = new Set<string>();
  #ofGroup = new Map<string, Box[]>();

  get empty(): boolean {
    return !this.boxes.size;
  }
  boxesOf(group: string): Box[] {
    return this.#ofGroup.get(group) ?? [];
  }
  groupOfUnit(unit: string): string | undefined {
    const p = this.places.get(unit);
    return p && this.boxes.get(p.box)?.group;
  }
  /* Centre of a unit's cell. */
  at(unit: string): { x: number; y: number } | undefined {
    const p = this.places.get(unit);
    const b = p && this.boxes.get(p.box);
    return b && { x: b.x + PAD + (p.col + 0.5) * CELL_W, y: b.y + HEAD + p.row * CELL_H + CELL_H * 0.42 };
  }

  #addBox(b: Box): void {
    this.boxes.set(b.key, b);
    const list = this.#ofGroup.get(b.group);
    if (list) list.push(b);
    else this.#ofGroup.set(b.group, [b]);
    this.version++;
  }
  #put(unit: string, box: Box, col: number, row: number): void {
    this.places.set(unit, { box: box.key, col, row });
    this.#taken.add(`${box.key} ${col} ${row}`);
    this.version++;
  }
  #free(box: Box, tier: number): [number, number] | undefined {
    /* the column that the tier suggests first, then its neighbours */
    const want = Math.max(0, Math.min(box.cols - 1, tier));
    for (let d = 0; d < box.cols; d++)
      for (const col of d ? [want + d, want - d] : [want])
        if (col >= 0 && col < box.cols) for (let row = 0; row < box.rows; row++) if (!this.#taken.has(`${box.key} ${col} ${row}`)) return [col, row];
    return undefined;
  }
  #clear(box: Box, w: number, h: number): boolean {
    for (const o of this.boxes.values())
      if (o !== box && o.x < box.x + w + CLEAR && o.x + o.w + CLEAR > box.x && o.y < box.y + h + CLEAR && o.y + o.h + CLEAR > box.y) return false;
    return true;
  }
  #grow(box: Box): boolean {
    const right = { cols: box.cols + 1, rows: box.rows };
    const down = { cols: box.cols, rows: box.rows + 1 };
    for (const to of box.cols <= box.rows ? [right, down] : [down, right]) {
      if (!this.#clear(box, boxW(to.cols), boxH(to.rows))) continue;
      box.cols = to.cols;
      box.rows = to.rows;
      box.w = boxW(to.cols);
      box.h = boxH(to.rows);
      this.version++;
      return true;
    }
    return false;
  }

  /* Everything anew, for a picture of that width to height. Equal data gives an equal result. */
  arrange(m: Model, edges: Iterable<{ from: string; to: string; bytesOut: number; bytesIn: number }>, aspect = 1.65): void {
    this.boxes.clear();
    this.places.clear();
    this.#taken.clear();
    this.#ofGroup.clear();
    this.columns = [];
    this.version++;
    const groups = [...m.groups.values()].sort((a, b) => compare(a.id, b.id));
    if (!groups.length) return;

    /* How heavily groups talk to each other: neighbours are drawn near. */
    const near = new Map<string, Map<string, number>>();
    for (const e of edges) {
      const a = groupOf(m, e.from)?.id;
      const b = groupOf(m, e.to)?.id;
      if (!a || !b || a === b) continue;
      const w = 1 + Math.log10(1 + e.bytesOut + e.bytesIn);
      for (const [x, y] of [[a, b], [b, a]]) {
        const of = near.get(x) ?? new Map<string, number>();
        of.set(y, (of.get(y) ?? 0) + w);
        near.set(x, of);
      }
    }
    const cells = new Map(groups.map((g) => [g.id, cellsOf(g.units, g.kind === "application")]));
    const size = (g: Group) => ({ w: boxW(cells.get(g.id)!.cols), h: boxH(cells.get(g.id)!.rows) });
    const top = Math.max(0, ...groups.filter((g) => g.kind === "application").map((g) => g.tier));
    const tierOf = (g: Group) => (g.kind === "in" || g.kind === "hosts" ? -1 : g.kind === "out" ? top + 1 : g.kind === "runtime" ? top + 2 : near.has(g.id) ? g.tier : top + 3);
    const tiers = new Map<number, Group[]>();
    for (const g of groups) tiers.set(tierOf(g), [...(tiers.get(tierOf(g)) ?? []), g]);
    const order = [...tiers.keys()].sort((a, b) => a - b);

    /* Sweeps to and fro: each group goes to the weighted mean height of its neighbours. */
    const high = new Map<string, number>();
    for (const t of order) tiers.get(t)!.forEach((g, i, l) => high.set(g.id, (i + 0.5) / l.length));
    for (let sweep = 0; sweep < 8; sweep++)
      for (const t of sweep % 2 ? order.slice().reverse() : order) {
        const list = tiers.get(t)!;
        const mean = new Map(list.map((g) => {
          let sum = 0;
          let of = 0;
          for (const [other, w] of near.get(g.id) ?? []) {
            sum += (high.get(other) ?? 0.5) * w;
            of += w;
          }
          return [g.id, of ? sum / of : high.get(g.id)!];
        }));
        list.sort((a, b) => mean.get(a.id)! - mean.get(b.id)! || compare(a.id, b.id));
        list.forEach((g, i) => high.set(g.id, (i + 0.5) / list.length));
      }

    const best = columnsFor(order.map((t) => tiers.get(t)!), size, aspect);
    let x = 0;
    for (const c of best) {
      const w = Math.max(...c.map((g) => size(g).w));
      let y = -(c.reduce((n, g) => n + size(g).h + GAP_Y, 0) - GAP_Y) / 2;
      for (const g of c) {
        const s = size(g);
        const k = cells.get(g.id)!;
        const box: Box = { key: g.id, group: g.id, x: Math.round(x + (w - s.w) / 2), y: Math.round(y), w: s.w, h: s.h, cols: k.cols, rows: k.rows, annex: false, later: false };
        this.#addBox(box);
        for (const [id, [col, row]] of k.at) this.#put(id, box, col, row);
        y += s.h + GAP_Y;
      }
      this.columns.push({ tier: tierOf(c[0]), x, w, bottom: y });
      x += w + GAP_X;
    }
  }

  /* Places for what has none yet; TRUE when there was something. */
  extend(m: Model): boolean {
    const before = this.version;
    const fresh: Group[] = [];
    for (const g of [...m.groups.values()].sort((a, b) => compare(a.id, b.id))) if (!this.boxesOf(g.id).length) fresh.push(g);
    for (const g of fresh) {
      const k = cellsOf(g.units.filter((u) => !this.places.has(u.id)));
      const box = this.#below(g.id, g.id, g.kind === "in" || g.kind === "hosts" ? -1 : g.kind === "application" ? g.tier : 1e6, k.cols, k.rows, false);
      for (const [id, [col, row]] of k.at) this.#put(id, box, col, row);
    }
    for (const g of m.groups.values()) {
      const homeless = g.units.filter((u) => !this.places.has(u.id));
      if (!homeless.length) continue;
      homeless.sort((a, b) => a.tier - b.tier || compare(a.name, b.name) || compare(a.id, b.id));
      for (const u of homeless) this.#house(u, g);
    }
    if (this.version !== before) this.#forget(m);
    return this.version !== before;
  }

  #house(u: Unit, g: Group): void {
    const low = Math.min(...g.units.map((x) => x.tier));
    for (const box of this.boxesOf(g.id)) {
      const cell = this.#free(box, u.tier - low);
      if (cell) return this.#put(u.id, box, ...cell);
    }
    for (const box of this.boxesOf(g.id))
      if (this.#grow(box)) return this.#put(u.id, box, ...this.#free(box, u.tier - low)!);
    const last = this.boxesOf(g.id)[0];
    const annex = this.#below(`${g.id}#${this.boxesOf(g.id).length + 1}`, g.id, this.#columnOf(last).tier, 3, 2, true);
    this.#put(u.id, annex, ...this.#free(annex, 0)!);
  }

  #columnOf(b: Box): Column {
    let best = this.columns[0];
    for (const c of this.columns) if (Math.abs(c.x + c.w / 2 - b.x - b.w / 2) < Math.abs(best.x + best.w / 2 - b.x - b.w / 2)) best = c;
    return best;
  }

  /* Below the last box of the tier's shortest column; a tier that is not there yet uses the nearest, or opens one at the right end. */
  #below(key: string, group: string, tier: number, cols: number, rows: number, annex: boolean): Box {
    const w = boxW(cols);
    const h = boxH(rows);
    const last = this.columns[this.columns.length - 1];
    let best: Column | undefined;
    for (const c of this.columns) {
      const d = Math.abs(c.tier - tier);
      const bd = best ? Math.abs(best.tier - tier) : Infinity;
      if (d < bd || (d === bd && c.bottom < best!.bottom)) best = c;
    }
    if (!best || (tier > last.tier && last.tier < 1e6)) {
      const x = last ? Math.max(...[...this.boxes.values()].map((b) => b.x + b.w)) + GAP_X : 0;
      best = { tier, x, w, bottom: -h / 2 };
      this.columns.push(best);
    }
    const box: Box = { key, group, x: Math.round(best.x + Math.max(0, (best.w - w) / 2)), y: Math.round(best.bottom), w, h, cols, rows, annex, later: true };
    while (!this.#clear(box, w, h)) box.y += CELL_H / 2;
    this.#addBox(box);
    best.bottom = box.y + h + GAP_Y;
    return box;
  }

  /* Of too many kept places, those of units that are not there now go. */
  #forget(m: Model): void {
    if (this.places.size <= MAX_KEPT) return;
    for (const [id, p] of this.places) {
      if (this.places.size <= MAX_KEPT) return;
      if (m.units.has(id)) continue;
      this.places.delete(id);
      this.#taken.delete(`${p.box} ${p.col} ${p.row}`);
    }
  }

  /* TRUE when a new arrangement would read better: there are annexes, or more than a quarter came after it. */
  get untidy(): boolean {
    const boxes = [...this.boxes.values()];
    return boxes.some((b) => b.annex) || boxes.filter((b) => b.later).length * 4 > boxes.length;
  }

  save(): Saved {
    return {
      v: 1,
      boxes: [...this.boxes.values()].map((b) => [b.key, b.group, b.x, b.y, b.cols, b.rows, (b.annex ? 1 : 0) + (b.later ? 2 : 0)]),
      places: [...this.places].map(([id, p]) => [id, p.box, p.col, p.row]),
      columns: this.columns.map((c) => [c.tier, c.x, c.w, c.bottom]),
    };
  }

  /* FALSE, and empty, for what save() did not write. */
  restore(v: unknown): boolean {
    const s = v as Saved;
    const sound = (a: unknown, strings: number, numbers: number) => Array.isArray(a) && a.every((r) => Array.isArray(r) && r.length === strings + numbers && r.every((x, i) => (i < strings ? typeof x === "string" : Number.isFinite(x))));
    if (s?.v !== 1 || !sound(s.boxes, 2, 5) || !sound(s.places, 2, 2) || !sound(s.columns, 0, 4) || !s.columns.length || s.places.length > MAX_KEPT * 2) return false;
    for (const [key, group, x, y, cols, rows, bits] of s.boxes) {
      if (cols < 1 || rows < 1 || cols > 500 || rows > 500) continue;
      this.#addBox({ key, group, x, y, w: boxW(cols), h: boxH(rows), cols, rows, annex: (bits & 1) !== 0, later: (bits & 2) !== 0 });
    }
    for (const [id, box, col, row] of s.places) {
      const b = this.boxes.get(box);
      if (b && col >= 0 && row >= 0 && col < b.cols && row < b.rows && !this.#taken.has(`${box} ${col} ${row}`)) this.#put(id, b, col, row);
    }
    this.columns = s.columns.map(([tier, x, w, bottom]) => ({ tier, x, w, bottom }));
    return true;
  }
}

/* --- Containers in their circle ------------------------------------------------------------------------------------ */

/* Room for how many, and how far apart: a container's place in its circle depends on its number and the class of its circle, so that others' coming moves it only when the circle outgrows its class. */
const CLASSES = [{ upTo: 1, step: 0, dot: 7 }, { upTo: 7, step: 7.4, dot: 4.6 }, { upTo: 26, step: 5.4, dot: 3.6 }, { upTo: 70, step: 3.45, dot: 2.5 }, { upTo: 200, step: 2.05, dot: 1.5 }];
const GOLDEN = Math.PI * (3 - Math.sqrt(5));
export const MAX_DOTS = 200;

export interface Ring { r: number; step: number; dot: number }
export function ringOf(count: number): Ring {
  const c = CLASSES.find((k) => count <= k.upTo) ?? CLASSES[CLASSES.length - 1];
  const n = Math.max(1, Math.min(count, c.upTo));
  return { r: Math.min(32, Math.max(13, c.step * Math.sqrt(n) + c.dot + 3.5)), step: c.step, dot: c.dot };
}
export function dotAt(i: number, ring: Ring): { x: number; y: number } {
  if (!ring.step) return { x: 0, y: 0 };
  const r = ring.step * Math.sqrt(i + 0.35);
  return { x: r * Math.cos(i * GOLDEN), y: r * Math.sin(i * GOLDEN) };
}

/* Numbers of the containers in their unit: by name at first, then each keeps its own, and a new one takes the lowest free. */
export class Numbers {
  #of = new Map<string, Map<string, number>>();
  assign(unit: string, ids: string[]): Map<string, number> {
    let have = this.#of.get(unit);
    if (!have) this.#of.set(unit, (have = new Map()));
    const present = new Set(ids);
    for (const id of have.keys()) if (!present.has(id)) have.delete(id);
    if (have.size === ids.length) return have;
    const used = new Set(have.values());
    let next = 0;
    for (const id of ids) {
      if (have.has(id)) continue;
      while (used.has(next)) next++;
      have.set(id, next);
      used.add(next);
    }
    return have;
  }
}
