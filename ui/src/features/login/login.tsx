/* SPDX-License-Identifier: Apache-2.0 */
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, sentence } from "../../api/client";
import { login } from "../../app/state";
import { Brand } from "../../parts/icons";
import { Button, Field, Notice } from "../../parts/ui";

export function Login() {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const [wait, setWait] = useState(0);
  const first = useRef<HTMLInputElement>(null);
  const second = useRef<HTMLInputElement>(null);

  useEffect(() => first.current?.focus(), []);
  useEffect(() => {
    if (wait <= 0) return;
    const t = setTimeout(() => setWait(wait - 1), 1000);
    return () => clearTimeout(t);
  }, [wait]);

  const submit = async (e: Event) => {
    e.preventDefault();
    if (busy || wait > 0) return;
    if (!user || !password) {
      setError(user ? "Type your password." : "Type your user name.");
      (user ? second : first).current?.focus();
      return;
    }
    setBusy(true);
    setError("");
    try {
      await login(user, password);
    } catch (x) {
      setBusy(false);
      setPassword("");
      if (x instanceof ApiError && x.status === 429) setWait(Math.min(3600, Math.max(1, x.retryAfter)));
      setError(x instanceof ApiError && x.status === 401 ? "That user name and password do not belong together." : sentence(x));
      second.current?.focus();
    }
  };

  return (
    <main class="gate">
      <form class="gate-box" onSubmit={submit} aria-labelledby="login-title" noValidate>
        <div class="gate-brand"><Brand size={28} /><span>Bulkhead</span></div>
        <h1 id="login-title">Log in</h1>
        {error && <Notice level="bad">{error}{wait > 0 && <> Try again in {wait} s.</>}</Notice>}
        <Field label="User name">
          {(p) => <input {...p} ref={first} type="text" name="username" autocomplete="username" autocapitalize="none" spellcheck={false} maxLength={128} value={user} onInput={(e) => setUser(e.currentTarget.value)} />}
        </Field>
        <Field label="Password">
          {(p) => (
            <div class="with-button">
              <input {...p} ref={second} type={(shown ? "text" : "password") as "password"} name="password" autocomplete="current-password" maxLength={256} value={password} onInput={(e) => setPassword(e.currentTarget.value)} />
              <button type="button" class="reveal" aria-pressed={shown} onClick={() => setShown(!shown)}>{shown ? "Hide" : "Show"}</button>
            </div>
          )}
        </Field>
        <Button kind="primary" type="submit" busy={busy} disabled={wait > 0} class="wide">{busy ? "Checking…" : wait > 0 ? `Wait ${wait} s` : "Log in"}</Button>
        <p class="gate-hint">The first password was printed once by <code>bulkhead up</code>. Lost it? On the machine, root sets a new one with <code>bulkhead-central --set-password admin</code>.</p>
      </form>
    </main>
  );
}
