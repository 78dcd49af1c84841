/* SPDX-License-Identifier: Apache-2.0 */
import { useEffect, useState } from "preact/hooks";
import { call, get, post, sentence } from "../../api/client";
import { pageFrom, userFrom, type Role, type UserRow } from "../../api/model";
import { me } from "../../app/state";
import { date } from "../../lib/format";
import { Icon } from "../../parts/icons";
import { Confirm } from "../policies/remove";
import { Button, Copy, Dialog, Empty, Field, Notice, Skeleton, T } from "../../parts/ui";

export const ROLES: [Role, string][] = [
  ["viewer", "sees everything, changes nothing"],
  ["analyst", "also works on incidents and responses"],
  ["admin", "also users, tokens, settings and the audit log"],
];

function Edit({ user, onDone, onClose }: { user: UserRow | null; onDone: () => void; onClose: () => void }) {
  const [name, setName] = useState(user?.name ?? "");
  const [role, setRole] = useState<Role>(user?.role ?? "viewer");
  const [reset, setReset] = useState(false);
  const [disabled, setDisabled] = useState(user?.disabled ?? false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const [secret, setSecret] = useState("");
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError("");
    try {
      const path = `/users/${encodeURIComponent(name)}`;
      if (user && (role !== user.role || disabled !== user.disabled))
        await call("PATCH", path, { body: { ...(role !== user.role ? { role } : {}), ...(disabled !== user.disabled ? { disabled } : {}) } });
      /* The central makes the first password and tells it this once. */
      const answer = !user ? await post<{ password?: string }>("/users", { name, role }) : reset ? await post<{ password?: string }>(`${path}/password`) : null;
      onDone();
      if (answer?.password) setSecret(answer.password);
      else onClose();
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };
  if (secret)
    return (
      <Dialog title={`Password of ${name}`} onClose={onClose}>
        <p>Give it to its owner now: it is not shown again. It must be changed at the first login.</p>
        <p class="secret mono">{secret}<Copy text={secret} label="Copy the password" /></p>
        <div class="form-buttons"><Button kind="primary" onClick={onClose}>Done</Button></div>
      </Dialog>
    );
  return (
    <Dialog title={user ? `Change ${user.name}` : "Add a user"} onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Notice level="bad">{error}</Notice>}
        {!user && <Field label="User name" hint="Letters, digits, dot, dash and underscore.">{(p) => <input {...p} type="text" required maxLength={64} pattern="[A-Za-z0-9._\-]+" autocomplete="off" autocapitalize="none" spellcheck={false} value={name} onInput={(e) => setName(e.currentTarget.value)} />}</Field>}
        <fieldset class="choices"><legend>Role</legend>
          {ROLES.map(([r, what]) => <label key={r}><input type="radio" name="role" checked={role === r} onChange={() => setRole(r)} /><span><strong>{r}</strong><small>{what}</small></span></label>)}
        </fieldset>
        {user && <label class="tick"><input type="checkbox" checked={reset} onChange={(e) => setReset(e.currentTarget.checked)} />Set a new first password and end its sessions</label>}
        {user && <label class="tick"><input type="checkbox" checked={disabled} onChange={(e) => setDisabled(e.currentTarget.checked)} />Disabled: may not log in, its tokens do not work</label>}
        <div class="form-buttons"><Button kind="primary" type="submit" busy={busy}>{user ? "Save" : "Add user"}</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

export function Users() {
  const [list, setList] = useState<UserRow[] | null>(null);
  const [error, setError] = useState("");
  const [edit, setEdit] = useState<UserRow | "new" | null>(null);
  const [removing, setRemoving] = useState("");
  const load = () => void get<unknown>("/users").then((v) => { setList(pageFrom<unknown>(v, "users").items.map(userFrom)); setError(""); }, (e) => setError(sentence(e)));
  useEffect(load, []);
  return (
    <div class="page admin">
      <header class="page-head"><h1>Users</h1><Button kind="primary" glyph="plus" onClick={() => setEdit("new")}>Add a user</Button></header>
      {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{error}</span></div>}
      {!list ? !error && <Skeleton label="Loading users" /> : (
        <div class="card scroll" tabIndex={0} role="group" aria-label="Users">
          <table class="table roomy">
            <thead><tr><th>Name</th><th>Role</th><th>State</th><th class="opt">Created</th><th class="opt">Last login</th><th><span class="sr">Actions</span></th></tr></thead>
            <tbody>{list.map((u) => (
              <tr key={u.name} class={u.disabled ? "faded" : ""}>
                <th scope="row"><T s={u.name} max={64} />{u.name === me.value?.name && <span class="tag">you</span>}</th><td>{u.role}</td>
                <td>{u.disabled ? "disabled" : u.mustChange ? "new password due" : "active"}</td><td class="opt">{date(u.created)}</td><td class="opt">{u.lastLogin ? date(u.lastLogin) : "never"}</td>
                <td class="n">{u.name !== me.value?.name && <span class="row-acts"><Button class="small" onClick={() => setEdit(u)} aria-label={`Change ${u.name}`}>Change</Button><Button class="small" onClick={() => setRemoving(u.name)} aria-label={`Remove ${u.name}`}>Remove…</Button></span>}</td>
              </tr>))}</tbody>
          </table>
          {!list.length && <Empty icon="users" title="No users" />}
        </div>
      )}
      {removing && <Confirm title="Remove a user" verb="Remove" name={removing} act={async () => { await call("DELETE", `/users/${encodeURIComponent(removing)}`); load(); }} onClose={() => setRemoving("")}><p>Its sessions end at once, and its tokens stop working. The audit log keeps the name. To keep somebody out for a while, disable the user instead.</p></Confirm>}
      {edit && <Edit user={edit === "new" ? null : edit} onDone={load} onClose={() => setEdit(null)} />}
    </div>
  );
}
