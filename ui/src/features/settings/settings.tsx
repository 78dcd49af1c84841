/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept for how long, and other bounds (#/settings); where findings are sent besides this page (#/settings?tab=outputs, administrators). */
import { useEffect, useState } from "preact/hooks";
import { call, get, sentence } from "../../api/client";
import { href, route } from "../../app/router";
import { me, status } from "../../app/state";
import { bytes, count, toMs } from "../../lib/format";
import { num, object, text as textOf } from "../../lib/loose";
import { type Setting, settingsFrom } from "../../lib/settings";
import { Icon } from "../../parts/icons";
import { Button, Dialog, Field, Meter, Notice, Skeleton, T, Time } from "../../parts/ui";
import { Outputs } from "./outputs";

const shown = (v: number | string) => (typeof v === "number" ? count(v) : v || "none");

function Change({ s, onDone, onClose }: { s: Setting; onDone: () => void; onClose: () => void }) {
  const [value, setValue] = useState(String(s.value));
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const number = typeof s.value === "number";
  const less = number && s.key.startsWith("retention.") && Number(value) < Number(s.value);
  const submit = async (e: Event) => {
    e.preventDefault();
    if (number && (!/^\d+$/.test(value.trim()) || Number(value) < s.min || Number(value) > s.max)) return setError(`A whole number from ${count(s.min)} to ${count(s.max)}.`);
    setBusy(true);
    try {
      await call("PUT", `/settings/${encodeURIComponent(s.key)}`, { body: { value: number ? Number(value) : value } });
      onDone();
      onClose();
      return;
    } catch (x) {
      setError(sentence(x));
    }
    setBusy(false);
  };
  return (
    <Dialog title={s.title} onClose={onClose}>
      <form onSubmit={(e) => void submit(e)}>
        <p class="dim">{s.says[0]?.toUpperCase()}{s.says.slice(1)}.</p>
        <Field label={s.unit ? s.unit[0].toUpperCase() + s.unit.slice(1) : "Value"} hint={number ? `From ${count(s.min)} to ${count(s.max)}; ${shown(s.fallback)} unless somebody says otherwise.` : `At most ${count(s.max)} bytes; nothing takes it away.`} error={error || undefined}>
          {(p) => (number ? <input {...p} type="text" inputMode="numeric" autocomplete="off" value={value} onInput={(e) => { setValue(e.currentTarget.value); setError(""); }} /> : <textarea {...p} rows={6} class="mono" spellcheck={false} value={value} onInput={(e) => { setValue(e.currentTarget.value); setError(""); }} />)}
        </Field>
        {less && <Notice level="warn">What is over the new bound goes within the hour, the oldest first, and does not come back.</Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy}>Save</Button>{value !== String(s.fallback) && <Button onClick={() => setValue(String(s.fallback))}>Default</Button>}<Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

/* What is in force now: how full it is, against its bounds. */
function Now({ groups }: { groups: Map<string, Setting[]> }) {
  const central = object(status.value?.central);
  const store = object(central.store);
  const upkeep = object(central.upkeep);
  const bound = Number(groups.get("Retention")?.find((s) => s.key === "retention.mib")?.value ?? 0) * 1024 * 1024;
  const used = num(store.bytes_used);
  if (!status.value) return <Skeleton rows={2} label="Loading the status" />;
  return (
    <section class="card pad now" aria-label="In force now">
      <dl class="twin-figures">
        <div><dt>Database</dt><dd>{bytes(used)}{bound > 0 && <small class="dim"> of {bytes(bound)}</small>}</dd><dd>{bound > 0 && <Meter part={used} of={bound} label={`${bytes(used)} of ${bytes(bound)} used`} />}</dd></div>
        <div><dt>Findings kept</dt><dd>{count(status.value.findings)}</dd></div>
        <div><dt>Last backup</dt><dd class="small">{toMs(store.last_backup) > 0 ? <Time ms={toMs(store.last_backup)} /> : "none yet"}</dd></div>
      </dl>
      {upkeep.over_bound === true && <Notice level="warn">The database is over its bound, and nothing is left in it that may go. Raise the bound, or keep less.</Notice>}
      {textOf(upkeep.problem) && <Notice level="warn"><T s={textOf(upkeep.problem)} max={400} /></Notice>}
    </section>
  );
}

function Bounds() {
  const [groups, setGroups] = useState<Map<string, Setting[]> | null>(null);
  const [error, setError] = useState("");
  const [edit, setEdit] = useState<Setting | null>(null);
  const admin = me.value?.role === "admin";
  const load = () => void get<unknown>("/settings").then((v) => { setGroups(settingsFrom(v)); setError(""); }, (e: unknown) => setError(sentence(e)));
  useEffect(load, []);
  return (
    <>
      {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{groups ? "What you see may be old" : "The settings could not be read"}: {error}</span><Button class="small" onClick={load}>Try again</Button></div>}
      {!groups ? !error && <Skeleton rows={8} label="Loading the settings" /> : <>
        <Now groups={groups} />
        {[...groups].filter(([, l]) => l.length).map(([group, l]) => (
          <section key={group} class="card" aria-labelledby={`g-${group}`}>
            <header><h2 id={`g-${group}`}>{group}</h2></header>
            <table class="table roomy settings-table"><thead class="sr"><tr><th>What</th><th>Value</th>{admin && <th>Change</th>}</tr></thead>
              <tbody>{l.map((s) => (
                <tr key={s.key}><th scope="row">{s.title}<small class="dim block">{s.says}</small></th><td class="n nowrap">{typeof s.value === "number" ? <><strong>{shown(s.value)}</strong> {s.unit}</> : <span class="mono"><T s={shown(s.value)} max={60} /></span>}{s.value !== s.fallback && <small class="dim block">default {shown(s.fallback)}</small>}</td>
                  {admin && <td class="n"><Button class="small" aria-label={`Change: ${s.title}`} onClick={() => setEdit(s)}>Change</Button></td>}</tr>))}</tbody></table>
          </section>))}
        {!admin && <p class="page-foot">Administrators change these.</p>}
      </>}
      {edit && <Change key={edit.key} s={edit} onDone={load} onClose={() => setEdit(null)} />}
    </>
  );
}

export function Settings() {
  const admin = me.value?.role === "admin";
  const outputs = admin && route.value.params.get("tab") === "outputs";
  return (
    <div class="page admin settings">
      <header class="page-head"><h1>Settings</h1>
        {admin && <nav class="segments" aria-label="Parts of this page"><a href={href("/settings")} aria-current={outputs ? undefined : "page"}>Retention and bounds</a><a href={href("/settings", { tab: "outputs" })} aria-current={outputs ? "page" : undefined}>Outputs</a></nav>}
      </header>
      {outputs ? <Outputs /> : <Bounds />}
    </div>
  );
}
