/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger: what was done to which container, by whom, why, until when; and its end. #/responses?open=1&id=… */
import { useEffect, useRef, useState } from "preact/hooks";
import { get, sentence } from "../../api/client";
import { pageFrom } from "../../api/model";
import { href, patch, route } from "../../app/router";
import { mayAct, now, responsesChanged } from "../../app/state";
import { age } from "../../lib/format";
import { actionTitle, holds, ledOf, type Response, responseFrom, STATES } from "../../lib/responses";
import { shortId, visible } from "../../lib/text";
import { Icon } from "../../parts/icons";
import { Button, Empty, Facts, Notice, Section, Skeleton, T, Time } from "../../parts/ui";
import { Drawer } from "../../parts/drawer";
import { Release } from "./release";

const PAGE = 200;
const MOST = 1000; /* of one answer */
/* Released, and not scaled back yet: it may be given up. */
const stuck = (r: Response) => r.releasing && r.action === "scale-to-zero" && (r.state === "active" || r.state === "pending");
const state = (r: Response) => (r.releasing ? "release ordered" : STATES[r.state] ?? r.state);

function Details({ r, may, release, onClose }: { r: Response; may: boolean; release: (r: Response) => void; onClose: () => void }) {
  const [full, setFull] = useState<Response>(r);
  useEffect(() => {
    const over = new AbortController();
    setFull(r);
    get<unknown>(`/responses/${encodeURIComponent(r.id)}`, {}, over.signal).then((v) => setFull(responseFrom(v)), () => undefined);
    return () => over.abort();
  }, [r.id, r.state, r.releasing]);
  const led = ledOf(full);
  const raw = JSON.stringify(full.detail, null, 2);
  return (
    <Drawer label="Response" focusKey={r.id} onClose={onClose} head={<><h2>{actionTitle(r.action)} <T s={r.container || shortId(r.containerId)} max={120} /></h2><p>{state(r)}</p></>}>
      {may && (holds(r) || stuck(r)) && <div class="drawer-links"><Button kind="primary" onClick={() => release(r)}>Release…</Button></div>}
      {full.result && <Notice level={r.state === "failed" ? "bad" : "note"}><T s={full.result} max={2000} /></Notice>}
      <Facts rows={[["Container", <a href={href("/containers", { id: r.containerId })}><T s={r.container || shortId(r.containerId)} max={120} /></a>], ["Workload", <T s={[r.application, r.workload].filter(Boolean).join(" / ")} />], ["Node", <T s={r.node} />], ["By", <T s={r.actor} />], ["Why", r.reason ? <T s={r.reason} /> : null], ["Ordered", <Time ms={r.created} />],
        ["Changed", <Time ms={r.changed} />], ["Ends by itself", Number.isFinite(r.until) ? <Time ms={r.until} /> : "never"], ["Peers that remain", r.allow.length ? <span class="mono wrap"><T s={r.allow.join(", ")} /></span> : null], [r.action === "decoy" ? "Led, or else refused" : "Refused", r.deny.length ? <span class="mono wrap"><T s={r.deny.join(", ")} /></span> : null],
        ["Decoy", r.action === "decoy" ? <span class="mono wrap"><T s={r.subject} /></span> : null], ["Led to it", r.action === "decoy" ? `${led.connections} connections` : null]]} />
      {led.last.length > 0 && <Section title="The last that were led"><ul class="strings">{[...led.last].reverse().map((l) => <li key={`${l.from} ${l.time}`}><Time ms={l.time} /> <T s={`${l.comm} (pid ${l.pid}) asked for ${l.asked}, from ${l.from}`} max={200} /></li>)}</ul></Section>}
      {Object.keys(full.detail).length > 0 && <Section title="What it touched" open={false}><div class="raw"><pre tabIndex={0}>{visible(raw, 60_000).replace(/⏎/g, "\n")}</pre></div></Section>}
    </Drawer>
  );
}

