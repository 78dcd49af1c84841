/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map on its canvas: tiles that are painted once and then only moved, gestures, and what is under the pointer.
 *
 * A tile is a square of the scene at one scale. Panning copies tiles and paints those that come into sight, a few milliseconds'
 * worth a frame, so that no frame waits for the whole picture. While the scale changes the old tiles are stretched; new ones are
 * painted when it rests. A new scene marks tiles stale: they are shown until their successors are painted. At most one repaint a
 * frame, none while nothing changed, none while the page is hidden. At most MAX_TILES are kept.
 */
import { type Hit, hitTest, type Label, nextIn, placeLabels, positionOf, type Scene, type SLine } from "../../lib/mapscene";
import { isPair, kindOf, type Model, unitOf } from "../../lib/graph";
import { type Focus, paintFocus, paintPart, type Theme, themeNow } from "./paint";

const TILE = 512;       /* device pixels */
const MAX_TILES = 72;   /* of a megabyte each */
const BUDGET_MS = 7;    /* of painting tiles in a frame */
const FIRST_MS = 150;   /* of the very first frame */
const REST_MS = 110;    /* after the last change of the scale */
export const MIN_K = 0.04;
export const MAX_K = 6;

interface Tile { canvas: HTMLCanvasElement; version: number; used: number }
export interface Viewport { x: number; y: number; k: number }
export interface Events {
  pick(hit: Hit): void;
  hover(hit: Hit, at: { x: number; y: number } | null): void;
  moved(v: Viewport, byHand: boolean): void;
  active(id: string): void;
}

export class MapView {
  view: Viewport = { x: 0, y: 0, k: 1 };
  scene: Scene | null = null;
  onPainted: (() => void) | undefined;
  inset = 0; /* pixels at the bottom that something covers */
  #fits = false; /* it shows all, and goes on doing so when its size changes */
  #model: Model | null = null;
  #labels: Label[] = [];
  #labelOf = new Map<string, Label>();
  #labelK = 0;
  #theme: Theme = themeNow();
  #ctx: CanvasRenderingContext2D;
  #dpr = 1;
  #w = 0;
  #h = 0;
  #k = 0; /* scale of the tiles */
  #tiles = new Map<string, Tile>();
  #old: { k: number; tiles: Map<string, Tile> } | null = null;
  #pool: HTMLCanvasElement[] = [];
  #version = 1;
  #clock = 0;
  #frame = 0;
  #scaledAt = 0;
  #restTimer: ReturnType<typeof setTimeout> | undefined;
  #hit: Hit = null;
  #pointer: { x: number; y: number } | null = null; /* of a mouse that is over it */
  #selected = "";
  #active = "";
  #fade = 0;
  #lastFocus: Focus | null = null;
  #pointers = new Map<number, { x: number; y: number }>();
  #drag: { x: number; y: number; moved: boolean; pinch: number } | null = null;
  #glide: { from: Viewport; to: Viewport; began: number } | null = null;
  #still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  #measured = new Map<string, number>();
  #stop = new AbortController();

