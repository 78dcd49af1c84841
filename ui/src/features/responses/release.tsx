/* SPDX-License-Identifier: Apache-2.0 */
/* The question before something is undone: why, for the audit log; and of what may not come back, whether to give it up. */
import { useState } from "preact/hooks";
import { post, sentence } from "../../api/client";
import { actionTitle, type Response, responseFrom } from "../../lib/responses";
import { shortId } from "../../lib/text";
import { Button, Dialog, Field, Notice, T } from "../../parts/ui";

export function Release({ r, onClose, onDone }: { r: Response; onClose: () => void; onDone: (r: Response) => void }) {
  const [reason, setReason] = useState("");
  const [force, setForce] = useState(false);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const send = async () => {
    setBusy(true);
    try {
      onDone(responseFrom(await post<unknown>(`/responses/${encodeURIComponent(r.id)}/release`, { ...(reason.trim() ? { reason: reason.trim() } : {}), ...(force ? { force } : {}) })));
      onClose();
    } catch (e) {
      setError(sentence(e));
      setBusy(false);
    }
  };
  return (
    <Dialog title="Release" onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void send(); }}>
        <p>Undoes “{actionTitle(r.action)}” on container <strong><T s={r.container || shortId(r.containerId)} max={120} /></strong>, node <T s={r.node} max={64} />.</p>
        <Field label="Why">{(p) => <textarea {...p} rows={2} maxLength={4096} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />}</Field>
        {r.action === "scale-to-zero" && <label class="tick"><input type="checkbox" checked={force} onChange={(e) => setForce(e.currentTarget.checked)} />Also where it cannot be scaled back</label>}
        {error && <Notice level="bad">{error}</Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy}>Release</Button><Button kind="quiet" onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}
