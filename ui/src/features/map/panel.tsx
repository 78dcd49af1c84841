/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is selected, told in full: a node (what it is, where it listens, with whom it talks), the connections of a pair, one
 * connection with its parts a level down, or what changed between two windows.
 */
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, sentence } from "../../api/client";
import { href } from "../../app/router";
import { graphChanged, inventory, mayAct, now } from "../../app/state";
import { age, bytes, clock, count, date, percent } from "../../lib/format";
import {
  answerFrom, bucketsFrom, bytesOf, bytesText, edgeFrom, failures, flagOf, type Bucket, type Cont, type GEdge, groupOf, kindOf, type Level, listenersFrom, type Listens, type Model, nameOf, portText, protocolText, unitOf,
} from "../../lib/graph";
import { type MapAddress, spanOf, stamp } from "../../lib/mapaddress";
import { quoted } from "../../lib/mapquery";
import { plural, visible } from "../../lib/text";
import { Drawer } from "../../parts/drawer";
import { Icon, StateMark } from "../../parts/icons";
import { Copy, Facts, Notice, Section, Skeleton, Spark, T } from "../../parts/ui";
import { Act } from "../responses/act";
import { Held, useHeld } from "../responses/held";
import { choose, set } from "./map";
import { diff, state } from "./store";

type Edges = Partial<Record<Level, GEdge[]>>;
const LIST = 40;
const WHAT: Record<string, string> = { workload: "Workload", container: "Container", application: "Application", host: "Machine", name: "Name outside", network: "Addresses outside", runtime: "Container runtime" };
const ICONS: Record<string, string> = { workload: "workload", container: "containers", application: "group", host: "host", name: "outside", network: "outside", runtime: "containers" };

export const Name = ({ m, id, max = 48 }: { m: Model; id: string; max?: number }) => <T s={nameOf(m, id)} max={max} />;
const when = (ms: number) => (Number.isFinite(ms) ? <><time title={new Date(ms).toISOString()}>{date(ms)}</time> <span class="dim">{age(now.value - ms)} ago</span></> : null);
const mono = (l: string[]) => (l.length ? <ul class="strings">{l.slice(0, 30).map((s) => <li key={s} class="mono wrap"><T s={s} max={256} /></li>)}{l.length > 30 && <li class="dim">and {count(l.length - 30)} more</li>}</ul> : null);

export function FlagMark({ e, words = true }: { e: GEdge; words?: boolean }) {
  const f = flagOf(e);
  const bad = failures(e);
  if (!f && !bad) return null;
  const text = f === "scan" ? "scanning" : f === "fail" ? "failing" : bad ? `${count(bad)} failed` : "new";
  return <span class={`flagmark ${f || "some"}`} title={text}><i aria-hidden="true">{f === "scan" ? "⋔" : f === "new" && !bad ? "+" : "×"}</i>{words ? text : <span class="sr">{text}</span>}</span>;
}

/* Why it is told first: the sentence about what is wrong. */
function Trouble({ edges, m, self }: { edges: GEdge[]; m: Model; self?: string }) {
  const scans = edges.filter((e) => flagOf(e) === "scan");
  const fails = edges.filter((e) => flagOf(e) === "fail");
  if (!scans.length && !fails.length) return null;
  const e = scans[0] ?? fails[0];
  const from = self === e.from ? "It" : visible(nameOf(m, e.from), 40);
  return (
    <div class="trouble" role="note">
      <Icon name="warn" />
      <div>
        {scans.length > 0 && <p><strong>Scanning.</strong> {from} tried {e.ports > 1 ? `${count(e.ports)} ports` : ""}{e.ports > 1 && e.addresses > 1 ? " at " : ""}{e.addresses > 1 ? `${count(e.addresses)} addresses` : ""} of {visible(nameOf(m, e.to), 40)}; {count(failures(e))} {plural(failures(e), "attempt")} failed.</p>}
        {fails.length > 0 && <p><strong>{scans.length ? "Also failing." : "Failing."}</strong> {fails.slice(0, 2).map((f) => `${self === f.from ? "It" : visible(nameOf(m, f.from), 40)} does not reach ${self === f.to ? "it" : visible(nameOf(m, f.to), 40)} at ${visible(portText(f), 40)}: ${whyText(f)}`).join(". ")}{fails.length > 2 ? `, and ${fails.length - 2} more` : ""}.</p>}
      </div>
    </div>
  );
}

