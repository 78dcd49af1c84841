/* SPDX-License-Identifier: Apache-2.0 */
/* An exported model given to a workload: what the file holds is shown before anything is sent. */
import { useState } from "preact/hooks";
import { post, sentence } from "../../api/client";
import { go, href } from "../../app/router";
import { count } from "../../lib/format";
import { type ModelText, modelTextFrom, MODEL_TEXT_MAX, shortDigest } from "../../lib/models";
import { plural } from "../../lib/text";
import { Button, Dialog, Field, Notice, T } from "../../parts/ui";

export interface Into { application: string; workload: string; digest: string }

/* `into`: the model that is looked at; without it the file says whose it is, and a workload that never ran here may have one. */
export function Import({ into, onDone, onClose }: { into?: Into; onDone?: (v: unknown) => void; onClose: () => void }) {
  const [file, setFile] = useState<{ name: string; text: string; model: ModelText } | null>(null);
  const [application, setApplication] = useState(into?.application ?? "");
  const [workload, setWorkload] = useState(into?.workload ?? "");
  const [version, setVersion] = useState(into ? "this" : "file");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const choose = async (f: File | undefined) => {
    setFile(null);
    setError("");
    if (!f) return;
    try {
      if (f.size > MODEL_TEXT_MAX) throw new Error("The file is larger than 1 MiB, which is what the central takes.");
      const text = await f.text();
      const model = modelTextFrom(text);
      setFile({ name: f.name, text, model });
      if (!into) {
        setApplication(model.application);
        setWorkload(model.workload);
      }
    } catch (e) {
      setError(sentence(e));
    }
  };
  const submit = async (e: Event) => {
    e.preventDefault();
    if (!file) return setError("Choose a file.");
    setBusy(true);
    try {
      const answer = await post<unknown>("/models/import", { application, workload, text: file.text, ...(version === "this" && into ? { image_digest: into.digest } : {}) });
      onClose();
      if (into) onDone?.(answer);
      else go(href("/models", { app: application || undefined, workload }));
      return;
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };
  const m = file?.model;
  return (
    <Dialog title="Import a model" onClose={onClose}>
      <form onSubmit={(e) => void submit(e)}>
        <Field label="File" hint="As “Export → Model, for another installation” or “bulkhead model export” wrote it.">{(p) => <input {...p} type="file" accept=".jsonl,.json,.txt,text/plain" onChange={(e) => void choose(e.currentTarget.files?.[0])} />}</Field>
        {m && <Notice level={into && (m.application !== into.application || m.workload !== into.workload) ? "warn" : "note"}>
          Model of <strong><T s={[m.application, m.workload].filter(Boolean).join(" / ") || "a workload without a name"} max={160} /></strong>, version {shortDigest(m.digest)}, learned in {m.hours < 10 ? m.hours.toFixed(1) : count(m.hours)} container hours: {count(m.items)} {plural(m.items, "item")}
          {m.families.length > 0 && <> (<T s={m.families.map(([k, n]) => `${k} ${count(n)}`).join(", ")} max={300} />)</>}{m.forbidden > 0 && `, ${count(m.forbidden)} of them forbidden`}.
          {into && (m.application !== into.application || m.workload !== into.workload) && " It is of another workload than this one."}</Notice>}
        {!into && <div class="twin"><Field label="Application" hint="Empty: none.">{(p) => <input {...p} type="text" maxLength={1024} autocomplete="off" spellcheck={false} value={application} onInput={(e) => setApplication(e.currentTarget.value)} />}</Field>
          <Field label="Workload">{(p) => <input {...p} type="text" required maxLength={1024} autocomplete="off" spellcheck={false} value={workload} onInput={(e) => setWorkload(e.currentTarget.value)} />}</Field></div>}
        {into && m && m.digest !== into.digest && <Field label="Into which version">{(p) => <select {...p} value={version} onChange={(e) => setVersion(e.currentTarget.value)}><option value="this">The one that is shown: {shortDigest(into.digest)}</option><option value="file">The file's own: {shortDigest(m.digest)}</option></select>}</Field>}
        {m && <p class="dim">Its items count as accepted by you. What is here already stays; a relearning does not forget what was accepted.</p>}
        {error && <Notice level="bad"><T s={error} max={600} /></Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy} disabled={!file || !workload}>{m ? `Import ${count(m.items)} ${plural(m.items, "item")}` : "Import"}</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}
