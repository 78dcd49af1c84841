/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that the nodes evaluate, asked of the nodes; each can be switched off and on again. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, call, get, sentence } from "../../api/client";
import { href, patch, route } from "../../app/router";
import { me } from "../../app/state";
import { count } from "../../lib/format";
import { list, object, text as textOf } from "../../lib/loose";
import { mergeRules, problemFrom, readSwitches, RULE_STATES, type RuleRow, ruleState, type RuleState, SWITCHES, writeSwitches } from "../../lib/rules";
import { plural, visible } from "../../lib/text";
import { Drawer } from "../../parts/drawer";
import { ExportMenu } from "../../parts/export";
import { Grid } from "../../parts/grid";
import { Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Empty, Facts, Notice, Section, Skeleton, T } from "../../parts/ui";
import { Priority } from "../findings/findings";
import { managed } from "./files";
import { Reload } from "./reload";
import { Tabs } from "./policies";

const EVERY_MS = 15_000;

/* The switch is a file as any other: read, changed, and sent to the nodes when all files together have no error. */
async function turn(rule: string, on: boolean): Promise<void> {
  const switches = readSwitches((await managed(SWITCHES)) ?? "");
  if (!switches) throw new Error(`somebody else wrote in ${SWITCHES}: change it under “Rule files”`);
  switches.delete(rule);
  switches.set(rule, on);
  try {
    await call("PUT", `/rules/files/${SWITCHES}`, { body: { text: writeSwitches(switches) } });
  } catch (e) {
    const first = e instanceof ApiError ? list(object(e.data).problems).map(problemFrom).find((p) => p.severity === "error") : undefined;
    throw first ? new Error(`${first.what} (${first.file || SWITCHES}, line ${first.line})`) : e;
  }
}

function StateTag({ state }: { state: RuleState }) {
  return <span class={`tag rule-state rs-${state}`} title={RULE_STATES[state][1]}>{RULE_STATES[state][0]}</span>;
}

function Details({ r, may, onTurn, onClose }: { r: RuleRow; may: boolean; onTurn: (on: boolean) => Promise<void>; onClose: () => void }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const act = async () => {
    setBusy(true);
    setError("");
    try {
      await onTurn(!r.enabled);
    } catch (e) {
      setError(sentence(e));
    }
    setBusy(false);
  };
  return (
    <Drawer label={`Rule ${visible(r.name, 80)}`} focusKey={r.name} onClose={onClose} head={<><h2><T s={r.name} max={200} /></h2><p><Priority priority={r.priority} /> <StateTag state={ruleState(r)} /></p></>}>
      <p class="drawer-links">
        {may && <Button kind={r.enabled ? "plain" : "primary"} busy={busy} onClick={() => void act()}>{r.enabled ? "Switch off" : "Switch on"}</Button>}
        <a class="button" href={href("/findings", { rule: r.name })}><Icon name="findings" />Its findings</a>
      </p>
      {error && <Notice level="bad">{error}</Notice>}
      {r.description && <p class="wrap"><T s={r.description} max={2000} /></p>}
      {r.problems.length > 0 && <Notice level="warn"><strong>It cannot match on {r.problems.length === r.nodes.length && r.nodes.length > 1 ? "any node" : r.problems.map(([n]) => visible(n, 40)).slice(0, 4).join(", ")}.</strong> <T s={r.problems[0][1]} max={600} /></Notice>}
      <Facts rows={[
        ["Matches", <>{count(r.matches)} <span class="dim">since the rules were loaded</span></>], ["Source", <T s={r.source} />],
        ["Tags", r.tags.length ? <span class="tags">{r.tags.map((t) => <span key={t} class="tag"><T s={t} max={48} /></span>)}</span> : null],
        ["Defined in", <span class="mono wrap"><T s={`${r.file}:${r.line}`} max={300} /></span>],
      ]} />
      <Section title="Nodes" count={r.nodes.length} open={r.nodes.length <= 12}><ul class="strings">{r.nodes.slice(0, 200).map((n) => <li key={n}><T s={n} max={80} /></li>)}</ul></Section>
    </Drawer>
  );
}

