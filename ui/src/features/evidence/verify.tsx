/* SPDX-License-Identifier: Apache-2.0 */
/* Whether evidence is as it was signed: the central's copy, and what each connected node has. */
import { useState } from "preact/hooks";
import { call, download, sentence } from "../../api/client";
import { mayAct } from "../../app/state";
import { fileName } from "../../lib/export";
import { chainsFrom, type Chains, type Report } from "../../lib/evidence";
import { clock, count } from "../../lib/format";
import { saveBlob } from "../../lib/save";
import { plural } from "../../lib/text";
import { Button, Notice, T } from "../../parts/ui";

/* Every byte that is kept is hashed anew. */
const PATIENCE_MS = 300_000;

function One({ who, r }: { who: string; r: Report }) {
  if (r.ok) return <li class="good"><strong><T s={who} max={80} /></strong> whole: {count(r.items)} {plural(r.items, "item")}, {count(r.objects)} {plural(r.objects, "object")}{r.elsewhere > 0 && `, the bytes of ${count(r.elsewhere)} went with age or size`}{r.first > 1 && `, from item ${count(r.first)} on: what was before went with age or size`}{r.gaps > 0 && `, with ${count(r.gaps)} known ${plural(r.gaps, "gap")} where older evidence of open incidents stayed`}</li>;
  return <li class="amber"><strong><T s={who} max={80} /></strong> {count(r.count)} {plural(r.count, "problem")}<ul class="strings">{r.problems.slice(0, 20).map((p, n) => <li key={n} class="wrap"><T s={p.text || p.what} max={500} /></li>)}{r.count > Math.min(20, r.problems.length) && <li>…</li>}</ul></li>;
}

export function Verify({ small }: { small?: boolean }) {
  const [told, setTold] = useState<{ at: number; v: Chains } | null>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    setTold(null);
    setError("");
    try {
      setTold({ at: Date.now(), v: chainsFrom(await call<unknown>("GET", "/evidence/verify", { timeoutMs: PATIENCE_MS })) });
    } catch (e) {
      setError(sentence(e));
    }
    setBusy(false);
  };
  return (
    <>
      <Button class={small ? "small" : ""} glyph="good" busy={busy} title="All evidence of all nodes: signatures, hashes, and what each node has" onClick={() => void run()}>{busy ? "Verifying…" : "Verify"}</Button>
      {error && <Notice level="bad">{error}</Notice>}
      {told && <Notice level={told.v.level}>
        <strong>{told.v.says}</strong> <span class="dim">{clock(told.at)}</span>
        <ul class="chains"><One who="The central's copy:" r={told.v.central} />{told.v.nodes.map((n) => (n.report ? <One key={n.node} who={`${n.node}:`} r={n.report} /> : <li key={n.node} class="amber"><strong><T s={n.node} max={80} /></strong> could not be asked: <T s={n.error} max={300} /></li>))}</ul>
      </Notice>}
    </>
  );
}

/* On the page that says what can be believed. */
export function EvidenceCard() {
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState("");
  const may = mayAct.value;
  const take = async (what: string, path: string, name: string) => {
    setBusy(what);
    setSaid("");
    try {
      saveBlob(name, await download(path, {}));
    } catch (e) {
      setSaid(sentence(e));
    }
    setBusy("");
  };
  return (
    <section class="card" aria-labelledby="h-evidence">
      <header><h2 id="h-evidence">Evidence</h2></header>
      <p class="card-text dim">What nodes kept of attacks is signed item by item, each naming the one before. Heads that are kept elsewhere show also who cuts a chain short or begins it anew. An archive can be verified without Bulkhead: its README says how.</p>
      <div class="evidence-acts">
        {may && <Verify />}
        <Button glyph="save" busy={busy === "heads"} onClick={() => void take("heads", "/evidence/heads", `${fileName("evidence-heads", new Date())}.jsonl`)}>Save heads</Button>
        {may && <Button glyph="save" busy={busy === "all"} title="The newest 10,000 items; its manifest says what was left out" onClick={() => void take("all", "/evidence/export", `${fileName("evidence", new Date())}.tar`)}>Save all as one archive</Button>}
      </div>
      {said && <Notice level="bad">{said}</Notice>}
    </section>
  );
}
