/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes read the rule files that they were started with anew, from their disks; what each said of it. */
import { useState } from "preact/hooks";
import { ApiError, call, sentence } from "../../api/client";
import { list, object, text } from "../../lib/loose";
import { count } from "../../lib/format";
import { plural } from "../../lib/text";
import { Button, Dialog, Field, Notice, T } from "../../parts/ui";

export function Reload({ nodes, onDone, onClose }: { nodes: string[]; onDone: () => void; onClose: () => void }) {
  const [node, setNode] = useState("");
  const [told, setTold] = useState<{ node: string; error: string }[] | null>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError("");
    setTold(null);
    const take = (v: unknown) => setTold(list(object(v).nodes).map(object).map((n) => ({ node: text(n.node), error: text(n.error) })));
    try {
      take(await call<unknown>("POST", "/rules/reload", { query: { node: node || undefined }, timeoutMs: 60_000 }));
      onDone();
    } catch (x) {
      /* some node did not: which, and why, is the answer */
      if (x instanceof ApiError && x.status === 422 && object(x.data).nodes) take(x.data);
      else setError(sentence(x));
    }
    setBusy(false);
  };
  const bad = (told ?? []).filter((n) => n.error);
  const good = (told ?? []).length - bad.length;
  return (
    <Dialog title="Reload rules from disk" onClose={onClose}>
      <form onSubmit={(e) => void submit(e)}>
        <p>Each node reads the rule files that it was started with anew, as it would at a start. Counts of matches begin at 0. A node whose files have errors keeps the rules that ran. Files that are kept here are sent by themselves.</p>
        {nodes.length > 1 && <Field label="Node">{(p) => <select {...p} value={node} onChange={(e) => setNode(e.currentTarget.value)}><option value="">All {count(nodes.length)} nodes</option>{nodes.map((n) => <option key={n} value={n}>{n}</option>)}</select>}</Field>}
        {error && <Notice level="bad"><T s={error} max={1000} /></Notice>}
        {told && good > 0 && <Notice level="good">{good === 1 ? <>Node <T s={told.find((n) => !n.error)!.node} max={80} /> has read its rules.</> : `${count(good)} nodes have read their rules.`}</Notice>}
        {bad.length > 0 && <Notice level="bad">{count(bad.length)} {plural(bad.length, "node")} did not: <ul class="strings">{bad.slice(0, 20).map((n) => <li key={n.node}><T s={`${n.node}: ${n.error}`} max={600} /></li>)}</ul></Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy}>Reload</Button><Button onClick={onClose}>{told ? "Done" : "Cancel"}</Button></div>
      </form>
    </Dialog>
  );
}
