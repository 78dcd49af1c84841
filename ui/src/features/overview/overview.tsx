/* SPDX-License-Identifier: Apache-2.0 */
/* What matters first: one sentence that can be trusted, four numbers, then what needs a look, the heaviest on top. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../../api/client";
import { findingFrom, pageFrom, type FindingRow } from "../../api/model";
import { href } from "../../app/router";
import { incidentLatest, incidentsChanged, inventory, inventoryState, inventoryVersion, known, now, problems, rates, status, statusAt, totals, verdictNow } from "../../app/state";
import { incidentFrom, type Incident } from "../../lib/incidents";
import { age, ageShort, brief, clock, count } from "../../lib/format";
import { hookSummary, lostOf, sum } from "../../lib/health";
import { EXPOSURES, NONE } from "../../lib/inventory";
import { plural } from "../../lib/text";
import { Icon, StateMark } from "../../parts/icons";
import { Empty, Skeleton, Spark, T } from "../../parts/ui";
import { SeverityMark } from "../incidents/mark";
import { MiniMap } from "../map/mini";

export function Exposures({ bits, max = 9 }: { bits: number; max?: number }) {
  const list = EXPOSURES.filter((e) => bits & e.bit);
  return (
    <span class="chips">
      {list.slice(0, max).map((e) => <span key={e.key} class={`chip ${e.weight >= 40 ? "strong" : ""}`} title={e.why}>{e.label}</span>)}
      {list.length > max && <span class="chip more" title={list.slice(max).map((e) => e.label).join(", ")}>+{list.length - max}</span>}
    </span>
  );
}

function Verdict() {
  const v = verdictNow.value;
  return (
    <section class={`verdict ${v.tone}`} aria-live="polite">
      <span class="verdict-mark"><Icon name={v.tone === "incident" ? "incidents" : v.tone} size={28} /></span>
      <div>
        <h1><T s={v.title} /></h1>
        <p>{v.tone === "incident" && incidentLatest.value ? <a href={href(`/incidents/${incidentLatest.value.id}`)}><T s={v.detail} max={400} /></a> : <T s={v.detail} />}</p>
      </div>
      {statusAt.value > 0 && <p class="asof">as of <time>{clock(statusAt.value)}</time></p>}
    </section>
  );
}

function Tiles() {
  const k = known.value;
  const t = totals.value;
  const up = k.nodes.filter((n) => n.up);
  const all = up.map((n) => rates.value[n.name]).filter(Boolean);
  const series = all.reduce<number[]>((into, r) => {
    r.series.slice(-40).forEach((v, i, a) => {
      const at = 40 - a.length + i;
      into[at] = (into[at] ?? 0) + v;
    });
    return into;
  }, Array.from({ length: 40 }, () => 0));
  const lost = k.nodes.reduce((n, x) => n + lostOf(x.status), 0);
  const seen = k.nodes.reduce((n, x) => n + sum(Object.fromEntries((x.status?.hooks ?? []).map((h) => [h.type, h.generated]))), 0);
  const hooks = k.nodes.map((n) => hookSummary(n.status)).reduce((a, b) => ({ total: a.total + b.total, effective: a.effective + b.effective, fallback: a.fallback + b.fallback, untested: 0 }), { total: 0, effective: 0, fallback: 0, untested: 0 });
  const states = new Map<string, number>();
  void inventoryVersion.value;
  for (const r of inventory.rows) states.set(r.state, (states.get(r.state) ?? 0) + 1);
  const others = [...states].filter(([s]) => s !== "running").sort((a, b) => b[1] - a[1]).slice(0, 2);
  const stock = inventoryState.value;
  return (
    <ul class="tiles">
      <li><a class="tile" href={href("/containers", { state: "running" })}>
        <h2>Running containers</h2>
        <p class="figure">{t.containers || stock.complete ? count(t.running) : "–"}</p>
        <p class="tile-note">{others.length ? others.map(([s, n]) => `${count(n)} ${s}`).join(", ") : stock.complete ? "none in another state" : "taking stock"}</p>
      </a></li>
      <li><a class="tile" href={href("/containers", { exposure: EXPOSURES.map((e) => e.key), state: "running" })}>
        <h2>With a lever on the host</h2>
        <p class={`figure ${t.exposed ? "amber" : ""}`}>{t.containers || stock.complete ? count(t.exposed) : "–"}</p>
        <p class="tile-note">privileges, namespaces, mounts</p>
      </a></li>
      <li><a class="tile" href="#/events">
        <h2>Events per second</h2>
        <div class="figure-row"><p class="figure">{all.length ? brief(all.reduce((n, r) => n + r.events, 0)) : "–"}</p>{all.length > 0 && <Spark values={series} width={132} height={36} />}</div>
        <p class="tile-note">{k.stream === "stale" ? `as of ${clock(statusAt.value)}` : all.length ? `recorded on ${count(all.length)} ${plural(all.length, "node")}` : "known with the next report"}</p>
      </a></li>
      <li><a class="tile" href="#/health">
        <h2>Effective hooks</h2>
        <p class={`figure ${lost || hooks.effective < hooks.total ? "amber" : ""}`}>{hooks.total ? <>{count(hooks.effective)}<small> of {count(hooks.total)}</small></> : "–"}</p>
        <p class="tile-note">{!k.loaded || !hooks.total ? "no status yet" : lost ? `${count(lost)} of ${brief(seen)} events lost` : `nothing lost${hooks.fallback ? `, ${hooks.fallback} on the fallback` : ` of ${brief(seen)} events`}`}</p>
      </a></li>
    </ul>
  );
}

function Problems() {
  const list = problems.value;
  if (!list.length) return null;
  return (
    <section class="card" aria-labelledby="o-problems">
      <header><h2 id="o-problems">What keeps Bulkhead from seeing</h2><span class="tally">{list.length}</span></header>
      <ul class="problems">
        {list.slice(0, 8).map((p) => (
          <li key={p.key}><a href={`#${p.href}`} class={`problem ${p.level}`}>
            <Icon name={p.level} /><span class="problem-text"><strong><T s={p.title} max={200} /></strong><span><T s={p.detail} max={300} /></span></span><Icon name="right" size={14} />
          </a></li>
        ))}
      </ul>
      {list.length > 8 && <p class="card-foot"><a href="#/health">{list.length - 8} more</a></p>}
    </section>
  );
}

function OpenIncidents() {
  const [rows, setRows] = useState<Incident[]>([]);
  const [total, setTotal] = useState(0);
  const version = incidentsChanged.value;
  useEffect(() => {
    const over = new AbortController();
    get<unknown>("/incidents", { state: "open", limit: 5, count: "true" }, over.signal).then((v) => {
      const p = pageFrom<unknown>(v, "incidents");
      setRows(p.items.map(incidentFrom));
      setTotal(p.total);
    }, () => undefined);
    return () => over.abort();
  }, [version]);
  if (!rows.length) return null;
  return (
    <section class="card" aria-labelledby="o-incidents">
      <header><h2 id="o-incidents">Open incidents</h2><span class="tally">{count(total)}</span><a href="#/incidents">All incidents</a></header>
      <ul class="problems">
        {rows.map((i) => (
          <li key={i.id}><a href={href(`/incidents/${i.id}`)} class="problem finding">
            <SeverityMark severity={i.severity} brief />
            <span class="problem-text"><strong><T s={i.title} max={160} /></strong><span><T s={i.story} max={240} /></span></span>
            <time class="faint" title={new Date(i.last || 0).toISOString()}>{Number.isFinite(i.last) ? `${ageShort(now.value - i.last)} ago` : ""}</time>
          </a></li>
        ))}
      </ul>
    </section>
  );
}

/* Findings of the rules, where there are any; what they mean together is for the pages to come. */
function Findings() {
  const [rows, setRows] = useState<FindingRow[]>([]);
  const total = status.value?.findings ?? 0;
  useEffect(() => {
    const over = new AbortController();
    if (total) get<unknown>("/findings", { limit: 6 }, over.signal).then((v) => setRows(pageFrom<unknown>(v, "findings").items.map(findingFrom)), () => undefined);
    return () => over.abort();
  }, [total]);
  if (!total || !rows.length) return null;
  return (
    <section class="card" aria-labelledby="o-findings">
      <header><h2 id="o-findings">Latest findings</h2><span class="tally">{count(total)}</span><a href="#/findings">All findings</a></header>
      <ul class="problems">
        {rows.map((f) => (
          <li key={f.id}><a href={href("/findings", { id: f.id })} class={`problem finding ${SEVERE.has(f.priority) ? "severe" : ""}`}>
            <Icon name={SEVERE.has(f.priority) ? "bad" : "note"} title={f.priority} />
            <span class="problem-text"><strong><T s={f.rule} max={160} /></strong><span><T s={f.output} max={240} /></span></span>
            <time class="faint">{clock(f.at)}</time>
          </a></li>
        ))}
      </ul>
    </section>
  );
}
const SEVERE = new Set(["emergency", "alert", "critical", "error"]);

