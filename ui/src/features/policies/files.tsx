/* SPDX-License-Identifier: Apache-2.0 */
/* The rule files that are kept here and sent to every node: the list, and the editor of one with its check and what it would have matched. */
import { useEffect, useState } from "preact/hooks";
import type { RuleFile, RuleNode } from "../../api/openapi";
import { ApiError, call, get, post, sentence } from "../../api/client";
import { go, href } from "../../app/router";
import { mayAct, me } from "../../app/state";
import { bytes, count, toMs } from "../../lib/format";
import { list, num, object, text as textOf } from "../../lib/loose";
import { NEW_RULES, type Problem, problemFrom, SWITCHES, validFile } from "../../lib/rules";
import { plural, visible } from "../../lib/text";
import { Editor } from "../../parts/editor";
import { Icon } from "../../parts/icons";
import { Button, Dialog, Empty, Field, Notice, Skeleton, T, Time } from "../../parts/ui";
import { useDraft } from "./drafts";
import { Fields } from "./fields";
import { Tabs } from "./policies";
import { Confirm } from "./remove";

const EVERY_MS = 5000;
const NODE_STATES: Record<RuleNode["state"], string> = { current: "has them", sending: "being sent", refused: "refused them", failed: "not reached" };

/* Whether the nodes have what is kept here: a node that refuses keeps what it had, and says why. */
export function Nodes({ nodes }: { nodes: RuleNode[] }) {
  const bad = nodes.filter((n) => n.state === "refused" || n.state === "failed");
  const waiting = nodes.filter((n) => n.state === "sending").length;
  if (!nodes.length) return <p class="nodes-state dim"><Icon name="note" size={14} />No node is connected. It is sent to each when it comes.</p>;
  return (
    <div class="nodes-state" role="status">
      {bad.length === 0 && <p class={waiting ? "dim" : "good"}><Icon name={waiting ? "send" : "good"} size={14} />{waiting ? `Being sent to ${count(waiting)} of ${count(nodes.length)} nodes` : nodes.length === 1 ? `Node ${visible(nodes[0].node, 60)} has it` : `All ${count(nodes.length)} nodes have it`}</p>}
      {bad.slice(0, 20).map((n) => <p key={n.node} class="amber"><Icon name="warn" size={14} /><span><T s={n.node} max={80} /> {NODE_STATES[n.state]}{n.error ? <>: <T s={n.error} max={400} /></> : ""}</span></p>)}
    </div>
  );
}

interface Told { files: RuleFile[]; nodes: RuleNode[] }

export function useList<T>(path: string): { told: T | null; error: string; status: number; again: () => void } {
  const [told, setTold] = useState<T | null>(null);
  const [error, setError] = useState({ text: "", status: 0 });
  const [n, again] = useState(0);
  useEffect(() => {
    const over = new AbortController();
    const read = () => void get<T>(path, {}, over.signal).then((v) => { setTold(v); setError({ text: "", status: 0 }); }, (e: unknown) => { if (!over.signal.aborted) setError({ text: sentence(e), status: e instanceof ApiError ? e.status : 0 }); });
    read();
    const t = setInterval(() => { if (!document.hidden) read(); }, EVERY_MS);
    return () => { over.abort(); clearInterval(t); };
  }, [path, n]);
  return { told, error: error.text, status: error.status, again: () => again((k) => k + 1) };
}

/* The question for a name, before there is anything. */
export function NewName({ title, label, hint, first, valid, taken, onName, onClose }: { title: string; label: string; hint: string; first: string; valid: (name: string) => boolean; taken: string[]; onName: (name: string) => void; onClose: () => void }) {
  const [name, setName] = useState(first);
  const [error, setError] = useState("");
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); if (!valid(name)) setError(hint); else if (taken.includes(name)) setError("There is one of that name already."); else onName(name); }}>
        <Field label={label} hint={hint} error={error || undefined}>{(p) => <input {...p} type="text" autocomplete="off" autocapitalize="none" spellcheck={false} maxLength={100} value={name} onInput={(e) => { setName(e.currentTarget.value); setError(""); }} />}</Field>
        <div class="form-buttons"><Button type="submit" kind="primary">Go on</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

