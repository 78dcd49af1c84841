/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: what is done by itself when a rule matches, a model is surprised or an incident grows. A new one is a dry run: it writes into the ledger what it would do. */
import { useEffect, useState } from "preact/hooks";
import type { RuleNode } from "../../api/openapi";
import { ApiError, call, get, sentence } from "../../api/client";
import { go, href } from "../../app/router";
import { mayAct, me } from "../../app/state";
import { count, toMs } from "../../lib/format";
import { list, num, object, text as textOf } from "../../lib/loose";
import { NEW_POLICY, type Problem, problemFrom, validPolicy } from "../../lib/rules";
import { actionTitle } from "../../lib/responses";
import { plural, shortId } from "../../lib/text";
import { Editor } from "../../parts/editor";
import { Icon } from "../../parts/icons";
import { Button, Empty, Notice, Skeleton, T, Time } from "../../parts/ui";
import { useDraft } from "./drafts";
import { NewName, Nodes, useList } from "./files";
import { Tabs } from "./policies";
import { Confirm } from "./remove";

interface Policy { name: string; description: string; enabled: boolean; dryRun: boolean; when: string; scope: string; action: string; total: number; open: number; changedBy: string; changed: number; text: string }
function policyFrom(v: unknown): Policy {
  const o = object(v);
  const r = object(o.responses);
  return { name: textOf(o.name), description: textOf(o.description), enabled: o.enabled === true, dryRun: o.dry_run !== false, when: textOf(o.when), scope: textOf(o.scope), action: textOf(o.action), total: num(r.total), open: num(r.open), changedBy: textOf(o.changed_by), changed: toMs(o.changed), text: textOf(o.text) };
}

type Mode = "off" | "dry" | "acts";
const modeOf = (p: Policy): Mode => (!p.enabled ? "off" : p.dryRun ? "dry" : "acts");
const MODES: Record<Mode, [string, string]> = { off: ["off", "does nothing"], dry: ["dry run", "writes into the ledger what it would do, and does nothing"], acts: ["acts", "does it"] };
const ModeTag = ({ p }: { p: Policy }) => <span class={`tag rule-state ${modeOf(p) === "acts" ? "rs-on" : modeOf(p) === "off" ? "rs-off" : "rs-dry"}`} title={MODES[modeOf(p)][1]}>{MODES[modeOf(p)][0]}</span>;

/* One key of the text at its top level, set: the editor and the switch change the same thing. */
export function withKey(text: string, key: string, value: boolean): string {
  const line = new RegExp(`^${key}:[^\\n]*$`, "m");
  return line.test(text) ? text.replace(line, `${key}: ${value}`) : `${text.replace(/\n*$/, "\n")}${key}: ${value}\n`;
}

export function PolicyList() {
  const { told, error, status } = useList<{ policies: unknown[]; nodes: RuleNode[] }>("/policies");
  const [making, setMaking] = useState(false);
  const rows = told ? list(told.policies).map(policyFrom) : [];
  return (
    <div class="page split policies">
      <section class="listing" aria-labelledby="p-title">
        <header class="toolbar"><h1 id="p-title">Policies</h1><Tabs /><p class="tally-line" role="status">{told ? `${count(rows.length)} ${plural(rows.length, "policy", "policies")}` : status ? "" : "Loading…"}</p>{mayAct.value && status !== 404 && <Button kind="primary" glyph="plus" onClick={() => setMaking(true)}>New policy</Button>}</header>
        {status === 404 ? <Empty icon="responses" title="This central has no policies"><p>Its version does not respond by itself. Containers are acted on by hand, from their panel, from the map or from an incident.</p></Empty>
          : <>
            {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{told ? "What you see may be old" : "The policies could not be read"}: {error}</span></div>}
            {!told ? !error && <Skeleton rows={6} label="Loading the policies" /> : (
              <div class="scroll" tabIndex={0} role="group" aria-label="Policies">
                {rows.length > 0 && <Nodes nodes={told.nodes} />}
                {!rows.length ? <Empty icon="responses" title="Nothing is done by itself"><p>A policy says which response a rule, an anomaly or an incident brings about, where, and within which limits. A new one is a dry run: it only writes into the ledger what it would have done.</p></Empty> : (
                  <table class="table roomy"><thead><tr><th>Policy</th><th>State</th><th>When, where</th><th class="opt">Does</th><th class="opt n">Responses</th></tr></thead>
                    <tbody>{rows.map((p) => (
                      <tr key={p.name} class={p.enabled ? "" : "faded"}><th scope="row"><a class="row-link" href={href("/policies", { tab: "responses", policy: p.name })}><T s={p.name} max={63} /></a><small class="dim block"><T s={p.description} max={160} /></small></th><td><ModeTag p={p} /></td>
                        <td><T s={p.when} max={200} /><small class="dim block"><T s={p.scope} max={200} /></small></td><td class="opt">{actionTitle(p.action)}</td><td class="opt n">{count(p.total)}{p.open > 0 && <small class="dim block">{count(p.open)} in force</small>}</td></tr>))}</tbody></table>)}
              </div>)}
          </>}
      </section>
      {making && <NewName title="A new policy" label="Name" hint="Lower-case letters, digits and '-', at most 63." first="isolate-shells" valid={validPolicy} taken={rows.map((p) => p.name)} onName={(name) => go(href("/policies", { tab: "responses", policy: name }))} onClose={() => setMaking(false)} />}
    </div>
  );
}

