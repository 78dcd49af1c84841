/* SPDX-License-Identifier: Apache-2.0 */
/* The map's twin: the same connections and nodes as rows, sorted as one likes, walked by keyboard, with the same selection. */
import { useMemo, useRef, useState } from "preact/hooks";
import { ageShort, bytes, count } from "../../lib/format";
import { bytesOf, bytesText, failures, flagOf, FLAGS, type GEdge, groupOf, type Level, type Model, nameOf, portText, protocolText, type Unit } from "../../lib/graph";
import type { MapAddress } from "../../lib/mapaddress";
import type { Filter } from "../../lib/mapquery";
import { now } from "../../app/state";
import { Grid } from "../../parts/grid";
import { Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Empty, T } from "../../parts/ui";
import { choose, set } from "./map";
import { FlagMark, Name } from "./panel";

type Key = "state" | "from" | "to" | "port" | "protocol" | "connections" | "failures" | "out" | "in" | "last";
const COLUMNS: { key: Key; label: string; n?: boolean }[] = [
  { key: "from", label: "From" }, { key: "to", label: "To" }, { key: "port", label: "Port" }, { key: "protocol", label: "Protocol" }, { key: "state", label: "State" }, { key: "connections", label: "Connections", n: true },
  { key: "failures", label: "Failed", n: true }, { key: "out", label: "Asked", n: true }, { key: "in", label: "Answered", n: true }, { key: "last", label: "Last seen", n: true },
];
const weight = (e: GEdge) => (flagOf(e) ? FLAGS.indexOf(flagOf(e)) : failures(e) ? 5 : 9);
const order = (a: string | number, b: string | number) => (a < b ? -1 : a > b ? 1 : 0);

export function sortEdges(edges: GEdge[], m: Model, sort: string): GEdge[] {
  const descending = sort.startsWith("-");
  const key = sort.replace(/^-/, "") as Key;
  const of: Record<Key, (e: GEdge) => string | number> = {
    state: weight, from: (e) => nameOf(m, e.from).toLowerCase(), to: (e) => nameOf(m, e.to).toLowerCase(), port: (e) => e.port, protocol: protocolText, connections: (e) => -e.connections, failures: (e) => -failures(e), out: (e) => -e.bytesOut, in: (e) => -e.bytesIn, last: (e) => -(e.last || 0),
  };
  const f = of[key] ?? of.state;
  const keyed = edges.map((e) => ({ e, k: f(e), b: -bytesOf(e) }));
  keyed.sort((x, y) => (descending ? -1 : 1) * order(x.k, y.k) || x.b - y.b || order(x.e.id, y.e.id));
  return keyed.map((x) => x.e);
}