/* The text of a file that is kept here, null where there is none: asked of the list first, so that a new file is no failed request. */
export async function managed(name: string, signal?: AbortSignal): Promise<string | null> {
  if (!(await get<Told>("/rules/files", {}, signal)).files.some((f) => f.name === name)) return null;
  return (await get<RuleFile>(`/rules/files/${encodeURIComponent(name)}`, {}, signal)).text ?? "";
}

export function Files() {
  const { told, error } = useList<Told>("/rules/files");
  const [making, setMaking] = useState(false);
  const may = mayAct.value;
  return (
    <div class="page split policies">
      <section class="listing" aria-labelledby="p-title">
        <header class="toolbar"><h1 id="p-title">Policies</h1><Tabs /><p class="tally-line" role="status">{told ? `${count(told.files.length)} ${plural(told.files.length, "file")}` : "Loading…"}</p>{may && <Button kind="primary" glyph="plus" onClick={() => setMaking(true)}>New file</Button>}</header>
        {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{told ? "What you see may be old" : "The files could not be read"}: {error}</span></div>}
        {!told ? !error && <Skeleton rows={6} label="Loading the files" /> : (
          <div class="scroll" tabIndex={0} role="group" aria-label="Rule files">
            {told.files.length > 0 && <Nodes nodes={told.nodes} />}
            {!told.files.length ? <Empty icon="policies" title="No rule file is kept here"><p>The nodes evaluate the rules that came with Bulkhead, and those that they were started with. A file that you make here is checked, sent to every node within seconds, and comes after those: it can add rules and change theirs.</p></Empty> : (
              <table class="table roomy"><thead><tr><th>File</th><th>Size</th><th class="opt">Changed</th><th class="opt">By</th></tr></thead>
                <tbody>{told.files.map((f) => <tr key={f.name}><th scope="row"><a class="row-link" href={href("/policies", { tab: "files", file: f.name })}><T s={f.name} max={100} /></a>{f.name === SWITCHES && <small class="dim block">what was switched on or off under Rules</small>}</th><td>{bytes(f.bytes)}</td><td class="opt"><Time ms={toMs(f.changed)} /></td><td class="opt"><T s={f.changed_by} max={64} /></td></tr>)}</tbody></table>)}
          </div>)}
      </section>
      {making && <NewName title="A new rule file" label="File name" hint="Letters, digits, '.', '_' and '-', ending in .yaml. Files are read in the order of their names." first="site.yaml" valid={validFile} taken={(told?.files ?? []).map((f) => f.name)} onName={(name) => go(href("/policies", { tab: "files", file: name }))} onClose={() => setMaking(false)} />}
    </div>
  );
}

interface Would { lookedAt: number; matched: number; oldest: number; bound: number; rules: { rule: string; priority: string; line: number; runs: boolean; matches: number; last: number }[]; events: { rule: string; output: string; at: number; container: string; node: string }[]; silent: string[]; dropped: number; left: number }

function wouldFrom(v: unknown): Would | null {
  const o = object(v);
  if (o.looked_at === undefined) return null;
  return {
    lookedAt: num(o.looked_at), matched: num(o.matched), oldest: toMs(o.oldest), bound: num(o.bound), left: num(o.not_looked_at), dropped: num(o.dropped) + num(o.undecodable),
    rules: list(o.matches).map(object).map((m) => ({ rule: textOf(m.rule), priority: textOf(m.priority), line: num(m.line), runs: m.runs === true, matches: num(m.matches), last: toMs(m.last) })),
    events: list(o.events).map(object).map((m) => { const e = object(m.event); return { rule: textOf(m.rule), output: textOf(m.output), at: toMs(e.time), container: textOf(e["container.name"]) || textOf(e["container.id"]).slice(0, 12), node: textOf(e.node) }; }),
    silent: list(o.nodes).map(object).filter((n) => n.error || n.cut).map((n) => `${textOf(n.node)}: ${textOf(n.error) || "its answer was cut"}`),
  };
}