interface Would { lookedAt: number; matched: number; more: boolean; rows: { at: number; rule: string; incident: string; container: string; where: string; decision: string; why: string }[] }
const DECISIONS: Record<string, string> = { act: "acts", cool_down: "left alone: it just acted there", rate: "left alone: too many in that time", containers: "left alone: it holds as many as it may", percent: "left alone: too much of the workload", protected: "left alone: protected" };

function wouldFrom(v: unknown): Would {
  const o = object(v);
  return { lookedAt: num(o.looked_at), matched: num(o.matched), more: o.more === true, rows: list(o.would).map(object).map((w) => ({ at: toMs(w.time), rule: textOf(w.rule), incident: textOf(w.incident), container: textOf(w.container_name) || shortId(textOf(w.container_id)), where: [textOf(w.application), textOf(w.workload), textOf(w.node)].filter(Boolean).join(" / "), decision: textOf(w.decision), why: textOf(w.why) })) };
}

const SPANS: [number, string][] = [[3600, "the last hour"], [86400, "the last day"], [604800, "the last week"]];

export function PolicyEditor({ name }: { name: string }) {
  const [saved, setSaved] = useState<Policy | null | undefined>(undefined);
  const [draft, setDraft] = useDraft(`policy ${name}`);
  const [problems, setProblems] = useState<Problem[]>([]);
  const [said, setSaid] = useState<{ level: "bad" | "good"; text: string } | null>(null);
  const [would, setWould] = useState<Would | null>(null);
  const [since, setSince] = useState(86400);
  const [busy, setBusy] = useState("");
  const [asking, setAsking] = useState<"remove" | "arm" | null>(null);
  const [pending, setPending] = useState("");
  const admin = me.value?.role === "admin";
  const may = mayAct.value;
  useEffect(() => {
    const over = new AbortController();
    const read = async () => {
      const all = list((await get<{ policies: unknown[] }>("/policies", {}, over.signal)).policies).map(policyFrom);
      setSaved(all.some((p) => p.name === name) ? policyFrom(await get<unknown>(`/policies/${encodeURIComponent(name)}`, {}, over.signal)) : null);
    };
    read().catch((e: unknown) => { if (!over.signal.aborted) setSaid({ level: "bad", text: sentence(e) }); });
    return () => over.abort();
  }, [name]);
  const text = draft ?? saved?.text ?? (saved === null ? NEW_POLICY.replace("isolate-shells", name) : "");
  const dirty = draft !== undefined && draft !== saved?.text;
  const take = (v: unknown) => setProblems(list(object(v).problems).map(problemFrom));
  const put = async (t: string, confirm?: string) => {
    const p = policyFrom(await call<unknown>("PUT", `/policies/${encodeURIComponent(name)}`, { body: { text: t, ...(confirm ? { confirm } : {}) } }));
    setSaved({ ...p, text: t });
    setDraft(undefined);
    setProblems([]);
    setSaid({ level: "good", text: `Kept. ${modeOf(p) === "acts" ? "It acts from now on." : modeOf(p) === "dry" ? "It is a dry run: what it would do stands in the ledger." : "It is off."}` });
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
    const v = await call<unknown>("POST", "/policies/check", { body: { text, since }, timeoutMs: 60_000 });
    const errors = num(object(v).errors);
    take(v);
    setSaid(errors ? { level: "bad", text: `${count(errors)} ${plural(errors, "error")}: ${errors === 1 ? "it is" : "they are"} marked below.` } : null);
    if (!errors) setWould(wouldFrom(v));
  });
  /* One that acts wants its name once more: the central says when. */
  const store = (t: string) => run("save", async () => {
    try {
      await put(t);
    } catch (e) {
      if (!(e instanceof ApiError && e.code === "not_confirmed")) throw e;
      setPending(t);
      setAsking("arm");
    }
  });
  if (!validPolicy(name)) return <div class="page"><h1 class="sr">Policy</h1><Empty icon="unknown" title="A policy cannot have this name"><a href={href("/policies", { tab: "responses" })}>All policies</a></Empty></div>;
  return (
    <div class="page policy-edit">
      <header class="subject-head">
        <p class="crumbs"><a href="#/policies">Policies</a> <span class="faint">/</span> <a href={href("/policies", { tab: "responses" })}>Automatic responses</a></p>
        <div class="subject-title"><h1><T s={name} max={63} /></h1>{saved === null ? <span class="tag">new</span> : saved && <ModeTag p={saved} />}{dirty && <span class="tag amber">not saved</span>}</div>
        <div class="subject-acts">
          {dirty && saved !== null && <Button kind="quiet" onClick={() => { setDraft(undefined); setProblems([]); setSaid(null); setWould(null); }}>Undo changes</Button>}
          {admin && saved && <Button onClick={() => setAsking("remove")}>Remove…</Button>}
          {admin && saved && !dirty && <Button busy={busy === "save"} onClick={() => void store(withKey(saved.text, "enabled", !saved.enabled))}>{saved.enabled ? "Switch off" : "Switch on"}</Button>}
          {admin && saved && !dirty && saved.enabled && <Button busy={busy === "save"} onClick={() => void store(withKey(saved.text, "dry_run", !saved.dryRun))}>{saved.dryRun ? "Let it act…" : "Make it a dry run"}</Button>}
          {admin && saved !== undefined && <Button kind="primary" busy={busy === "save"} disabled={!dirty && saved !== null} onClick={() => void store(text)}>Save</Button>}
        </div>
      </header>
      {saved && <p class="subject-facts"><span><T s={saved.when} max={200} /></span><span><T s={saved.scope} max={200} /></span><span>{count(saved.total)} {plural(saved.total, "response")}</span><a href="#/responses">Ledger</a></p>}
      {said && <Notice level={said.level}>{said.text}</Notice>}
      {/* as with rule files */}
      {saved === undefined ? !said && <Skeleton rows={10} label="Loading the policy" />
        : <Editor label={`Text of ${name}`} value={text} problems={problems} readOnly={!may || busy === "save"} onInput={(v) => { setDraft(v); setWould(null); }} onCheck={() => void check()} onSave={() => admin && void store(text)} />}
      {may && saved !== undefined && <div class="would-ask"><Button glyph="search" busy={busy === "check"} onClick={() => void check()}>Check, and what would it have done?</Button><label>in <select value={String(since)} onChange={(e) => { setSince(Number(e.currentTarget.value)); setWould(null); }}>{SPANS.map(([s, label]) => <option key={s} value={s}>{label}</option>)}</select></label></div>}
      {would && (
        <section class="card would" aria-labelledby="w-title"><header><h2 id="w-title">What it would have done</h2></header>
          <p class="would-sum" role="status"><strong>{count(would.matched)}</strong> of {count(would.lookedAt)} findings or incidents{would.more ? ", the latest ones," : ""} are what it waits for.</p>
          {would.rows.length > 0 && <div class="scroll would-events" tabIndex={0} role="group" aria-label="What it would have done"><table class="table"><thead><tr><th>When</th><th>Container</th><th>Because of</th><th>It</th></tr></thead>
            <tbody>{would.rows.map((r, n) => <tr key={n}><td class="nowrap"><Time ms={r.at} /></td><td><T s={r.container} max={80} /><small class="dim block"><T s={r.where} max={120} /></small></td><td>{r.incident ? <a href={href(`/incidents/${r.incident}`)}>Incident {r.incident}</a> : <T s={r.rule} max={120} />}</td><td class={r.decision === "act" ? "" : "dim"}>{DECISIONS[r.decision] ?? r.decision}<small class="dim block"><T s={r.why} max={200} /></small></td></tr>)}</tbody></table></div>}
        </section>)}
      {asking === "remove" && <Confirm title="Remove a policy" verb="Remove" name={name} act={async () => { await call("DELETE", `/policies/${encodeURIComponent(name)}`); setDraft(undefined); go(href("/policies", { tab: "responses" })); }} onClose={() => setAsking(null)}><p>What it did goes on until it ends or is released under <a href="#/responses">Responses</a>.</p></Confirm>}
      {asking === "arm" && <Confirm title="This policy will act" verb="Let it act" name={name} danger={false} act={() => put(pending, name)} onClose={() => setAsking(null)}><p>From now on it acts by itself, within its limits, and writes each act into the ledger, where what it did can be released.</p></Confirm>}
    </div>
  );
}
