/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strip below the map: how much happened when, and the window that the map shows. The window is dragged, its edges are
 * pulled, both work by keyboard; at the right end it goes on with the time.
 */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { now, stream } from "../../app/state";
import { theme } from "../../app/theme";
import { age, brief, clock, count, date } from "../../lib/format";
import { HOUR, MIN_WINDOW, RANGES, type MapAddress } from "../../lib/mapaddress";
import { plural } from "../../lib/text";
import { Button } from "../../parts/ui";
import { set } from "./map";
import { themeNow } from "./paint";
import { BUCKETS, histogram } from "./store";

const short = (ms: number) => (ms % HOUR === 0 || ms >= 24 * HOUR ? age(ms) : `${Math.round(ms / 60_000)} min`);
const at = (ms: number, range: number) => (range > 24 * HOUR ? date(ms).slice(5, 16) : clock(ms).slice(0, 5));

export function Scrubber({ address: a }: { address: MapAddress }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const track = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [drag, setDrag] = useState<{ kind: "move" | "left" | "right"; from: number; since: number; until: number } | null>(null);
  const [over, setOver] = useState<{ x: number; text: string } | null>(null);
  const [held, setHeld] = useState<{ since: number; until: number } | null>(null);
  const h = histogram.value;
  const live = !a.until;
  const end = live ? Math.floor(now.value / 1000) * 1000 : Math.max(h?.until ?? 0, a.until, a.until < Date.now() - a.range ? 0 : Math.floor(now.value / 1000) * 1000);
  const begin = end - a.range;
  const window = held ?? { since: (live ? end : a.until) - a.window, until: live ? end : a.until };
  const x = (t: number) => ((t - begin) / a.range) * width;

  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => setWidth(track.current?.clientWidth ?? 0));
    watch.observe(track.current!);
    setWidth(track.current!.clientWidth);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    const c = canvas.current!;
    const dpr = Math.min(2, devicePixelRatio || 1);
    const height = c.clientHeight;
    if (!width || !height) return;
    c.width = Math.round(width * dpr);
    c.height = Math.round(height * dpr);
    const g = c.getContext("2d")!;
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    g.clearRect(0, 0, width, height);
    const t = themeNow();
    const buckets = h?.buckets ?? [];
    const step = buckets.length > 1 ? buckets[1].time - buckets[0].time : a.range / BUCKETS;
    const w = Math.max(1.2, (step / a.range) * width * 0.72);
    const top = Math.max(1, ...buckets.map((b) => b.connections));
    const base = height - 1;
    /* a square root: a quiet hour is still seen beside a storm */
    for (const b of buckets) {
      const left = x(b.time) + ((step / a.range) * width - w) / 2;
      if (left + w < 0 || left > width) continue;
      const inside = b.time + step > window.since && b.time < window.until;
      const bar = b.connections ? Math.max(2, Math.sqrt(b.connections / top) * (height - 13)) : 1;
      g.fillStyle = b.connections ? (inside ? t.accent : t.strong) : t.line;
      g.globalAlpha = inside || !b.connections ? 1 : 0.9;
      g.beginPath();
      g.roundRect(left, base - bar, w, bar, Math.min(1.5, w / 3));
      g.fill();
      g.globalAlpha = 1;
      if (b.failures) {
        const part = Math.min(bar, Math.max(2, bar * Math.min(1, b.failures / Math.max(1, b.connections))));
        g.fillStyle = t.amber;
        g.fillRect(left, base - part, w, part);
      }
      if (b.fresh) {
        const cx = left + w / 2;
        g.fillStyle = t.fresh;
        g.beginPath();
        g.moveTo(cx, 1.5);
        g.lineTo(cx + 3, 4.5);
        g.lineTo(cx, 7.5);
        g.lineTo(cx - 3, 4.5);
        g.fill();
      }
    }
    if (a.diff) {
      const l = x(window.since - (window.until - window.since));
      const r = x(window.since);
      g.strokeStyle = t.faint;
      g.globalAlpha = 0.5;
      g.lineWidth = 1;
      g.save();
      g.beginPath();
      g.rect(l, 0, r - l, height);
      g.clip();
      g.beginPath();
      for (let i = l - height; i < r; i += 7) {
        g.moveTo(i, height);
        g.lineTo(i + height, 0);
      }
      g.stroke();
      g.restore();
      g.globalAlpha = 1;
    }
  }, [h, width, a.range, window.since, window.until, a.diff, theme.value, document.documentElement.dataset.theme]);

  const settle = (since: number, until: number) => {
    const length = Math.min(a.range, Math.max(MIN_WINDOW, until - since));
    const toNow = until >= end - Math.max(2000, a.range / 240);
    set({ window: Math.round(length / 1000) * 1000, until: toNow ? 0 : Math.round(until / 1000) * 1000 });
  };
  const dragged = (e: PointerEvent): { since: number; until: number } => {
    const d = ((e.clientX - drag!.from) / Math.max(1, width)) * a.range;
    let { since, until } = drag!;
    if (drag!.kind === "move") {
      const shift = Math.max(begin - since, Math.min(end - until, d));
      since += shift;
      until += shift;
    } else if (drag!.kind === "left") since = Math.max(begin, Math.min(until - MIN_WINDOW, since + d));
    else until = Math.min(end, Math.max(since + MIN_WINDOW, until + d));
    return { since, until };
  };
  const onDown = (e: PointerEvent) => {
    if (e.button !== 0) return;
    const r = track.current!.getBoundingClientRect();
    const px = e.clientX - r.left;
    const handle = (e.target as HTMLElement).dataset.handle as "left" | "right" | undefined;
    let { since, until } = window;
    if (!handle && (px < x(since) - 2 || px > x(until) + 2)) {
      /* beside the window: it comes to where one pressed */
      const mid = begin + (px / width) * a.range;
      const length = until - since;
      since = Math.max(begin, Math.min(end - length, mid - length / 2));
      until = since + length;
      setHeld({ since, until });
    }
    setDrag({ kind: handle ?? "move", from: e.clientX, since, until });
    track.current!.setPointerCapture(e.pointerId);
  };
  const onMove = (e: PointerEvent) => {
    if (drag) return setHeld(dragged(e));
    const r = track.current!.getBoundingClientRect();
    const t = begin + ((e.clientX - r.left) / Math.max(1, width)) * a.range;
    const list = h?.buckets ?? [];
    const step = list.length > 1 ? list[1].time - list[0].time : 0;
    const b = list.find((y) => t >= y.time && t < y.time + step);
    setOver(b ? { x: e.clientX - r.left, text: `${at(b.time, a.range)}: ${brief(b.connections)} connections${b.failures ? `, ${brief(b.failures)} failed` : ""}${b.fresh ? `, ${b.fresh} new` : ""}` } : null);
  };
  const onUp = (e: PointerEvent) => {
    if (!drag) return;
    const w = dragged(e);
    setDrag(null);
    setHeld(null);
    settle(w.since, w.until);
  };
  const onKey = (kind: "move" | "left" | "right") => (e: KeyboardEvent) => {
    const step = (e.shiftKey ? 10 : 1) * (a.range / BUCKETS);
    const d = e.key === "ArrowLeft" || e.key === "ArrowDown" ? -step : e.key === "ArrowRight" || e.key === "ArrowUp" ? step : 0;
    let { since, until } = window;
    if (e.key === "End") {
      since = end - (until - since);
      until = end;
    } else if (e.key === "Home") {
      until = begin + (until - since);
      since = begin;
    } else if (!d) return;
    else if (kind === "move") {
      const shift = Math.max(begin - since, Math.min(end - until, d));
      since += shift;
      until += shift;
    } else if (kind === "left") since = Math.max(begin, Math.min(until - MIN_WINDOW, since + d));
    else until = Math.min(end, Math.max(since + MIN_WINDOW, until + d));
    e.preventDefault();
    settle(since, until);
  };

  const said = `${date(window.since)} to ${live && !held ? "now" : date(window.until)}`;
  const slider = (kind: "left" | "right") => ({
    role: "slider" as const, tabIndex: 0, "data-handle": kind, "aria-label": kind === "left" ? "Begin of the window" : "End of the window", "aria-valuemin": 0, "aria-valuemax": Math.round(a.range / 1000), "aria-orientation": "horizontal" as const,
    "aria-valuenow": Math.round(((kind === "left" ? window.since : window.until) - begin) / 1000), "aria-valuetext": kind === "right" && live && !held ? "now" : date(kind === "left" ? window.since : window.until), onKeyDown: onKey(kind),
  });
  const left = Math.max(0, x(window.since));
  const right = Math.min(width, x(window.until));
  const sum = (h?.buckets ?? []).reduce((n, b) => (b.time >= window.since - 60_000 && b.time < window.until ? n + b.connections : n), 0);
  return (
    <footer class="scrubber" aria-label="Time" role="group">
      <Button kind={live ? "plain" : "primary"} glyph={live ? "pause" : "play"} class="small" aria-pressed={!live} title={live ? "Hold this window" : "Go on with the time"}
        onClick={() => set({ until: live ? (Math.floor(Date.now() / 1000) + 1) * 1000 : 0 /* with what came in this second */ })}>{live ? (stream.value.state === "live" ? "Live" : "Now") : "Paused"}</Button>
      <div class="scrub-window">
        <strong><time>{at(window.since, a.range)}</time> – {live && !held ? "now" : <time>{at(window.until, a.range)}</time>}</strong>
        <span>{short(Math.round((window.until - window.since) / 60_000) * 60_000)}, {count(sum)} {plural(sum, "connection")}</span>
      </div>
      <div ref={track} class={`track ${drag ? "dragging" : ""}`} onPointerDown={onDown} onPointerMove={onMove} onPointerUp={onUp} onPointerCancel={onUp} onPointerLeave={() => setOver(null)}>
        <canvas ref={canvas} aria-hidden="true" />
        <div class="window" role="slider" tabIndex={0} aria-label="The window" aria-valuemin={0} aria-valuemax={Math.round(a.range / 1000)} aria-valuenow={Math.round((window.since - begin) / 1000)} aria-valuetext={said} onKeyDown={onKey("move")}
          style={{ left: `${left}px`, width: `${Math.max(6, right - left)}px` }}>
        </div>
        <span class="handle" style={{ left: `${left}px` }} {...slider("left")} />
        <span class="handle" style={{ left: `${right}px` }} {...slider("right")} />
        {over && !drag && <span class="scrub-tip" style={{ left: `${Math.max(90, Math.min(width - 90, over.x))}px` }} aria-hidden="true">{over.text}</span>}
      </div>
      <div class="segments small" role="group" aria-label="How far back">
        {RANGES.map((r) => <button key={r.ms} type="button" aria-pressed={a.range === r.ms} onClick={() => set({ range: r.ms, window: r.window, until: 0 })}>{r.label}</button>)}
      </div>
    </footer>
  );
}