function Exposed() {
  const version = inventoryVersion.value;
  const top = useMemo(() => inventory.rows.filter((r) => r.state === "running" && r.score > 0).sort((a, b) => b.score - a.score || (a.name < b.name ? -1 : 1)).slice(0, 8), [version]);
  const stock = inventoryState.value;
  return (
    <section class="card" aria-labelledby="o-exposed">
      <header><h2 id="o-exposed">Most exposed containers</h2><a href={href("/containers", { sort: "attention" })}>All containers</a></header>
      {!top.length ? (stock.complete
        ? (inventory.size ? <Empty icon="good" title="None">No running container has a lever on its host.</Empty> : <Empty icon="containers" title="No containers">None runs on the nodes that report.</Empty>)
        : stock.error ? <Empty icon="warn" title="The list could not be read">{stock.error}</Empty> : <Skeleton rows={6} label="Loading containers" />)
        : <ul class="exposed">
          {top.map((r) => (
            <li key={r.id}><a href={href("/containers", { id: r.id })}>
              <StateMark state={r.state} />
              <span class="exposed-name"><T s={r.name} max={80} /><small><T s={[r.application, r.node].filter(Boolean).join(" · ")} max={80} /></small></span>
              <Exposures bits={r.exposure} max={3} />
            </a></li>
          ))}
        </ul>}
    </section>
  );
}

