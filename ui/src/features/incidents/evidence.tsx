/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes kept of an incident: files, programs, memory, pictures of processes; their bytes for who may have them. */
import { useEffect, useState } from "preact/hooks";
import type { Evidence as Item } from "../../api/openapi";
import { address, get, sentence } from "../../api/client";
import { pageFrom } from "../../api/model";
import { bytes, count } from "../../lib/format";
import { Icon } from "../../parts/icons";
import { T } from "../../parts/ui";

export function Evidence({ id, version, may }: { id: number; version: number; may: boolean }) {
  const [rows, setRows] = useState<Item[] | null>(null);
  const [total, setTotal] = useState(0);
  const [error, setError] = useState("");
  useEffect(() => {
    const over = new AbortController();
    get<unknown>("/evidence", { incident: id, limit: 100, count: "true" }, over.signal).then((v) => {
      const p = pageFrom<Item>(v, "evidence");
      setRows(p.items);
      setTotal(p.total);
      setError("");
    }, (e: unknown) => { if (!over.signal.aborted) setError(sentence(e)); });
    return () => over.abort();
  }, [id, version]);
  return (
    <section class="card" aria-labelledby="s-evidence">
      <header><h2 id="s-evidence">Evidence</h2>{rows && <span class="tally">{count(total)}</span>}</header>
      <ul class="places evidence">
        {error && <li class="amber">{error}</li>}
        {rows && !rows.length && <li class="faint">Nothing was kept yet.</li>}
        {(rows ?? []).map((e) => (
          <li key={e.id}><span class="evidence-what"><Icon name={e.data === "here" ? "audit" : "note"} size={14} /><T s={[e.kind, e.path ?? e.exe].filter(Boolean).join(" ")} max={200} /></span>
            <small class="dim">{e.size > 0 && `${bytes(e.size)}${e.cut ? ", cut" : ""}`}{e.data === "dropped" ? ", its bytes went with age or size" : e.data === "missing" ? ", its bytes have not come" : ""}{e.sha256 && <span class="mono faint" title={e.sha256}> {e.sha256.slice(0, 16)}</span>}
              {may && e.data === "here" && e.size > 0 && <a href={address(`/evidence/${e.id}/data`)} download={`evidence-${e.id}.bin`}>Save</a>}</small></li>))}
        {rows && total > rows.length && <li class="faint">{count(total - rows.length)} more: bulkhead evidence list --incident {id}</li>}
      </ul>
    </section>
  );
}
