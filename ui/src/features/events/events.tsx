/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens now. The newest is on top; scrolling down, selecting a row or Pause holds the list, and what comes meanwhile waits
 * and is counted. Nothing is drawn more often than once a frame, and a hidden tab gives its stream back.
 */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { address, ApiError, call, sentence } from "../../api/client";
import { href, patch, route } from "../../app/router";
import { inventory, inventoryVersion, known } from "../../app/state";
import type { Columns } from "../../lib/export";
import { brief, clock, count } from "../../lib/format";
import { describe, Feed, GROUPS, groupOf, Rates, typesOf, type BhEvent, type Item } from "../../lib/events";
import { list, object, text as texted } from "../../lib/loose";
import { plural, visible } from "../../lib/text";
import { listen } from "../../live/client";
import type { StreamState } from "../../live/hub";
import { ExportMenu } from "../../parts/export";
import { Grid } from "../../parts/grid";
import { Glyph, Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Empty, Skeleton, Spark, T } from "../../parts/ui";
import { EventDrawer } from "./drawer";

const MAX = 5000;
const BACKLOG = 200;
const TIMES: [string, string][] = [["", "From now on"], ["15m", "Last 15 minutes"], ["1h", "Last hour"], ["24h", "Last day"]];

interface Told { node?: string; count?: number; state?: string; why?: string }

const text = (e: BhEvent | undefined, k: string) => (typeof e?.[k] === "string" ? (e[k] as string) : "");

const EXPORTED: Columns<BhEvent> = [["time", (e) => e.time], ["type", (e) => e.type], ["count", (e) => e.count ?? 1], ["node", (e) => e.node], ["container", (e) => e["container.name"]], ["container_id", (e) => e["container.id"]], ["process", (e) => e["proc.name"]], ["pid", (e) => e["proc.pid"]],
  ["executable", (e) => e["proc.exe"]], ["what", (e) => { const l = describe(e); return `${l.main} ${l.tail ?? ""}`.trim(); }], ["id", (e) => e.id]];

function cells(item: Item, narrow: boolean) {
  if (item.kind === "gap")
    return <span role="gridcell" class="e-gap" aria-colspan={5}><Icon name="warn" size={14} />{item.dropped ? <><strong>{count(item.dropped)} {plural(item.dropped, "event")} dropped</strong><span>{item.why}</span></> : <strong>{item.why}</strong>}<time>{clock(item.at)}</time></span>;
  const e = item.event!;
  const type = text(e, "type");
  const line = describe(e);
  const n = Number(e.count ?? 1);
  const who = text(e, "container.name") || text(e, "container.id").slice(0, 12);
  return <>
    <span role="gridcell" class="e-time mono">{clock(item.at, !narrow)}</span>
    <span role="gridcell" class="e-type"><Glyph group={groupOf(type)} /><span>{visible(type, 24)}</span></span>
    <span role="gridcell" class="e-container">{who ? <T s={who} max={80} /> : <span class="faint">host</span>}</span>
    <span role="gridcell" class="e-proc"><T s={text(e, "proc.name")} max={40} /><span class="faint mono">{e["proc.pid"] ? ` ${e["proc.pid"]}` : ""}</span></span>
    <span role="gridcell" class={`e-what ${line.failed ? "failed" : ""}`}><T s={line.main} max={400} class="mono" />{line.tail && <T s={line.tail} max={200} class="e-tail" />}{n > 1 && <span class="times" title={`${n} equal acts`}>×{brief(n)}</span>}</span>
  </>;
}

