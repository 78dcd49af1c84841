/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection map: who talks to whom, at the level of detail that the zoom asks for. Everything that is chosen stands in the
 * address (lib/mapaddress.ts); the same selection holds in the picture and in the table.
 */
import { computed } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { patch, route } from "../../app/router";
import { graphChanged, inventory, inventoryState, inventoryVersion, now, stream } from "../../app/state";
import { theme } from "../../app/theme";
import { bytes, clock, count } from "../../lib/format";
import { type Answer, bytesOf, buildModel, flagOf, type GEdge, groupOf, isPair, kindOf, type Level, LEVELS, type Model, nameOf, pairKey, portText, quietOf, QUIETS, type Quiet, settleFresh } from "../../lib/graph";
import { readAddress, writeAddress, type MapAddress } from "../../lib/mapaddress";
import { Layout, Numbers } from "../../lib/maplayout";
import { asksContainers, compile, KEYS, parse, toggleTerm } from "../../lib/mapquery";
import { buildScene, type Hit, levelAt, type Scene } from "../../lib/mapscene";
import { plural, visible } from "../../lib/text";
import { Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Empty, Notice, Skeleton, T } from "../../parts/ui";
import { ChangesPanel, SelectionPanel } from "./panel";
import { Scrubber } from "./scrubber";
import { answers, diff, Loader, MAX_EDGES, state } from "./store";
import { MapTable } from "./table";
import { MapView, type Viewport } from "./view";

const PLACES = "bulkhead-map-places";
/* A live window goes on with the time also where nothing happens. */
const halfMinute = computed(() => Math.floor(now.value / 30_000));

function readPlaces(): Layout {
  const l = new Layout();
  try {
    const text = localStorage.getItem(PLACES);
    if (text && l.restore(JSON.parse(text))) return l;
  } catch {
    /* private mode, or what another version wrote: arranged anew */
  }
  return new Layout();
}
function keepPlaces(l: Layout | null): void {
  try {
    if (l) localStorage.setItem(PLACES, JSON.stringify(l.save()));
    else localStorage.removeItem(PLACES);
  } catch {
    /* it holds for this page */
  }
}

export const set = (a: Partial<MapAddress>, replace = true) => patch(writeAddress(a, readAddress(route.value.params).range), replace);
/* Selects a node, a pair or one connection; all of the panel's links go through here. */
export function choose(id: string, to = "", edge = ""): void {
  set({ select: id, to, edge });
}

const LEVEL_LABELS: Record<Level | "auto", string> = { auto: "Auto", application: "Applications", workload: "Workloads", container: "Containers" };

/* --- The filter --------------------------------------------------------------------------------------------------------- */

function FilterBox({ query }: { query: string }) {
  const [typed, setTyped] = useState(query);
  const [help, setHelp] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => setTyped(query), [query]);
  useEffect(() => {
    if (typed === query) return;
    const t = setTimeout(() => set({ query: typed }), 180);
    return () => clearTimeout(t);
  }, [typed]);
  useEffect(() => {
    /* On this page "/" is for what this page searches; before the shell's own. */
    const key = (e: KeyboardEvent) => {
      const t = e.target as HTMLElement;
      if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) || document.querySelector("dialog[open]")) return;
      e.preventDefault();
      e.stopPropagation();
      input.current?.focus();
      input.current?.select();
    };
    addEventListener("keydown", key, true);
    return () => removeEventListener("keydown", key, true);
  }, []);
  return (
    <div class="searchbox map-filter" onFocusOut={(e) => { if (!(e.currentTarget as HTMLElement).contains(e.relatedTarget as Node)) setHelp(false); }}>
      <Icon name="filter" />
      <input ref={input} type="text" aria-label="Filter the map" aria-describedby="map-filter-help" placeholder="Filter: app:shop port:5432" spellcheck={false} autocomplete="off" maxLength={256} value={typed}
        onInput={(e) => setTyped(e.currentTarget.value)} onFocus={() => setHelp(true)}
        onKeyDown={(e) => {
          if (e.key !== "Escape") return;
          e.stopPropagation();
          if (typed) setTyped("");
          else input.current?.blur();
          setHelp(false);
        }} />
      {typed && <button type="button" class="clear" aria-label="Clear the filter" onClick={() => { setTyped(""); set({ query: "" }); }}><Icon name="close" size={12} /></button>}
      <p id="map-filter-help" class="sr">Words, or {KEYS.map((k) => k.key).join(", ")} with a colon and a value; a minus before means not.</p>
      {help && !typed && (
        <div class="filter-help">
          <p>Words, or a key with a value. <code>-</code> before it means not, commas mean any of several.</p>
          <ul>{KEYS.map((k) => <li key={k.key}><button type="button" tabIndex={-1} onPointerDown={(e) => { e.preventDefault(); setTyped(`${k.key}:`); }}><code>{k.like}</code><span>{k.says}</span></button></li>)}</ul>
        </div>
      )}
    </div>
  );
}

