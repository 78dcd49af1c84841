/* SPDX-License-Identifier: Apache-2.0 */
/* The map as a small picture on the overview: which applications talk, and what fails. Read once, then at most every half minute. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../../api/client";
import { graphChanged, inventory, inventoryState, inventoryVersion, now } from "../../app/state";
import { theme } from "../../app/theme";
import { count } from "../../lib/format";
import { type Answer, answerFrom, buildModel, flagOf, quietOf, settleFresh } from "../../lib/graph";
import { HOUR, stamp } from "../../lib/mapaddress";
import { Layout, Numbers } from "../../lib/maplayout";
import { compile } from "../../lib/mapquery";
import { buildScene } from "../../lib/mapscene";
import { plural } from "../../lib/text";
import { paintPart, themeNow } from "./paint";

const EVERY_MS = 30_000;
const MOST = 4000; /* edges; a bigger environment has its picture on its own page alone */

export function MiniMap() {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const asked = useRef(0);
  const due = Math.floor(now.value / EVERY_MS) + (graphChanged.value ? 1 : 0);
  useEffect(() => {
    if (document.hidden || Date.now() - asked.current < EVERY_MS * 0.9) return;
    asked.current = Date.now();
    const over = new AbortController();
    get<unknown>("/graph", { level: "workload", since: stamp(Math.floor((Date.now() - HOUR) / 60_000) * 60_000), limit: MOST }, over.signal).then((v) => setAnswer(answerFrom(v)), () => undefined);
    return () => over.abort();
  }, [due]);
  const told = useMemo(() => {
    if (!answer || answer.next || !inventoryState.value.complete) return null;
    const edges = answer.edges.filter((e) => !quietOf(e));
    settleFresh(edges);
    const model = buildModel(inventory.rows, [{ ...answer, edges }]);
    if (!edges.length || !model.units.size) return null;
    const layout = new Layout();
    layout.arrange(model, edges, 2.6);
    const scene = buildScene({ model, layout, numbers: new Numbers(), level: "application", filter: compile("", model), edges: { workload: edges } });
    const n = { fail: 0, scan: 0, new: 0 };
    for (const e of edges) {
      const f = flagOf(e);
      if (f) n[f]++;
    }
    return { scene, n, edges: edges.length };
  }, [answer, inventoryVersion.value, inventoryState.value.complete]);
  useEffect(() => {
    const c = canvas.current;
    if (!c || !told) return;
    const draw = () => {
      const w = c.clientWidth;
      const h = c.clientHeight;
      const dpr = Math.min(2, devicePixelRatio || 1);
      if (!w || !h) return;
      c.width = Math.round(w * dpr);
      c.height = Math.round(h * dpr);
      const s = told.scene;
      const k = Math.min((w - 28) / (s.right - s.left), (h - 34) / (s.down - s.up), 0.75);
      const t = themeNow();
      const g = c.getContext("2d")!;
      const labels = s.boxes.length <= 16 ? s.boxes.map((b) => ({ id: "", text: b.title.length > 18 ? `${b.title.slice(0, 17)}…` : b.title, x: b.x, y: b.y - 4 / k, w: 60, kind: "dot" as const, flag: "" as const, dim: false })) : [];
      paintPart(g, { ...t, bg: t.surface, surface: t.bg }, s, labels, k, dpr, (s.left + s.right) / 2 - w / 2 / k, (s.up + s.down) / 2 - (h / 2 + 4) / k, w, h);
    };
    const watch = new ResizeObserver(draw);
    watch.observe(c);
    const f = requestAnimationFrame(draw);
    return () => {
      watch.disconnect();
      cancelAnimationFrame(f);
    };
  }, [told, theme.value, document.documentElement.dataset.theme]);
  if (!told) return null;
  return (
    <section class="card" aria-labelledby="o-map">
      <header><h2 id="o-map">Connections</h2><a href="#/map">Map</a></header>
      <a class="mini-link" href="#/map">
        <canvas ref={canvas} class="mini-map" aria-hidden="true" />
        <p class="mini-says">
          <span class="sr">Open the map:</span>
          <span><strong>{count(told.edges)}</strong> {plural(told.edges, "connection")} in the last hour</span>
          {told.n.scan > 0 && <span class="amber"><strong class="amber">{count(told.n.scan)}</strong> scanning</span>}
          {told.n.fail > 0 && <span class="amber"><strong class="amber">{count(told.n.fail)}</strong> failing</span>}
          {told.n.new > 0 && <span><strong>{count(told.n.new)}</strong> new</span>}
        </p>
      </a>
    </section>
  );
}
