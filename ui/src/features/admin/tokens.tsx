/* SPDX-License-Identifier: Apache-2.0 */
import { useEffect, useState } from "preact/hooks";
import { call, get, post, sentence } from "../../api/client";
import { pageFrom, tokenFrom, type Role, type TokenRow } from "../../api/model";
import { me, now } from "../../app/state";
import { age, date } from "../../lib/format";
import { Icon } from "../../parts/icons";
import { Button, Copy, Dialog, Empty, Field, Notice, Skeleton, T } from "../../parts/ui";
import { ROLES } from "./users";

const DAYS = [7, 30, 90, 365, 0]; /* 0: no end */

function Create({ onDone, onClose }: { onDone: () => void; onClose: () => void }) {
  const order = ROLES.map(([r]) => r);
  const roles = ROLES.slice(0, order.indexOf(me.value?.role ?? "viewer") + 1);
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [days, setDays] = useState(90);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const [secret, setSecret] = useState("");
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError("");
    try {
      const v = await post<{ secret?: string }>("/tokens", { name, role, days });
      setSecret(v.secret ?? "");
      onDone();
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };
  if (secret)
    return (
      <Dialog title="The new token" onClose={onClose}>
        <p>Copy it now: only a hash of it is kept, and it is not shown again.</p>
        <p class="secret mono wrap">{secret}<Copy text={secret} label="Copy the token" /></p>
        <p class="hint">Programs send it as <code>Authorization: Bearer …</code></p>
        <div class="form-buttons"><Button kind="primary" onClick={onClose}>Done</Button></div>
      </Dialog>
    );
  return (
    <Dialog title="Make a token" onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Notice level="bad">{error}</Notice>}
        <Field label="What it is for" hint="So that it can be told from others when it is to be revoked.">{(p) => <input {...p} type="text" required maxLength={128} autocomplete="off" value={name} onInput={(e) => setName(e.currentTarget.value)} />}</Field>
        <fieldset class="choices"><legend>Role</legend>{roles.map(([r, what]) => <label key={r}><input type="radio" name="role" checked={role === r} onChange={() => setRole(r)} /><span><strong>{r}</strong><small>{what}</small></span></label>)}</fieldset>
        <Field label="Ends after">{(p) => <select {...p} value={days} onChange={(e) => setDays(Number(e.currentTarget.value))}>{DAYS.map((d) => <option key={d} value={d}>{d ? `${d} days` : "never: until it is revoked"}</option>)}</select>}</Field>
        <div class="form-buttons"><Button kind="primary" type="submit" busy={busy}>Make token</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

export function Tokens() {
  const [list, setList] = useState<TokenRow[] | null>(null);
  const [error, setError] = useState("");
  const [making, setMaking] = useState(false);
  const [asking, setAsking] = useState<TokenRow | null>(null);
  const load = () => void get<unknown>("/tokens", { all: me.value?.role === "admin" ? "true" : undefined }).then((v) => { setList(pageFrom<unknown>(v, "tokens").items.map(tokenFrom)); setError(""); }, (e) => setError(sentence(e)));
  useEffect(load, []);
  const revoke = async (t: TokenRow) => {
    try {
      await call("DELETE", `/tokens/${encodeURIComponent(t.id)}`);
      setAsking(null);
      load();
    } catch (e) {
      setAsking(null);
      setError(sentence(e));
    }
  };
  const state = (t: TokenRow) => (t.revoked ? "revoked" : t.expires && t.expires < now.value ? "ended" : t.valid ? "valid" : "its user may not");
  return (
    <div class="page admin">
      <header class="page-head"><h1>API tokens</h1><Button kind="primary" glyph="plus" onClick={() => setMaking(true)}>Make a token</Button></header>
      {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{error}</span></div>}
      {!list ? !error && <Skeleton label="Loading tokens" /> : !list.length ? <Empty icon="key" title="No tokens">Programs that ask the API without a person log in with a token.</Empty> : (
        <div class="card scroll" tabIndex={0} role="group" aria-label="Tokens">
          <table class="table roomy">
            <thead><tr><th>For</th><th class="opt">User</th><th>Role</th><th>State</th><th class="opt">Created</th><th class="opt">Ends</th><th class="opt">Last used</th><th><span class="sr">Actions</span></th></tr></thead>
            <tbody>{list.map((t) => (
              <tr key={t.id} class={state(t) === "valid" ? "" : "faded"}>
                <th scope="row"><T s={t.name} max={128} /></th><td class="opt"><T s={t.user} max={64} /></td><td><T s={t.role} max={16} /></td><td>{state(t)}</td><td class="opt">{date(t.created)}</td><td class="opt">{t.expires ? date(t.expires) : "never"}</td>
                <td class="opt">{t.lastUsed ? `${age(now.value - t.lastUsed)} ago` : "never"}</td>
                <td class="n">{state(t) === "valid" && <Button class="small" onClick={() => setAsking(t)} aria-label={`Revoke ${t.name}`}>Revoke</Button>}</td>
              </tr>))}</tbody>
          </table>
        </div>
      )}
      {making && <Create onDone={load} onClose={() => setMaking(false)} />}
      {asking && (
        <Dialog title="Revoke this token?" onClose={() => setAsking(null)}>
          <p><strong><T s={asking.name} max={128} /></strong> of <T s={asking.user} max={64} /> stops working at once, for every program that uses it. This cannot be undone.</p>
          <div class="form-buttons"><Button kind="danger" onClick={() => void revoke(asking)}>Revoke</Button><Button onClick={() => setAsking(null)}>Keep it</Button></div>
        </Dialog>
      )}
    </div>
  );
}
