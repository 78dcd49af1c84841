/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a model's programs are enforced: in how many containers, what was refused; and the order to observe, to refuse, or to end it. */
import { useEffect, useState } from "preact/hooks";
import { get, post, sentence } from "../../api/client";
import type { Enforcement } from "../../api/openapi";
import { count, date } from "../../lib/format";
import { plural } from "../../lib/text";
import { Button, Dialog, Field, Notice, T } from "../../parts/ui";

interface Named { application: string; workload: string }
const TIMES: [number, string][] = [[0, "Until somebody ends it"], [3600, "1 hour"], [28800, "8 hours"], [86400, "1 day"], [604800, "1 week"]];
const AS_IT_IS = -1; /* to its end that was ordered before */

function Ask({ of, now, onDone, onClose }: { of: Named; now: Enforcement | null; onDone: () => void; onClose: () => void }) {
  const [mode, setMode] = useState(now?.mode ?? "observe");
  const until = now?.until ? Date.parse(now.until) : NaN;
  const [ttl, setTtl] = useState(Number.isFinite(until) ? AS_IT_IS : 0);
  const [reason, setReason] = useState(now?.reason ?? "");
  const [confirm, setConfirm] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const send = async (path: string, body: object) => {
    setBusy(true);
    try {
      await post(path, { ...of, ...body });
      onDone();
      onClose();
    } catch (e) {
      setError(sentence(e));
    }
    setBusy(false);
  };
  const order = () => {
    const seconds = ttl === AS_IT_IS ? Math.max(1, Math.round((until - Date.now()) / 1000)) : ttl;
    return { ...(mode === "observe" ? { observe: true } : { confirm }), ...(seconds ? { ttl: seconds } : {}), ...(reason.trim() ? { reason: reason.trim() } : {}) };
  };
  return (
    <Dialog title="Enforce this model's programs" onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void send("/models/enforce", order()); }}>
        <p>Nothing runs in any container of <strong><T s={of.workload} max={120} /></strong> but the programs that the model has; containers that start later come under it, and what you accept is added.</p>
        <Field label="How" hint={mode === "observe" ? "What would be refused is told as a finding, and runs" : "What is not in the model does not run"}>{(p) => <select {...p} value={mode} onChange={(e) => setMode(e.currentTarget.value === "enforce" ? "enforce" : "observe")}><option value="observe">Observe</option><option value="enforce">Refuse</option></select>}</Field>
        <Field label="For how long">{(p) => <select {...p} value={String(ttl)} onChange={(e) => setTtl(Number(e.currentTarget.value))}>{Number.isFinite(until) && <option value={AS_IT_IS}>As it is: until {date(until)}</option>}{TIMES.map(([s, label]) => <option key={s} value={s}>{label}</option>)}</select>}</Field>
        <Field label="Why">{(p) => <textarea {...p} rows={2} maxLength={1024} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />}</Field>
        {mode === "enforce" && <Field label="The workload's name, to confirm it">{(p) => <input {...p} type="text" autocomplete="off" spellcheck={false} value={confirm} onInput={(e) => setConfirm(e.currentTarget.value)} />}</Field>}
        {error && <p><Notice level="bad">{error}</Notice></p>}
        <div class="form-buttons"><Button type="submit" kind={mode === "enforce" ? "danger" : "primary"} busy={busy} disabled={mode === "enforce" && confirm !== of.workload}>{mode === "enforce" ? "Refuse what is new" : "Observe"}</Button>
          {now && <Button busy={busy} onClick={() => void send("/models/unenforce", reason.trim() && reason.trim() !== now.reason ? { reason: reason.trim() } : {})}>End it</Button>}<Button onClick={onClose}>Leave it</Button></div>
      </form>
    </Dialog>
  );
}

/* What a page has of it: a line, while there is something to say, and the dialog. */
export function Enforced({ application, workload, asking, onClose }: Named & { asking: boolean; onClose: () => void }) {
  const [now, setNow] = useState<Enforcement | null>(null);
  const [again, setAgain] = useState(0);
  useEffect(() => {
    const over = new AbortController();
    const read = () => get<{ enforced?: Enforcement[] }>("/models/enforced", {}, over.signal).then((v) => setNow(v.enforced?.find((e) => e.application === application && e.workload === workload) ?? null), () => undefined);
    void read();
    const t = setInterval(() => { if (!document.hidden) void read(); }, 5_000);
    return () => { over.abort(); clearInterval(t); };
  }, [application, workload, again]);
  const n = now?.containers;
  const loose = n ? n.not_strict - n.kept : 0;
  const out = n ? n.failed + loose + n.released + n.protected : 0;
  return (
    <>
      {now && n && <Notice level={now.mode === "enforce" ? "good" : "note"}>{now.mode === "enforce" ? "Programs that are not in it are refused" : "Programs that are not in it are observed"} in {count(n.active)} of {count(n.running)} {plural(n.running, "container")}: {count(now.mode === "enforce" ? now.refused : now.observed)} {now.mode === "enforce" ? "refused" : "would have been refused"}.{out > 0 && ` Left alone: ${[n.failed && `${count(n.failed)} failed`, loose && `${count(loose)} of a version that is not known well enough`, n.protected && `${count(n.protected)} protected`, n.released && `${count(n.released)} released by a person`].filter(Boolean).join(", ")}.`}{n.kept > 0 && ` ${count(n.kept)} of a version that is not known well enough any more ${n.kept === 1 ? "keeps its" : "keep their"} list.`} Ordered by <T s={now.by} max={80} />{now.until && `, until ${date(Date.parse(now.until))}`}.{now.reason && <> Why: <T s={now.reason} max={300} />.</>}{now.notes.map((s) => <span key={s}> <T s={s} max={300} />.</span>)}</Notice>}
      {asking && <Ask of={{ application, workload }} now={now} onDone={() => setAgain((x) => x + 1)} onClose={onClose} />}
    </>
  );
}