/* --- The picture ---------------------------------------------------------------------------------------------------------- */

function describeHit(m: Model, hit: Hit): { title: string; lines: string[]; warn?: string } | null {
  if (!hit) return null;
  if (hit.kind === "line") {
    const p = hit.line.pair;
    const ports = [...new Set(p.edges.map(portText))];
    return {
      title: `${visible(nameOf(m, p.from), 40)} → ${visible(nameOf(m, p.to), 40)}`,
      lines: [`${ports.slice(0, 4).map((x) => visible(x, 32)).join(", ")}${ports.length > 4 ? ` and ${ports.length - 4} more` : ""}`, `${count(p.connections)} ${plural(p.connections, "connection")} · ${bytes(p.bytes)}`],
      warn: p.flag === "scan" ? "scanning" : p.bad ? `${count(p.bad)} failed` : p.flag === "new" ? "new" : undefined,
    };
  }
  const c = m.conts.get(hit.id);
  if (c) return { title: visible(c.name, 60), lines: [visible(c.image, 60), `container, ${c.state || "state not known"}`] };
  const u = m.units.get(hit.id);
  if (u) {
    const what = u.kind === "workload" ? `${count(u.running)} of ${count(u.count)} ${plural(u.count, "container")} running` : u.kind === "host" ? "machine" : u.kind === "name" ? "name outside" : u.kind === "network" ? "addresses outside" : "container runtime";
    return { title: visible(u.name, 60), lines: [what, u.image ? visible(u.image, 60) : ""].filter(Boolean), warn: u.findings ? `${u.findings} ${plural(u.findings, "finding")}` : undefined };
  }
  return null;
}

