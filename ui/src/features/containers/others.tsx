/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is beside containers: services, tasks, networks, images, volumes as runtimes tell them (#/containers?tab=resources&kind=…&q=…&id=SERIAL), and the
 * HTTP requests that workloads answer and make (#/containers?tab=requests&side=…&q=…&id=…).
 */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Endpoint, Resource } from "../../api/openapi";
import { href, patch, route } from "../../app/router";
import { now } from "../../app/state";
import type { Columns } from "../../lib/export";
import { ageShort, brief, bytes, count, toMs } from "../../lib/format";
import { usePages } from "../../lib/pages";
import { plural, visible } from "../../lib/text";
import { Drawer } from "../../parts/drawer";
import { ExportMenu, readAll } from "../../parts/export";
import { Grid } from "../../parts/grid";
import { Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Empty, Facts, Section, Skeleton, T, Time } from "../../parts/ui";
import { InventoryTabs } from "./tabs";

const PAGE = 200;
const EVERY_MS = 15_000;
const KINDS = ["service", "task", "node", "stack", "pod", "network", "config", "secret", "image", "volume"] as const;

interface Listing<R> {
  path: string; member: string; title: string; one: string; query: Record<string, string>; choice: ComponentChildren; keyOf: (r: R) => string; heads: [title: string, number?: boolean][]; cells: (r: R) => ComponentChildren[];
  columns: Columns<R>; drawer: (r: R, onClose: () => void) => ComponentChildren; empty: string; class: string;
}

function List<R>({ of }: { of: Listing<R> }) {
  const params = route.value.params;
  const q = params.get("q") ?? "";
  const id = params.get("id") ?? "";
  const [text, setText] = useState(q);
  const [active, setActive] = useState(0);
  const [tick, setTick] = useState(0);
  const narrow = useNarrow();
  const box = useRef<HTMLDivElement>(null);
  const query = { ...of.query, search: q };
  const wanted = JSON.stringify(query);
  const { rows, next, error, older } = usePages<R>(of.path, of.member, query, PAGE, tick);
  useEffect(() => {
    const t = setInterval(() => { if (!document.hidden) setTick((n) => n + 1); }, EVERY_MS);
    return () => clearInterval(t);
  }, []);
  useEffect(() => setActive(0), [wanted]);
  useEffect(() => setText(q), [q]);
  useEffect(() => {
    if (text === q) return;
    const t = setTimeout(() => patch({ q: text }), 200);
    return () => clearTimeout(t);
  }, [text]);
  /* newer ones may push it out of what is loaded while somebody reads it */
  const last = useRef<R | null>(null);
  const found = rows?.find((r) => of.keyOf(r) === id);
  if (found) last.current = found;
  const chosen = found ?? (id && last.current && of.keyOf(last.current) === id ? last.current : undefined);
  const filtered = q || Object.values(of.query).some(Boolean);
  const clear = () => patch({ q: undefined, kind: undefined, side: undefined });
  const heads = narrow ? of.heads.slice(0, 2) : of.heads;
  return (
    <div class={`page split ${of.class} ${chosen ? "with-drawer" : ""}`}>
      <section class="listing" aria-labelledby="c-title">
        <header class="toolbar">
          <h1 id="c-title">Containers</h1><InventoryTabs />
          <div class="searchbox"><Icon name="search" /><input type="text" aria-label={`Search ${of.title}`} placeholder="Search" spellcheck={false} autocomplete="off" maxLength={256} value={text} onInput={(e) => setText(e.currentTarget.value)} onKeyDown={(e) => { if (e.key === "ArrowDown") { e.preventDefault(); box.current?.focus(); } }} /></div>
          {of.choice}
          <p class="tally-line" role="status">{rows ? `${count(rows.length)}${next ? "+" : ""} ${plural(rows.length, of.one)}` : "Loading…"}</p>
          <ExportMenu what={of.member} columns={of.columns} disabled={!rows?.length} rows={() => readAll<R>(of.path, of.member, query)} />
        </header>
        {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{rows ? "What you see may be old" : "The list could not be read"}: {error}</span></div>}
        {id && rows && !chosen && <div class="inline-warn" role="status"><Icon name="warn" /><span>What the address names is not among the {count(rows.length)} rows that are loaded.</span></div>}
        {!rows ? !error && <Skeleton rows={10} label={`Loading ${of.title}`} />
          : !rows.length ? (filtered ? <Empty icon="search" title="Nothing matches"><Button onClick={clear}>Clear the filters</Button></Empty> : <Empty icon="note" title="None is known"><p>{of.empty}</p></Empty>)
          : <Grid id="o" label={`${of.title}, ${count(rows.length)}`} class={`others-grid ${of.class}`} total={rows.length} rowHeight={narrow ? 56 : 40} columns={heads.length} scroller={box} active={active} onActive={setActive} selected={found ? rows.indexOf(found) : -1} onOpen={(n) => patch({ id: of.keyOf(rows[n]) }, !!chosen)}
              head={<div role="row" class="row head" aria-rowindex={1}>{heads.map(([h, n]) => <span key={h} role="columnheader" class={n ? "n" : ""}>{h}</span>)}</div>}
              row={(n) => ({ key: of.keyOf(rows[n]), cells: <>{of.cells(rows[n]).slice(0, heads.length).map((c, k) => <span key={k} role="gridcell" class={heads[k][1] ? "n" : "cut"}>{c}</span>)}</> })}
              footer={next ? <p class="card-foot"><Button onClick={older}>Older</Button></p> : undefined} />}
      </section>
      {chosen && of.drawer(chosen, () => { patch({ id: undefined }); box.current?.focus(); })}
    </div>
  );
}

const mono = (s: unknown) => (s === undefined || s === null || s === "" ? null : <span class="mono wrap"><T s={typeof s === "object" ? JSON.stringify(s) : String(s)} max={2000} /></span>);
const ago = (t: string | null | undefined) => { const ms = toMs(t); return Number.isFinite(ms) ? ageShort(Math.floor(now.value / 10_000) * 10_000 - ms) : "–"; };

export function Resources() {
  const kind = KINDS.find((k) => k === route.value.params.get("kind")) ?? "";
  return <List<Resource> key="resources" of={{
    path: "/resources", member: "resources", title: "Resources", one: "resource", class: "resources", query: { kind }, keyOf: (r) => String(r.serial),
    empty: "Services, tasks, networks, images and volumes appear here when a runtime that is asked for them tells of some.",
    choice: <select aria-label="Kind" value={kind} onChange={(e) => patch({ kind: e.currentTarget.value, id: undefined })}><option value="">Any kind</option>{KINDS.map((k) => <option key={k} value={k}>{k}</option>)}</select>,
    heads: [["Name"], ["Kind"], ["Application"], ["Told by"], ["Changed", true]],
    cells: (r) => [<T s={r.name || r.id} max={200} title />, <span class="tag"><T s={r.kind} max={24} /></span>, <T s={r.application} max={80} class="dim" />, <T s={r.scope === "node" ? r.node : `${r.source}, shared`} max={80} class="dim" />, <span class="dim">{ago(r.changed)}</span>],
    columns: [["kind", (r) => r.kind], ["name", (r) => r.name], ["id", (r) => r.id], ["application", (r) => r.application], ["scope", (r) => r.scope], ["source", (r) => r.source], ["node", (r) => r.node], ["created", (r) => r.created], ["changed", (r) => r.changed], ["labels", (r) => r.labels], ["detail", (r) => r.detail]],
    drawer: (r, onClose) => (
      <Drawer label={`${r.kind} ${visible(r.name, 80)}`} focusKey={String(r.serial)} onClose={onClose} head={<><h2><T s={r.name || r.id} max={200} /></h2><p><T s={r.kind} max={24} />{r.application && <> of <a href={href("/containers", { app: r.application })}><T s={r.application} max={80} /></a></>}</p></>}>
        <Facts rows={[["Id", mono(r.id)], ["Scope", mono(r.scope)], ["Told by", <T s={[r.source, r.node].filter(Boolean).join(", node ")} max={160} />], ["Created", <Time ms={toMs(r.created)} />], ["Updated", <Time ms={toMs(r.updated)} />], ["First seen here", <Time ms={toMs(r.first_seen)} />], ["Changed", <Time ms={toMs(r.changed)} />]]} />
        {Object.keys(r.detail ?? {}).length > 0 && <Section title="Details"><Facts rows={Object.entries(r.detail).map(([k, v]): [string, ComponentChildren] => [visible(k.replace(/_/g, " "), 60), mono(v)])} /></Section>}
        {Object.keys(r.labels ?? {}).length > 0 && <Section title="Labels" count={Object.keys(r.labels).length}><dl class="labels">{Object.entries(r.labels).map(([k, v]) => <div key={k}><dt class="mono wrap"><T s={k} max={256} /></dt><dd class="mono wrap"><T s={String(v)} max={1024} /></dd></div>)}</dl></Section>}
      </Drawer>),
  }} />;
}

const SIDES: Record<string, string> = { server: "answers", client: "asks" };
const ms = (us: number) => (us ? (us < 10_000 ? `${(us / 1000).toFixed(1)} ms` : `${count(Math.round(us / 1000))} ms`) : "–");
/* The API has sums. */
const mean = (e: Endpoint) => (e.timed ? e.latency_us / e.timed : 0);
const each = (sum: number, e: Endpoint) => bytes(e.count ? Math.round(sum / e.count) : 0);
const answers = (e: Endpoint) => Object.entries(e.statuses ?? {}).filter(([, n]) => n).map(([k, n]) => `${k === "none" ? "no answer" : k} ${brief(n)}`).join(", ");

export function Requests() {
  const side = route.value.params.get("side") ?? "";
  return <List<Endpoint> key="requests" of={{
    path: "/endpoints", member: "endpoints", title: "HTTP requests", one: "request", class: "requests", query: { side: SIDES[side] ? side : "" }, keyOf: (r) => String(r.id),
    empty: "Requests that containers answer and make over HTTP appear here, by method and template of the path. Values of parameters are never kept.",
    choice: <select aria-label="Side" value={side} onChange={(e) => patch({ side: e.currentTarget.value, id: undefined })}><option value="">Answered and made</option><option value="server">Answered</option><option value="client">Made</option></select>,
    heads: [["Request"], ["Workload"], ["Side"], ["Answers"], ["Times", true], ["Mean", true], ["Last", true]],
    cells: (e) => [<><span class="mono">{visible(e.method, 12)}</span> <T s={e.path} max={240} class="mono" title /></>, <T s={[e.application, e.workload].filter(Boolean).join(" / ")} max={120} title />, SIDES[e.side] ?? "", <span class={e.statuses?.["5xx"] ? "amber" : "dim"}>{answers(e)}</span>, brief(e.count), ms(mean(e)), <span class="dim">{ago(e.last)}</span>],
    columns: [["application", (e) => e.application], ["workload", (e) => e.workload], ["side", (e) => e.side], ["method", (e) => e.method], ["path", (e) => e.path], ["count", (e) => e.count], ["statuses", (e) => e.statuses], ["mean_us", (e) => Math.round(mean(e))], ["max_us", (e) => e.latency_max_us], ["request_bytes", (e) => e.request_bytes], ["response_bytes", (e) => e.response_bytes], ["parameters", (e) => e.parameters?.map((p) => `${p.name} (${p.what})`).join("; ")], ["last", (e) => e.last]],
    drawer: (e, onClose) => (
      <Drawer label={`Request ${visible(e.method, 12)} ${visible(e.path, 80)}`} focusKey={String(e.id)} onClose={onClose} head={<><h2 class="mono"><T s={`${e.method} ${e.path}`} max={300} /></h2><p><T s={[e.application, e.workload].filter(Boolean).join(" / ")} max={160} /> {SIDES[e.side]} it</p></>}>
        <p class="drawer-links"><a class="button" href={href("/models", { app: e.application || undefined, workload: e.workload })}><Icon name="models" />Model</a><a class="button" href={href("/containers", { app: e.application || undefined, q: `workload:"${e.workload}"` })}><Icon name="containers" />Containers</a></p>
        <Facts rows={[["Times", count(e.count)], ["Answers", answers(e) || "none was seen"], ["Time to answer", e.timed ? `${ms(mean(e))} on average, at most ${ms(e.latency_max_us)}` : null], ["Sizes", `${each(e.request_bytes, e)} asked, ${each(e.response_bytes, e)} answered, on average`], ["Program", mono(e.program)], ["As it was seen first", mono(e.example)], ["Node", <T s={e.node} max={80} />], ["First", <Time ms={toMs(e.first)} />], ["Last", <Time ms={toMs(e.last)} />]]} />
        <Section title="Parameters" count={e.parameters?.length ?? 0}>
          {e.parameters?.length ? <ul class="things">{e.parameters.map((p) => <li key={`${p.name} ${p.what}`}><span class="mono wrap"><T s={p.name} max={200} /></span><span class="dim"><T s={p.what} max={120} />, {count(p.count)} {plural(p.count, "time")}</span></li>)}</ul> : <p class="none">None.</p>}
          {e.parameters_beyond > 0 && <p class="hint">{count(e.parameters_beyond)} more were over the bound.</p>}
        </Section>
      </Drawer>),
  }} />;
}

export default function Others() {
  return route.value.params.get("tab") === "requests" ? <Requests /> : <Resources />;
}
