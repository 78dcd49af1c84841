/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a model's programs are enforced: in how many containers, what was refused; and the order to observe, to refuse, or to end it. */
import { useEffect, useState } from "preact/hooks";
import { get, post, sentence } from "../../api/client";
import type { Enforcement } from "../../api/openapi";
import { count } from "../../lib/format";
import { plural } from "../../lib/text";
import { Button, Dialog, Field, Notice, T } from "../../parts/ui";

interface Named { application: string; workload: string }

function Ask({ of, now, onDone, onClose }: { of: Named; now: Enforcement | null; onDone: () => void; onClose: () => void }) {
  const [mode, setMode] = useState(now?.mode ?? "observe");
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
  return (
    <Dialog title="Enforce this model's programs" onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void send("/models/enforce", mode === "observe" ? { observe: true } : { confirm }); }}>
        <p>Nothing runs in any container of <strong><T s={of.workload} max={120} /></strong> but the programs that the model has; containers that start later come under it, and what you accept is added.</p>
        <Field label="How" hint={mode === "observe" ? "What would be refused is told as a finding, and runs" : "What is not in the model does not run"}>{(p) => <select {...p} value={mode} onChange={(e) => setMode(e.currentTarget.value === "enforce" ? "enforce" : "observe")}><option value="observe">Observe</option><option value="enforce">Refuse</option></select>}</Field>
        {mode === "enforce" && <Field label="The workload's name, to confirm it">{(p) => <input {...p} type="text" autocomplete="off" spellcheck={false} value={confirm} onInput={(e) => setConfirm(e.currentTarget.value)} />}</Field>}
        {error && <p><Notice level="bad">{error}</Notice></p>}
        <div class="form-buttons"><Button type="submit" kind={mode === "enforce" ? "danger" : "primary"} busy={busy} disabled={mode === "enforce" && confirm !== of.workload}>{mode === "enforce" ? "Refuse what is new" : "Observe"}</Button>
          {now && <Button busy={busy} onClick={() => void send("/models/unenforce", {})}>End it</Button>}<Button onClick={onClose}>Leave it</Button></div>
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
  const out = n ? n.failed + n.not_strict + n.released + n.protected : 0;
  return (
    <>
      {now && n && <Notice level={now.mode === "enforce" ? "good" : "note"}>{now.mode === "enforce" ? "Programs that are not in it are refused" : "Programs that are not in it are observed"} in {count(n.active)} of {count(n.running)} {plural(n.running, "container")}: {count(now.mode === "enforce" ? now.refused : now.observed)} {now.mode === "enforce" ? "refused" : "would have been refused"}.{out > 0 && ` Left alone: ${[n.failed && `${count(n.failed)} failed`, n.not_strict && `${count(n.not_strict)} of a version that is not known well enough`, n.protected && `${count(n.protected)} protected`, n.released && `${count(n.released)} released by a person`].filter(Boolean).join(", ")}.`}{now.notes.map((s) => <span key={s}> <T s={s} max={300} />.</span>)}</Notice>}
      {asking && <Ask of={{ application, workload }} now={now} onDone={() => setAgain((x) => x + 1)} onClose={onClose} />}
    </>
  );
}
