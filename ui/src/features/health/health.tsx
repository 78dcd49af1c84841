/* SPDX-License-Identifier: Apache-2.0 */
/* Can what the other pages say be believed? Each node's connection, hooks and their backend, losses, recorder, spool; then the central. */
import { useEffect, useState } from "preact/hooks";
import { get } from "../../api/client";
import { lossFrom, pageFrom, type LossRow } from "../../api/model";
import { href, route } from "../../app/router";
import { lazyPart } from "../../app/lazy";
import { known, now, problems, rates, status, statusAt, statusError, stream } from "../../app/state";
import { age, brief, bytes, clock, count, date, percent, toMs } from "../../lib/format";
import { GROUPS } from "../../lib/events";
import { hookSummary, lostOf, sum, type HookStatus, type NodeView, type SensorStatus } from "../../lib/health";
import { plural, visible } from "../../lib/text";
import { Glyph, Icon } from "../../parts/icons";
import { Empty, Facts, Meter, Skeleton, Spark, T } from "../../parts/ui";

const EvidenceCard = lazyPart(() => import("../evidence/verify").then((m) => m.EvidenceCard));

const BACKENDS: Record<string, string> = {
  preferred: "on kernel functions: other system calls pay nothing",
  fallback: "on the system call exit: the kernel lacks the preferred place",
  tracepoint: "on a tracepoint of its own, the same on every kernel",
  none: "attached nowhere",
};

function HookMark({ h }: { h: HookStatus }) {
  const kind = !h.effective ? "blind" : h.backend === "fallback" ? "fallback" : "ok";
  return (
    <svg class={`hookmark ${kind}`} width="10" height="10" viewBox="0 0 10 10" fill="none" stroke="currentColor" stroke-width="1.6" aria-hidden="true" focusable="false">
      {kind === "blind" ? <path d="m2 2 6 6m0-6L2 8" stroke-linecap="round" /> : kind === "fallback" ? <><circle cx="5" cy="5" r="3.6" /><path d="M5 1.4a3.6 3.6 0 0 1 0 7.2z" fill="currentColor" stroke="none" /></> : <circle cx="5" cy="5" r="4" fill="currentColor" stroke="none" />}
    </svg>
  );
}

function Hooks({ s }: { s: SensorStatus }) {
  const [table, setTable] = useState(false);
  const hooks = s.hooks ?? [];
  const of = new Map(hooks.map((h) => [h.type, h]));
  const groups = GROUPS.map((g) => ({ ...g, hooks: g.types.map((t) => of.get(t)).filter((h): h is HookStatus => !!h) })).filter((g) => g.hooks.length);
  const placed = new Set(groups.flatMap((g) => g.hooks.map((h) => h.type)));
  const rest = hooks.filter((h) => !placed.has(h.type));
  const summary = hookSummary(s);
  if (!hooks.length) return null;
  return (
    <section class="hooks" aria-label="Hooks">
      <header><h3>Hooks</h3><p class="legend"><span><HookMark h={{ effective: true, backend: "preferred" } as HookStatus} /> effective</span>{summary.fallback > 0 && <span><HookMark h={{ effective: true, backend: "fallback" } as HookStatus} /> fallback</span>}<span><HookMark h={{ effective: false } as HookStatus} /> blind</span></p>
        <button type="button" class="link" aria-expanded={table} onClick={() => setTable(!table)}>{table ? "As a picture" : "As a table"}</button></header>
      {table ? (
        <div class="scroll" tabIndex={0} role="group" aria-label="Table of hooks">
          <table class="table">
            <thead><tr><th>Hook</th><th>Backend</th><th>Effective</th><th class="n">Generated</th><th class="n">Delivered</th><th class="n">Folded</th><th class="n">Lost</th></tr></thead>
            <tbody>{hooks.map((h) => (
              <tr key={h.type} class={h.effective ? "" : "amber-row"}>
                <th scope="row" class="mono">{visible(h.type, 32)}</th><td title={BACKENDS[h.backend]}>{visible(h.backend, 24)}</td>
                <td>{h.effective ? (h.tested === false ? "yes, not tested" : "yes") : <>no{h.why ? <>: <T s={h.why} max={200} /></> : null}</>}</td>
                <td class="n">{count(h.generated)}</td><td class="n">{count(h.delivered)}</td><td class="n">{count(h.folded)}</td><td class={`n ${sum(h.lost) ? "amber" : ""}`}>{count(sum(h.lost))}</td>
              </tr>))}</tbody>
          </table>
        </div>
      ) : (
        <div class="hook-groups">
          {[...groups, ...(rest.length ? [{ key: "sensor", label: "Other", types: [], hooks: rest }] : [])].map((g) => (
            <div key={g.label} class="hook-group">
              <h4><Glyph group={g.key} />{g.label}</h4>
              <ul>{g.hooks.map((h) => (
                <li key={h.type} class={`hook ${h.effective ? "" : "blind"} ${sum(h.lost) ? "lossy" : ""}`} title={`${h.backend}: ${BACKENDS[h.backend] ?? ""}${h.why ? `; ${visible(h.why, 200)}` : ""}. ${count(h.generated)} generated, ${count(sum(h.lost))} lost`}>
                  <HookMark h={h} />{visible(h.type, 24)}{sum(h.lost) > 0 && <span class="amber"> −{brief(sum(h.lost))}</span>}
                  <span class="sr">{h.effective ? `, ${h.backend}` : ", not effective"}</span>
                </li>))}</ul>
            </div>))}
        </div>
      )}
    </section>
  );
}

