/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the map knows: the answers of /graph for the present window, kept current. A change on the server is one message
 * (state.graphChanged); answers are asked for anew at most once a second, later where they are costly: asking and drawing may
 * take about a sixth of the time. Nothing is asked while the page is hidden. A failure leaves the last answers and sets `error`.
 * More than MAX_EDGES connections are not loaded; `partial` says so.
 */
import { batch, signal } from "@preact/signals";
import { get, sentence } from "../../api/client";
import { type Answer, answerFrom, type Bucket, bucketsFrom, type Diff, diffFrom, type Level } from "../../lib/graph";
import { stamp } from "../../lib/mapaddress";

export const answers = signal<Partial<Record<Level, Answer>>>({});
export const histogram = signal<{ buckets: Bucket[]; since: number; until: number } | null>(null);
export const diff = signal<Diff | null>(null);
export const state = signal<{ loading: boolean; error: string; at: number; partial: boolean }>({ loading: true, error: "", at: 0, partial: false });

const LIMIT = 10_000;
export const MAX_EDGES = 30_000;
export const BUCKETS = 120;
const LEAST_MS = 1000;
const HISTOGRAM_MS = 10_000;

export interface Wanted { since: number; window: number; until: number; range: number; containers: boolean; diff: boolean; level: Level }

/* The whole of one level. */
async function level(name: Level, since: number, until: number, signal: AbortSignal): Promise<Answer> {
  let all: Answer | undefined;
  let cursor: string | undefined;
  do {
    const page: Answer = answerFrom(await get<unknown>("/graph", { level: name, since: stamp(since), until: stamp(until), hidden: 1, limit: LIMIT, cursor }, signal));
    if (!all) all = page;
    else {
      const have = new Set(all.nodes.map((n) => n.id));
      all = { ...page, nodes: [...all.nodes, ...page.nodes.filter((n) => !have.has(n.id))], edges: [...all.edges, ...page.edges] };
    }
    cursor = page.next || undefined;
  } while (cursor && all.edges.length < MAX_EDGES);
  return all;
}

export class Loader {
  #wanted: Wanted | null = null;
  #key = "";
  #over: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = 0;
  #cost = 0;
  #bars = 0;
  #dirty = false;

  want(w: Wanted): void {
    const key = `${w.until ? w.since : "live"} ${w.window} ${w.until} ${w.diff ? w.level : ""}`;
    const first = key !== this.#key;
    const more = w.containers && !answers.value.container;
    const bars = this.#wanted?.range !== w.range;
    this.#wanted = w;
    if (bars) this.#bars = 0;
    if (first) {
      this.#key = key;
      if (!w.diff) diff.value = null;
    }
    if (first || more || bars) void this.#load();
  }

  /* Something changed, or time went on. */
  touch(): void {
    this.#dirty = true;
    if (document.hidden || this.#timer || this.#wanted?.until) return;
    const wait = Math.max(0, this.#ended + Math.max(LEAST_MS, this.#cost * 6) - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!document.hidden) void this.#load();
    }, wait);
  }
  shown(): void {
    if (this.#dirty) this.touch();
  }

  /* A new cost of drawing, which counts as well. */
  spent(ms: number): void {
    this.#cost += ms;
  }

  async #load(): Promise<void> {
    const w = this.#wanted;
    if (!w) return;
    this.#over?.abort();
    const over = (this.#over = new AbortController());
    this.#dirty = false;
    const began = performance.now();
    state.value = { ...state.value, loading: true };
    const now = Date.now();
    const since = w.until ? w.until - w.window : Math.floor((now - w.window) / 10_000) * 10_000;
    try {
      const names: Level[] = w.containers ? ["workload", "application", "container"] : ["workload", "application"];
      const bars = now - this.#bars > HISTOGRAM_MS;
      const [got, hist, changes] = await Promise.all([
        Promise.all(names.map((n) => level(n, since, w.until, over.signal))),
        bars ? get<unknown>("/graph/histogram", { since: stamp((w.until && w.until < now - w.range ? w.until : now) - w.range), until: stamp(w.until && w.until < now - w.range ? w.until : 0), buckets: BUCKETS }, over.signal) : null,
        w.diff ? get<unknown>("/graph/diff", { level: w.level === "application" ? "workload" : w.level, since: stamp(since), until: stamp(w.until || now), base_since: stamp(since - w.window), base_until: stamp(since) }, over.signal) : null,
      ]);
      if (over.signal.aborted) return;
      performance.mark("map:data");
      batch(() => {
        const next: Partial<Record<Level, Answer>> = {};
        for (const [i, n] of names.entries()) next[n] = got[i];
        answers.value = next;
        if (hist) {
          this.#bars = now;
          const end = w.until && w.until < now - w.range ? w.until : now;
          histogram.value = { buckets: bucketsFrom(hist), since: end - w.range, until: end };
        }
        diff.value = changes ? diffFrom(changes) : null;
        state.value = { loading: false, error: "", at: Date.now(), partial: got.some((a) => !!a.next) };
      });
    } catch (e) {
      if (over.signal.aborted) return;
      state.value = { ...state.value, loading: false, error: sentence(e) };
      this.#dirty = true;
    } finally {
      if (this.#over === over) {
        this.#cost = performance.now() - began;
        this.#ended = Date.now();
        this.#over = null;
      }
    }
    if (state.value.error) this.touch();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#over?.abort();
    this.#wanted = null;
    this.#key = "";
    batch(() => {
      answers.value = {};
      histogram.value = null;
      diff.value = null;
      state.value = { loading: true, error: "", at: 0, partial: false };
    });
  }
}
