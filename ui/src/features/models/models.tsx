/* SPDX-License-Identifier: Apache-2.0 */
/* What each workload was seen to do, and how far that is trusted: #/models?q=…; one: #/models?app=…&workload=…&version=…&family=… */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, sentence } from "../../api/client";
import { pageFrom } from "../../api/model";
import { go, href, patch, route } from "../../app/router";
import { mayAct, now } from "../../app/state";
import { ageShort, bytes, count } from "../../lib/format";
import { type Model, modelFrom, observed, STATES, trusted } from "../../lib/models";
import { Grid } from "../../parts/grid";
import { Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Empty, Skeleton, T } from "../../parts/ui";
import { Import } from "./import";
import { ModelPage } from "./model";

const MOST = 10_000;
const EVERY_MS = 15_000;

export function ModelState({ state, locked }: { state: string; locked: boolean }) {
  return <span class={`tag model-state ms-${locked ? "locked" : state}`} title={locked ? "Locked by a person: nothing more is learned (system calls, patterns and rates: once five minutes of running time were seen)" : STATES[state]}>{locked && <Icon name="lock" size={12} />}{locked ? "locked" : state}</span>;
}

/* A segment for each family that was observed: filled when what is new there is told. */
function Progress({ m }: { m: Model }) {
  const v = m.versions[0];
  if (!v) return null;
  const all = observed(v);
  const done = trusted(v);
  return <span class="model-progress" role="img" aria-label={`${done.length} of ${all.length} observed families are trusted`} title={all.map((f) => `${f.title}: ${f.locked ? "locked" : f.state}`).join("\n")}>{all.map((f) => <i key={f.key} class={done.includes(f) ? "on" : ""} />)}</span>;
}

function List() {
  const params = route.value.params;
  const q = params.get("q") ?? "";
  const state = params.get("state") ?? "";
  const [all, setAll] = useState<Model[] | null>(null);
  const [error, setError] = useState("");
  const [active, setActive] = useState(0);
  const [importing, setImporting] = useState(false);
  const narrow = useNarrow();
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const over = new AbortController();
    const read = async () => {
      try {
        const into: Model[] = [];
        let cursor: string | undefined;
        do {
          const p = pageFrom<unknown>(await get<unknown>("/models", { cursor }, over.signal), "models");
          into.push(...p.items.map(modelFrom));
          cursor = p.next;
        } while (cursor && into.length < MOST);
        setAll(into);
        setError("");
      } catch (e) {
        if (!over.signal.aborted) setError(sentence(e));
      }
    };
    void read();
    const t = setInterval(() => { if (!document.hidden) void read(); }, EVERY_MS);
    return () => { over.abort(); clearInterval(t); };
  }, []);
  const rows = useMemo(() => (all ?? []).filter((m) => {
    const v = m.versions[0];
    const its = v?.locked ? "locked" : v?.state ?? "";
    return `${m.application} ${m.workload}`.toLowerCase().includes(q.toLowerCase()) && (!state || (state === "open" ? (v?.outstanding ?? 0) > 0 : its === state));
  }).sort((a, b) => (b.versions[0]?.outstanding ?? 0) - (a.versions[0]?.outstanding ?? 0) || (a.application < b.application ? -1 : a.application > b.application ? 1 : a.workload < b.workload ? -1 : 1)), [all, q, state]);
  const open = (all ?? []).filter((m) => (m.versions[0]?.outstanding ?? 0) > 0).length;
  const at = Math.floor(now.value / 10_000) * 10_000;
  const clear = () => patch({ q: undefined, state: undefined });
  return (
    <div class="page split models">
      <section class="listing" aria-labelledby="m-title">
        <header class="toolbar">
          <h1 id="m-title">Models</h1>
          <div class="searchbox"><Icon name="search" /><input type="text" aria-label="Filter models" placeholder="Filter by application or workload" spellcheck={false} autocomplete="off" maxLength={256} value={q} onInput={(e) => patch({ q: e.currentTarget.value })} onKeyDown={(e) => { if (e.key === "ArrowDown") { e.preventDefault(); box.current?.focus(); } }} /></div>
          <select aria-label="State" value={state} onChange={(e) => patch({ state: e.currentTarget.value })}>
            <option value="">Any state</option><option value="open">With items to judge</option>{[...Object.keys(STATES), "locked"].map((s) => <option key={s} value={s}>{s}</option>)}
          </select>
          <p class="tally-line" role="status">{all ? `${rows.length === all.length ? "" : `${count(rows.length)} of `}${count(all.length)} ${open ? `, ${count(open)} with items to judge` : "workloads"}` : "Loading…"}</p>
          {mayAct.value && <Button onClick={() => setImporting(true)}>Import…</Button>}
        </header>
        {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{all ? "What you see may be old" : "The models could not be read"}: {error}</span></div>}
        {!all ? !error && <Skeleton rows={10} label="Loading models" />
          : !rows.length ? (q || state ? <Empty icon="search" title="No model matches"><Button onClick={clear}>Clear the filters</Button></Empty>
            : <Empty icon="models" title="No model yet"><p>Whatever a container of a workload does is learned from its first second; the model appears here with it.</p></Empty>)
          : <Grid id="m" label={`Models, ${count(rows.length)}`} class="models-grid" total={rows.length} rowHeight={narrow ? 62 : 44} columns={narrow ? 3 : 7} scroller={box} active={active} onActive={setActive}
              onOpen={(n) => go(href("/models", { app: rows[n].application || undefined, workload: rows[n].workload }))}
              head={<div role="row" class="row head" aria-rowindex={1}>{(narrow ? ["Workload", "State", "Judge"] : ["Workload", "State", "Families", "Learned", "Judge", "Container hours", "Seen"]).map((h) => <span key={h} role="columnheader" class={/Learned|Judge|hours|Seen/.test(h) ? "n" : ""}>{h === "Judge" ? "To judge" : h}</span>)}</div>}
              row={(n) => {
                const m = rows[n];
                const v = m.versions[0];
                const name = <span role="gridcell" class="m-name">{m.application && <><T s={m.application} max={80} class="dim" /><span class="slash">/</span></>}<a tabIndex={-1} href={href("/models", { app: m.application || undefined, workload: m.workload })}><T s={m.workload} max={120} /></a></span>;
                const its = <span role="gridcell">{v && <ModelState state={v.state} locked={v.locked} />}</span>;
                const judge = <span role="gridcell" class={`n ${v?.outstanding ? "amber" : "faint"}`}>{count(v?.outstanding ?? 0)}</span>;
                return { key: `${m.application}\n${m.workload}`, cells: narrow ? <>{name}{its}{judge}</> : <>{name}{its}<span role="gridcell"><Progress m={m} /></span><span role="gridcell" class="n">{count(v?.learned ?? 0)}</span>{judge}
                  <span role="gridcell" class="n" title={`${bytes(m.bytes)} of memory`}>{v ? (v.hours < 10 ? v.hours.toFixed(1) : count(v.hours)) : "–"}</span><span role="gridcell" class="n dim">{v && Number.isFinite(v.last) ? `${ageShort(at - v.last)} ago` : "–"}</span></> };
              }} />}
      </section>
      {importing && <Import onClose={() => setImporting(false)} />}
    </div>
  );
}

export function Models() {
  const p = route.value.params;
  const workload = p.get("workload");
  return workload ? <ModelPage key={`${p.get("app")}\n${workload}`} application={p.get("app") ?? ""} workload={workload} /> : <List />;
}
