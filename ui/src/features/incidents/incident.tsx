/* SPDX-License-Identifier: Apache-2.0 */
/* One incident: what happened in words, as a picture and step by step; the step that is chosen, down to the event as it was recorded; and what can be done. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Finding } from "../../api/openapi";
import { get, post, sentence } from "../../api/client";
import { lazyPart } from "../../app/lazy";
import { go, href, patch, route } from "../../app/router";
import { incidentsChanged, mayAct, me, now } from "../../app/state";
import { age, count } from "../../lib/format";
import { BASES, forestOf, incidentFrom, type Incident, type Line, type Place, reportOf, stamp, tacticName, untaught, VERDICTS } from "../../lib/incidents";
import { plural, shortId, visible } from "../../lib/text";
import { save } from "../../lib/save";
import { Icon, StateMark } from "../../parts/icons";
import { Button, Dialog, Empty, Facts, Field, Menu, Notice, Section, Skeleton, T, Time } from "../../parts/ui";
import { SeverityMark, TacticStrip } from "./mark";
import { LanesView } from "./lanes";
import { Act } from "../responses/act";
import { Held, useHeld } from "../responses/held";
import { Recorded } from "../findings/recorded";
import { Evidence } from "../evidence/list";

/* Dialogs that few open. */
const Regroup = lazyPart(() => import("./regroup").then((m) => m.default));

const mono = (s: string) => (s ? <span class="mono wrap"><T s={s} max={2000} /></span> : null);

/* The chosen step. The finding is asked for when somebody looks: an incident may have hundreds. */
function Step({ line }: { line: Line }) {
  const [f, setF] = useState<Finding | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const over = new AbortController();
    setF(null);
    setError("");
    if (line.finding) get<Finding>(`/findings/${encodeURIComponent(line.finding)}`, {}, over.signal).then(setF, (e: unknown) => { if (!over.signal.aborted) setError(sentence(e)); });
    return () => over.abort();
  }, [line.finding]);
  return (
    <div class="step">
      <h3 class="step-rule"><T s={line.rule} max={200} /></h3>
      <p class="wrap"><T s={line.output} max={2000} /></p>
      {f?.description && <p class="dim"><T s={f.description} max={1000} /></p>}
      {f?.advice && <Notice level="note"><strong>What to do</strong> <T s={f.advice} max={1000} /></Notice>}
      <Facts rows={[
        ["When", <><Time ms={line.at} />{line.count > 1 && <> <span class="dim">{count(line.count)} times, the last at <Time ms={line.last} /></span></>}</>],
        ["Where", line.containerId ? <a href={href("/containers", { id: line.containerId })}><T s={line.container || shortId(line.containerId)} /></a> : <>node <T s={line.node} /></>],
        ["Process", mono(line.command || line.exe)], ["Executable", line.command ? mono(line.exe) : null], ["Process id", line.pid ? count(line.pid).replace(/,/g, "") : null], ["Started by", mono(line.parent)], ["Object", mono(line.object)],
        ["Priority", line.priority], ["Tactics", line.tactics.map(tacticName).join(", ")], ["Belongs to it", line.basis ? <T s={`${BASES[line.basis] ?? line.basis}${line.used ? `: ${line.used}` : ""}`} /> : "it began here"],
      ].filter(([, v]) => v !== null) as [string, preact.ComponentChildren][]} />
      {error ? <Notice level="warn">The finding could not be read: {error}</Notice> : !f ? <Skeleton rows={3} label="Loading the finding" />
        : <Recorded f={f} />}
    </div>
  );
}