export function whyText(e: GEdge): string {
  const parts = [[e.refused, "refused"], [e.timedOut, "timed out"], [e.unreachable, "unreachable"], [e.failed, "failed otherwise"]].filter(([n]) => n).map(([n, w]) => `${count(n as number)} ${w}`);
  if (!parts.length && e.halfOpen) return `${count(e.halfOpen)} without an answer`;
  return parts.join(", ") || "none";
}

/* --- A node ----------------------------------------------------------------------------------------------------------------- */

function Peers({ title, edges, m, self, out, inside }: { title: string; edges: GEdge[]; m: Model; self: string; out: boolean; inside: (id: string) => boolean }) {
  const [all, setAll] = useState(false);
  const rows = useMemo(() => edges.slice().sort((a, b) => Number(!!flagOf(b) && flagOf(b) !== "new") - Number(!!flagOf(a) && flagOf(a) !== "new") || bytesOf(b) - bytesOf(a) || b.connections - a.connections || (a.id < b.id ? -1 : 1)), [edges]);
  const shown = all ? rows.slice(0, 500) : rows.slice(0, LIST / 4);
  return (
    <Section title={title} count={rows.length}>
      {rows.length ? (
        <ul class="peers">
          {shown.map((e) => {
            const peer = out ? e.to : e.from;
            return (
              <li key={e.id}>
                <button type="button" class="peer" onClick={() => choose(e.from, e.to, e.id)}>
                  <span class="peer-way" aria-hidden="true">{out ? "→" : "←"}</span>
                  <span class="peer-name">{!inside(self) || self !== (out ? e.from : e.to) ? <small><Name m={m} id={out ? e.from : e.to} max={28} /> {out ? "to" : "from"} </small> : null}<Name m={m} id={peer} /></span>
                  <span class="peer-port mono"><T s={portText(e)} max={28} /></span>
                  <span class="peer-more">{flagOf(e) || failures(e) ? <FlagMark e={e} /> : <span class="dim">{protocolText(e)}</span>}</span>
                  <span class="peer-n">{bytesOf(e) ? bytes(bytesOf(e)) : `${count(e.connections)}×`}</span>
                </button>
              </li>
            );
          })}
          {rows.length > shown.length && <li><button type="button" class="link" onClick={() => setAll(true)}>All {count(rows.length)}</button></li>}
        </ul>
      ) : <p class="none">None in this window.</p>}
    </Section>
  );
}

