/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every container of every node: search, facets, table, drawer. All that is chosen stands in the address:
 * #/containers?q=…&app=…&state=…&exposure=…&sort=…&id=…
 */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { lazy } from "../../app/lazy";
import { patch, route } from "../../app/router";
import { inventory, inventoryState, inventoryVersion, now } from "../../app/state";
import type { Columns } from "../../lib/export";
import { ageShort, count } from "../../lib/format";
import { EXPOSURE_FACET, EXPOSURES, FACETS, type FacetCounts, NONE, type Row, type SortKey, type View } from "../../lib/inventory";
import { shortImage } from "../../lib/text";
import { ExportMenu } from "../../parts/export";
import { Grid } from "../../parts/grid";
import { Icon, StateMark } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Empty, Skeleton, T } from "../../parts/ui";
import { Exposures } from "../overview/overview";
import { ContainerDrawer } from "./drawer";
import { InventoryTabs } from "./tabs";

const COLUMNS: { key: SortKey; label: string; class: string }[] = [
  { key: "name", label: "Name", class: "c-name" },
  { key: "application", label: "Application / workload", class: "c-app" },
  { key: "image", label: "Image", class: "c-image" },
  { key: "node", label: "Node", class: "c-node" },
  { key: "attention", label: "Exposure", class: "c-exposure" },
  { key: "since", label: "For", class: "c-since" },
];
type Exported = { id: string; name: string; application: string; workload: string; image: string; node: string; runtime: string; state: string; health: string; since: string | null; exposure: string[] };
const EXPORTED: Columns<Exported> = (["name", "state", "application", "workload", "image", "node", "runtime", "health", "since"] as const).map((k) => [k, (r: Exported) => r[k]] as [string, (r: Exported) => unknown]).concat([["exposure", (r) => r.exposure.join(" ")], ["id", (r) => r.id]]);
const FACET_KEYS = [...FACETS.map((f) => f.key), EXPOSURE_FACET];

export function viewFrom(params: URLSearchParams): View {
  const sort = params.get("sort") ?? "attention";
  const descending = sort.startsWith("-");
  const key = sort.replace(/^-/, "") as SortKey;
  return {
    query: params.get("q") ?? "",
    selected: Object.fromEntries(FACET_KEYS.map((k) => [k, params.getAll(k).map((v) => (v === NONE ? "" : v))]).filter(([, v]) => v.length)),
    sort: [...COLUMNS.map((c) => c.key), "state"].includes(key) ? key : "attention",
    descending,
  };
}

function Facet({ facet }: { facet: FacetCounts }) {
  const [all, setAll] = useState(false);
  const [find, setFind] = useState("");
  const toggle = (value: string) => {
    const chosen = facet.values.filter((v) => v.selected).map((v) => v.value);
    const next = chosen.includes(value) ? chosen.filter((v) => v !== value) : [...chosen, value];
    patch({ [facet.key]: next.map((v) => v || NONE) });
  };
  const usable = facet.values;
  const matching = find ? usable.filter((v) => v.label.toLowerCase().includes(find.toLowerCase())) : usable;
  const shown = all ? matching.slice(0, 200) : matching.slice(0, 6);
  if (!usable.length) return null;
  return (
    <fieldset class="facet">
      <legend>{facet.label}</legend>
      {all && usable.length > 12 && <input type="text" class="facet-find" placeholder={`Find in ${usable.length}`} aria-label={`Find in ${facet.label}`} value={find} onInput={(e) => setFind(e.currentTarget.value)} />}
      {shown.map((v) => (
        <label key={v.value} class={`facet-value ${v.selected ? "on" : ""} ${v.count ? "" : "zero"}`}>
          <input type="checkbox" checked={v.selected} onChange={() => toggle(v.value)} />
          {facet.key === "state" && <StateMark state={v.value} />}
          <T s={v.label} max={80} class="facet-label" title />
          <span class="facet-count">{count(v.count)}</span>
        </label>
      ))}
      {matching.length > 6 && <button type="button" class="link" onClick={() => { setAll(!all); setFind(""); }}>{all ? "Fewer" : `All ${count(usable.length)}`}</button>}
    </fieldset>
  );
}