function Close({ incident, onDone, onClose }: { incident: Incident; onDone: (v: unknown) => void; onClose: () => void }) {
  const [verdict, setVerdict] = useState("");
  const [comment, setComment] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (e: Event) => {
    e.preventDefault();
    if (!verdict) return setError("Choose what it was.");
    setBusy(true);
    try {
      onDone(await post(`/incidents/${incident.id}/close`, { verdict, ...(comment.trim() ? { comment: comment.trim() } : {}) }));
      onClose();
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };
  return (
    <Dialog title={`Close incident ${incident.id}`} onClose={onClose}>
      <form onSubmit={(e) => void submit(e)}>
        <fieldset class="choices"><legend>What was it?</legend>
          {Object.entries(VERDICTS).map(([key, [title, why]]) => <label key={key}><input type="radio" name="verdict" value={key} checked={verdict === key} onChange={() => setVerdict(key)} /><span>{title}<small>{why}</small></span></label>)}
        </fieldset>
        <Field label="Comment" hint="What happens afterwards in the same containers begins another incident.">{(p) => <textarea {...p} rows={3} maxLength={4096} value={comment} onInput={(e) => setComment(e.currentTarget.value)} />}</Field>
        {error && <Notice level="bad">{error}</Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy}>Close the incident</Button><Button onClick={onClose}>Leave it open</Button></div>
      </form>
    </Dialog>
  );
}

function Comments({ incident, may, onDone }: { incident: Incident; may: boolean; onDone: (v: unknown) => void }) {
  const [text, setText] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const send = async (e: Event) => {
    e.preventDefault();
    if (!text.trim()) return;
    setBusy(true);
    try {
      onDone(await post(`/incidents/${incident.id}/comment`, { text: text.trim() }));
      setText("");
      setError("");
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };
  return (
    <Section title="Comments" count={incident.comments.length}>
      <ul class="comments">{incident.comments.map((c, n) => <li key={n}><p class="wrap"><T s={c.text} /></p><small class="faint"><T s={c.who} max={64} />, <Time ms={c.at} /></small></li>)}</ul>
      {may && <form class="comment-form" onSubmit={(e) => void send(e)}><textarea aria-label="Comment" rows={2} maxLength={4096} placeholder="For whoever looks next" value={text} onInput={(e) => setText(e.currentTarget.value)} /><Button type="submit" busy={busy} disabled={!text.trim()}>Comment</Button></form>}
      {error && <Notice level="bad">{error}</Notice>}
    </Section>
  );
}

function Forest({ incident, selected, onSelect }: { incident: Incident; selected: number; onSelect: (n: number) => void }) {
  const procs = useMemo(() => forestOf(incident), [incident]);
  const names = new Map(incident.lines.map((l) => [l.lane, l.container || l.node]));
  let lane = "";
  return (
    <ul class="forest">
      {procs.slice(0, 300).map((p) => {
        const head = p.lane !== lane ? names.get((lane = p.lane)) : "";
        return [head && <li key={`${p.lane} head`} class="forest-lane"><Icon name={p.host ? "host" : "containers"} size={14} /><T s={head} max={80} /></li>,
          <li key={p.key} style={{ paddingLeft: `${8 + p.depth * 18}px` }}>
            {p.lines.length ? <button type="button" class={`link mono ${p.lines.includes(selected) ? "on" : ""}`} onClick={() => onSelect(p.lines[0])}><T s={p.name} max={160} /></button> : <span class="mono"><T s={p.name} max={160} /></span>}
            {p.pid > 0 && <span class="faint"> {p.pid}</span>}{p.lines.length > 1 && <span class="tally">{p.lines.length}</span>}
          </li>];
      })}
    </ul>
  );
}

function Timeline({ incident, selected, onSelect }: { incident: Incident; selected: number; onSelect: (n: number) => void }) {
  const list = useRef<HTMLOListElement>(null);
  /* Within the list alone: the page stays where the person reads. */
  useEffect(() => {
    const l = list.current;
    const li = l?.querySelector<HTMLElement>('[aria-current="step"]')?.parentElement;
    if (!l || !li) return;
    const top = li.offsetTop - l.offsetTop;
    if (top < l.scrollTop) l.scrollTop = top;
    else if (top + li.offsetHeight > l.scrollTop + l.clientHeight) l.scrollTop = top + li.offsetHeight - l.clientHeight;
  }, [selected]);
  return (
    <ol class="timeline" ref={list}>
      {incident.lines.map((l, n) => (
        <li key={l.finding || n} class={l.grave ? "grave" : ""}>
          <button type="button" aria-current={n === selected ? "step" : undefined} onClick={() => onSelect(n)}>
            <time title={Number.isFinite(l.at) ? new Date(l.at).toISOString() : undefined}>{stamp(l.at, incident.first)}</time>
            <span class="t-what"><strong><T s={l.rule} max={160} /></strong>{l.count > 1 && <span class="tally">{count(l.count)}×</span>}
              <small><T s={l.container || l.node} max={60} />{(l.command || l.exe) && <> · <span class="mono"><T s={l.command || l.exe} max={120} /></span></>}{l.object && l.object !== l.exe && <> · <span class="mono"><T s={l.object} max={120} /></span></>}</small></span>
          </button>
        </li>
      ))}
      {incident.dropped > 0 && <li class="faint">{count(incident.dropped)} further kinds of findings, which are under <a href="#/findings">Findings</a>.</li>}
    </ol>
  );
}

export function IncidentPage({ id }: { id: string }) {
  const [i, setI] = useState<Incident | null>(null);
  const [error, setError] = useState("");
  const [said, setSaid] = useState("");
  const [closing, setClosing] = useState(false);
  const [acting, setActing] = useState<Place | null>(null);
  const [asking, setAsking] = useState<"assign" | "merge" | "split" | null>(null);
  const { held, error: heldError, put } = useHeld();
  const version = incidentsChanged.value;
  const who = me.value;
  const may = mayAct.value;
  const take = (v: unknown) => {
    setI(incidentFrom(v));
    setError("");
  };
  useEffect(() => {
    const over = new AbortController();
    get<unknown>(`/incidents/${id}`, {}, over.signal).then(take, (e: unknown) => { if (!over.signal.aborted) setError(sentence(e)); });
    return () => over.abort();
  }, [id, version]);
  useEffect(() => {
    if (i) document.title = `${i.id}: ${visible(i.title, 80)} · Bulkhead`;
  }, [i?.title]);
  const wanted = route.value.params.get("finding");
  const selected = useMemo(() => Math.max(0, i?.lines.findIndex((l) => l.finding === wanted) ?? 0), [i, wanted]);
  const select = (n: number) => i && patch({ finding: i.lines[n]?.finding });
  const assign = async (user: string) => {
    try {
      take(await post(`/incidents/${id}/assign`, { user }));
      setSaid("");
    } catch (e) {
      setSaid(sentence(e));
    }
  };
  /* What rules would have to leave out for this not to be told again, as a rule file has it. */
  const exceptions = async () => {
    try {
      const told = await get<{ exceptions: number; yaml: string }>(`/incidents/${id}/exceptions`);
      if (told.exceptions) save(`incident-${id}-exceptions.yaml`, "application/yaml", told.yaml);
      setSaid(told.exceptions ? "" : "No exception of a rule would leave this out: its findings are of models, or their rules give no fields to tell them by.");
    } catch (e) {
      setSaid(sentence(e));
    }
  };
  if (!i) return <div class="page">{error ? <Empty icon="warn" title="The incident could not be read"><p>{error}</p><a href="#/incidents">All incidents</a></Empty> : <Skeleton rows={10} label="Loading the incident" />}</div>;
  const line = i.lines[selected];
  const gone = i.places.filter((p) => p.state && p.state !== "running").length;
  return (
    <div class="page incident">
      <header class="subject-head">
        <p class="crumbs"><a href="#/incidents">Incidents</a> <span class="faint">/</span> {i.id}</p>
        <div class="subject-title"><SeverityMark severity={i.severity} /><h1><T s={i.title} max={300} /></h1></div>
        <div class="subject-acts">
          {may && i.state === "open" && <>
            {i.assignee === who?.name ? <Button onClick={() => void assign("")}>Give it up</Button> : <Button onClick={() => void assign(who!.name)}>Take it</Button>}
            <Button kind="primary" onClick={() => setClosing(true)}>Close…</Button>
          </>}
          <Menu button={<><Icon name="down" size={14} />Export</>}>
            {(close) => <>
              <button type="button" class="menu-item" onClick={() => { close(); void get<unknown>(`/incidents/${id}`).then((v) => save(`incident-${i.id}.md`, "text/markdown", reportOf(incidentFrom(v))), (e: unknown) => setSaid(sentence(e))); }}><Icon name="audit" />Report (Markdown)</button>
              <button type="button" class="menu-item" onClick={() => { close(); void get<unknown>(`/incidents/${id}`).then((v) => save(`incident-${i.id}.json`, "application/json", JSON.stringify(v, null, 2) + "\n"), (e: unknown) => setSaid(sentence(e))); }}><Icon name="copy" />JSON</button>
              <button type="button" class="menu-item" onClick={() => { close(); void exceptions(); }}><Icon name="policies" />Exceptions (rules)</button>
            </>}
          </Menu>
          {may && i.state === "open" && <Menu button={<><Icon name="more" size={14} />More</>}>
            {(close) => <>
              <button type="button" class="menu-item" onClick={() => { close(); setAsking("assign"); }}><Icon name="users" />Assign to…</button>
              <button type="button" class="menu-item" onClick={() => { close(); setAsking("merge"); }}><Icon name="merge" />Merge into another…</button>
              {i.lines.length > 1 && <button type="button" class="menu-item" onClick={() => { close(); setAsking("split"); }}><Icon name="split" />Split steps off…</button>}
            </>}
          </Menu>}
        </div>
      </header>
      {said && <Notice level="bad">{said}</Notice>}
      {error && <Notice level="warn">What you see may be old: {error}</Notice>}
      {i.state === "merged" && <Notice level="note" action={<Button class="small" onClick={() => go(href(`/incidents/${i.mergedInto}`))}>Open {i.mergedInto}</Button>}>This turned out to be part of incident {i.mergedInto}, where it goes on.</Notice>}
      {i.state === "closed" && <Notice level="note">Closed by <T s={i.closedBy} max={64} /> at <Time ms={i.closed} />: {(VERDICTS[i.verdict]?.[0] ?? i.verdict).toLowerCase()}.</Notice>}
      <p class="subject-facts">
        <span><Time ms={i.first} /> to <Time ms={i.last} /></span><span>{Number.isFinite(i.last) && `last step ${age(now.value - i.last)} ago`}</span><span>{count(i.findings)} {plural(i.findings, "finding")}</span>
        {i.weighed && <span title="What the severity is made of; 7 points are high, 12 critical">severity of {i.weighed}</span>}
        <span>{count(i.places.length)} {plural(i.places.length, "container")}{gone > 0 && `, ${gone} of them gone`}</span><span>{i.assignee ? <>assigned to <T s={i.assignee} max={64} /></> : "assigned to nobody"}</span>
      </p>
      <section class="card story" aria-labelledby="s-story"><h2 id="s-story">What happened</h2><p class="wrap"><T s={i.story} max={20_000} /></p>{i.now && <p class="wrap state-now"><T s={i.now} max={20_000} /></p>}<TacticStrip tactics={i.tactics} names /></section>
      <section class="card" aria-label="Picture"><LanesView incident={i} selected={selected} onSelect={select} /></section>
      <div class="incident-columns">
        <section class="card" aria-labelledby="s-time"><header><h2 id="s-time">Timeline</h2><span class="tally">{i.lines.length}</span></header><Timeline incident={i} selected={selected} onSelect={select} /></section>
        <section class="card" aria-labelledby="s-step"><header><h2 id="s-step">Step {selected + 1} of {i.lines.length}</h2></header>{line && <Step key={line.finding} line={line} />}</section>
        <div class="column">
          <section class="card" aria-labelledby="s-where"><header><h2 id="s-where">Containers</h2><span class="tally">{i.places.length}</span></header>
            <ul class="places">{i.places.map((p) => (
              <li key={p.key}><a href={href("/containers", { id: p.container })}><StateMark state={p.state || "unknown"} /><T s={p.name || shortId(p.container)} max={80} /></a>
                {may && p.state === "running" && <Button class="small" glyph="responses" aria-label={`Act on ${visible(p.name, 60)}`} onClick={() => setActing(p)}>Act…</Button>}
                <small class="dim"><T s={[p.application, p.workload, p.node].filter(Boolean).join(" / ")} max={120} />{p.state && p.state !== "running" ? `, ${p.state}` : ""}{p.privileged && <span class="tag amber">privileged</span>}{p.asset && <span class="tag amber"><T s={`${p.asset} asset`} max={24} /></span>}</small>
                <Held list={held.filter((r) => r.containerId === p.container)} put={put} /></li>))}
              {heldError && <li class="amber">What is in force could not be read: {heldError}</li>}
              {!i.places.length && <li class="faint">On {i.nodes.length === 1 ? "the node" : "nodes"} <T s={i.nodes.join(", ")} max={200} /> itself.</li>}</ul>
          </section>
          <section class="card" aria-labelledby="s-procs"><header><h2 id="s-procs">Processes</h2></header><Forest incident={i} selected={selected} onSelect={select} /></section>
          <Evidence id={i.id} version={version} />
          <section class="card pad" aria-label="Comments"><Comments incident={i} may={may} onDone={take} /></section>
        </div>
      </div>
      {acting && <Act container={acting.container} name={acting.name} node={acting.node} onClose={() => setActing(null)} onDone={put} />}
      {asking && <Regroup what={asking} incident={i} selected={selected} onDone={take} onClose={() => setAsking(null)} />}
      {closing && <Close incident={i} onDone={(v) => { take(v); setSaid(untaught(v)); }} onClose={() => setClosing(false)} />}
    </div>
  );
}