export function Events() {
  const params = route.value.params;
  const chosen = params.get("groups");
  const groups = useMemo(() => (chosen === null ? GROUPS.filter((g) => !g.quiet).map((g) => g.key) : chosen.split(",").filter((k) => GROUPS.some((g) => g.key === k))), [chosen]);
  const container = params.get("container") ?? "";
  const node = params.get("node") ?? "";
  const since = TIMES.find(([key]) => key === params.get("since"))?.[0] ?? "";
  const filter = params.get("filter") ?? "";
  const [typed, setTyped] = useState(container);
  const [condition, setCondition] = useState(filter);
  const [wrong, setWrong] = useState("");
  const [state, setState] = useState<{ state: StreamState; why: string }>({ state: "connecting", why: "" });
  const [backlog, setBacklog] = useState("");
  const [paused, setPaused] = useState(false);
  const [atTop, setAtTop] = useState(true);
  const [active, setActive] = useState(-1);
  const [open, setOpen] = useState<Item | null>(null);
  const [, redraw] = useState(0);
  const feed = useRef(new Feed(MAX));
  const rates = useRef(new Rates(120));
  const frame = useRef(0);
  const box = useRef<HTMLDivElement>(null);
  const narrow = useNarrow();
  void inventoryVersion.value;

  /* One repaint a frame, and at most eight a second: reading is what the page is for. */
  const lastDrawn = useRef(0);
  const draw = () => {
    if (frame.current) return;
    const tick = (t: number) => {
      if (t - lastDrawn.current < 120) {
        frame.current = requestAnimationFrame(tick);
        return;
      }
      frame.current = 0;
      lastDrawn.current = t;
      redraw((n) => n + 1);
    };
    frame.current = requestAnimationFrame(tick);
  };
  useEffect(() => () => cancelAnimationFrame(frame.current), []);
  useEffect(() => {
    const t = setInterval(() => { if (!document.hidden) draw(); }, 1000);
    return () => clearInterval(t);
  }, []);

  const types = groups.length ? typesOf(groups).join(",") : "none";
  useEffect(() => {
    const f = feed.current;
    f.clear();
    f.release();
    setPaused(false);
    setAtTop(true);
    setOpen(null);
    setActive(-1);
    if (types === "none") return;
    let leave: (() => void) | undefined;
    let hiddenAt = 0;
    let asked = false; /* for what happened before */
    const over = new AbortController();
    const silent = new Set<string>();
    const query = { types: types || undefined, container: container || undefined, node: node || undefined, filter: filter || undefined };
    const take = (events: { event: string; data: string }[], at: number) => {
      let batch: BhEvent[] = [];
      let acts = 0;
      let dropped = 0;
      const flush = () => {
        acts += batch.reduce((n, e) => n + Number(e.count ?? 1), 0);
        if (batch.length) f.push(batch);
        batch = [];
      };
      for (const e of events) {
        try {
          const v = JSON.parse(e.data) as BhEvent & Told;
          if (e.event === "dropped") {
            flush();
            dropped += Number(v.count ?? 0) || 1;
            f.gap(Number(v.count ?? 0) || 1, visible(`${v.node ?? ""}: ${v.why ?? "they came faster than they could be passed on"}`, 200), at);
          } else if (e.event === "node") {
            flush();
            const name = String(v.node ?? "");
            const back = silent.delete(name);
            if (v.state === "down") silent.add(name);
            if (v.state === "down") f.gap(0, visible(`No more events come from ${v.node ?? "a node"}${v.why ? `: ${v.why}` : ""}`, 200), at);
            else if (back) f.gap(0, visible(`Events come from ${v.node ?? "a node"} again`, 200), at);
          } else if (v && typeof v === "object") batch.push(v);
        } catch {
          dropped++;
          f.gap(1, "they could not be read", at);
        }
      }
      flush();
      rates.current.add(at, acts, dropped);
      draw();
    };
    const join = () => {
      leave ??= listen(address("/events/live", query), {
        state: (s, _at, _status, why) => {
          setState({ state: s, why: why ?? "" });
        },
        events: take,
      });
    };
    const onHide = () => {
      if (refused || !asked) return;
      if (document.hidden) {
        hiddenAt = Date.now();
        leave?.();
        leave = undefined;
      } else {
        if (hiddenAt) f.gap(0, `This page was hidden from ${clock(hiddenAt)} on and did not ask for events`, Date.now());
        hiddenAt = 0;
        join();
      }
    };
    setState({ state: "connecting", why: "" });
    setBacklog("");
    setWrong("");
    let refused = false;
    const limit = since ? MAX : BACKLOG;
    /* a node has 20 s to answer, and what the others said is not to be lost with it */
    call<unknown>("GET", "/events", { query: { ...query, since: since || undefined, limit }, signal: over.signal, timeoutMs: 40_000 }).then((v) => {
      const o = object(v);
      const sorted = (list(o.events) as BhEvent[]).slice().sort((a, b) => (String(a.time) < String(b.time) ? -1 : 1));
      if (since && sorted.length >= limit) f.gap(0, `There were more in this time: these are the last ${count(limit)}`, Date.now());
      f.push(sorted);
      for (const n of list(o.nodes).map(object)) if (n.error || n.cut) f.gap(0, visible(`${texted(n.node)}: ${texted(n.error) || "not all that it has could be answered"}`, 200), Date.now());
      const lost = (Number(o.dropped) || 0) + (Number(o.undecodable) || 0);
      if (lost) f.gap(lost, "they are missing in what was asked for", Date.now());
      draw();
    }, (e: unknown) => {
      if (over.signal.aborted) return;
      refused = e instanceof ApiError && e.code === "bad_filter";
      (refused ? setWrong : setBacklog)(sentence(e));
    }).finally(() => {
      asked = true;
      if (over.signal.aborted || refused) return;
      if (document.hidden) hiddenAt = Date.now();
      else join();
    });
    document.addEventListener("visibilitychange", onHide);
    return () => {
      over.abort();
      leave?.();
      document.removeEventListener("visibilitychange", onHide);
    };
  }, [types, container, node, since, filter]);

  useEffect(() => setTyped(container), [container]);
  useEffect(() => setCondition(filter), [filter]);
  useEffect(() => {
    if (typed === container) return;
    const t = setTimeout(() => patch({ container: typed }), 350);
    return () => clearTimeout(t);
  }, [typed]);

  const f = feed.current;
  const when = since ? "in this time" : "since you opened this page";
  const hold = paused || !atTop || active >= 0;
  if (hold && !f.held) f.hold();
  else if (!hold && f.held) f.release();

  const n = f.items.length;
  const at = (i: number) => f.items[n - 1 - i];
  const toggle = (key: string) => {
    const next = groups.includes(key) ? groups.filter((g) => g !== key) : [...groups, key];
    patch({ groups: GROUPS.map((g) => g.key).filter((k) => next.includes(k)).join(",") || "none" });
  };
  const resume = () => {
    setPaused(false);
    setActive(-1);
    setOpen(null);
    box.current?.scrollTo({ top: 0 });
    setAtTop(true);
  };
  const { events: series, drops } = rates.current.series(Date.now());
  const recent = series.slice(-11, -1);
  const perSecond = recent.reduce((a, b) => a + b, 0) / recent.length;
  const bars = narrow ? series.slice(-60) : series;
  const selected = open ? f.items.length - 1 - f.items.findIndex((i) => i.seq === open.seq) : -1;
  const live = state.state === "live";

  return (
    <div class={`page split events ${open ? "with-drawer" : ""}`}>
      <section class="listing" aria-labelledby="e-title">
        <header class="toolbar">
          <h1 id="e-title">Live events</h1>
          <div class="searchbox">
            <Icon name="containers" />
            <input type="text" list="e-containers" aria-label="Only this container" placeholder="All containers" spellcheck={false} autocomplete="off" maxLength={256} value={typed} onInput={(e) => setTyped(e.currentTarget.value)} />
            {typed && <button type="button" class="clear" aria-label="All containers" onClick={() => { setTyped(""); patch({ container: undefined }); }}><Icon name="close" size={12} /></button>}
            <datalist id="e-containers">{inventory.rows.slice(0, 200).map((r) => <option key={r.id} value={r.name} />)}</datalist>
          </div>
          {/* a condition counts when it is whole: with Enter, or when one leaves the field */}
          <form class="searchbox" onSubmit={(e) => { e.preventDefault(); patch({ filter: condition.trim() }); }}>
            <Icon name="filter" />
            <input type="text" aria-label="Only what this condition is true for" aria-invalid={wrong ? true : undefined} aria-describedby={wrong ? "e-wrong" : undefined} placeholder="Condition: proc.name in (sh, bash)" spellcheck={false} autocomplete="off" autocapitalize="none" maxLength={4096} value={condition} onInput={(e) => setCondition(e.currentTarget.value)} onBlur={() => { if (condition.trim() !== filter) patch({ filter: condition.trim() }); }} />
            {condition && <button type="button" class="clear" aria-label="No condition" onClick={() => { setCondition(""); patch({ filter: undefined }); }}><Icon name="close" size={12} /></button>}
          </form>
          {(known.value.nodes.length > 1 || node) && <select aria-label="Node" value={node} onChange={(e) => patch({ node: e.currentTarget.value })}><option value="">All nodes</option>{node && !known.value.nodes.some((x) => x.name === node) && <option value={node}>{visible(node, 48)}, not known</option>}{known.value.nodes.map((x) => <option key={x.name} value={x.name}>{visible(x.name, 48)}</option>)}</select>}
          <select aria-label="From when" value={since} onChange={(e) => patch({ since: e.currentTarget.value })}>{TIMES.map(([key, label]) => <option key={key} value={key}>{label}</option>)}</select>
          <Button glyph={hold ? "play" : "pause"} aria-pressed={hold} kind={hold ? "primary" : "plain"} onClick={() => (hold ? resume() : setPaused(true))}>{hold ? "Resume" : "Pause"}</Button>
          <ExportMenu what="events" disabled={!n} columns={EXPORTED} rows={() => Promise.resolve({ rows: f.items.filter((i) => i.kind === "event").map((i) => i.event!), cut: f.forgotten > 0 })} />
          <div class="groups" role="group" aria-label="Kinds of events">
            {GROUPS.map((g) => (
              <button key={g.key} type="button" class={`toggle g-${g.key}`} aria-pressed={groups.includes(g.key)} title={g.types.join(", ")} onClick={() => toggle(g.key)}>
                <Glyph group={g.key} />{g.label}
              </button>
            ))}
          </div>
        </header>
        <p class="sr" role="status">{hold ? "The list is held." : ""} {state.state === "stale" ? state.why : ""}</p>
        {wrong && <div class="inline-warn" role="alert" id="e-wrong"><Icon name="warn" /><span><T s={wrong} max={400} /></span></div>}
        {backlog && <div class="inline-warn" role="alert"><Icon name="warn" /><span>What happened before could not be asked for: {backlog}</span></div>}
        {!wrong && state.state !== "live" && state.state !== "connecting" && (
          <div class="inline-warn"><Icon name="warn" /><span>{state.state === "denied" ? "This account may not see live events." : state.state === "ended" ? "The stream was ended by the central." : state.why || "The stream broke."}{state.state === "stale" && " Trying again."}</span></div>
        )}
        <div class="feed">
          {hold && f.waiting.length > 0 && <button type="button" class="pill" onClick={resume}><Icon name="up" size={14} />{count(f.waiting.length)} newer</button>}
          {n ? (
            <Grid id="e" label="Events, newest first" class="events-grid" total={n} rowHeight={narrow ? 58 : 32} columns={5} scroller={box} active={active} selected={selected}
              onActive={setActive} onOpen={(i) => { const item = at(i); if (item?.kind === "event") setOpen(item); }} onTop={setAtTop}
              head={<div role="row" class="row head" aria-rowindex={1}>
                <span role="columnheader" class="e-time">Time</span><span role="columnheader" class="e-type">Kind</span><span role="columnheader" class="e-container">Container</span><span role="columnheader" class="e-proc">Process</span><span role="columnheader" class="e-what">What happened</span>
              </div>}
              row={(i) => { const item = at(i); return { key: item.seq, class: item.kind === "gap" ? "gap" : "", cells: cells(item, narrow) }; }} />
          ) : wrong ? <Empty icon="filter" title="The condition is not right yet"><p>It is written as in a rule: <code>proc.name in (sh, bash) and container.id != host</code></p></Empty>
            : !groups.length ? <Empty icon="filter" title="No kind of event is chosen">Choose one above.</Empty>
            : state.state === "connecting" ? <Skeleton rows={12} label="Connecting to the sensors" />
            : live ? <Empty icon="events" title="Nothing has happened yet"><p>{container ? <>No event of these kinds came from <strong><T s={container} max={80} /></strong> {when}.</> : `No event of these kinds came ${when}.`}</p></Empty>
            : <Empty icon="warn" title="No events can be shown"><p>{state.why || "The stream is not open."}</p></Empty>}
        </div>
        <footer class="strip">
          <span class="strip-rate"><strong>{live ? brief(perSecond) : "–"}</strong> per second</span>
          <Spark values={bars} marks={narrow ? drops.slice(-60) : drops} width={bars.length * 6} height={34} />
          <span class="strip-facts">
            {f.dropped > 0 ? <span class="amber"><Icon name="warn" size={14} />{count(f.dropped)} dropped</span> : <span>none dropped</span>}
            <span>{count(n)} kept{f.forgotten ? `, ${count(f.forgotten)} older let go` : ""}</span>
          </span>
        </footer>
      </section>
      {open?.event && <EventDrawer event={open.event} onClose={() => { setOpen(null); box.current?.focus(); }} onContainer={(name) => { location.hash = href("/events", { groups: chosen ?? undefined, container: name }); }} />}
    </div>
  );
}
