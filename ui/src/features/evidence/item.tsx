/* SPDX-License-Identifier: Apache-2.0 */
/* One item of evidence, with its place in the chain and the line that was signed. */
import { useEffect, useState } from "preact/hooks";
import type { Evidence } from "../../api/openapi";
import { address, get, sentence } from "../../api/client";
import { href } from "../../app/router";
import { mayAct } from "../../app/state";
import { DATA } from "../../lib/evidence";
import { bytes, toMs } from "../../lib/format";
import { shortId, visible } from "../../lib/text";
import { Copy, Dialog, Facts, Notice, Skeleton, T, Time } from "../../parts/ui";

const mono = (s: string | null | undefined) => (s ? <span class="mono wrap"><T s={s} max={1000} /></span> : null);

export function Details({ id, onClose }: { id: number; onClose: () => void }) {
  const [e, setE] = useState<Evidence | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const over = new AbortController();
    get<Evidence>(`/evidence/${id}`, {}, over.signal).then(setE, (x: unknown) => { if (!over.signal.aborted) setError(sentence(x)); });
    return () => over.abort();
  }, [id]);
  return (
    <Dialog title={`Evidence ${id}`} onClose={onClose}>
      <div class="dialog-body">
        {error ? <Notice level="bad">{error}</Notice> : !e ? <Skeleton rows={8} label="Loading the item" /> : <>
          <Facts rows={([
            ["Kind", <T s={e.kind} max={40} />], ["Kept", <Time ms={toMs(e.time)} />], ["Because", e.rule || e.why ? <T s={[e.rule, e.why].filter(Boolean).join(": ")} max={400} /> : null], ["Path", mono(e.path)], ["Executable", mono(e.exe)], ["Command", mono(e.args)],
            ["Process id", e.pid ? String(e.pid) : null], ["Container", e.container_id ? <a href={href("/containers", { id: e.container_id })}><T s={e.container_name || shortId(e.container_id)} max={120} /></a> : null], ["Finding", e.finding ? <a href={href("/findings", { id: e.finding })}><T s={e.finding} max={80} /></a> : null],
            ["Node", <T s={e.node} max={80} />], ["Bytes", e.size > 0 ? <>{bytes(e.size)}{e.cut && ", cut"}{DATA[e.data] ? `, ${DATA[e.data]}` : ""} {mayAct.value && e.data === "here" && <a href={address(`/evidence/${e.id}/data`)} download={`evidence-${e.id}.bin`}>Save</a>}</> : null],
            ["SHA-256", e.sha256 ? <span class="mono wrap">{visible(e.sha256, 64)}<Copy text={e.sha256} /></span> : null], ["In its chain", <>item {e.seq} of <span class="mono">{visible(e.chain.slice(0, 16), 16)}</span></>], ["Came here", <Time ms={toMs(e.received)} />],
          ] as [string, preact.ComponentChildren][]).filter(([, v]) => v !== null)} />
          {e.line && <details class="section"><summary><h3>As it was signed</h3></summary><div class="raw"><pre tabIndex={0}>{visible(e.line, 60_000)}</pre></div></details>}
        </>}
      </div>
    </Dialog>
  );
}
