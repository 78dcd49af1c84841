/* SPDX-License-Identifier: Apache-2.0 */
/* The fields that rules can use, beside the text that uses them. */
import { useEffect, useState } from "preact/hooks";
import { get, sentence } from "../../api/client";
import { list, object, text } from "../../lib/loose";
import { count } from "../../lib/format";
import { Button, Dialog, Notice, Skeleton, T } from "../../parts/ui";
import { Icon } from "../../parts/icons";

interface Field { name: string; type: string; meaning: string; never: string }

export function Fields({ onClose }: { onClose: () => void }) {
  const [all, setAll] = useState<Field[] | null>(null);
  const [error, setError] = useState("");
  const [q, setQ] = useState("");
  useEffect(() => {
    const over = new AbortController();
    get<unknown>("/rules/fields", {}, over.signal).then((v) => setAll(list(object(v).fields).map(object).map((f) => ({ name: text(f.name), type: `${f.list === true ? "list of " : ""}${text(f.type)}`, meaning: text(f.meaning), never: text(f.why_not) }))), (e: unknown) => { if (!over.signal.aborted) setError(sentence(e)); });
    return () => over.abort();
  }, []);
  const low = q.trim().toLowerCase();
  const rows = (all ?? []).filter((f) => !low || `${f.name} ${f.meaning}`.toLowerCase().includes(low));
  return (
    <Dialog title="Fields that rules can use" onClose={onClose}>
      <div class="dialog-body">
        <div class="searchbox"><Icon name="search" /><input type="text" aria-label="Search fields" placeholder="Search: proc. or network" spellcheck={false} autocomplete="off" maxLength={100} value={q} onInput={(e) => setQ(e.currentTarget.value)} /></div>
        {error ? <Notice level="bad">{error}</Notice> : !all ? <Skeleton rows={8} label="Loading the fields" /> : <>
          <p class="dim" role="status">{count(rows.length)} of {count(all.length)}</p>
          <div class="scroll fields" tabIndex={0} role="group" aria-label="Fields"><dl>{rows.map((f) => <div key={f.name}><dt class="mono"><T s={f.name} max={80} /> <span class="faint">{f.type}</span></dt><dd class={f.never ? "faint" : "dim"}><T s={f.meaning} max={600} />{f.never && <> Never has a value: <T s={f.never} max={300} />.</>}</dd></div>)}</dl></div>
        </>}
        <div class="form-buttons"><Button onClick={onClose}>Close</Button></div>
      </div>
    </Dialog>
  );
}
