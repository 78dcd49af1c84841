/* SPDX-License-Identifier: Apache-2.0 */
/* All incidents, those that went on last first: #/incidents?state=…&severity=…&q=…; one of them: #/incidents/12?finding=… */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Incident as Row } from "../../api/openapi";
import { get, sentence } from "../../api/client";
import { pageFrom } from "../../api/model";
import { go, href, patch, route } from "../../app/router";
import { incidentsChanged, now } from "../../app/state";
import type { Columns } from "../../lib/export";
import { ageShort, count, date } from "../../lib/format";
import { incidentFrom, type Incident, SEVERITIES, VERDICTS } from "../../lib/incidents";
import { plural } from "../../lib/text";
import { ExportMenu, readAll } from "../../parts/export";
import { Grid } from "../../parts/grid";
import { Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Empty, Skeleton, T } from "../../parts/ui";
import { IncidentPage } from "./incident";
import { SeverityMark, TacticStrip } from "./mark";

const PAGE = 100;
const MOST = 2000;
const STATES: [string, string][] = [["open", "Open"], ["closed", "Closed"], ["", "All"]];

const COLUMNS: Columns<Row> = [["id", (i) => i.id], ["state", (i) => i.state], ["severity", (i) => i.severity], ["title", (i) => i.title], ["first", (i) => i.first], ["last", (i) => i.last], ["findings", (i) => i.findings], ["tactics", (i) => i.tactics?.join(" ")],
  ["containers", (i) => i.containers?.map((c) => c.name || c.id).join(" ")], ["nodes", (i) => i.nodes?.join(" ")], ["assignee", (i) => i.assignee], ["verdict", (i) => i.verdict], ["story", (i) => i.story]];

const where = (i: Incident) => [...new Set(i.places.map((p) => p.name || p.workload))].slice(0, 2).join(", ") + (i.places.length > 2 ? ` and ${i.places.length - 2} more` : i.places.length ? "" : i.nodes.join(", "));