export function MapTable({ edges, model: m, filter, address: a, level }: { edges: GEdge[]; model: Model; filter: Filter; address: MapAddress; level: Level }) {
  const [nodes, setNodes] = useState(false);
  const [active, setActive] = useState(-1);
  const box = useRef<HTMLDivElement>(null);
  const narrow = useNarrow();
  const rows = useMemo(() => sortEdges(filter.empty ? edges : edges.filter((e) => filter.edge(e)), m, a.sort || "state"), [edges, filter, m, a.sort]);
  const units = useMemo(() => {
    const n = new Map<string, { u: Unit; out: number; into: number; bytes: number; bad: number }>();
    for (const u of m.units.values()) if (filter.empty || filter.unit(u)) n.set(u.id, { u, out: 0, into: 0, bytes: 0, bad: 0 });
    for (const e of edges) {
      if (!filter.empty && !filter.edge(e)) continue;
      for (const [id, way] of [[e.from, "out"], [e.to, "into"]] as const) {
        const id2 = m.conts.get(id)?.unit ?? id;
        let r = n.get(id2);
        if (!r) {
          const u = m.units.get(id2);
          if (!u) continue;
          n.set(id2, (r = { u, out: 0, into: 0, bytes: 0, bad: 0 }));
        }
        r[way]++;
        r.bytes += bytesOf(e);
        if (way === "out" && flagOf(e) && flagOf(e) !== "new") r.bad++;
      }
    }
    return [...n.values()].sort((x, y) => y.bad - x.bad || y.bytes - x.bytes || order(x.u.name, y.u.name) || order(x.u.id, y.u.id));
  }, [edges, filter, m]);
  const sort = a.sort || "state";
  const head = (
    <div role="row" class="row head" aria-rowindex={1}>
      {COLUMNS.map((c) => {
        const on = sort.replace(/^-/, "") === c.key;
        const down = sort.startsWith("-");
        return <span key={c.key} role="columnheader" class={`m-${c.key} ${c.n ? "n" : ""}`} aria-sort={on ? (down ? "descending" : "ascending") : undefined}><button type="button" tabIndex={-1} onClick={() => set({ sort: on && !down ? `-${c.key}` : c.key })}>{c.label}{on && <Icon name={down ? "up" : "down"} size={12} />}</button></span>;
      })}
    </div>);
  const selectedEdge = rows.findIndex((e) => (a.edge ? e.id === a.edge : a.to ? e.from === a.select && e.to === a.to : false));
  return (
    <div class="map-table">
      <div class="map-table-bar">
        <div class="segments small" role="group" aria-label="Rows">
          <button type="button" aria-pressed={!nodes} onClick={() => { setNodes(false); setActive(-1); }}>Connections <span class="n">{count(rows.length)}</span></button>
          <button type="button" aria-pressed={nodes} onClick={() => { setNodes(true); setActive(-1); }}>Nodes <span class="n">{count(units.length)}</span></button>
        </div>
        {narrow && !nodes && <label class="map-sort"><span class="sr">Sort by</span><select value={sort.replace(/^-/, "")} onChange={(e) => set({ sort: e.currentTarget.value })}>{COLUMNS.map((c) => <option key={c.key} value={c.key}>{c.label}</option>)}</select></label>}
        <span class="hint">{level === "container" ? "Between containers" : "Between workloads"}{filter.empty ? "" : ", filtered"}</span>
      </div>
      {nodes ? (units.length ? (
        <Grid key="nodes" id="mn" label="Nodes of the map" class="map-grid map-nodes" total={units.length} rowHeight={narrow ? 54 : 34} columns={6} scroller={box} active={active} selected={units.findIndex((r) => r.u.id === a.select && !a.to)}
          onActive={setActive} onOpen={(i) => choose(units[i].u.id)}
          head={<div role="row" class="row head" aria-rowindex={1}><span role="columnheader" class="m-from">Node</span><span role="columnheader" class="m-to">In</span><span role="columnheader" class="m-connections n">Containers</span><span role="columnheader" class="m-failures n">Out</span><span role="columnheader" class="m-last n">In</span><span role="columnheader" class="m-out n">Bytes</span></div>}
          row={(i) => {
            const r = units[i];
            return { key: r.u.id, cells: <>
              <span role="gridcell" class="m-from"><T s={r.u.name} max={80} />{r.bad > 0 && <span class="flagmark fail"><i aria-hidden="true">×</i>{count(r.bad)} troubled</span>}</span>
              <span role="gridcell" class="m-to dim"><T s={groupOf(m, r.u.id)?.name} max={60} /></span>
              <span role="gridcell" class="m-connections n">{r.u.kind === "workload" ? `${count(r.u.running)} / ${count(r.u.count)}` : ""}</span>
              <span role="gridcell" class="m-failures n">{count(r.out)}</span><span role="gridcell" class="m-last n">{count(r.into)}</span><span role="gridcell" class="m-out n">{bytes(r.bytes)}</span></> };
          }} />
      ) : <Empty icon="map" title="No node matches" />) : rows.length ? (
        <Grid key="edges" id="me" label="Connections of the map" class="map-grid map-edges" total={rows.length} rowHeight={narrow ? 58 : 34} columns={COLUMNS.length} scroller={box} active={active} selected={selectedEdge}
          onActive={setActive} onOpen={(i) => choose(rows[i].from, rows[i].to, rows[i].id)} head={head}
          row={(i) => {
            const e = rows[i];
            const flag = flagOf(e);
            const end = (id: string) => <><Name m={m} id={id} max={60} /><small><T s={groupOf(m, id)?.kind === "application" ? groupOf(m, id)!.name : ""} max={32} /></small></>;
            return { key: e.id, class: flag === "fail" || flag === "scan" ? "warned" : "", cells: <>
              <span role="gridcell" class="m-from">{end(e.from)}</span>
              <span role="gridcell" class="m-to"><span class="row-arrow" aria-hidden="true">→</span>{end(e.to)}</span>
              <span role="gridcell" class="m-port mono"><T s={portText(e)} max={48} /></span>
              <span role="gridcell" class="m-protocol dim">{protocolText(e)}</span>
              <span role="gridcell" class="m-state">{flag || failures(e) ? <FlagMark e={e} /> : <span class="dim">{e.open ? "open" : ""}</span>}</span>
              <span role="gridcell" class="m-connections n">{count(e.connections)}</span>
              <span role="gridcell" class="m-failures n">{failures(e) ? count(failures(e)) : ""}</span>
              <span role="gridcell" class="m-out n">{bytesText(e, e.bytesOut)}</span>
              <span role="gridcell" class="m-in n">{bytesText(e, e.bytesIn)}</span>
              <span role="gridcell" class="m-last n dim">{ageShort(now.value - e.last)}</span></> };
          }} />
      ) : <Empty icon="map" title={filter.empty ? "No connection in this window" : "No connection matches"}>{filter.empty ? "A longer window may show some." : <button type="button" class="link" onClick={() => set({ query: "" })}>Clear the filter</button>}</Empty>}
    </div>
  );
}