function Listeners({ m, id }: { m: Model; id: string }) {
  const [list, setList] = useState<Listens[] | null>(null);
  const [error, setError] = useState("");
  const [all, setAll] = useState(false);
  const u = unitOf(m, id);
  const c = m.conts.get(id);
  const kind = kindOf(id);
  const applies = kind === "container" || kind === "workload" || kind === "application" || kind === "host";
  useEffect(() => {
    if (!applies) return;
    const over = new AbortController();
    const query = c ? { container: c.container, node: c.node } : kind === "workload" ? { application: u?.application, workload: u?.name } : kind === "host" ? { node: u?.node || id.slice(2) } : { application: id.slice(2) };
    setError("");
    get<unknown>("/listeners", { ...query, limit: 200 }, over.signal).then((v) => {
      let l = listenersFrom(v);
      if (kind === "host") l = l.filter((x) => !x.container);
      setList(l);
    }, (e: unknown) => {
      if (!over.signal.aborted) setError(sentence(e));
    });
    return () => over.abort();
  }, [id]);
  if (!applies) return null;
  /* Replicas listen alike: one line for equal ones. */
  const merged = new Map<string, Listens & { n: number }>();
  for (const l of list ?? []) {
    const key = `${l.proto} ${l.port} ${l.path} ${l.exe}`;
    const have = merged.get(key);
    if (have) {
      have.n++;
      have.reachedBy = [...new Set([...have.reachedBy, ...l.reachedBy])];
    } else merged.set(key, { ...l, n: 1 });
  }
  const rows = [...merged.values()].sort((a, b) => a.port - b.port || (a.path < b.path ? -1 : 1));
  return (
    <Section title="Listens" count={rows.length}>
      {error ? <p class="hint">{error}</p> : list === null ? <Skeleton rows={2} label="Loading" /> : rows.length ? (
        <ul class="things">
          {(all ? rows : rows.slice(0, 6)).map((l, i) => (
            <li key={i}>
              <span class="mono wrap"><T s={l.path || `${l.address || "*"}:${l.port}/${l.proto}`} max={160} />{l.n > 1 && <span class="dim"> ×{l.n}</span>}</span>
              {l.exe && <span class="mono wrap dim"><T s={l.exe} max={160} /></span>}
              {l.reachedBy.length > 0 && <span class="tags">{l.reachedBy.slice(0, 6).map((r) => <span key={r} class="tag"><T s={r} max={64} /></span>)}</span>}
            </li>))}
          {!all && rows.length > 6 && <li class="more"><button type="button" class="link" onClick={() => setAll(true)}>All {count(rows.length)}</button></li>}
        </ul>
      ) : <p class="none">Nothing.</p>}
    </Section>
  );
}

function Conts({ list }: { list: Cont[] }) {
  const [all, setAll] = useState(false);
  const rows = list.slice().sort((a, b) => Number(b.running) - Number(a.running) || (a.name < b.name ? -1 : 1));
  return (
    <Section title="Containers" count={rows.length} open={rows.length <= 12}>
      <ul class="peers">
        {(all ? rows.slice(0, 500) : rows.slice(0, 12)).map((c) => (
          <li key={c.id}><button type="button" class="peer cont" onClick={() => choose(c.id)}><StateMark state={c.state} /><span class="peer-name"><T s={c.name} max={60} /></span><span class="peer-n dim"><T s={c.node} max={24} /></span></button></li>
        ))}
        {!all && rows.length > 12 && <li><button type="button" class="link" onClick={() => setAll(true)}>All {count(rows.length)}</button></li>}
      </ul>
    </Section>
  );
}

