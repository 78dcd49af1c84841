/* SPDX-License-Identifier: Apache-2.0 */
/* Changing one's own password: as a page that cannot be passed by (first login, reset), or as a dialog. */
import { useEffect, useRef, useState } from "preact/hooks";
import { post, sentence } from "../../api/client";
import { logout, me, whoAmI } from "../../app/state";
import { Brand } from "../../parts/icons";
import { Button, Dialog, Field, Notice } from "../../parts/ui";

export const MIN_LENGTH = 12;

export function Password({ forced, onClose }: { forced?: boolean; onClose?: () => void }) {
  const [current, setCurrent] = useState("");
  const [fresh, setFresh] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const [tried, setTried] = useState(false);
  const first = useRef<HTMLInputElement>(null);

  useEffect(() => first.current?.focus(), []);
  const length = [...fresh].length;
  const short = length < MIN_LENGTH ? `At least ${MIN_LENGTH} characters; ${MIN_LENGTH - length} more.` : fresh === current ? "Choose another one than the present." : "";
  const differs = fresh !== again ? "The two are not the same." : "";

  const submit = async (e: Event) => {
    e.preventDefault();
    setTried(true);
    if (busy || !current || short || differs) return;
    setBusy(true);
    setError("");
    try {
      await post("/me/password", { current, new: fresh });
      await whoAmI();
      onClose?.();
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };

  const form = (
    <>
      {error && <Notice level="bad">{error}</Notice>}
      <Field label={forced ? "The password you logged in with" : "Present password"} error={tried && !current ? "Type it once more." : ""}>
        {(p) => <input {...p} ref={first} type="password" autocomplete="current-password" maxLength={256} value={current} onInput={(e) => setCurrent(e.currentTarget.value)} />}
      </Field>
      <Field label="New password" hint={`At least ${MIN_LENGTH} characters. A few unrelated words are easy to keep and hard to guess.`} error={tried ? short : ""}>
        {(p) => <input {...p} type="password" autocomplete="new-password" maxLength={256} value={fresh} onInput={(e) => setFresh(e.currentTarget.value)} />}
      </Field>
      <Field label="New password again" error={tried ? differs : ""}>
        {(p) => <input {...p} type="password" autocomplete="new-password" maxLength={256} value={again} onInput={(e) => setAgain(e.currentTarget.value)} />}
      </Field>
      <div class="form-buttons">
        <Button kind="primary" type="submit" busy={busy} class={forced ? "wide" : ""}>{busy ? "Saving…" : "Change password"}</Button>
        {forced ? <Button kind="quiet" class="wide" onClick={() => void logout()}>Log out</Button> : <Button onClick={onClose}>Cancel</Button>}
      </div>
    </>
  );
  if (!forced) return <Dialog title="Change password" onClose={onClose!}><form onSubmit={submit} noValidate>{form}</form></Dialog>;
  return (
    <main class="gate">
      <form class="gate-box" onSubmit={submit} aria-labelledby="pw-title" noValidate>
        <div class="gate-brand"><Brand size={28} /><span>Bulkhead</span></div>
        <h1 id="pw-title">Choose a password of your own</h1>
        <p class="lead">Hello {me.value?.name}. The one you logged in with was made for the first start and somebody may have seen it.</p>
        {form}
      </form>
    </main>
  );
}
