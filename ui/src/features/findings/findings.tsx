/* SPDX-License-Identifier: Apache-2.0 */
/* Every finding, the latest first: #/findings?q=…&priority=…&kind=…&rule=…&container=…&since=…&id=… */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Finding } from "../../api/openapi";
import { get, sentence } from "../../api/client";
import { pageFrom } from "../../api/model";
import { href, patch, route } from "../../app/router";
import { findingsChanged, now } from "../../app/state";
import { ageShort, count, toMs } from "../../lib/format";
import { COLUMNS, FILTERS, KINDS, level, PRIORITIES, queryOf, SPANS } from "../../lib/findings";
import { object } from "../../lib/loose";
import { shortId, visible } from "../../lib/text";
import { Drawer } from "../../parts/drawer";
import { ExportMenu, readAll } from "../../parts/export";
import { Grid } from "../../parts/grid";
import { Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Empty, Facts, Notice, Section, Skeleton, T, Time } from "../../parts/ui";
import { Recorded } from "./recorded";

const PAGE = 200;
const MOST = 20_000; /* rows kept here; the export has more */
const AHEAD = 40;

export function Priority({ priority }: { priority: string }) {
  const n = level(priority);
  return <span class={`severity prio p${n}`}><i aria-hidden="true">{[1, 2, 3, 4].map((k) => <b key={k} class={k <= n ? "on" : ""} />)}</i>{priority.toLowerCase()}</span>;
}

function Details({ id, onClose }: { id: string; onClose: () => void }) {
  const [f, setF] = useState<Finding | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const over = new AbortController();
    setF(null);
    setError("");
    get<Finding>(`/findings/${encodeURIComponent(id)}`, {}, over.signal).then(setF, (e: unknown) => { if (!over.signal.aborted) setError(sentence(e)); });
    return () => over.abort();
  }, [id]);
  const fields = Object.entries(object(f?.output_fields)).filter(([, v]) => v !== null && v !== "");
  return (
    <Drawer label="Finding" focusKey={id} onClose={onClose} head={f ? <><h2><T s={f.rule} max={200} /></h2><p><Priority priority={f.priority} /></p></> : <h2>Finding</h2>}>
      {error ? <Notice level="warn">The finding could not be read: {error}</Notice> : !f ? <Skeleton rows={8} label="Loading the finding" /> : <>
        <p class="wrap"><T s={f.output} max={4000} /></p>
        <p class="drawer-links">
          {f.container_id && <a class="button" href={href("/containers", { id: f.container_id })}><Icon name="containers" />Container</a>}
          <a class="button" href={href("/incidents", { state: "all", ...(f.container_id ? { container: f.container_id } : { q: f.rule }) })}><Icon name="incidents" />Incidents</a>
          {f.kind === "model" && f.workload ? <a class="button" href={href("/models", { app: f.application || undefined, workload: f.workload })}><Icon name="models" />Model</a> : <a class="button" href={href("/policies", { rule: f.rule })}><Icon name="policies" />Rule</a>}
        </p>
        {f.description && <p class="dim wrap"><T s={f.description} max={2000} /></p>}
        {f.advice && <Notice level="note"><strong>What to do</strong> <T s={f.advice} max={2000} /></Notice>}
        <Facts rows={[
          ["First", <Time ms={toMs(f.time)} />], ["Last", f.count > 1 ? <><Time ms={toMs(f.last)} /> <span class="dim">{count(f.count)} times</span></> : null],
          ["Container", f.container_id ? <T s={f.container_name || shortId(f.container_id)} max={120} /> : "none: on the node itself"],
          ["Workload", <T s={[f.application, f.workload].filter(Boolean).join(" / ")} max={160} />], ["Image", f.image ? <span class="mono wrap"><T s={f.image} max={300} /></span> : null], ["Node", <T s={f.node} max={80} />],
          ["Tags", f.tags.length ? <span class="tags">{f.tags.map((t) => <button key={t} type="button" class="tag" onClick={() => patch({ tag: t })}><T s={t} max={64} /></button>)}</span> : null],
        ]} />
        {fields.length > 0 && <Section title="Fields" count={fields.length}><Facts rows={fields.map(([k, v]) => [visible(k, 64), <span class="mono wrap"><T s={typeof v === "object" ? JSON.stringify(v) : String(v)} max={1000} /></span>])} /></Section>}
        <Recorded f={f} />
      </>}
    </Drawer>
  );
}