function NodePanel({ m, id, edges, onClose }: { m: Model; id: string; edges: Edges; onClose: () => void }) {
  const kind = kindOf(id);
  const g = groupOf(m, id);
  const u = unitOf(m, id);
  const c = m.conts.get(id);
  const group = m.groups.get(id);
  const [acting, setActing] = useState(false);
  const { held, error: heldError, put } = useHeld();
  const level: Level = kind === "container" ? "container" : "workload";
  const inside = useMemo(() => (x: string) => (group ? groupOf(m, x)?.id === id : kind === "container" ? x === id : unitOf(m, x)?.id === id), [m, id]);
  const [out, into, own] = useMemo(() => {
    const o: GEdge[] = [];
    const i: GEdge[] = [];
    const s: GEdge[] = [];
    for (const e of edges[level] ?? []) {
      const f = inside(e.from);
      const t = inside(e.to);
      if (f && t) s.push(e);
      else if (f) o.push(e);
      else if (t) i.push(e);
    }
    return [o, i, s];
  }, [edges, level, inside]);
  const known = !!(c || u || group);
  const sum = (l: GEdge[], f: (e: GEdge) => number) => l.reduce((n, e) => n + f(e), 0);
  const title = nameOf(m, id);
  const what = group ? (group.kind === "application" ? "Application" : group.kind === "hosts" ? "Machines" : group.kind === "runtime" ? "Container runtime" : "Outside") : WHAT[kind];
  const images = [...new Set((group ? group.units.map((x) => x.image) : u && !c ? [u.image, ...u.conts.map((x) => x.image)] : [c?.image ?? ""]).filter(Boolean))];
  const conts = group ? group.units.flatMap((x) => x.conts) : c ? [] : u?.conts ?? [];
  const row = c && inventory.find(c.container);
  const findings = c?.findings ?? u?.findings ?? group?.findings ?? 0;
  const filterTerm = group?.kind === "application" ? `app:${quoted(group.name)}` : c ? `container:${quoted(c.name)}` : `svc:${quoted(title)}`;
  return (
    <Drawer label={`${what} ${visible(title, 80)}`} focusKey={id} onClose={onClose} head={
      <>
        <h2><Icon name={ICONS[kind] ?? (group?.kind === "in" || group?.kind === "out" ? "outside" : "group")} /><T s={title} max={160} /></h2>
        <p>{what}{u && !group && g?.kind === "application" && <> in <button type="button" class="link" onClick={() => choose(g.id)}><T s={g.name} max={60} /></button></>}{c && u && <>, <button type="button" class="link" onClick={() => choose(u.id)}><T s={u.name} max={60} /></button></>}</p>
      </>}>
      {!known ? <Notice level="note">{state.value.loading ? "Loading." : "It is not in this window: it ended, or talked to nobody. A longer window may have it."}</Notice> : <>
        <Trouble edges={[...out, ...into, ...own]} m={m} self={group ? undefined : id} />
        {findings > 0 && <Notice level="warn">{count(findings)} {plural(findings, "finding")} {findings === 1 ? "was" : "were"} raised here.</Notice>}
        <dl class="twin-figures">
          <div><dt>Out</dt><dd>{bytes(sum(out, (e) => e.bytesOut) + sum(into, (e) => e.bytesIn))}</dd><dd class="dim">{count(sum(out, (e) => e.connections))} begun</dd></div>
          <div><dt>In</dt><dd>{bytes(sum(out, (e) => e.bytesIn) + sum(into, (e) => e.bytesOut))}</dd><dd class="dim">{count(sum(into, (e) => e.connections))} taken</dd></div>
          <div><dt>Peers</dt><dd>{count(new Set([...out.map((e) => e.to), ...into.map((e) => e.from)]).size)}</dd><dd class="dim">{count(sum([...out, ...into, ...own], (e) => e.open))} open now</dd></div>
        </dl>
        <p class="drawer-links">
          <button type="button" class="button small" onClick={() => set({ query: filterTerm })}><Icon name="filter" size={14} />Only this</button>
          {c && <a class="button small" href={href("/containers", { id: c.container })}><Icon name="containers" size={14} />Container</a>}
          {c && mayAct.value && c.running && <button type="button" class="button small" onClick={() => setActing(true)}><Icon name="responses" size={14} />Act…</button>}
          {c && <a class="button small" href={href("/events", { container: c.name })}><Icon name="events" size={14} />Live events</a>}
          {!c && u?.kind === "workload" && <a class="button small" href={href("/containers", { q: `workload:${quoted(u.name)} app:${quoted(u.application)}` })}><Icon name="containers" size={14} />Containers</a>}
          {group?.kind === "application" && <a class="button small" href={href("/containers", { app: group.name })}><Icon name="containers" size={14} />Containers</a>}
        </p>
        {c && acting && <Act container={c.container} name={c.name} node={c.node} onClose={() => setActing(false)} onDone={put} />}
        {c && <Held list={held.filter((r) => r.containerId === c.container)} error={heldError} put={put} />}
        {!edges[level] ? <Skeleton rows={4} label="Loading its connections" /> : <>
          <Peers title="Talks to" edges={out} m={m} self={id} out inside={inside} />
          <Peers title="Is talked to by" edges={into} m={m} self={id} out={false} inside={inside} />
        </>}
        {own.length > 0 && <Peers title={group ? "Within" : "With itself"} edges={own} m={m} self={id} out inside={inside} />}
        <Listeners m={m} id={id} />
        {group && <Section title={group.kind === "application" ? "Workloads" : "Members"} count={group.units.length} open={group.units.length <= 16}>
          <ul class="peers">{group.units.slice().sort((x, y) => (x.name < y.name ? -1 : 1)).slice(0, 300).map((x) => <li key={x.id}><button type="button" class="peer cont" onClick={() => choose(x.id)}><Icon name={ICONS[x.kind]} size={14} /><span class="peer-name"><T s={x.name} max={60} /></span><span class="peer-n dim">{x.kind === "workload" ? `${count(x.running)} running` : ""}</span></button></li>)}</ul>
        </Section>}
        {!group && conts.length > 0 && <Conts list={conts} />}
        <Section title="What it is">
          <Facts rows={[
            ...(images.length ? [[images.length === 1 ? "Image" : "Images", mono(images)] as [string, preact.ComponentChildren]] : []),
            ...(c ? [["State", <><StateMark state={c.state} /> {visible(c.state || "unknown")}</>] as [string, preact.ComponentChildren], ["Node", <T s={c.node} />] as [string, preact.ComponentChildren], ["Container id", <span class="mono wrap"><T s={c.container} /><Copy text={c.container} /></span>] as [string, preact.ComponentChildren]] : []),
            ...(row && Number.isFinite(row.since) ? [["Since", when(row.since)] as [string, preact.ComponentChildren]] : []),
            ...(conts.length ? [["Containers", `${count(conts.filter((x) => x.running).length)} running of ${count(conts.length)}`] as [string, preact.ComponentChildren], ["Nodes", [...new Set(conts.map((x) => visible(x.node, 40)))].sort().slice(0, 8).join(", ")] as [string, preact.ComponentChildren]] : []),
            ["On the map as", <span class="mono wrap"><T s={id} max={200} /></span>],
          ]} />
        </Section>
      </>}
    </Drawer>
  );
}

