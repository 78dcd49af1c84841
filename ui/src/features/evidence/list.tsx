/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes kept of an incident or a container: files, programs, memory, pictures of processes; their bytes, and all of it as one archive, for who may have them. */
import { useEffect, useState } from "preact/hooks";
import type { Evidence as Item } from "../../api/openapi";
import { address, download, sentence } from "../../api/client";
import { lazyPart } from "../../app/lazy";
import { mayAct } from "../../app/state";
import { DATA } from "../../lib/evidence";
import { bytes, count } from "../../lib/format";
import { usePages } from "../../lib/pages";
import { saveBlob } from "../../lib/save";
import { Icon } from "../../parts/icons";
import { Button, Notice, T } from "../../parts/ui";

/* Fetched when somebody looks closer. */
const Verify = lazyPart(() => import("./verify").then((m) => m.Verify));
const Details = lazyPart(() => import("./item").then((m) => m.Details));

const PAGE = 100;

export function EvidenceList({ of, name, version, onTotal }: { of: { incident?: number; container?: string }; name: string; version?: number; onTotal?: (n: number, error: string) => void }) {
  const { rows, total, next, error, older } = usePages<Item>("/evidence", "evidence", { ...of, count: "true" }, PAGE, version);
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const [open, setOpen] = useState(0);
  const may = mayAct.value;
  useEffect(() => onTotal?.(total, error), [total, error]);
  const archive = async () => {
    setBusy(true);
    setSaid("");
    try {
      saveBlob(`bulkhead-evidence-${name}.tar`, await download("/evidence/export", of));
    } catch (e) {
      setSaid(sentence(e));
    }
    setBusy(false);
  };
  return (
    <>
      <ul class="places evidence">
        {error && <li class="amber">{error}</li>}
        {rows && !rows.length && <li class="faint">Nothing was kept{of.incident ? " yet" : ""}.</li>}
        {(rows ?? []).map((e) => (
          <li key={e.id}><button type="button" class="link evidence-what" onClick={() => setOpen(e.id)}><Icon name={e.data === "here" ? "audit" : "note"} size={14} /><T s={[e.kind, e.path ?? e.exe].filter(Boolean).join(" ")} max={200} /></button>
            <small class="dim">{e.size > 0 && `${bytes(e.size)}${e.cut ? ", cut" : ""}`}{DATA[e.data] ? `, ${DATA[e.data]}` : ""}{e.sha256 && <span class="mono faint" title={e.sha256}> {e.sha256.slice(0, 16)}</span>}
              {may && e.data === "here" && e.size > 0 && <a href={address(`/evidence/${e.id}/data`)} download={`evidence-${e.id}.bin`}>Save</a>}</small></li>))}
        {rows && next && <li><Button class="small" onClick={older}>{count(total - rows.length)} more</Button></li>}
      </ul>
      {may && rows && rows.length > 0 && <div class="evidence-acts"><Button class="small" glyph="save" busy={busy} onClick={() => void archive()}>Save as one archive</Button><Verify small /></div>}
      {said && <Notice level="bad">{said}</Notice>}
      {open > 0 && <Details id={open} onClose={() => setOpen(0)} />}
    </>
  );
}

export function Evidence({ id, version }: { id: number; version: number }) {
  const [total, setTotal] = useState<number | null>(null);
  return (
    <section class="card" aria-labelledby="s-evidence">
      <header><h2 id="s-evidence">Evidence</h2>{total !== null && <span class="tally">{count(total)}</span>}</header>
      <EvidenceList of={{ incident: id }} name={`incident-${id}`} version={version} onTotal={setTotal} />
    </section>
  );
}