function Picture({ scene, model, address, selected, onLevel, layoutKey, onTidy, untidy }: {
  scene: Scene; model: Model; address: MapAddress; selected: string; onLevel: (k: number) => void; layoutKey: number; onTidy: () => void; untidy: boolean;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const view = useRef<MapView | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const [hover, setHover] = useState<Hit>(null);
  const [said, setSaid] = useState("");
  const [keyed, setKeyed] = useState("");
  const placed = useRef(-1);
  const writing = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const lastWritten = useRef("");
  const narrow = useNarrow();
  const marked = useRef(false);
  const handlers = useRef({ onLevel });
  handlers.current = { onLevel };

  const write = (v: Viewport) => {
    clearTimeout(writing.current);
    writing.current = setTimeout(() => {
      lastWritten.current = writeAddress({ at: v }).at ?? "";
      set({ at: v });
    }, 450);
  };

  useEffect(() => {
    const v = new MapView(canvas.current!, {
      pick: (hit) => {
        if (!hit) choose("");
        else if (hit.kind === "line") choose(hit.line.from, hit.line.to);
        else choose(hit.id);
        setKeyed("");
        v.activate("");
      },
      hover: (hit, at) => {
        setHover((h) => (h?.id === hit?.id && h?.kind === hit?.kind ? h : hit));
        const t = tip.current;
        if (t && at) {
          const w = v.size.w;
          t.style.transform = `translate(${Math.min(at.x + 14, w - 290)}px, ${Math.max(8, at.y + 16)}px)`;
        }
      },
      moved: (at, byHand) => {
        handlers.current.onLevel(at.k);
        if (byHand) write(at);
      },
      active: setKeyed,
    });
    v.onPainted = () => {
      if (marked.current) return;
      marked.current = true;
      performance.mark("map:paint");
    };
    view.current = v;
    return () => {
      clearTimeout(writing.current);
      v.destroy();
      view.current = null;
    };
  }, []);
  useEffect(() => {
    const v = view.current!;
    v.setScene(scene, model);
    if (placed.current === layoutKey || !scene.boxes.length) return;
    const first = placed.current < 0;
    placed.current = layoutKey;
    if (first && address.at) {
      v.setView(address.at);
      lastWritten.current = writeAddress({ at: address.at }).at ?? "";
    } else {
      v.showAll(!first);
    }
  }, [scene, model, layoutKey]);
  useEffect(() => {
    const v = view.current!;
    /* on a phone the panel leaves the upper third of the screen to the map (map.css) */
    v.inset = narrow && selected ? Math.max(0, canvas.current!.getBoundingClientRect().bottom - innerHeight * 0.34) : 0;
    v.select(selected);
    if (selected) v.reveal(isPair(selected) ? selected.split("\n")[1] : selected);
  }, [selected, narrow]);
  useEffect(() => void requestAnimationFrame(() => view.current?.retheme()), [theme.value, document.documentElement.dataset.theme]);
  useEffect(() => {
    /* An address that was typed or gone back to moves the picture; one that the picture wrote does not. */
    const text = writeAddress({ at: address.at }).at ?? "";
    if (!address.at || text === lastWritten.current || placed.current < 0) return;
    lastWritten.current = text;
    view.current?.glide(address.at);
  }, [address.at?.x, address.at?.y, address.at?.k]);
  useEffect(() => {
    const seen = matchMedia("(prefers-color-scheme: light)");
    const f = () => setTimeout(() => view.current?.retheme(), 0);
    seen.addEventListener("change", f);
    return () => seen.removeEventListener("change", f);
  }, []);

  const say = (id: string) => {
    const what = describeHit(model, { kind: "unit", id });
    const g = groupOf(model, id);
    const lines = scene.touching.get(id) ?? [];
    const out = lines.filter((l) => l.from === id || groupOf(model, l.from)?.id === id).length;
    const bad = lines.filter((l) => l.flag && l.flag !== "new").length;
    setSaid(`${what?.title ?? visible(g?.name ?? id, 60)}${what && g ? `, in ${visible(g.name, 40)}` : ""}. ${what?.lines[0] ?? `${g?.units.length ?? 0} workloads`}. ${out} out, ${lines.length - out} in${bad ? `, ${bad} failing or scanning` : ""}.`);
  };
  const onKey = (e: KeyboardEvent) => {
    const v = view.current;
    if (!v || e.target !== e.currentTarget || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key.startsWith("Arrow")) {
      if (e.shiftKey) {
        const d = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key]!;
        v.glide({ ...v.view, x: v.view.x + (d[0] * v.size.w * 0.25) / v.view.k, y: v.view.y + (d[1] * v.size.h * 0.25) / v.view.k });
        write({ ...v.view });
      } else {
        const id = v.key(e.key);
        if (id) {
          setKeyed(id);
          say(id);
        }
      }
    } else if (e.key === "Enter" || e.key === " ") {
      if (!v.active) return;
      choose(v.active);
    } else if (e.key === "+" || e.key === "=") v.zoom(1.4, undefined, undefined, true);
    else if (e.key === "-") v.zoom(1 / 1.4, undefined, undefined, true);
    else if (e.key === "0") v.showAll(true);
    else if (e.key === "Escape") {
      /* the panel's own Escape closes it */
      const open = !!selected;
      const was = v.active;
      v.activate("");
      setKeyed("");
      setSaid("");
      if (open || !was) return;
    } else return;
    e.preventDefault();
  };

  const about = describeHit(model, hover);
  const names = keyed ? visible(nameOf(model, keyed), 60) : "";
  return (
    <div ref={box} class="map-picture">
      <div class="map-canvas-box" role="application" aria-roledescription="connection map" tabIndex={0} aria-describedby="map-how"
        aria-label={`Connection map: ${count(model.units.size)} nodes in ${count(scene.boxes.length)} groups, ${count(scene.shownEdges)} connections${names ? `; at ${names}` : ""}`} onKeyDown={onKey}>
        <canvas ref={canvas} class="map-canvas" aria-hidden="true" />
      </div>
      <p id="map-how" class="sr">Arrow keys go from node to node, Enter selects, plus and minus zoom, 0 shows all, slash filters. The table view has the same content.</p>
      <p class="sr" role="status">{said}</p>
      <div ref={tip} class={`map-tip ${about ? "" : "off"}`} aria-hidden="true">
        {about && <><strong><T s={about.title} /></strong>{about.lines.map((l, i) => <span key={i}><T s={l} /></span>)}{about.warn && <span class="amber">{about.warn}</span>}</>}
      </div>
      <Legend diff={!!address.diff} />
      <div class="map-buttons" role="group" aria-label="Zoom">
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => view.current?.zoom(1.5, undefined, undefined, true)}><Icon name="plus" /></button>
        <button type="button" aria-label="Zoom out" title="Zoom out (−)" onClick={() => view.current?.zoom(1 / 1.5, undefined, undefined, true)}><Icon name="minus" /></button>
        <button type="button" aria-label="Show all" title="Show all (0)" onClick={() => { view.current!.showAll(true); set({ at: null }); }}><Icon name="fitall" /></button>
        <button type="button" class={untidy ? "hint-dot" : ""} aria-label="Arrange anew" title={untidy ? "Arrange anew: the map has grown since it was arranged" : "Arrange anew; otherwise nothing ever moves"} onClick={onTidy}><Icon name="tidy" /></button>
      </div>
    </div>
  );
}

