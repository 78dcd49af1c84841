/* SPDX-License-Identifier: Apache-2.0 */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { sentence } from "../../api/client";
import { Button, Dialog, Field, Notice, T } from "../../parts/ui";

/* The question before something that cannot be taken back, or that begins to act by itself: its name, letter by letter. */
export function Confirm({ title, verb, name, children, danger = true, act, onClose }: { title: string; verb: string; name: string; children: ComponentChildren; danger?: boolean; act: () => Promise<void>; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    try {
      await act();
      onClose();
      return;
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={(e) => void submit(e)}>
        <div>{children}</div>
        <Field label="Type its name" hint={name}>{(p) => <input {...p} type="text" autocomplete="off" autocapitalize="none" spellcheck={false} value={typed} onInput={(e) => setTyped(e.currentTarget.value)} />}</Field>
        {error && <Notice level="bad"><T s={error} max={1000} /></Notice>}
        <div class="form-buttons"><Button type="submit" kind={danger ? "danger" : "primary"} busy={busy} disabled={typed !== name}>{verb}</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}