/* --- Connections ------------------------------------------------------------------------------------------------------------- */

interface Detail { edge: GEdge; parts: GEdge[]; buckets: Bucket[]; names: Map<string, string> }

function detailFrom(v: unknown): Detail {
  const o = (v ?? {}) as Record<string, unknown>;
  const partial = answerFrom({ nodes: o.nodes, edges: o.parts });
  const hist = bucketsFrom(Array.isArray(o.histogram) ? { buckets: o.histogram } : o.histogram);
  return { edge: edgeFrom(o.edge ?? o), parts: partial.edges, buckets: hist, names: new Map(partial.nodes.map((n) => [n.id, n.name])) };
}

function EdgeBody({ e, m, address: a, level }: { e: GEdge; m: Model; address: MapAddress; level: Level }) {
  const [detail, setDetail] = useState<Detail | null>(null);
  const [error, setError] = useState("");
  const generation = graphChanged.value;
  useEffect(() => {
    const over = new AbortController();
    const { since, until } = spanOf(a, Date.now());
    get<unknown>(`/graph/edges/${encodeURIComponent(e.id)}`, { level, since: stamp(since), until: stamp(until) }, over.signal).then((v) => {
      setDetail(detailFrom(v));
      setError("");
    }, (x: unknown) => {
      if (!over.signal.aborted) setError(sentence(x));
    });
    return () => over.abort();
  }, [e.id, level, a.window, a.until, a.until ? 0 : Math.floor(generation / 5)]);
  const bad = failures(e);
  const parts = (detail?.parts ?? []).slice().sort((x, y) => bytesOf(y) - bytesOf(x) || y.connections - x.connections);
  const partName = (id: string) => detail?.names.get(id) ?? nameOf(m, id);
  return (
    <>
      <Trouble edges={[e]} m={m} />
      <dl class="twin-figures">
        <div><dt>Asked</dt><dd>{bytesText(e, e.bytesOut)}</dd><dd class="dim">{count(e.packetsOut)} packets →</dd></div>
        <div><dt>Answered</dt><dd>{bytesText(e, e.bytesIn)}</dd><dd class="dim">← {count(e.packetsIn)} packets</dd></div>
        <div><dt>Connections</dt><dd>{count(e.connections)}</dd>{bad ? <dd class="amber">{count(bad)} failed</dd> : <dd class="dim">{count(e.open)} open now</dd>}</div>
      </dl>
      {detail && detail.buckets.length > 1 && <figure class="edge-bars"><Spark values={detail.buckets.map((b) => b.connections + b.failures)} marks={detail.buckets.map((b) => b.failures)} width={380} height={44} /><figcaption><span>{clock(detail.buckets[0].time)}</span><span>connections over the window{bad ? ", dots: failures" : ""}</span><span>{clock(detail.buckets[detail.buckets.length - 1].time)}</span></figcaption></figure>}
      <Section title="What is spoken">
        <Facts rows={[
          ["Port", <span class="mono"><T s={portText(e)} max={200} /></span>],
          ["Protocol", e.protocol ? <>{visible(e.protocol, 40)} <span class="dim">seen in its first bytes</span></> : protocolText(e) ? <>{protocolText(e).replace("?", "")} <span class="dim">by its port</span></> : null],
          ...(e.serverName ? [["Server name", <T s={e.serverName} max={200} />] as [string, preact.ComponentChildren]] : []),
          ...(e.certificate ? [["Certificate (not verified)", <T s={e.certificate} max={200} />] as [string, preact.ComponentChildren]] : []),
          ...(e.fingerprint ? [["JA4 of the client", <T s={e.fingerprint} max={64} />] as [string, preact.ComponentChildren]] : []),
          ["Failures", bad ? <span class="amber">{whyText(e)} <span class="dim">({percent(bad, Math.max(bad, e.connections))})</span></span> : e.reset ? `none, ${count(e.reset)} reset` : "none"],
          ...(e.halfOpen ? [["Half open", <span class="amber">{count(e.halfOpen)} without an answer yet</span>] as [string, preact.ComponentChildren]] : []),
          ...(e.ports > 1 ? [["Ports tried", <>{count(e.ports)}{e.samples.length > 0 && <span class="dim">, among them {e.samples.slice(0, 12).join(", ")}</span>}</>] as [string, preact.ComponentChildren]] : []),
          ...(e.addresses > 1 ? [["Addresses tried", count(e.addresses)] as [string, preact.ComponentChildren]] : []),
          ["Mean duration", e.connections && e.duration ? `${(e.duration / Math.max(1, e.connections - e.open)).toFixed(2)} s` : null],
          ["First seen", when(e.first)],
          ["Last seen", when(e.last)],
        ]} />
      </Section>
      <Section title="Programs">
        <Facts rows={[["Who asks", mono(e.clients) ?? <span class="none">not seen from here</span>], ["Who answers", mono(e.servers) ?? <span class="none">not seen from here</span>], ["Seen by", e.sides === "both" ? "both ends" : e.sides ? `the ${visible(e.sides, 20)} alone` : null]]} />
      </Section>
      <Section title="Addresses">
        <Facts rows={[["Dialled", mono(e.dialled)], ["Found by name", mono(e.names)], ["Networks", mono(e.networks)]]} />
      </Section>
      <Section title="Parts, one level down" count={parts.length}>
        {error ? <p class="hint">{error}</p> : !detail ? <Skeleton rows={3} label="Loading" /> : parts.length ? (
          <ul class="peers">{parts.slice(0, 100).map((p) => (
            <li key={p.id}><button type="button" class="peer part" onClick={() => choose(p.from, p.to, p.id)}>
              <span class="peer-name"><T s={partName(p.from)} max={40} /> <span class="dim" aria-hidden="true">→</span> <T s={partName(p.to)} max={40} /></span><span class="peer-more"><FlagMark e={p} words={false} /></span><span class="peer-n">{bytesOf(p) ? bytes(bytesOf(p)) : `${count(p.connections)}×`}</span>
            </button></li>))}
            {parts.length > 100 && <li class="dim">and {count(parts.length - 100)} more</li>}
          </ul>
        ) : <p class="none">It has none: this is the finest level.</p>}
      </Section>
    </>
  );
}