function Legend({ diff: changes }: { diff: boolean }) {
  const [open, setOpen] = useState(!matchMedia("(max-width: 720px)").matches);
  const Sample = ({ kind }: { kind: string }) => (
    <svg width="26" height="12" viewBox="0 0 26 12" aria-hidden="true" class={`sample ${kind}`}>
      <path d="M1 6h24" />
      {kind === "fail" && <><circle cx="13" cy="6" r="4.6" /><path d="m11 4 4 4m0-4-4 4" class="mark" /></>}
      {kind === "scan" && <><circle cx="13" cy="6" r="4.6" /><path d="m11 6 4-2.4M11 6h4.4M11 6l4 2.4" class="mark" /></>}
      {kind === "new" && <><circle cx="13" cy="6" r="4.6" /><path d="M10.8 6h4.4M13 3.8v4.4" class="mark" /></>}
    </svg>
  );
  return (
    <details class="map-legend" open={open} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>Legend</summary>
      <ul>
        {changes ? <>
          <li><Sample kind="new" />New</li>
          <li><Sample kind="gone" />Gone</li>
          <li><Sample kind="grown" />Grown or shrunk</li>
          <li><Sample kind="quiet" />Unchanged</li>
        </> : <>
          <li><Sample kind="flow" />Wider: more bytes</li>
          <li><Sample kind="fail" />Failing</li>
          <li><Sample kind="scan" />Scanning</li>
          <li><Sample kind="new" />New</li>
        </>}
        <li><span class="legend-dot run" />Running</li>
        <li><span class="legend-dot" />Not running</li>
      </ul>
    </details>
  );
}

/* --- The page ---------------------------------------------------------------------------------------------------------------- */