export function RuleList() {
  const params = route.value.params;
  const q = params.get("q") ?? "";
  const state = params.get("state") ?? "";
  const chosen = params.get("rule");
  const [all, setAll] = useState<RuleRow[] | null>(null);
  const [error, setError] = useState("");
  const [silent, setSilent] = useState<string[]>([]);
  const [nodes, setNodes] = useState<string[]>([]);
  const [reloading, setReloading] = useState(false);
  const [active, setActive] = useState(0);
  const narrow = useNarrow();
  const box = useRef<HTMLDivElement>(null);
  const may = me.value?.role === "admin";
  const read = async (signal?: AbortSignal) => {
    try {
      const o = object(await get<unknown>("/rules", {}, signal));
      setAll(mergeRules(list(o.rules)));
      setNodes(list(o.nodes).map(object).map((n) => textOf(n.node)));
      setSilent(list(o.nodes).map(object).filter((n) => n.error).map((n) => `${textOf(n.node)}: ${textOf(n.error)}`));
      setError("");
    } catch (e) {
      if (!signal?.aborted) setError(sentence(e));
    }
  };
  useEffect(() => {
    const over = new AbortController();
    void read(over.signal);
    const t = setInterval(() => { if (!document.hidden) void read(over.signal); }, EVERY_MS);
    return () => { over.abort(); clearInterval(t); };
  }, []);
  const rows = useMemo(() => {
    const low = q.toLowerCase();
    return (all ?? []).filter((r) => (!low || `${r.name} ${r.description} ${r.tags.join(" ")}`.toLowerCase().includes(low)) && (!state || ruleState(r) === state)).sort((a, b) => b.matches - a.matches || (a.name < b.name ? -1 : 1));
  }, [all, q, state]);
  const open = all?.find((r) => r.name === chosen);
  const clear = () => patch({ q: undefined, state: undefined });
  return (
    <div class={`page split policies ${chosen ? "with-drawer" : ""}`}>
      <section class="listing" aria-labelledby="p-title">
        <header class="toolbar">
          <h1 id="p-title">Policies</h1><Tabs />
          <div class="searchbox"><Icon name="search" /><input type="text" aria-label="Filter rules" placeholder="Filter by name, text or tag" spellcheck={false} autocomplete="off" maxLength={256} value={q} onInput={(e) => patch({ q: e.currentTarget.value })} onKeyDown={(e) => { if (e.key === "ArrowDown") { e.preventDefault(); box.current?.focus(); } }} /></div>
          <select aria-label="State" value={state} onChange={(e) => patch({ state: e.currentTarget.value })}><option value="">Any state</option>{Object.entries(RULE_STATES).map(([k, [title]]) => <option key={k} value={k}>{title}</option>)}</select>
          <p class="tally-line" role="status">{all ? `${rows.length === all.length ? "" : `${count(rows.length)} of `}${count(all.length)} ${plural(all.length, "rule")}` : "Loading…"}</p>
          {may && <Button onClick={() => setReloading(true)}>Reload…</Button>}
          <ExportMenu what="rules" disabled={!rows.length} rows={() => Promise.resolve({ rows, cut: false })} columns={[["rule", (r) => r.name], ["priority", (r) => r.priority], ["state", (r) => ruleState(r)], ["source", (r) => r.source], ["tags", (r) => r.tags.join(" ")], ["matches", (r) => r.matches], ["nodes", (r) => r.nodes.length], ["file", (r) => r.file], ["line", (r) => r.line], ["description", (r) => r.description]]} />
        </header>
        {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{all ? "What you see may be old" : "The nodes could not be asked"}: {error}</span></div>}
        {silent.length > 0 && <div class="inline-warn" role="status"><Icon name="warn" /><span>{silent.length === 1 ? "A node" : `${silent.length} nodes`} did not answer: <T s={silent.slice(0, 3).join("; ")} max={300} /></span></div>}
        {!all ? !error && <Skeleton rows={12} label="Asking the nodes for their rules" />
          : !rows.length ? (q || state ? <Empty icon="search" title="No rule matches"><Button onClick={clear}>Clear the filters</Button></Empty> : <Empty icon="policies" title="No node runs rules"><p>Rules are evaluated by the sensors. None is connected, or none has any.</p></Empty>)
          : <Grid id="p" label={`Rules, ${count(rows.length)}`} class="rules-grid" total={rows.length} rowHeight={narrow ? 62 : 44} columns={narrow ? 2 : 5} scroller={box} active={active} onActive={setActive} selected={open ? rows.indexOf(open) : -1} onOpen={(n) => patch({ rule: rows[n].name }, !!chosen)}
              head={<div role="row" class="row head" aria-rowindex={1}>{(narrow ? ["Rule", "State"] : ["Rule", "Priority", "State", "Nodes", "Matches"]).map((h) => <span key={h} role="columnheader" class={/Nodes|Matches/.test(h) ? "n" : ""}>{h}</span>)}</div>}
              row={(n) => {
                const r = rows[n];
                const name = <span role="gridcell" class="f-what"><strong><T s={r.name} max={160} /></strong><small class="dim"><T s={r.description} max={200} /></small></span>;
                const its = <span role="gridcell"><StateTag state={ruleState(r)} /></span>;
                return { key: r.name, class: r.enabled ? "" : "is-off", cells: narrow ? <>{name}{its}</> : <>{name}<span role="gridcell"><Priority priority={r.priority} /></span>{its}<span role="gridcell" class="n">{count(r.nodes.length)}</span><span role="gridcell" class="n">{r.matches ? count(r.matches) : <span class="faint">0</span>}</span></> };
              }} />}
      </section>
      {reloading && <Reload nodes={nodes} onDone={() => void read()} onClose={() => setReloading(false)} />}
      {chosen && (open ? <Details r={open} may={may} onTurn={async (on) => { await turn(open.name, on); setAll((l) => l && l.map((r) => (r.name === open.name ? { ...r, enabled: on, runs: on ? r.nodes.length : 0 } : r))); }} onClose={() => { patch({ rule: undefined }); box.current?.focus(); }} />
        : <Drawer label="Rule" focusKey={chosen} onClose={() => patch({ rule: undefined })} head={<h2><T s={chosen} max={160} /></h2>}>{all ? <Notice level="note">No node that answered has a rule of this name. What is no rule of a file, as web attacks and anomalies, is not in this list.</Notice> : <Skeleton rows={4} label="Loading" />}</Drawer>)}
    </div>
  );
}