function cells(r: Row, narrow: boolean, drawer: boolean, at: number) {
  const since = Number.isFinite(r.since) ? ageShort(at - r.since) : "–";
  const state = <span class="c-state" title={r.state}><StateMark state={r.state} /><span class="sr">{r.state}</span></span>;
  if (narrow)
    return <>
      <span role="gridcell" class="c-name">{state}<T s={r.name} max={120} /></span>
      <span role="gridcell" class="c-app"><T s={[r.application, r.workload].filter(Boolean).join(" / ") || shortImage(r.image)} max={120} /></span>
      <span role="gridcell" class="c-exposure"><Exposures bits={r.exposure} max={1} /></span>
      <span role="gridcell" class="c-since">{since}</span>
    </>;
  return <>
    <span role="gridcell" class="c-name">{state}<T s={r.name} max={160} title /></span>
    <span role="gridcell" class="c-app">{r.application ? <><T s={r.application} max={80} /><span class="slash">/</span></> : null}<T s={r.workload} max={120} class={r.application ? "" : "dim"} /></span>
    <span role="gridcell" class="c-image mono"><T s={shortImage(r.image)} max={160} title /></span>
    <span role="gridcell" class="c-node"><T s={r.node} max={64} /></span>
    <span role="gridcell" class="c-exposure"><Exposures bits={r.exposure} max={drawer ? 1 : 2} /></span>
    <span role="gridcell" class="c-since">{r.state !== "running" && <span class="c-why">{r.state} </span>}{since}</span>
  </>;
}

const Others = lazy(() => import("./others").then((m) => m.default));

export function Containers() {
  return route.value.params.get("tab") ? <Others /> : <ContainerList />;
}