export function MapPage() {
  const params = route.value.params;
  const a = useMemo(() => readAddress(params), [params]);
  const narrow = useNarrow();
  const loader = useRef<Loader | null>(null);
  loader.current ??= new Loader();
  const layout = useRef<Layout | null>(null);
  layout.current ??= readPlaces();
  const numbers = useRef(new Numbers());
  const [auto, setAuto] = useState<Level>("application");
  const [arranged, setArranged] = useState(0);
  const [patience, setPatience] = useState(false);
  const got = answers.value;
  const told = state.value;
  const version = inventoryVersion.value;
  const stock = inventoryState.value;
  const terms = useMemo(() => parse(a.query), [a.query]);
  const level: Level = a.level !== "auto" ? a.level : asksContainers(terms) ? "container" : auto;
  const containers = level === "container" || kindOf(a.select) === "container" || (a.table && a.level === "container");

  /* --- asking --- */
  useEffect(() => {
    loader.current!.want({ since: a.until - a.window, window: a.window, until: a.until, range: a.range, containers, diff: a.diff, level });
  }, [a.until, a.window, a.range, containers, a.diff, a.diff ? level : ""]);
  useEffect(() => loader.current!.touch(), [graphChanged.value]);
  useEffect(() => loader.current!.touch(), [halfMinute.value]);
  useEffect(() => {
    const shown = () => { if (!document.hidden) loader.current?.shown(); };
    document.addEventListener("visibilitychange", shown);
    const t = setTimeout(() => setPatience(true), 1500);
    return () => {
      clearTimeout(t);
      document.removeEventListener("visibilitychange", shown);
      loader.current?.stop();
      loader.current = null;
    };
  }, []);

  /* --- from answers to a scene --- */
  const shownQuiet = a.show.join(",");
  const quiet = useMemo(() => {
    const edges: Partial<Record<Level, GEdge[]>> = {};
    const counts: Record<Quiet, number> = { dns: 0, runtime: 0, health: 0 };
    for (const l of LEVELS) {
      const answer = got[l];
      if (!answer) continue;
      settleFresh(answer.edges);
      edges[l] = answer.edges.filter((e) => {
        const q = quietOf(e);
        if (!q) return true;
        if (l === "workload") counts[q]++;
        return a.show.includes(q);
      });
    }
    return { edges, counts };
  }, [got, shownQuiet]);
  /* Until the inventory is there a first arrangement would depend on what came first. */
  const ready = !!got.workload && (!layout.current.empty || stock.complete || !!stock.error || patience);
  const built = useMemo(() => {
    if (!ready) return null;
    const began = performance.now();
    const l = layout.current!;
    const list: Answer[] = LEVELS.flatMap((x) => (got[x] ? [{ ...got[x]!, edges: quiet.edges[x]! }] : []));
    const model = buildModel(inventory.rows, diff.value ? [...list, diff.value] : list, (id) => l.groupOfUnit(id));
    if (l.empty) {
      l.arrange(model, quiet.edges.workload ?? [], narrow ? 0.75 : 1.65);
      keepPlaces(l);
    } else if (l.extend(model)) keepPlaces(l);
    loader.current?.spent(performance.now() - began);
    return { model, untidy: l.untidy };
  }, [ready, quiet, version, arranged, diff.value]);
  const filter = useMemo(() => (built ? compile(a.query, built.model) : null), [a.query, built]);
  const scene = useMemo(() => {
    if (!built || !filter) return null;
    const began = performance.now();
    const s = buildScene({ model: built.model, layout: layout.current!, numbers: numbers.current, level, filter, edges: quiet.edges, diff: a.diff ? diff.value : null });
    loader.current?.spent(performance.now() - began);
    return s;
  }, [built, filter, level, quiet, a.diff, diff.value]);

  const selected = a.to && a.select ? pairKey(a.select, a.to) : a.select;
  const tidy = () => {
    if (!built) return;
    layout.current = new Layout();
    keepPlaces(null);
    set({ at: null });
    setArranged((n) => n + 1);
  };
  const close = () => {
    choose("");
    document.querySelector<HTMLElement>(a.table ? ".map-grid" : ".map-canvas-box")?.focus({ preventScroll: true });
  };

  const edges = scene ? (level === "application" ? quiet.edges.workload : quiet.edges[level]) ?? [] : [];
  const flags = useMemo(() => {
    const n = { scan: 0, fail: 0, new: 0 };
    for (const e of quiet.edges.workload ?? []) {
      const f = flagOf(e);
      if (f) n[f]++;
    }
    return n;
  }, [quiet]);
  const nothing = !!built && built.model.units.size === 0;
  const panel = !!built && (a.select !== "" || (a.diff && !narrow));
  const FLAG_CHIPS: [keyof typeof flags, string, string, string][] = [["scan", "scanning", "state:scanning", "Connections to many ports or addresses within seconds"], ["fail", "failing", "state:failing", "At least half of the attempts were refused, timed out or failed"], ["new", "new", "state:new", "Seen for the first time within this window"]];

  return (
    <div class={`page split map ${panel ? "with-drawer" : ""}`}>
      <section class="listing" aria-labelledby="map-title">
        <header class="toolbar">
          <h1 id="map-title">Map</h1>
          <div class="segments" role="group" aria-label="Level of detail">
            {(["auto", ...LEVELS] as const).map((l) => <button key={l} type="button" aria-pressed={a.level === l} onClick={() => set({ level: l })} title={l === "auto" ? "The zoom decides" : undefined}>{LEVEL_LABELS[l]}</button>)}
          </div>
          <FilterBox query={a.query} />
          <div class="map-chips" role="group" aria-label="What is shown">
            {FLAG_CHIPS.map(([key, label, term, title]) => flags[key] > 0 && (
              <button key={key} type="button" class={`mchip ${key === "new" ? "fresh" : "warned"}`} aria-pressed={a.query.includes(term)} title={title} onClick={() => set({ query: toggleTerm(a.query, term) })}>
                <strong>{count(flags[key])}</strong> {label}
              </button>
            ))}
            {QUIETS.map((q) => (quiet.counts[q.key] > 0 || a.show.includes(q.key)) && (
              <button key={q.key} type="button" class="mchip quiet" aria-pressed={a.show.includes(q.key)} title={`${q.title}. ${a.show.includes(q.key) ? "Click to hide." : "Click to show."}`}
                onClick={() => set({ show: a.show.includes(q.key) ? a.show.filter((x) => x !== q.key) : [...a.show, q.key] })}>
                {q.label} {a.show.includes(q.key) ? "shown" : "hidden"} <span class="n">{count(quiet.counts[q.key])}</span>
              </button>
            ))}
          </div>
          <div class="map-views">
            <Button glyph="diff" class="small" aria-pressed={a.diff} kind={a.diff ? "primary" : "plain"} title="Compare this window with the one before it" onClick={() => set({ diff: !a.diff })}>What changed</Button>
            <Button glyph={a.table ? "map" : "table"} class="small" aria-pressed={a.table} onClick={() => set({ table: !a.table })}>{a.table ? "Map" : "Table"}</Button>
          </div>
        </header>
        {told.error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{told.error}{told.at ? ` What you see is as of ${clock(told.at)}.` : ""} Trying again.</span></div>}
        {told.partial && <div class="inline-warn" role="status"><Icon name="warn" /><span>There are more than {count(MAX_EDGES)} connections in this window; the others are not drawn. A shorter window shows all of its own.</span></div>}
        <div class="map-body">
          {!scene || !built || !filter ? (told.error && !got.workload ? <Empty icon="warn" title="The map could not be read"><p>{told.error}</p></Empty> : <div class="map-loading"><Skeleton rows={9} label="Loading the map" /></div>)
            : nothing ? <Empty icon="map" title="Nothing to draw yet"><p>No container is known and no connection was seen in this window. Containers appear here as soon as a node reports them.</p></Empty>
            : a.table ? <MapTable edges={edges} model={built.model} filter={filter} address={a} level={level} />
            : <Picture scene={scene} model={built.model} address={a} selected={selected} onLevel={(k) => setAuto((l) => levelAt(k, l))} layoutKey={arranged} onTidy={tidy} untidy={built.untidy} />}
          {scene && built && !nothing && !a.table && <Tally scene={scene} model={built.model} edges={edges} filtered={!filter!.empty} level={level} onClear={() => set({ query: "" })} />}
        </div>
        <Scrubber address={a} />
        <p class="sr" role="status">{stream.value.state === "stale" ? "The map is not being updated." : ""}</p>
      </section>
      {panel && (a.select ? <SelectionPanel key={`${a.select} ${a.to} ${a.edge}`} address={a} model={built!.model} edges={quiet.edges} level={level} onClose={close} />
        : <ChangesPanel model={built!.model} onClose={() => set({ diff: false })} />)}
    </div>
  );
}