function List() {
  const params = route.value.params;
  const state = params.get("state") ?? "open";
  const severity = params.get("severity") ?? "";
  const q = params.get("q") ?? "";
  const only = { application: params.get("app") ?? "", container: params.get("container") ?? "", workload: params.get("workload") ?? "" };
  const [rows, setRows] = useState<Incident[] | null>(null);
  const [total, setTotal] = useState(0);
  const [next, setNext] = useState<string | undefined>();
  const [error, setError] = useState("");
  const [text, setText] = useState(q);
  const [active, setActive] = useState(0);
  const narrow = useNarrow();
  const box = useRef<HTMLDivElement>(null);
  const version = incidentsChanged.value;
  const query = { state: state === "all" ? "" : state, severity, search: q, ...only };
  const wanted = JSON.stringify(query);

  const read = async (cursor: string | undefined, signal: AbortSignal, keep: number) => {
    try {
      const p = pageFrom<unknown>(await get<unknown>("/incidents", { ...query, limit: Math.min(1000, Math.max(PAGE, keep)), cursor, count: "true" }, signal), "incidents");
      const fresh = p.items.map(incidentFrom);
      setRows((r) => [...(cursor ? (r ?? []) : []), ...fresh].slice(0, MOST));
      setTotal(p.total);
      setNext(p.next);
      setError("");
    } catch (e) {
      if (!signal.aborted) setError(sentence(e));
    }
  };
  useEffect(() => {
    const over = new AbortController();
    void read(undefined, over.signal, rows?.length ?? 0);
    return () => over.abort();
  }, [wanted, version]);
  useEffect(() => setText(q), [q]);
  useEffect(() => {
    if (text === q) return;
    const t = setTimeout(() => patch({ q: text }), 200);
    return () => clearTimeout(t);
  }, [text]);

  const narrowed = severity || q || only.application || only.container || only.workload;
  const clear = () => patch({ severity: undefined, q: undefined, app: undefined, container: undefined, workload: undefined });
  const at = Math.floor(now.value / 10_000) * 10_000;
  return (
    <div class="page split incidents">
      <section class="listing" aria-labelledby="i-title">
        <header class="toolbar">
          <h1 id="i-title">Incidents</h1>
          <div class="segments" role="group" aria-label="State">
            {STATES.map(([key, label]) => <button key={label} type="button" aria-pressed={(key || "all") === state} onClick={() => patch({ state: key === "open" ? undefined : key || "all" })}>{label}</button>)}
          </div>
          <select aria-label="Severity" value={severity} onChange={(e) => patch({ severity: e.currentTarget.value })}>
            <option value="">Any severity</option>
            {SEVERITIES.map((s) => <option key={s} value={s}>{s === "critical" ? s : `${s} or above`}</option>)}
          </select>
          <div class="searchbox">
            <Icon name="search" />
            <input type="text" aria-label="Search incidents" placeholder="Search titles and stories" spellcheck={false} autocomplete="off" maxLength={256} value={text} onInput={(e) => setText(e.currentTarget.value)}
              onKeyDown={(e) => { if (e.key === "ArrowDown") { e.preventDefault(); box.current?.focus(); } }} />
          </div>
          {narrowed && <Button kind="quiet" glyph="close" onClick={clear}>{only.container || only.workload || only.application ? <T s={only.container || only.workload || only.application} max={32} /> : "Clear"}</Button>}
          <p class="tally-line" role="status">{rows ? `${count(total)} ${state === "all" ? "" : state}` : "Loading…"}</p>
          <ExportMenu what="incidents" columns={COLUMNS} disabled={!rows?.length} rows={() => readAll<Row>("/incidents", "incidents", query)} />
        </header>
        {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>The list could not be read: {error}</span></div>}
        {!rows ? !error && <Skeleton rows={10} label="Loading incidents" />
          : !rows.length ? (narrowed
            ? <Empty icon="search" title="No incident matches"><Button onClick={clear}>Clear the filters</Button></Empty>
            : <Empty icon={state === "open" ? "good" : "note"} title={state === "open" ? "No open incident" : "No incident"}>
                <p>An incident begins where findings of grave rules, or of two tactics of an attack, belong together by container, process, file or connection. Single findings are under <a href="#/findings">Findings</a>.</p>
              </Empty>)
          : <Grid id="i" label={`Incidents, ${count(rows.length)}`} class="incidents-grid" total={rows.length} rowHeight={narrow ? 86 : 60} columns={narrow ? 3 : 6} scroller={box} active={active} onActive={setActive}
              onOpen={(n) => go(href(`/incidents/${rows[n].id}`))}
              head={<div role="row" class="row head" aria-rowindex={1}>
                {(narrow ? ["Severity", "Incident", "Last"] : ["Severity", "Incident", "Tactics", "Where", "Assigned", "Last"]).map((h) => <span key={h} role="columnheader" class={`i-${h.toLowerCase()}`}>{h}</span>)}
              </div>}
              row={(n) => {
                const i = rows[n];
                const said = <><a href={href(`/incidents/${i.id}`)} tabIndex={-1} class="i-name"><T s={i.title} max={200} /></a>
                  <small><span class="faint">{i.id}</span>{i.state === "closed" ? ` closed: ${VERDICTS[i.verdict]?.[0].toLowerCase() ?? i.verdict}` : ""} {count(i.findings)} {plural(i.findings, "finding")}{narrow ? <>, <T s={where(i)} max={60} /></> : <> <T s={i.story} max={160} class="faint" /></>}</small></>;
                const last = <span role="gridcell" class="i-last" title={`${date(i.last)}, ${new Date(i.last || 0).toISOString()}`}>{Number.isFinite(i.last) ? ageShort(at - i.last) : "–"}</span>;
                return {
                  key: i.id, class: `is-${i.state}`,
                  cells: narrow ? <><span role="gridcell" class="i-severity"><SeverityMark severity={i.severity} /></span><span role="gridcell" class="i-incident">{said}</span>{last}</>
                    : <><span role="gridcell" class="i-severity"><SeverityMark severity={i.severity} /></span><span role="gridcell" class="i-incident">{said}</span><span role="gridcell" class="i-tactics"><TacticStrip tactics={i.tactics} /></span>
                      <span role="gridcell" class="i-where"><T s={where(i)} max={90} title /></span><span role="gridcell" class="i-assigned">{i.assignee ? <T s={i.assignee} max={40} /> : <span class="faint">nobody</span>}</span>{last}</>,
                };
              }}
              footer={next && rows.length < MOST ? <p class="card-foot"><Button onClick={() => void read(next, new AbortController().signal, 0)}>Older</Button></p> : undefined} />}
      </section>
    </div>
  );
}

export function Incidents() {
  const id = /^\/incidents\/(\d{1,15})$/.exec(route.value.path)?.[1];
  return id ? <IncidentPage key={id} id={id} /> : <List />;
}