/* Where a connection stands among the loaded ones, whichever level it is of. */
function levelOf(edges: Edges, id: string): Level | undefined {
  return (["workload", "container", "application"] as const).find((l) => edges[l]?.some((e) => e.id === id));
}

function PairPanel({ m, address: a, edges, level, onClose }: { m: Model; address: MapAddress; edges: Edges; level: Level; onClose: () => void }) {
  const ends: Level = kindOf(a.select) === "container" || kindOf(a.to) === "container" ? "container" : "workload";
  const grouped = m.groups.has(a.select) && m.groups.has(a.to);
  const list = useMemo(() => {
    const l = (edges[ends] ?? []).filter((e) => (grouped ? groupOf(m, e.from)?.id === a.select && groupOf(m, e.to)?.id === a.to : e.from === a.select && e.to === a.to));
    return l.sort((x, y) => bytesOf(y) - bytesOf(x) || (x.id < y.id ? -1 : 1));
  }, [edges, ends, a.select, a.to, m]);
  const gone = diff.value?.gone.find((e) => e.id === a.edge) ?? diff.value?.gone.find((e) => e.from === a.select && e.to === a.to);
  const one = list.find((e) => e.id === a.edge) ?? (list.length === 1 ? list[0] : undefined) ?? (edges[levelOf(edges, a.edge) ?? level] ?? []).find((e) => e.id === a.edge) ?? (!list.length ? gone : undefined);
  const [all, setAll] = useState(false);
  const head = (
    <>
      <h2 class="edge-head"><button type="button" class="endlink" onClick={() => choose(one?.from ?? a.select)}><Name m={m} id={one?.from ?? a.select} /></button><Icon name="arrow" /><button type="button" class="endlink" onClick={() => choose(one?.to ?? a.to)}><Name m={m} id={one?.to ?? a.to} /></button></h2>
      <p>{one ? <span class="mono"><T s={portText(one)} max={60} /></span> : `${count(list.length)} ${plural(list.length, "connection")}`}{one && protocolText(one) && <> · {visible(protocolText(one).replace("?", ""), 30)}</>}{one && flagOf(one) && <> <FlagMark e={one} /></>}{one && list.length > 1 && <> · <button type="button" class="link" onClick={() => choose(a.select, a.to)}>all {count(list.length)} between them</button></>}</p>
    </>);
  return (
    <Drawer label={`Connection from ${visible(nameOf(m, a.select), 60)} to ${visible(nameOf(m, a.to), 60)}`} focusKey={`${a.select} ${a.to} ${a.edge}`} onClose={onClose} head={head}>
      {one ? <EdgeBody key={one.id} e={one} m={m} address={a} level={levelOf(edges, one.id) ?? ends} />
        : list.length ? <>
          <Trouble edges={list} m={m} />
          <dl class="twin-figures">
            <div><dt>Asked</dt><dd>{bytes(list.reduce((n, e) => n + e.bytesOut, 0))}</dd></div>
            <div><dt>Answered</dt><dd>{bytes(list.reduce((n, e) => n + e.bytesIn, 0))}</dd></div>
            <div><dt>Connections</dt><dd>{count(list.reduce((n, e) => n + e.connections, 0))}</dd></div>
          </dl>
          <Section title="Connections" count={list.length}>
            <ul class="peers">{(all ? list.slice(0, 500) : list.slice(0, LIST)).map((e) => (
              <li key={e.id}><button type="button" class="peer" onClick={() => choose(grouped ? e.from : a.select, grouped ? e.to : a.to, e.id)}>
                {grouped && <span class="peer-name"><Name m={m} id={e.from} max={24} /> <span class="dim" aria-hidden="true">→</span> <Name m={m} id={e.to} max={24} /></span>}
                <span class="peer-port mono"><T s={portText(e)} max={40} /></span><span class="peer-more">{flagOf(e) || failures(e) ? <FlagMark e={e} /> : <span class="dim">{protocolText(e)}</span>}</span><span class="peer-n">{bytesOf(e) ? bytes(bytesOf(e)) : `${count(e.connections)}×`}</span>
              </button></li>))}
              {!all && list.length > LIST && <li><button type="button" class="link" onClick={() => setAll(true)}>All {count(list.length)}</button></li>}
            </ul>
          </Section>
        </>
        : <Notice level="note">{state.value.loading ? "Loading." : "There is no such connection in this window."}</Notice>}
    </Drawer>
  );
}