function Losses({ nodes }: { nodes: NodeView[] }) {
  const rows = nodes.flatMap((n) => (n.status?.losses ?? []).filter((l) => sum(l.lost) || l.folded).map((l) => ({ node: n.name, l })));
  rows.sort((a, b) => sum(b.l.lost) - sum(a.l.lost) || b.l.folded - a.l.folded);
  const lossy = rows.filter((r) => sum(r.l.lost) > 0);
  return (
    <section class="card" aria-labelledby="h-losses">
      <header><h2 id="h-losses">Lost and folded, by container</h2><span class="tally">{count(lossy.length)}</span></header>
      {!rows.length ? <Empty icon={nodes.some((n) => n.status) ? "good" : "unknown"} title={nodes.some((n) => n.status) ? "Nothing lost, nothing folded" : "Not known"}>{nodes.some((n) => n.status) ? "Every act that a hook saw became an event of its own." : "No node has told its losses yet."}</Empty> : (
        <div class="scroll" tabIndex={0} role="group" aria-labelledby="h-losses">
          <table class="table">
            <thead><tr><th>Container or cgroup</th><th>Kind</th><th>Node</th><th class="n">Generated</th><th class="n">Folded</th><th class="n">Lost</th><th>Why</th></tr></thead>
            <tbody>{rows.slice(0, 40).map(({ node, l }, i) => (
              <tr key={i}>
                <th scope="row"><T s={l.container || l.cgroup_path || `cgroup ${l.cgroup ?? 0}`} max={120} /></th><td class="mono">{visible(l.type, 24)}</td><td><T s={node} max={48} /></td>
                <td class="n">{count(l.generated)}</td><td class="n">{count(l.folded)}</td><td class={`n ${sum(l.lost) ? "amber" : ""}`}>{count(sum(l.lost))}{sum(l.lost) > 0 && <small> {percent(sum(l.lost), l.generated)}</small>}</td>
                <td>{Object.entries(l.lost).filter(([, v]) => v).map(([k, v]) => `${k.replace("_", " ")} ${count(v)}`).join(", ") || <span class="faint">–</span>}</td>
              </tr>))}</tbody>
          </table>
        </div>
      )}
      {rows.length > 0 && <p class="card-foot dim">Folded: equal acts of one process within a second, told as one event with their number. Nothing of them is lost but the single times.</p>}
    </section>
  );
}