function ContainerList() {
  const params = route.value.params;
  const version = inventoryVersion.value;
  const view = useMemo(() => viewFrom(params), [params]);
  const result = useMemo(() => inventory.select(view), [view, version]);
  const [text, setText] = useState(view.query);
  const [active, setActive] = useState(0);
  const [facets, setFacets] = useState(false);
  const narrow = useNarrow();
  const box = useRef<HTMLDivElement>(null);
  const stock = inventoryState.value;
  const id = params.get("id") ?? "";
  const minute = Math.floor(now.value / 10_000) * 10_000;
  const chosen = FACET_KEYS.reduce((n, k) => n + (view.selected[k]?.length ?? 0), 0);
  const selected = useMemo(() => (id ? result.rows.findIndex((r) => r.id === id || (id.length >= 12 && r.id.startsWith(id))) : -1), [id, result]);

  useEffect(() => setText(view.query), [view.query]);
  useEffect(() => {
    if (text === view.query) return;
    const t = setTimeout(() => patch({ q: text }), 150);
    return () => clearTimeout(t);
  }, [text]);
  useEffect(() => {
    setActive(0);
    box.current?.scrollTo({ top: 0 });
  }, [view.query, view.sort, view.descending, JSON.stringify(view.selected)]);
  useEffect(() => {
    if (selected >= 0) setActive(selected);
  }, [selected]);

  const sortBy = (key: SortKey) => patch({ sort: view.sort === key && !view.descending ? `-${key}` : key });
  const clear = () => patch(Object.fromEntries([...FACET_KEYS, "q"].map((k) => [k, undefined])));
  const filtered = chosen > 0 || !!view.query;

  return (
    <div class={`page split containers ${id ? "with-drawer" : ""} ${facets ? "with-facets" : ""}`}>
      <aside class="facets" aria-label="Filters">
        <div class="facets-head"><h2>Filters</h2>{chosen > 0 && <button type="button" class="link" onClick={clear}>Clear {chosen}</button>}<Button class="facets-close" kind="quiet" glyph="close" aria-label="Close filters" onClick={() => setFacets(false)} /></div>
        {result.facets.map((f) => <Facet key={f.key} facet={f} />)}
      </aside>
      <section class="listing" aria-labelledby="c-title">
        <header class="toolbar">
          <h1 id="c-title">Containers</h1><InventoryTabs />
          <div class="searchbox">
            <Icon name="search" />
            <input type="text" aria-label="Filter containers" placeholder={narrow || id ? "Filter" : "Filter: app:payments -state:exited"} spellcheck={false} autocomplete="off" maxLength={512} value={text}
              onInput={(e) => setText(e.currentTarget.value)}
              onKeyDown={(e) => { if (e.key === "Escape" && text) { e.stopPropagation(); setText(""); } if (e.key === "ArrowDown") { e.preventDefault(); box.current?.focus(); } }} />
            {text && <button type="button" class="clear" aria-label="Clear the filter" onClick={() => setText("")}><Icon name="close" size={12} /></button>}
          </div>
          <Button class="facets-open" glyph="filter" aria-expanded={facets} onClick={() => setFacets(!facets)}>Filters{chosen ? ` (${chosen})` : ""}</Button>
          <p class="tally-line" role="status">
            {stock.loading && !stock.complete ? `Loading ${count(inventory.size)}${stock.expected > inventory.size ? ` of ${count(stock.expected)}` : ""}…`
              : filtered ? `${count(result.rows.length)} of ${count(result.total)}` : `${count(result.total)} containers`}
          </p>
          <ExportMenu what="containers" columns={EXPORTED} disabled={!result.rows.length} rows={() => Promise.resolve({ cut: !stock.complete, rows: result.rows.map((r) => ({ id: r.id, name: r.name, application: r.application, workload: r.workload, image: r.image, node: r.node, runtime: r.runtime, state: r.state, health: r.health, since: Number.isFinite(r.since) ? new Date(r.since).toISOString() : null, exposure: EXPOSURES.filter((e) => r.exposure & e.bit).map((e) => e.key) })) })} />
        </header>
        {stock.error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>The list could not be read to its end: {stock.error}</span></div>}
        {!inventory.size && stock.loading ? <Skeleton rows={14} label="Loading containers" />
          : !result.rows.length ? (filtered
            ? <Empty icon="search" title="No container matches"><p>{count(result.total)} containers were looked through.</p><Button onClick={clear}>Clear the filters</Button></Empty>
            : stock.error ? <Empty icon="warn" title="The containers could not be read"><p>{stock.error}</p></Empty>
            : <Empty icon="containers" title="No containers"><p>None is known on the nodes that report. What starts appears here within a second.</p></Empty>)
          : (
            <Grid id="c" label={`Containers, ${count(result.rows.length)}`} class="containers-grid" total={result.rows.length} rowHeight={narrow ? 62 : 38} columns={narrow ? 4 : 6}
              scroller={box} active={active} onActive={setActive} selected={selected} onOpen={(i) => patch({ id: result.rows[i].id }, !!id)}
              head={<div role="row" class="row head" aria-rowindex={1}>
                {COLUMNS.filter((c) => !narrow || !["image", "node"].includes(c.key)).map((c) => (
                  <span key={c.key} role="columnheader" class={c.class} aria-sort={view.sort === c.key ? (view.descending ? "descending" : "ascending") : undefined}>
                    <button type="button" tabIndex={narrow ? -1 : 0} onClick={() => sortBy(c.key)}>{c.label}{view.sort === c.key && <Icon name={view.descending ? "up" : "down"} size={12} />}</button>
                  </span>
                ))}
              </div>}
              row={(i) => ({ key: result.rows[i].id, class: `is-${result.rows[i].state}`, cells: cells(result.rows[i], narrow, !!id, minute) })} />
          )}
      </section>
      {id && <ContainerDrawer id={id} onClose={() => { patch({ id: undefined }); box.current?.focus(); }} />}
    </div>
  );
}