function Applications() {
  const version = inventoryVersion.value;
  const list = useMemo(() => {
    const apps = new Map<string, { running: number; total: number; exposed: number; workloads: Set<string> }>();
    for (const r of inventory.rows) {
      let a = apps.get(r.application);
      if (!a) apps.set(r.application, (a = { running: 0, total: 0, exposed: 0, workloads: new Set() }));
      a.total++;
      if (r.state === "running") {
        a.running++;
        if (r.score >= 15) a.exposed++;
      }
      a.workloads.add(r.workload);
    }
    return [...apps].sort((a, b) => b[1].running - a[1].running || (a[0] < b[0] ? -1 : 1));
  }, [version]);
  const top = Math.max(1, ...list.map(([, a]) => a.running));
  if (!list.length) return null;
  return (
    <section class="card" aria-labelledby="o-apps">
      <header><h2 id="o-apps">Applications</h2><span class="tally">{count(list.length)}</span></header>
      <ul class="apps">
        {list.slice(0, 8).map(([name, a]) => (
          <li key={name}><a href={href("/containers", { app: name || NONE })}>
            <span class="app-name"><T s={name || "no application"} max={60} /><small>{count(a.workloads.size)} {plural(a.workloads.size, "workload")}</small></span>
            <span class="app-bar" aria-hidden="true"><span style={{ width: `${(a.running / top) * 100}%` }} />{a.exposed > 0 && <span class="app-exposed" style={{ width: `${(a.exposed / top) * 100}%` }} />}</span>
            <span class="app-count">{count(a.running)}<span class="sr"> running{a.exposed ? `, ${a.exposed} exposed` : ""}</span></span>
          </a></li>
        ))}
      </ul>
      <p class="legend"><span><i class="swatch run" /> running</span><span><i class="swatch exp" /> with a lever on the host</span></p>
    </section>
  );
}

function Nodes() {
  const nodes = known.value.nodes;
  if (!nodes.length) return null;
  return (
    <section class="card" aria-labelledby="o-nodes">
      <header><h2 id="o-nodes">Nodes</h2><a href="#/health">Health</a></header>
      <ul class="node-list">
        {nodes.slice(0, 8).map((n) => {
          const r = rates.value[n.name];
          const old = !n.up || now.value - n.seen > 30_000 || known.value.stream === "stale";
          return (
            <li key={n.name}><a href={href("/health", { node: n.name })} class={old ? "old" : ""}>
              <Icon name={old ? "warn" : "good"} title={old ? "not reporting" : "reporting"} />
              <span class="node-name"><T s={n.name} max={64} /><small>{old ? (n.seen ? `silent for ${age(now.value - n.seen)}` : "never reported") : <T s={n.status?.kernel ?? n.status?.version ?? "reporting"} max={48} />}</small></span>
              <Spark values={r?.series ?? []} slots={24} width={84} height={22} />
              <span class="node-rate">{old ? "–" : r ? `${brief(r.events)}/s` : "…"}</span>
            </a></li>
          );
        })}
      </ul>
    </section>
  );
}

export function Overview() {
  return (
    <div class="page overview">
      <Verdict />
      <Tiles />
      <div class="columns">
        <div class="column"><OpenIncidents /><Problems /><Findings /><Exposed /></div>
        <div class="column"><MiniMap /><Nodes /><Applications /></div>
      </div>
    </div>
  );
}