export function SelectionPanel({ address: a, model, edges, level, onClose }: { address: MapAddress; model: Model; edges: Edges; level: Level; onClose: () => void }) {
  return a.to ? <PairPanel m={model} address={a} edges={edges} level={level} onClose={onClose} /> : <NodePanel m={model} id={a.select} edges={edges} onClose={onClose} />;
}

/* --- What changed -------------------------------------------------------------------------------------------------------------- */

export function ChangesPanel({ model: m, onClose }: { model: Model; onClose: () => void }) {
  const d = diff.value;
  const List = ({ title, rows, kind }: { title: string; rows: { e: GEdge; ratio?: number }[]; kind: string }) => {
    const [all, setAll] = useState(false);
    return (
      <Section title={title} count={rows.length}>
        {rows.length ? <ul class="peers">{(all ? rows.slice(0, 500) : rows.slice(0, 20)).map(({ e, ratio }) => (
          <li key={e.id}><button type="button" class={`peer part ${kind}`} onClick={() => choose(e.from, e.to, e.id)}>
            <span class="peer-name"><Name m={m} id={e.from} max={28} /> <span class="dim" aria-hidden="true">→</span> <Name m={m} id={e.to} max={28} /></span><span class="peer-port mono"><T s={portText(e)} max={24} /></span>
            <span class="peer-n">{ratio ? (ratio >= 1 ? `×${ratio >= 10 ? Math.round(ratio) : ratio.toFixed(1)}` : `÷${(1 / ratio).toFixed(1)}`) : bytes(bytesOf(e))}</span></button></li>))}
          {!all && rows.length > 20 && <li><button type="button" class="link" onClick={() => setAll(true)}>All {count(rows.length)}</button></li>}
        </ul> : <p class="none">None.</p>}
      </Section>
    );
  };
  return (
    <Drawer label="What changed" focusKey="changes" onClose={onClose} head={<><h2><Icon name="diff" />What changed</h2><p>This window against the one of the same length before it.</p></>}>
      {!d ? <Skeleton rows={6} label="Comparing" /> : <>
        <dl class="twin-figures">
          <div class="fresh"><dt>New</dt><dd>{count(d.fresh.length)}</dd></div>
          <div><dt>Gone</dt><dd>{count(d.gone.length)}</dd></div>
          <div><dt>Changed</dt><dd>{count(d.changed.length)}</dd></div>
        </dl>
        <List title="New" kind="fresh" rows={d.fresh.map((e) => ({ e }))} />
        <List title="Gone" kind="gone" rows={d.gone.map((e) => ({ e }))} />
        <List title="Grown or shrunk" kind="grown" rows={d.changed.slice().sort((x, y) => Math.abs(Math.log(y.bytesRatio || 1)) - Math.abs(Math.log(x.bytesRatio || 1))).map((c) => ({ e: c.edge, ratio: c.bytesRatio || c.connectionsRatio }))} />
      </>}
    </Drawer>
  );
}