/* Messages (inventory, observations, findings) that a node had to drop before the central had them: its spool is bounded. */
function Undelivered() {
  const [rows, setRows] = useState<LossRow[]>([]);
  const lost = status.value?.lost ?? 0;
  useEffect(() => {
    const over = new AbortController();
    if (lost) get<unknown>("/losses", {}, over.signal).then((v) => setRows(pageFrom<unknown>(v, "losses").items.map(lossFrom)), () => undefined);
    return () => over.abort();
  }, [lost]);
  if (!lost || !rows.length) return null;
  return (
    <section class="card" aria-labelledby="h-undelivered">
      <header><h2 id="h-undelivered">Messages that never reached the central</h2><span class="tally">{count(lost)}</span></header>
      <div class="scroll" tabIndex={0} role="group" aria-labelledby="h-undelivered">
        <table class="table">
          <thead><tr><th>Node</th><th>What</th><th>Why</th><th class="n">Number</th><th>First</th><th>Last</th></tr></thead>
          <tbody>{rows.slice(0, 60).map((l, i) => (
            <tr key={i}><th scope="row"><T s={l.node} max={64} /></th><td><T s={l.topic} max={64} /></td><td><T s={l.reason} max={120} /></td><td class="n amber">{count(l.count)}</td><td class="nowrap">{date(l.first)}</td><td class="nowrap">{date(l.last)}</td></tr>))}</tbody>
        </table>
      </div>
    </section>
  );
}

function Node({ n, focus }: { n: NodeView; focus: boolean }) {
  const s = n.status;
  const k = now.value;
  const old = !n.up || !n.seen || k - n.seen > 30_000;
  const r = rates.value[n.name];
  const lost = lostOf(s);
  const hooks = hookSummary(s);
  const seen = sum(Object.fromEntries((s?.hooks ?? []).map((h) => [h.type, h.generated])));
  const rec = s?.recorder;
  const bus = s?.bus;
  const runtimes = Object.entries(s?.runtimes ?? {}).filter(([, rt]) => rt.state !== "absent");
  return (
    <article class={`card node ${old ? "old" : ""} ${focus ? "focus" : ""}`} aria-label={`Node ${visible(n.name, 64)}`}>
      <header>
        <h2><Icon name={old ? "warn" : hooks.effective < hooks.total || lost ? "warn" : "good"} /><T s={n.name} max={80} /></h2>
        <p class={old ? "amber" : "dim"}>{old ? (n.seen ? `silent for ${age(k - n.seen)}; what follows is as of ${clock(n.seen)}` : "has sent no status") : `reported ${age(k - n.seen)} ago`}</p>
        <p class="node-facts">{s?.version && <span>sensor <T s={s.version} max={24} /></span>}{s?.kernel && <span>kernel <T s={s.kernel} max={40} /></span>}{s?.uptime_s !== undefined && <span>up {age(s.uptime_s * 1000)}</span>}{s?.away_ms ? <span>was away {age(s.away_ms)}</span> : null}</p>
      </header>
      {!s ? <Empty icon="unknown" title="No status">Nothing is known of what this node sees.</Empty> : <>
        <ul class="gauges">
          <li><h3>Events</h3><p class="gauge">{old ? "–" : r ? <>{brief(r.events)}<small>/s</small></> : "…"}</p><Spark values={r?.series ?? []} slots={40} width={120} height={22} /></li>
          <li><h3>Lost</h3><p class={`gauge ${lost ? "amber" : ""}`}>{count(lost)}</p><p class="gauge-note">{lost ? `${percent(lost, seen)} of ${brief(seen)}` : `of ${brief(seen)} seen`}</p></li>
          <li><h3>Hooks</h3><p class={`gauge ${hooks.effective < hooks.total ? "amber" : ""}`}>{hooks.effective}<small> of {hooks.total}</small></p><p class="gauge-note">{hooks.fallback ? `${hooks.fallback} on the fallback` : "none on the fallback"}</p></li>
          {Object.keys(s.rings ?? {}).length > 0 && <li><h3>Kernel rings</h3><div class="rings">{Object.entries(s.rings!).map(([name, ring]) => <div key={name}><span>{visible(name, 8)}</span><Meter part={ring.high_water} of={ring.bytes} label={`ring ${name}: at most ${percent(ring.high_water, ring.bytes)} full`} /><span class="n">{percent(ring.high_water, ring.bytes)}</span></div>)}</div></li>}
          {rec && <li><h3>Recorder</h3><p class={`gauge ${rec.state === "ok" ? "" : "amber"}`}>{rec.state === "ok" ? bytes(rec.bytes ?? NaN) : <T s={rec.state} max={24} />}</p><p class="gauge-note">{rec.problem ? <T s={rec.problem} max={120} /> : `${count(rec.segments ?? 0)} segments${rec.dropped_segments ? `, ${count(rec.dropped_segments)} aged out` : ""}`}</p></li>}
          {runtimes.map(([name, rt]) => <li key={name}><h3>{visible(name, 24)}</h3><p class={`gauge text ${["connected", "off", "absent"].includes(rt.state ?? "") ? "" : "amber"}`}><T s={rt.state} max={24} /></p><p class="gauge-note"><T s={rt.error || (rt.version ? `version ${rt.version}` : "")} max={120} /></p></li>)}
          {bus && <li><h3>Spool to central</h3><p class={`gauge ${sum(bus.lost) || bus.connected === false ? "amber" : ""}`}>{bytes(bus.spool_bytes ?? 0)}</p><p class="gauge-note">{sum(bus.lost) ? `${count(sum(bus.lost))} messages dropped` : `${count(bus.spool_messages ?? 0)} messages wait${bus.spool_max_bytes ? `, of ${bytes(bus.spool_max_bytes)}` : ""}`}</p></li>}
        </ul>
        <Hooks s={s} />
      </>}
    </article>
  );
}