function Preview({ w, hours }: { w: Would; hours: number }) {
  return (
    <section class="card would" aria-labelledby="w-title">
      <header><h2 id="w-title">What it would have matched</h2></header>
      <p class="would-sum" role="status"><strong>{count(w.matched)}</strong> of {count(w.lookedAt)} recorded {plural(w.lookedAt, "event")} of the last {hours} hours that its rules look at{w.matched === 0 && w.lookedAt > 0 ? ": nobody would have been alarmed" : ""}.
        {Number.isFinite(w.oldest) && w.oldest > 0 && <span class="dim"> The oldest that was looked at is of <Time ms={w.oldest} />.</span>}</p>
      {w.lookedAt === 0 && <p class="would-sum dim">The nodes have recorded no event of the kinds that these rules can match.</p>}
      {w.silent.length > 0 && <Notice level="warn">Not all could be looked at: <T s={w.silent.slice(0, 3).join("; ")} max={300} /></Notice>}
      {w.left > 0 && <Notice level="warn">The rules are costly: {count(w.left)} events were not looked at, as that took too long. On a node they would cost as much.</Notice>}
      {w.dropped > 0 && <Notice level="warn">{count(w.dropped)} events are missing in it.</Notice>}
      <ul class="would-rules">{w.rules.map((r) => <li key={r.rule}><span class="would-n">{count(r.matches)}</span><T s={r.rule} max={160} />{!r.runs && <span class="tag">off</span>}<span class="faint">line {r.line}</span></li>)}{!w.rules.length && <li class="dim">The file defines no rule of its own; what it changes in others is not tried out.</li>}</ul>
      {w.events.length > 0 && <div class="scroll would-events" tabIndex={0} role="group" aria-label="Events that would have matched"><table class="table"><thead><tr><th>When</th><th>Container</th><th>What would have been told</th></tr></thead>
        <tbody>{w.events.map((e, n) => <tr key={n}><td class="nowrap"><Time ms={e.at} /></td><td><T s={e.container || e.node} max={60} /></td><td><T s={e.output} max={400} /><small class="dim block"><T s={e.rule} max={120} /></small></td></tr>)}</tbody></table></div>}
    </section>
  );
}

const HOURS: [number, string][] = [[1, "the last hour"], [24, "the last day"], [168, "the last week"]];