/* One line over the picture: how much is seen of how much. */
function Tally({ scene, model, edges, filtered, level, onClear }: { scene: Scene; model: Model; edges: GEdge[]; filtered: boolean; level: Level; onClear: () => void }) {
  const total = useMemo(() => edges.reduce((n, e) => n + bytesOf(e), 0), [edges]);
  const apps = scene.boxes.filter((b) => b.group.kind === "application" && !b.key.includes("#")).length;
  if (filtered && !scene.shownEdges && !scene.units.some((u) => !u.dim)) return <div class="map-note"><Notice level="note" action={<Button class="small" onClick={onClear}>Clear the filter</Button>}>Nothing here matches the filter.</Notice></div>;
  if (!edges.length) return <div class="map-note"><Notice level="note">No connection was seen in this window. A longer one may show some.</Notice></div>;
  return (
    <p class="map-tally">
      {filtered ? <><strong>{count(scene.shownEdges)}</strong> of {count(scene.totalEdges)} connections match</> : <><strong>{count(apps)}</strong> {plural(apps, "application")} · <strong>{count(model.units.size)}</strong> nodes · <strong>{count(edges.length)}</strong> {plural(edges.length, "connection")} · {bytes(total)}</>}
      <span class="map-level">{LEVEL_LABELS[level]}</span>
    </p>
  );
}