const BETWEEN_MS = 700;

export function Findings() {
  const params = route.value.params;
  const query = queryOf(params);
  const wanted = JSON.stringify(query);
  const id = params.get("id");
  const q = params.get("q") ?? "";
  const [rows, setRows] = useState<Finding[] | null>(null);
  const [total, setTotal] = useState(0);
  const [next, setNext] = useState<string | undefined>();
  const [error, setError] = useState("");
  const [text, setText] = useState(q);
  const [active, setActive] = useState(0);
  const [atTop, setAtTop] = useState(true);
  const narrow = useNarrow();
  const box = useRef<HTMLDivElement>(null);
  const reading = useRef<AbortController | null>(null);
  const seen = useRef(-1);
  const began = useRef(0); /* when the list was asked for last, and how long that took */
  const took = useRef(0);
  const [hidden, setHidden] = useState(document.hidden);
  const version = findingsChanged.value;
  /* More than the first page is loaded, or somebody reads below: then newer ones are announced and do not move the list. */
  const settled = atTop && (rows?.length ?? 0) <= PAGE;

  const read = async (cursor: string | undefined) => {
    if (cursor && reading.current) return;
    reading.current?.abort();
    const over = (reading.current = new AbortController());
    const as = version;
    began.current = performance.now();
    try {
      const p = pageFrom<Finding>(await get<unknown>("/findings", { ...query, limit: PAGE, cursor, count: cursor ? undefined : "true" }, over.signal), "findings");
      setRows((l) => [...(cursor ? (l ?? []) : []), ...p.items].slice(0, MOST));
      setNext(p.next);
      if (!cursor) {
        setTotal(p.total);
        seen.current = as;
      }
      setError("");
    } catch (e) {
      if (!over.signal.aborted) setError(sentence(e));
    }
    took.current = performance.now() - began.current;
    if (reading.current === over) reading.current = null;
  };
  useEffect(() => {
    const turned = () => setHidden(document.hidden);
    document.addEventListener("visibilitychange", turned);
    return () => document.removeEventListener("visibilitychange", turned);
  }, []);
  useEffect(() => {
    setRows(null);
    setActive(0);
    void read(undefined);
    return () => { reading.current?.abort(); reading.current = null; };
  }, [wanted]);
  useEffect(() => {
    if (!rows || !settled || hidden || seen.current === version) return;
    /* The first of a flood is shown at once, the rest at a pace that its going on does not put off, and that leaves the central most of its time. What is being read is let come: this then runs anew. */
    const t = setTimeout(() => { if (!reading.current) void read(undefined); }, Math.max(0, began.current + Math.max(BETWEEN_MS, 4 * took.current) - performance.now()));
    return () => clearTimeout(t);
  }, [rows, error, version, settled, hidden]); /* rows: what was told while they were read may not be among them */
  useEffect(() => setText(q), [q]);
  useEffect(() => {
    if (text === q) return;
    const t = setTimeout(() => patch({ q: text }), 250);
    return () => clearTimeout(t);
  }, [text]);

  const clear = () => patch(Object.fromEntries(FILTERS.map((k) => [k, undefined])));
  const named: [string, string][] = [["rule", "Rule"], ["container", "Container"], ["app", "Application"], ["workload", "Workload"], ["node", "Node"], ["tag", "Tag"]];
  const chips = named.filter(([k]) => params.get(k));
  const filtered = Object.keys(query).length > 0;
  const at = Math.floor(now.value / 10_000) * 10_000;
  const newer = !!rows && !settled && seen.current !== version;
  return (
    <div class={`page split findings ${id ? "with-drawer" : ""}`}>
      <section class="listing" aria-labelledby="f-title">
        <header class="toolbar">
          <h1 id="f-title">Findings</h1>
          <div class="searchbox"><Icon name="search" /><input type="text" aria-label="Search findings" placeholder="Search rules, outputs, containers" spellcheck={false} autocomplete="off" maxLength={256} value={text} onInput={(e) => setText(e.currentTarget.value)}
            onKeyDown={(e) => { if (e.key === "ArrowDown") { e.preventDefault(); box.current?.focus(); } }} /></div>
          <select aria-label="Priority" value={params.get("priority") ?? ""} onChange={(e) => patch({ priority: e.currentTarget.value })}><option value="">Any priority</option>{PRIORITIES.map((p) => <option key={p} value={p}>{p === "emergency" ? p : `${p} or above`}</option>)}</select>
          <select aria-label="Kind" value={params.get("kind") ?? ""} onChange={(e) => patch({ kind: e.currentTarget.value })}><option value="">Any kind</option>{KINDS.map(([k, label]) => <option key={k} value={k}>{label}</option>)}</select>
          <select aria-label="Time" value={params.get("since") ?? ""} onChange={(e) => patch({ since: e.currentTarget.value })}>{SPANS.map(([k, label]) => <option key={k} value={k}>{label}</option>)}</select>
          {chips.map(([k, label]) => <button key={k} type="button" class="filter-chip" aria-label={`Without ${label.toLowerCase()} ${visible(params.get(k) ?? "", 60)}`} onClick={() => patch({ [k]: undefined })}><span class="dim">{label}</span> <T s={params.get(k) ?? ""} max={40} /><Icon name="close" size={12} /></button>)}
          <p class="tally-line" role="status">{rows ? `${count(total)} ${filtered ? "match" : "in all"}` : "Loading…"}</p>
          <ExportMenu what="findings" columns={COLUMNS} rows={() => readAll<Finding>("/findings", "findings", query)} disabled={!rows?.length} />
        </header>
        {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{rows ? "What you see may be old" : "The findings could not be read"}: {error}</span><Button class="small" onClick={() => void read(undefined)}>Try again</Button></div>}
        <div class="feed">
          {newer && <button type="button" class="pill" onClick={() => { box.current?.scrollTo({ top: 0 }); setActive(0); void read(undefined); }}><Icon name="up" size={14} />Newer ones</button>}
          {!rows ? !error && <Skeleton rows={14} label="Loading findings" />
            : !rows.length ? (filtered ? <Empty icon="search" title="No finding matches"><Button onClick={clear}>Clear the filters</Button></Empty>
              : <Empty icon="findings" title="No finding yet"><p>Nothing that a rule or a model minds has happened on the nodes that report. Whether they see everything is under <a href="#/health">Health</a>.</p></Empty>)
            : <Grid id="f" label={`Findings, ${count(rows.length)}`} class="findings-grid" total={rows.length} rowHeight={narrow ? 66 : 44} columns={narrow ? 3 : 5} scroller={box} active={active} onActive={setActive} selected={id ? rows.findIndex((r) => r.id === id) : -1} onTop={setAtTop}
                onOpen={(n) => patch({ id: rows[n].id }, !!id)}
                head={<div role="row" class="row head" aria-rowindex={1}>{(narrow ? ["Priority", "Finding", "Last"] : ["Priority", "Finding", "Where", "Count", "Last"]).map((h) => <span key={h} role="columnheader" class={/Count|Last/.test(h) ? "n" : ""}>{h}</span>)}</div>}
                row={(n) => {
                  if (next && n >= rows.length - AHEAD && rows.length < MOST && !reading.current && !error) setTimeout(() => void read(next));
                  const f = rows[n];
                  const what = <span role="gridcell" class="f-what"><strong><T s={f.rule} max={160} /></strong><small class="dim"><T s={f.output} max={300} /></small></span>;
                  const last = <span role="gridcell" class="n dim">{ageShort(at - toMs(f.last))}</span>;
                  return { key: f.id, cells: narrow ? <><span role="gridcell"><Priority priority={f.priority} /></span>{what}{last}</> : <><span role="gridcell"><Priority priority={f.priority} /></span>{what}
                    <span role="gridcell" class="f-where"><T s={f.container_name || shortId(f.container_id) || f.node} max={80} /><small class="dim block"><T s={f.container_id ? [f.application, f.workload].filter(Boolean).join(" / ") : "the node itself"} max={100} /></small></span><span role="gridcell" class="n">{f.count > 1 ? `${count(f.count)}×` : ""}</span>{last}</> };
                }}
                footer={rows.length >= MOST && next ? <p class="card-foot dim">The list ends here, at {count(MOST)} rows. Narrow it, or export it.</p> : undefined} />}
        </div>
      </section>
      {id && <Details id={id} onClose={() => { patch({ id: undefined }); box.current?.focus(); }} />}
    </div>
  );
}