export function FileEditor({ name }: { name: string }) {
  const [saved, setSaved] = useState<string | null | undefined>(undefined); /* null: there is none yet */
  const [draft, setDraft] = useDraft(`rules ${name}`);
  const [problems, setProblems] = useState<Problem[]>([]);
  const [said, setSaid] = useState<{ level: "bad" | "good" | "warn"; text: string } | null>(null);
  const [would, setWould] = useState<Would | null>(null);
  const [hours, setHours] = useState(24);
  const [busy, setBusy] = useState("");
  const [removing, setRemoving] = useState(false);
  const [fields, setFields] = useState(false);
  const [nodes, setNodes] = useState<RuleNode[] | null>(null);
  const admin = me.value?.role === "admin";
  const may = mayAct.value;
  useEffect(() => {
    const over = new AbortController();
    managed(name, over.signal).then(setSaved, (e: unknown) => { if (!over.signal.aborted) setSaid({ level: "bad", text: sentence(e) }); });
    return () => over.abort();
  }, [name]);
  /* After saving: until every node has answered. */
  useEffect(() => {
    if (nodes === null) return;
    const over = new AbortController();
    const t = setInterval(() => void get<Told>("/rules/files", {}, over.signal).then((v) => setNodes(v.nodes), () => undefined), 1500);
    return () => { over.abort(); clearInterval(t); };
  }, [nodes === null]);
  const text = draft ?? saved ?? (saved === null ? NEW_RULES : "");
  const dirty = draft !== undefined && draft !== saved;
  /* The file's own problems stand at their lines; those of others, that it brought about, are listed without. */
  const take = (v: unknown): { errors: number } => {
    const all = list(object(v).problems).map(problemFrom);
    setProblems([...all.filter((p) => p.file === name), ...all.filter((p) => p.file !== name && p.severity === "error").map((p) => ({ ...p, what: p.line ? `${p.file}, line ${p.line}: ${p.what}` : p.what, line: 0 }))]);
    return { errors: num(object(v).errors) };
  };
  const run = async (what: string, f: () => Promise<void>) => {
    setBusy(what);
    setSaid(null);
    try {
      await f();
    } catch (e) {
      if (e instanceof ApiError && e.status === 422) take(e.data);
      setSaid({ level: "bad", text: sentence(e) });
    }
    setBusy("");
  };
  const check = () => run("check", async () => {
    setWould(null);
    const { errors } = take(await post<unknown>("/rules/check", { name, text }));
    setSaid(errors ? { level: "bad", text: `${count(errors)} ${plural(errors, "error")}: ${errors === 1 ? "it is" : "they are"} marked below.` } : { level: "good", text: "No error: the nodes can take it." });
  });
  const preview = () => run("preview", async () => {
    setWould(null);
    const v = await call<unknown>("POST", "/rules/preview", { body: { name, text, hours }, timeoutMs: 60_000 });
    const { errors } = take(v);
    if (errors) setSaid({ level: "bad", text: `${count(errors)} ${plural(errors, "error")}: mend ${errors === 1 ? "it" : "them"} first.` });
    else setWould(wouldFrom(v));
  });
  const store = () => run("save", async () => {
    take(await call<unknown>("PUT", `/rules/files/${encodeURIComponent(name)}`, { body: { text } }));
    setSaved(text);
    setDraft(undefined);
    setNodes([]);
    setSaid({ level: "good", text: "Kept, and on its way to the nodes." });
  });
  if (!validFile(name)) return <div class="page"><h1 class="sr">Rule file</h1><Empty icon="unknown" title="A rule file cannot have this name"><a href={href("/policies", { tab: "files" })}>All rule files</a></Empty></div>;
  return (
    <div class="page policy-edit">
      <header class="subject-head">
        <p class="crumbs"><a href="#/policies">Policies</a> <span class="faint">/</span> <a href={href("/policies", { tab: "files" })}>Rule files</a></p>
        <div class="subject-title"><h1><T s={name} max={100} /></h1>{saved === null && <span class="tag">new</span>}{dirty && <span class="tag amber">not saved</span>}</div>
        <div class="subject-acts">
          <Button kind="quiet" glyph="help" onClick={() => setFields(true)}>Fields</Button>
          {dirty && saved !== null && <Button kind="quiet" onClick={() => { setDraft(undefined); setProblems([]); setSaid(null); setWould(null); }}>Undo changes</Button>}
          {admin && typeof saved === "string" && <Button onClick={() => setRemoving(true)}>Remove…</Button>}
          {may && saved !== undefined && <Button busy={busy === "check"} glyph="check" onClick={() => void check()}>Check</Button>}
          {admin && saved !== undefined && <Button kind="primary" busy={busy === "save"} disabled={!dirty && saved !== null} onClick={() => void store()}>Save and enable</Button>}
        </div>
      </header>
      {name === SWITCHES && <Notice level="note">This file is written by the switches under Rules. What is changed here by hand, the switches may not understand any more.</Notice>}
      {said && <Notice level={said.level}>{said.text}</Notice>}
      {nodes && nodes.length > 0 && <Nodes nodes={nodes} />}
      {/* what could not be read must not be written over, and what is typed while it is saved would be lost */}
      {saved === undefined ? !said && <Skeleton rows={10} label="Loading the file" />
        : <Editor label={`Text of ${name}`} value={text} problems={problems} readOnly={!may || busy === "save"} onInput={(v) => { setDraft(v); setWould(null); }} onCheck={() => void check()} onSave={() => admin && void store()} />}
      {may && saved !== undefined && <div class="would-ask"><Button glyph="search" busy={busy === "preview"} onClick={() => void preview()}>What would it have matched?</Button><label>in <select value={String(hours)} onChange={(e) => { setHours(Number(e.currentTarget.value)); setWould(null); }}>{HOURS.map(([h, label]) => <option key={h} value={h}>{label}</option>)}</select></label></div>}
      {would && <Preview w={would} hours={hours} />}
      {fields && <Fields onClose={() => setFields(false)} />}
      {removing && <Confirm title="Remove a rule file" verb="Remove" name={name} act={async () => { await call("DELETE", `/rules/files/${encodeURIComponent(name)}`); setDraft(undefined); go(href("/policies", { tab: "files" })); }} onClose={() => setRemoving(false)}><p>The nodes forget its rules within seconds. Rules of other files that it changed are again as these files have them.</p></Confirm>}
    </div>
  );
}