function Central() {
  const v = status.value;
  if (!v) return null;
  const flat: [string, string][] = [];
  const walk = (o: Record<string, unknown>, at: string) => {
    for (const [k, x] of Object.entries(o)) {
      if (flat.length > 60 || ["nodes", "problems"].includes(k)) continue;
      const label = (at ? `${at} ` : "") + k.replace(/_s$/, "").replace(/_/g, " ");
      if (x && typeof x === "object" && !Array.isArray(x)) walk(x as Record<string, unknown>, label);
      else if (Array.isArray(x)) flat.push([label, x.map((y) => (typeof y === "object" ? JSON.stringify(y) : String(y))).join(", ")]);
      else if (typeof x === "number") flat.push([label, /bytes/.test(k) ? bytes(x) : /_(s|seconds)$/.test(k) ? age(x * 1000) : count(x)]);
      else if (typeof x === "boolean") flat.push([label, x ? "yes" : "no"]);
      else if (typeof x === "string" && /^\d{4}-\d\d-\d\dT/.test(x)) flat.push([label, date(toMs(x))]);
      else if (x !== null && x !== "") flat.push([label, String(x)]);
    }
  };
  walk(v.central, "");
  if (!flat.length) return null;
  return (
    <section class="card" aria-labelledby="h-central">
      <header><h2 id="h-central">Central</h2></header>
      <div class="facts-columns"><Facts rows={flat.map(([k, x]) => [visible(k, 60), <T s={x} max={240} />])} /></div>
    </section>
  );
}

export function Health() {
  const k = known.value;
  const list = problems.value;
  const focus = route.value.params.get("node") ?? "";
  const nodes = [...k.nodes].sort((a, b) => Number(b.name === focus) - Number(a.name === focus));
  const s = stream.value;
  return (
    <div class="page health">
      <header class="page-head"><h1>Health</h1>
        <p class="dim">{statusAt.value ? <>as of <time>{clock(statusAt.value)}</time>; page {s.state === "live" ? "live" : "not live"}</> : "no status read yet"}</p></header>
      {statusError.value && <div class="inline-warn" role="alert"><Icon name="warn" /><span>The status could not be read: {statusError.value}</span></div>}
      {!k.loaded && !statusError.value && <Skeleton rows={8} label="Loading the status" />}
      {list.length > 0 && (
        <section class="card" aria-labelledby="h-problems">
          <header><h2 id="h-problems">Needs attention</h2><span class="tally">{list.length}</span></header>
          <ul class="problems">{list.map((p) => <li key={p.key}><div class={`problem ${p.level}`}><Icon name={p.level} /><span class="problem-text"><strong><T s={p.title} max={200} /></strong><span><T s={p.detail} max={400} /></span></span></div></li>)}</ul>
        </section>
      )}
      {k.loaded && !nodes.length && <Empty icon="unknown" title="No node has ever connected"><p>Start the platform on this machine with <code>sudo bulkhead up</code>.</p></Empty>}
      {nodes.map((n) => <Node key={n.name} n={n} focus={n.name === focus} />)}
      {nodes.length > 0 && <Losses nodes={nodes} />}
      <Undelivered />
      <EvidenceCard />
      <Central />
      {nodes.length > 0 && <p class="page-foot"><a href={href("/events", { groups: "sensor" })}>Live events of the sensors themselves</a> · {count(nodes.length)} {plural(nodes.length, "node")}</p>}
    </div>
  );
}
