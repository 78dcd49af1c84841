/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs: where alerts are sent, how that goes, and the form of one. Secrets are written and never shown. */
import { useEffect, useState } from "preact/hooks";
import type { Output } from "../../api/openapi";
import { call, get, post, sentence } from "../../api/client";
import { count, toMs } from "../../lib/format";
import { PRIORITIES } from "../../lib/findings";
import { list, num, object, text as textOf } from "../../lib/loose";
import { configOf, formOf, KEPT, type OutputForm, type OutputType } from "../../lib/settings";
import { visible } from "../../lib/text";
import { Icon } from "../../parts/icons";
import { Button, Dialog, Empty, Field, Notice, Section, Skeleton, T, Time } from "../../parts/ui";

const EVERY_MS = 5000;
const TYPES: [OutputType, string][] = [["webhook", "Webhook (HTTP)"], ["syslog", "Syslog"], ["file", "File on the central"], ["stdout", "Standard output of the central"]];
const SOURCES = "Of findings (syscall, container, sensor, …), one a line, with * and ?. Empty: all but incidents; “incident” asks for these.";

function Edit({ output, onDone, onClose }: { output: Output | null; onDone: () => void; onClose: () => void }) {
  const [f, setF] = useState<OutputForm>(() => formOf(output?.name ?? "", object(output?.config)));
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const set = (changes: Partial<OutputForm>) => setF((x) => ({ ...x, ...changes }));
  const line = (key: keyof OutputForm, label: string, hint?: string, more: Record<string, unknown> = {}) => <Field label={label} hint={hint}>{(p) => <input {...p} type="text" autocomplete="off" autocapitalize="none" spellcheck={false} value={String(f[key])} onInput={(e) => set({ [key]: e.currentTarget.value })} {...more} />}</Field>;
  const lines = (key: keyof OutputForm, label: string, hint?: string, rows = 2) => <Field label={label} hint={hint}>{(p) => <textarea {...p} rows={rows} spellcheck={false} value={String(f[key])} onInput={(e) => set({ [key]: e.currentTarget.value })} />}</Field>;
  const choice = (key: keyof OutputForm, label: string, options: [string, string][]) => <Field label={label}>{(p) => <select {...p} value={String(f[key])} onChange={(e) => set({ [key]: e.currentTarget.value })}>{options.map(([k, l]) => <option key={k} value={k}>{l}</option>)}</select>}</Field>;
  const secret = (key: "urlSecret" | "key", label: string, hint: string, big = false) => (f[key] === KEPT
    ? <div class="field"><span class="dim">{label}: one is kept. <button type="button" class="link" onClick={() => set({ [key]: "" })}>Write another</button></span></div> : big ? lines(key, label, hint, 3) : line(key, label, hint, { type: "password" }));
  const tls = f.type === "webhook" || (f.type === "syslog" && f.transport === "tls");
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    try {
      await call("PUT", `/outputs/${encodeURIComponent(f.name)}`, { body: configOf(f) });
      onDone();
      onClose();
      return;
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };
  return (
    <Dialog title={output ? `Output ${output.name}` : "Add an output"} onClose={onClose}>
      <form onSubmit={(e) => void submit(e)}>
        {!output && line("name", "Name", "Small letters, digits, dot, dash and underscore.", { required: true, maxLength: 64, pattern: "[a-z0-9][a-z0-9._\\-]*" })}
        {choice("type", "Type", TYPES)}
        {f.type === "webhook" && <>{line("url", "Address", "http or https. It is called from the central's machine.", { required: true })}{secret("urlSecret", "Secret end of the address", "Put behind the address when sending, and never shown.")}{lines("headers", "Headers", "One a line: Name: value. Values are never shown again.")}</>}
        {f.type === "syslog" && <>{choice("transport", "Transport", [["tls", "TLS"], ["tcp", "TCP"], ["udp", "UDP (nothing tells whether it arrives)"], ["local", "/dev/log of the central"]])}{f.transport !== "local" && <>{line("host", "Host", undefined, { required: true })}{line("port", "Port", f.transport === "tls" ? "6514 if empty" : "514 if empty", { inputMode: "numeric" })}</>}</>}
        {f.type === "file" && line("file", "File name", "In the directory for alerts; no slash.", { required: true })}
        {choice("priority", "From which priority on", [["", "debug (all)"], ...PRIORITIES.slice(0, -1).map((p): [string, string] => [p, p])])}
        {choice("format", "Format", [["", "the type's own"], ["bulkhead", "bulkhead: everything, as JSON"], ["falco", "falco: Falco's JSON"], ["text", "text: one line"]])}
        <Section title="Only some" open={!!(f.sources || f.tags || f.rules)}>{lines("sources", "Sources", SOURCES)}{lines("tags", "Tags", "One a line, with * and ?")}{lines("rules", "Rules", "One a line, with * and ?")}</Section>
        {(tls || f.type === "syslog") && <Section title="More" open={!!(f.ca || f.certificate || f.key)}>{f.type === "syslog" && line("facility", "Facility", "local0 if empty")}{f.type === "webhook" && line("timeout", "Seconds for one delivery", "10 if empty", { inputMode: "numeric" })}
          {tls && <>{lines("ca", "Certificates that are trusted instead of the system's (PEM)", undefined, 3)}{lines("certificate", "Own certificate (PEM)", undefined, 3)}{secret("key", "Key of it (PEM)", "Never shown.", true)}</>}</Section>}
        <label class="tick"><input type="checkbox" checked={f.enabled} onChange={(e) => set({ enabled: e.currentTarget.checked })} />Enabled: what it has queued waits while it is not</label>
        {error && <Notice level="bad"><T s={error} max={600} /></Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy}>{output ? "Save" : "Add output"}</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

const STATES: Record<string, string> = { idle: "idle", delivering: "delivering", waiting: "tries again", off: "off" };

export function Outputs() {
  const [rows, setRows] = useState<Output[] | null>(null);
  const [notifier, setNotifier] = useState<Record<string, unknown>>({});
  const [error, setError] = useState("");
  const [edit, setEdit] = useState<Output | "new" | null>(null);
  const [removing, setRemoving] = useState<Output | null>(null);
  const [tested, setTested] = useState<Record<string, { ok: boolean; text: string } | "busy">>({});
  const load = () => void get<unknown>("/outputs").then((v) => {
    setRows(list(object(v).outputs) as Output[]);
    setNotifier(object(object(v).notifier));
    setError("");
  }, (e: unknown) => setError(sentence(e)));
  useEffect(() => {
    load();
    const t = setInterval(() => { if (!document.hidden) load(); }, EVERY_MS);
    return () => clearInterval(t);
  }, []);
  const test = async (name: string) => {
    setTested((t) => ({ ...t, [name]: "busy" }));
    let said: { ok: boolean; text: string };
    try {
      const r = await post<{ ok: boolean; problem: string }>(`/outputs/${encodeURIComponent(name)}/test`);
      said = r.ok ? { ok: true, text: "the test alert was taken" } : { ok: false, text: r.problem };
    } catch (e) {
      said = { ok: false, text: sentence(e) };
    }
    setTested((t) => ({ ...t, [name]: said }));
  };
  return (
    <>
      {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{rows ? "What you see may be old" : "The outputs could not be read"}: {error}</span></div>}
      {textOf(notifier.problem) && <Notice level="warn">Alerts are not being sent: <T s={textOf(notifier.problem)} max={400} /></Notice>}
      {num(notifier.gaps) > 0 && <Notice level="warn">{count(num(notifier.gaps))} times alerts were lost, because the process that sends them was away for too long.</Notice>}
      {!rows ? !error && <Skeleton rows={6} label="Loading the outputs" /> : (
        <section class="card" aria-labelledby="o-title">
          <header><h2 id="o-title">Outputs</h2><span class="tally">{rows.length}</span><Button class="card-act" kind="primary" glyph="plus" onClick={() => setEdit("new")}>Add an output</Button></header>
          {!rows.length ? <Empty icon="send" title="Nothing is sent anywhere"><p>Findings and incidents are kept here and shown. An output sends them on, to a syslog server, a webhook or a file, at least once and in order.</p></Empty> : (
            <div class="scroll" tabIndex={0} role="group" aria-label="Outputs"><table class="table roomy">
              <thead><tr><th>Output</th><th>State</th><th class="opt">Delivered</th><th class="opt">Queued</th><th><span class="sr">Actions</span></th></tr></thead>
              <tbody>{rows.map((o) => {
                const s = object(o.status);
                const on = object(o.config).enabled !== false;
                const said = tested[o.name];
                return (
                  <tr key={o.name} class={on ? "" : "faded"}>
                    <th scope="row"><T s={o.name} max={64} /><small class="dim block mono"><T s={o.target} max={160} /></small></th>
                    <td>{on ? STATES[textOf(s.state)] ?? "not known yet" : "disabled"}{textOf(s.problem) && <small class="amber block"><T s={textOf(s.problem)} max={200} /> {toMs(s.problem_at) > 0 && <Time ms={toMs(s.problem_at)} />}</small>}
                      {said && said !== "busy" && <small class={`block ${said.ok ? "good" : "amber"}`} role="status"><Icon name={said.ok ? "good" : "warn"} size={12} /> {said.ok ? "" : "Test: "}<T s={said.text} max={200} /></small>}</td>
                    <td class="opt">{count(num(s.delivered))}{num(s.refused) + num(s.lost) > 0 && <small class="amber block">{count(num(s.refused))} refused, {count(num(s.lost))} lost</small>}</td><td class="opt">{count(num(s.queued))}</td>
                    <td class="n nowrap"><span class="row-acts"><Button class="small" busy={said === "busy"} aria-label={`Test ${visible(o.name, 64)}`} onClick={() => void test(o.name)}>Test</Button><Button class="small" aria-label={`Change ${visible(o.name, 64)}`} onClick={() => setEdit(o)}>Change</Button><Button class="small" aria-label={`Remove ${visible(o.name, 64)}`} onClick={() => setRemoving(o)}>Remove</Button></span></td>
                  </tr>);
              })}</tbody></table></div>)}
          {textOf(notifier.alert_dir) && <p class="card-foot dim">Files are written to <span class="mono"><T s={textOf(notifier.alert_dir)} max={200} /></span> on the central.</p>}
        </section>)}
      {edit && <Edit output={edit === "new" ? null : edit} onDone={load} onClose={() => setEdit(null)} />}
      {removing && (
        <Dialog title={`Remove output ${removing.name}?`} onClose={() => setRemoving(null)}>
          <p>{num(object(removing.status).queued) > 0 ? `${count(num(object(removing.status).queued))} alerts wait for it; they are not sent any more.` : "Nothing waits for it."} Its secrets are forgotten.</p>
          <div class="form-buttons"><Button kind="danger" onClick={() => { void call("DELETE", `/outputs/${encodeURIComponent(removing.name)}`).then(load, (e: unknown) => setError(sentence(e))); setRemoving(null); }}>Remove</Button><Button onClick={() => setRemoving(null)}>Cancel</Button></div>
        </Dialog>)}
    </>
  );
}