export function Responses() {
  const params = route.value.params;
  const open = params.get("open") === "1";
  const id = params.get("id");
  const [rows, setRows] = useState<Response[] | null>(null);
  const [next, setNext] = useState<string | undefined>();
  const [error, setError] = useState("");
  const [asking, setAsking] = useState<Response | null>(null);
  const shown = useRef(0);
  shown.current = rows?.length ?? 0;
  const version = responsesChanged.value;
  const may = mayAct.value;
  const read = async (cursor: string | undefined, signal: AbortSignal) => {
    try {
      const p = pageFrom<unknown>(await get<unknown>("/responses", { open: open ? "true" : undefined, limit: cursor ? PAGE : Math.min(MOST, Math.max(PAGE, shown.current)), cursor }, signal), "responses");
      setRows((l) => [...(cursor ? (l ?? []) : []), ...p.items.map(responseFrom)]);
      setNext(p.next);
      setError("");
    } catch (e) {
      if (!signal.aborted) setError(sentence(e));
    }
  };
  useEffect(() => {
    const over = new AbortController();
    void read(undefined, over.signal);
    const t = setInterval(() => { if (!document.hidden) void read(undefined, over.signal); }, 10_000);
    return () => { over.abort(); clearInterval(t); };
  }, [open, version]);
  const chosen = rows?.find((r) => r.id === id);
  return (
    <div class={`page split responses ${chosen ? "with-drawer" : ""}`}>
      <section class="listing" aria-labelledby="r-title">
        <header class="toolbar"><h1 id="r-title">Responses</h1>
          <div class="segments" role="group" aria-label="Which"><button type="button" aria-pressed={!open} onClick={() => patch({ open: undefined })}>All</button><button type="button" aria-pressed={open} onClick={() => patch({ open: "1" })}>In force</button></div></header>
        {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{error}</span></div>}
        {!rows ? !error && <Skeleton rows={8} label="Loading the ledger" /> : !rows.length ? <Empty icon="responses" title={open ? "Nothing is in force" : "Nothing was done yet"}><p>A container is isolated, quarantined or ended from its own panel, from an incident, or with “bulkhead respond”. Each act stands here, and its end.</p></Empty>
          : <div class="scroll" tabIndex={0} role="group" aria-label="Ledger">
            <table class="table roomy"><thead><tr><th>Act</th><th>Container</th><th>State</th><th class="opt">By</th><th class="opt">Why</th><th>Ends</th><th><span class="sr">Undo</span></th></tr></thead>
              <tbody>{rows.map((r) => (
                <tr key={r.id} class={holds(r) ? "" : "faded"}>
                  <th scope="row"><button type="button" class="link row-link" onClick={() => patch({ id: r.id })}>{actionTitle(r.action)}</button><small class="dim block"><Time ms={r.created} /></small></th>
                  <td><T s={r.container || shortId(r.containerId)} max={80} /><small class="dim block"><T s={r.node} max={48} /></small></td>
                  <td>{r.state === "failed" ? <span class="amber">{state(r)}</span> : state(r)}</td><td class="opt"><T s={r.actor} max={48} /></td><td class="opt"><T s={r.reason} max={120} /></td>
                  <td class="nowrap">{holds(r) ? (Number.isFinite(r.until) ? `in ${age(r.until - now.value)}` : "when released") : "–"}</td>
                  <td>{may && holds(r) && <Button class="small" aria-label={`Release ${visible(r.container, 60)}`} onClick={() => setAsking(r)}>Release…</Button>}</td>
                </tr>))}</tbody></table>
            {next && <p class="card-foot"><Button onClick={() => void read(next, new AbortController().signal)}>Older</Button></p>}
          </div>}
      </section>
      {chosen && <Details r={chosen} may={may} release={setAsking} onClose={() => patch({ id: undefined })} />}
      {asking && <Release r={asking} onClose={() => setAsking(null)} onDone={(r) => setRows((l) => (l ?? []).map((x) => (x.id === r.id ? r : x)))} />}
    </div>
  );
}