  constructor(readonly canvas: HTMLCanvasElement, private readonly events: Events) {
    this.#ctx = canvas.getContext("2d", { alpha: false })!;
    const on = <K extends keyof HTMLElementEventMap>(type: K, f: (e: HTMLElementEventMap[K]) => void, passive = true) => canvas.addEventListener(type, f as EventListener, { signal: this.#stop.signal, passive });
    on("pointerdown", (e) => this.#down(e));
    on("pointermove", (e) => this.#move(e));
    on("pointerup", (e) => this.#up(e));
    on("pointercancel", (e) => this.#up(e));
    on("pointerleave", () => {
      this.#pointer = null;
      this.#point(null, null);
    });
    on("wheel", (e) => this.#wheel(e), false);
    on("dblclick", (e) => {
      const r = canvas.getBoundingClientRect();
      this.zoom(1.8, e.clientX - r.left, e.clientY - r.top, true);
    });
    const watch = new ResizeObserver(() => this.#size());
    watch.observe(canvas);
    this.#stop.signal.addEventListener("abort", () => watch.disconnect());
    this.#size();
  }

  destroy(): void {
    this.#stop.abort();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#restTimer);
    this.#tiles.clear();
    this.#old = null;
    this.#pool = [];
  }

  /* --- what is shown --- */

  setScene(scene: Scene, model: Model): void {
    this.scene = scene;
    this.#model = model;
    this.#version++;
    this.#labelK = 0;
    this.#hit = this.#hit?.kind === "line" ? null : this.#hit;
    this.#lastFocus = null;
    this.ask();
  }
  retheme(): void {
    this.#theme = themeNow();
    this.#measured.clear();
    this.#labelK = 0;
    this.#version++;
    this.#lastFocus = null;
    this.ask();
  }
  /* `id`: of a node, or the key of a line. */
  select(id: string): void {
    if (this.#selected === id) return;
    this.#selected = id;
    this.ask();
  }
  activate(id: string): void {
    if (this.#active === id) return;
    this.#active = id;
    this.ask();
  }
  get active(): string {
    return this.#active;
  }
  get size(): { w: number; h: number } {
    return { w: this.#w, h: this.#h };
  }

  /* All of it, now and whenever the canvas gets another size, until somebody moves it. */
  showAll(smooth: boolean): void {
    this.#fits = true;
    const to = this.fitted();
    if (smooth) this.glide(to);
    else this.setView(to);
  }

  setView(v: Viewport, byHand = false): void {
    if (byHand) this.#fits = false;
    const k = Math.min(MAX_K, Math.max(MIN_K, v.k));
    if (k !== this.view.k) this.#scaledAt = performance.now();
    this.view = { x: v.x, y: v.y, k };
    this.events.moved(this.view, byHand);
    this.ask();
  }

  glide(to: Viewport): void {
    if (this.#still || !this.#w) return this.setView(to);
    this.#glide = { from: this.view, to, began: performance.now() };
    this.ask();
  }

  /* The whole, or the part between two corners, with room around it. */
  fitted(area?: { left: number; right: number; up: number; down: number }, most = 1.35): Viewport {
    const a = area ?? this.scene;
    if (!a || !(a.right > a.left)) return { x: 0, y: 0, k: 1 };
    /* above stands how much it is, below the legend */
    const pad = Math.min(40, this.#w * 0.045);
    const high = this.#h - this.inset;
    const k = Math.max(MIN_K, Math.min((this.#w - 2 * pad) / (a.right - a.left), (high - 116) / (a.down - a.up), most));
    return { x: (a.left + a.right) / 2, y: (a.up + a.down) / 2 + (this.inset / 2 - 2) / k, k };
  }

  zoom(by: number, px = this.#w / 2, py = this.#h / 2, smooth = false): void {
    this.#fits = false;
    const from = this.#glide?.to ?? this.view;
    const k = Math.min(MAX_K, Math.max(MIN_K, from.k * by));
    const wx = from.x + (px - this.#w / 2) / from.k;
    const wy = from.y + (py - this.#h / 2) / from.k;
    const to = { x: wx - (px - this.#w / 2) / k, y: wy - (py - this.#h / 2) / k, k };
    if (smooth) this.glide(to);
    else {
      this.#glide = null;
      this.setView(to, true);
    }
  }

  /* Moves so that `id` is in sight, and no more than that. */
  reveal(id: string): void {
    const at = this.scene && positionOf(this.scene, id);
    if (!at) return;
    const { x, y, k } = this.view;
    const hw = Math.max(20, this.#w / 2 - 70) / k;
    const hh = Math.max(20, (this.#h - this.inset) / 2 - 60) / k;
    const cy = y - this.inset / 2 / k;
    const nx = at.x < x - hw ? at.x + hw * 0.7 : at.x > x + hw ? at.x - hw * 0.7 : x;
    const ny = at.y < cy - hh ? at.y + hh * 0.7 : at.y > cy + hh ? at.y - hh * 0.7 : cy;
    if (nx !== x || ny !== cy) this.glide({ x: nx, y: ny + this.inset / 2 / k, k });
  }

  key(name: string): string {
    if (!this.scene) return "";
    const to = nextIn(this.scene, this.#active || this.#selected, name);
    if (!to) return "";
    this.#active = to;
    this.reveal(to);
    this.ask();
    return to;
  }

  /* --- pointers --- */

  #at(e: MouseEvent): { x: number; y: number } {
    const r = this.canvas.getBoundingClientRect();
    return { x: e.clientX - r.left, y: e.clientY - r.top };
  }
  #world(p: { x: number; y: number }): { x: number; y: number } {
    return { x: this.view.x + (p.x - this.#w / 2) / this.view.k, y: this.view.y + (p.y - this.#h / 2) / this.view.k };
  }
  #down(e: PointerEvent): void {
    if (e.button !== 0) return;
    this.#glide = null;
    this.#pointers.set(e.pointerId, this.#at(e));
    try {
      this.canvas.setPointerCapture(e.pointerId);
    } catch {
      /* a pointer that is gone already */
    }
    const p = this.#centre();
    this.#drag = { x: p.x, y: p.y, moved: this.#pointers.size > 1, pinch: p.spread };
  }
  #centre(): { x: number; y: number; spread: number } {
    const list = [...this.#pointers.values()];
    const x = list.reduce((n, p) => n + p.x, 0) / list.length;
    const y = list.reduce((n, p) => n + p.y, 0) / list.length;
    return { x, y, spread: list.length > 1 ? Math.hypot(list[0].x - list[1].x, list[0].y - list[1].y) : 0 };
  }
  #move(e: PointerEvent): void {
    const at = this.#at(e);
    if (!this.#drag || !this.#pointers.has(e.pointerId)) {
      if (e.pointerType === "touch") return;
      this.#pointer = at;
      this.#pointAgain();
      return;
    }
    this.#pointers.set(e.pointerId, at);
    const c = this.#centre();
    const dx = c.x - this.#drag.x;
    const dy = c.y - this.#drag.y;
    if (!this.#drag.moved && Math.hypot(dx, dy) < 4) return;
    if (!this.#drag.moved) this.#point(null, null);
    this.#drag.moved = true;
    this.canvas.classList.add("dragging");
    const { x, y, k } = this.view;
    this.setView({ x: x - dx / k, y: y - dy / k, k }, true);
    if (c.spread && this.#drag.pinch) this.zoom(c.spread / this.#drag.pinch, c.x, c.y);
    this.#drag.x = c.x;
    this.#drag.y = c.y;
    this.#drag.pinch = c.spread;
  }
  #up(e: PointerEvent): void {
    if (!this.#pointers.delete(e.pointerId)) return;
    const drag = this.#drag;
    if (this.#pointers.size) {
      const c = this.#centre();
      this.#drag = { x: c.x, y: c.y, moved: true, pinch: c.spread };
      return;
    }
    this.#drag = null;
    this.canvas.classList.remove("dragging");
    if (drag && !drag.moved && e.type === "pointerup" && this.scene) {
      const w = this.#world(this.#at(e));
      this.events.pick(hitTest(this.scene, w.x, w.y, this.view.k));
    }
  }
  #wheel(e: WheelEvent): void {
    e.preventDefault();
    const at = this.#at(e);
    const by = e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? 400 : 1;
    if (e.shiftKey) {
      const { x, y, k } = this.view;
      return this.setView({ x: x + ((e.deltaX || e.deltaY) * by) / k, y, k }, true);
    }
    this.zoom(Math.exp(-Math.max(-240, Math.min(240, e.deltaY * by)) * (e.ctrlKey ? 0.008 : 0.0018)), at.x, at.y);
  }
  /* What is under the pointer now, also where the picture moved and not the pointer. */
  #pointAgain(): void {
    const at = this.#pointer;
    if (!at || this.#drag || !this.scene) return;
    const w = this.#world(at);
    this.#point(hitTest(this.scene, w.x, w.y, this.view.k), at);
  }
  #point(hit: Hit, at: { x: number; y: number } | null): void {
    const same = hit?.kind === this.#hit?.kind && hit?.id === this.#hit?.id;
    this.#hit = hit;
    if (!same || hit) this.events.hover(hit, at);
    if (same) return;
    this.canvas.classList.toggle("over", !!hit && hit.kind !== "box");
    this.ask();
  }

  /* --- frames --- */

  ask(): void {
    this.#frame ||= requestAnimationFrame((t) => this.#paint(t));
  }

  #size(): void {
    const w = this.canvas.clientWidth;
    const h = this.canvas.clientHeight;
    const dpr = Math.min(2, devicePixelRatio || 1);
    if (!w || !h || (w === this.#w && h === this.#h && dpr === this.#dpr)) return;
    if (dpr !== this.#dpr) this.#version++;
    this.#w = w;
    this.#h = h;
    this.#dpr = dpr;
    this.canvas.width = Math.round(w * dpr);
    this.canvas.height = Math.round(h * dpr);
    if (this.#fits && this.scene) this.setView(this.fitted());
    this.events.moved(this.view, false);
    this.ask();
  }

  #measure = (text: string, px: number): number => {
    const key = `${px}|${text}`;
    const known = this.#measured.get(key);
    if (known !== undefined) return known;
    if (this.#measured.size > 30_000) this.#measured.clear();
    this.#ctx.font = `${px > 12 ? 650 : 400} ${px}px ${this.#theme.font}`;
    const w = this.#ctx.measureText(text).width;
    this.#measured.set(key, w);
    return w;
  };

  #newCanvas(): HTMLCanvasElement {
    const c = this.#pool.pop() ?? document.createElement("canvas");
    c.width = c.height = TILE;
    return c;
  }

  #rescale(k: number): void {
    if (this.#tiles.size) {
      for (const t of this.#old?.tiles.values() ?? []) this.#pool.push(t.canvas);
      this.#old = { k: this.#k, tiles: this.#tiles };
    }
    this.#tiles = new Map();
    this.#k = k;
    this.#labelK = 0;
  }

  #paint(now: number): void {
    this.#frame = 0;
    const s = this.scene;
    const c = this.#ctx;
    if (!s || !this.#w) return;
    let again = false;
    if (this.#glide) {
      const g = this.#glide;
      const p = Math.min(1, Math.max(0, (performance.now() - g.began) / 260));
      const e = 1 - (1 - p) ** 3;
      const k = g.from.k * (g.to.k / g.from.k) ** e;
      /* the way in space follows the scale, so that what one flies to stays on the line of sight */
      const f = Math.abs(g.to.k - g.from.k) < 1e-9 ? e : (1 / g.from.k - 1 / k) / (1 / g.from.k - 1 / g.to.k);
      this.setView({ x: g.from.x + (g.to.x - g.from.x) * f, y: g.from.y + (g.to.y - g.from.y) * f, k: p === 1 ? g.to.k : k });
      if (p === 1) {
        this.#glide = null;
        this.#pointAgain();
      } else again = true;
    }
    const { x, y, k } = this.view;
    if (!this.#k) this.#rescale(k);
    else if (k !== this.#k) {
      const rests = performance.now() - this.#scaledAt;
      if (!this.#glide && (rests > REST_MS || k / this.#k > 2.6 || k / this.#k < 0.38)) this.#rescale(k);
      else if (!this.#glide) {
        clearTimeout(this.#restTimer);
        this.#restTimer = setTimeout(() => this.ask(), REST_MS - rests + 5);
      }
    }
    if (this.#labelK !== this.#k) {
      this.#labels = placeLabels(s, this.#k, this.#measure);
      this.#labelOf = new Map(this.#labels.filter((l) => l.kind !== "note").map((l) => [l.id, l]));
      this.#labelK = this.#k;
    }
    const dpr = this.#dpr;
    /* The corner on whole device pixels: tiles then fall on whole pixels too and are copied without being resampled. */
    const unit = k * dpr;
    const left = Math.round(x * unit - this.canvas.width / 2) / unit;
    const top = Math.round(y * unit - this.canvas.height / 2) / unit;

    const span = TILE / (this.#k * dpr);
    const right = left + this.canvas.width / unit;
    const down = top + this.canvas.height / unit;
    const i0 = Math.floor(left / span);
    const i1 = Math.floor(right / span);
    const j0 = Math.floor(top / span);
    const j1 = Math.floor(down / span);
    const seen: { key: string; i: number; j: number; d: number }[] = [];
    const mid = [(i0 + i1) / 2, (j0 + j1) / 2];
    /* While the scale is another one, far out, the tiles in sight could be many: what there is is shown. */
    const few = (i1 - i0 + 1) * (j1 - j0 + 1) <= MAX_TILES * 0.8;
    if (few) for (let i = i0; i <= i1; i++) for (let j = j0; j <= j1; j++) seen.push({ key: `${i} ${j}`, i, j, d: Math.hypot(i - mid[0], j - mid[1]) });
    seen.sort((a, b) => a.d - b.d);
    const began = performance.now();
    /* with nothing to show yet, all of it at once is sooner than a part a frame */
    const budget = this.#tiles.size || this.#old ? BUDGET_MS : FIRST_MS;
    let missing = 0;
    this.#clock++;
    for (const tile of seen) {
      const have = this.#tiles.get(tile.key);
      if (have) have.used = this.#clock;
      if (have?.version === this.#version || (k !== this.#k && have)) continue;
      if (performance.now() - began > budget) {
        missing++;
        continue;
      }
      this.#paintTile(tile.key, tile.i, tile.j, have);
    }
    /* One ring around what is seen, when there is time left: the next drag finds it painted. */
    if (!missing && k === this.#k && few)
      for (let i = i0 - 1; i <= i1 + 1 && !missing; i++)
        for (let j = j0 - 1; j <= j1 + 1; j++) {
          if (i >= i0 && i <= i1 && j >= j0 && j <= j1) continue;
          const key = `${i} ${j}`;
          const have = this.#tiles.get(key);
          if (have?.version === this.#version) {
            have.used = this.#clock;
            continue;
          }
          const reached = i * span <= s.right + span && (i + 1) * span >= s.left - span && j * span <= s.down + span && (j + 1) * span >= s.up - span;
          if (!reached) continue;
          if (performance.now() - began > BUDGET_MS * 0.6) {
            again = true;
            missing = -1;
            break;
          }
          this.#paintTile(key, i, j, have);
        }
    if (missing > 0) again = true;
    else if (missing === 0 && this.#old && k === this.#k) {
      for (const t of this.#old.tiles.values()) this.#pool.push(t.canvas);
      this.#old = null;
      this.#pool.length = Math.min(this.#pool.length, 24);
    }
    this.#trim();

    /* --- copy --- */
    const focus = this.#focus(s);
    const want = focus ? 1 : 0;
    if (this.#still) this.#fade = want;
    else if (this.#fade !== want) {
      this.#fade = want > this.#fade ? Math.min(1, this.#fade + 0.22) : Math.max(0, this.#fade - 0.22);
      if (this.#fade !== want) again = true;
    }
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.globalAlpha = 1;
    c.fillStyle = this.#theme.bg;
    c.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const shown = focus ?? (this.#fade > 0 ? this.#lastFocus : null);
    if (shown && this.#fade > 0) c.globalAlpha = 1 - this.#fade * (this.#theme.dark ? 0.74 : 0.7);
    const complete = few && missing <= 0 && k === this.#k;
    if (this.#old && !complete) this.#copy(this.#old.tiles, this.#old.k, left, top, unit, right, down);
    this.#copy(this.#tiles, this.#k, left, top, unit, right, down);
    c.globalAlpha = 1;
    if (shown && this.#fade > 0) paintFocus(c, this.#theme, s, this.#labelOf, k, dpr, left, top, shown, this.#fade);
    if (focus) this.#lastFocus = focus;
    if (again) this.ask();
    if (missing <= 0) this.onPainted?.();
    void now;
  }

  #copy(tiles: Map<string, Tile>, tk: number, left: number, top: number, unit: number, right: number, down: number): void {
    const span = TILE / (tk * this.#dpr);
    const same = tk * this.#dpr === unit;
    for (const [key, tile] of tiles) {
      const cut = key.indexOf(" ");
      const i = Number(key.slice(0, cut));
      const j = Number(key.slice(cut + 1));
      if ((i + 1) * span < left || i * span > right || (j + 1) * span < top || j * span > down) continue;
      if (same) this.#ctx.drawImage(tile.canvas, Math.round((i * span - left) * unit), Math.round((j * span - top) * unit));
      else {
        const x0 = Math.floor((i * span - left) * unit);
        const y0 = Math.floor((j * span - top) * unit);
        this.#ctx.drawImage(tile.canvas, x0, y0, Math.ceil(((i + 1) * span - left) * unit) - x0, Math.ceil(((j + 1) * span - top) * unit) - y0);
      }
    }
  }

  #paintTile(key: string, i: number, j: number, have: Tile | undefined): void {
    const tile = have ?? { canvas: this.#newCanvas(), version: 0, used: this.#clock };
    const span = TILE / (this.#k * this.#dpr);
    const c = tile.canvas.getContext("2d", { alpha: false })!;
    paintPart(c, this.#theme, this.scene!, this.#labels, this.#k, this.#dpr, i * span, j * span, TILE / this.#dpr, TILE / this.#dpr);
    tile.version = this.#version;
    tile.used = this.#clock;
    this.#tiles.set(key, tile);
  }

  #trim(): void {
    if (this.#tiles.size <= MAX_TILES) return;
    const oldest = [...this.#tiles].sort((a, b) => a[1].used - b[1].used);
    for (const [key, t] of oldest.slice(0, this.#tiles.size - MAX_TILES)) {
      this.#tiles.delete(key);
      if (this.#pool.length < 24) this.#pool.push(t.canvas);
    }
  }

  /* The ego network of what the pointer is on, else of what the keyboard is on, else of what is selected. */
  #focus(s: Scene): Focus | null {
    const hovered = this.#hit && this.#hit.kind !== "box" ? this.#hit.id : this.#hit && s.level === "application" ? this.#hit.id : "";
    const centre = hovered || this.#selected || this.#active;
    if (!centre) return null;
    const ids = new Set<string>();
    let lines: SLine[] = [];
    if (isPair(centre)) {
      lines = s.lines.filter((l) => l.key === centre);
      for (const l of lines) ids.add(l.from).add(l.to);
    } else {
      lines = s.ego(centre);
      ids.add(centre);
      for (const l of lines) ids.add(l.from).add(l.to);
    }
    if (this.#selected && !isPair(this.#selected)) ids.add(this.#selected);
    if (this.#model) for (const id of [...ids]) if (kindOf(id) === "container") ids.add(unitOf(this.#model, id)?.id ?? id);
    if (!hovered && !lines.length && !this.#selected) return { ids, lines, selected: "", active: this.#active, phase: 0 };
    return { ids, lines, selected: this.#selected, active: this.#active, phase: 0 };
  }
}
