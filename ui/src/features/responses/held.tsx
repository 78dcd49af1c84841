/* SPDX-License-Identifier: Apache-2.0 */
/* What is in force on containers, wherever they are shown: its state, its end, and the way to undo it. */
import { useEffect, useState } from "preact/hooks";
import { get, sentence } from "../../api/client";
import { pageFrom } from "../../api/model";
import { href } from "../../app/router";
import { mayAct, now, responsesChanged } from "../../app/state";
import { age } from "../../lib/format";
import { actionTitle, holds, type Response, responseFrom, STATES } from "../../lib/responses";
import { visible } from "../../lib/text";
import { Icon } from "../../parts/icons";
import { Button, T } from "../../parts/ui";
import { Release } from "./release";

const MOST = 1000;

/* Those that go on, of one container or of all; read again whenever a response changed. `put` shows one at once that was just ordered. */
export function useHeld(container?: string): { held: Response[]; error: string; put: (r: Response) => void } {
  const [held, setHeld] = useState<Response[]>([]);
  const [error, setError] = useState("");
  const version = responsesChanged.value;
  useEffect(() => {
    const over = new AbortController();
    get<unknown>("/responses", { open: "true", limit: MOST, container }, over.signal).then((v) => { setHeld(pageFrom<unknown>(v, "responses").items.map(responseFrom)); setError(""); }, (e: unknown) => { if (!over.signal.aborted) setError(sentence(e)); });
    return () => over.abort();
  }, [container, version]);
  return { held, error, put: (r) => setHeld((l) => [r, ...l.filter((x) => x.id !== r.id)].filter((x) => ["active", "pending"].includes(x.state) || x.id === r.id)) };
}

export function Held({ list, error, put }: { list: Response[]; error?: string; put: (r: Response) => void }) {
  const [asking, setAsking] = useState<Response | null>(null);
  if (!list.length && !error && !asking) return null;
  return (
    <>
      {(list.length > 0 || error) && <ul class="held" aria-label="Responses in force">
        {list.map((r) => (
          <li key={r.id} class={r.state === "failed" ? "failed" : ""}>
            <Icon name="responses" size={14} />
            <span><a href={href("/responses", { id: r.id })}><strong>{actionTitle(r.action)}</strong></a> <span class="dim">{r.releasing ? "release ordered" : STATES[r.state] ?? r.state}{r.state === "failed" && r.result ? <>: <T s={r.result} max={200} /></> : ""}{holds(r) && Number.isFinite(r.until) ? `, ends in ${age(r.until - now.value)}` : ""}, by <T s={r.actor} max={48} /></span></span>
            {mayAct.value && holds(r) && <Button class="small" aria-label={`Release ${visible(r.container, 60)}`} onClick={() => setAsking(r)}>Release…</Button>}
          </li>))}
        {error && <li class="amber"><Icon name="warn" size={14} /><span>What is in force here could not be read: {error}</span></li>}
      </ul>}
      {asking && <Release r={asking} onClose={() => setAsking(null)} onDone={put} />}
    </>
  );
}
