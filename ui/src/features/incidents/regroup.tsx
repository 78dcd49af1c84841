/* SPDX-License-Identifier: Apache-2.0 */
/* Whose an incident is, and what belongs to it: given to somebody, put into another, or some of its steps made one of their own. */
import { useEffect, useState } from "preact/hooks";
import { get, post, sentence } from "../../api/client";
import { pageFrom } from "../../api/model";
import { go, href } from "../../app/router";
import { me } from "../../app/state";
import { count, date } from "../../lib/format";
import { type Incident, incidentFrom, sharedWith, stamp } from "../../lib/incidents";
import { plural } from "../../lib/text";
import { Icon } from "../../parts/icons";
import { Button, Dialog, Field, Notice, Skeleton, T } from "../../parts/ui";
import { SeverityMark } from "./mark";

interface Props { incident: Incident; selected: number; onDone: (v: unknown) => void; onClose: () => void }

/* What the three forms have in common: one request, its error told in place, the answer handed on. */
function useSend(path: string, onDone: (v: unknown) => void) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const send = async (body: unknown) => {
    setBusy(true);
    try {
      onDone(await post<unknown>(path, body));
    } catch (e) {
      setError(sentence(e));
      setBusy(false);
    }
  };
  return { busy, error, setError, send };
}

export function Assign({ incident: i, onDone, onClose }: Props) {
  const [user, setUser] = useState(i.assignee);
  const [users, setUsers] = useState<string[]>([]);
  const { busy, error, send } = useSend(`/incidents/${i.id}/assign`, (v) => { onDone(v); onClose(); });
  /* who there is, only administrators may ask */
  useEffect(() => {
    if (me.value?.role === "admin") get<unknown>("/users").then((v) => setUsers(pageFrom<{ name?: string; disabled?: boolean; role?: string }>(v, "users").items.filter((u) => !u.disabled && u.role !== "viewer").map((u) => u.name ?? "")), () => undefined);
  }, []);
  return (
    <Dialog title={`Assign incident ${i.id}`} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void send({ user: user.trim() }); }}>
        <Field label="User" hint="Empty: nobody's.">{(p) => <input {...p} type="text" list="assignees" maxLength={64} autocomplete="off" autocapitalize="none" spellcheck={false} value={user} onInput={(e) => setUser(e.currentTarget.value)} />}</Field>
        <datalist id="assignees">{users.map((u) => <option key={u} value={u} />)}</datalist>
        {error && <Notice level="bad">{error}</Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy}>{user.trim() ? "Assign" : "Take it from everybody"}</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

export function Merge({ incident: i, onClose }: Props) {
  const [all, setAll] = useState<Incident[] | null>(null);
  const [into, setInto] = useState(0);
  const [text, setText] = useState("");
  const { busy, error, setError, send } = useSend(`/incidents/${i.id}/merge`, (v) => { onClose(); go(href(`/incidents/${incidentFrom(v).id}`)); });
  useEffect(() => {
    const over = new AbortController();
    const t = setTimeout(() => void get<unknown>("/incidents", { state: "open", search: text || undefined, limit: 100 }, over.signal).then((v) => {
      const others = pageFrom<unknown>(v, "incidents").items.map(incidentFrom).filter((x) => x.id !== i.id);
      setAll(others.sort((a, b) => sharedWith(i, b).length - sharedWith(i, a).length || b.last - a.last));
      setInto((n) => (others.some((x) => x.id === n) ? n : 0));
      setError("");
    }, (e: unknown) => { if (!over.signal.aborted) setError(sentence(e)); }), text ? 200 : 0);
    return () => { clearTimeout(t); over.abort(); };
  }, [text]);
  const target = all?.find((x) => x.id === into);
  return (
    <Dialog title={`Merge incident ${i.id} into another`} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); if (target) void send({ into }); }}>
        <div class="searchbox"><Icon name="search" /><input type="text" aria-label="Search open incidents" placeholder="Search open incidents" spellcheck={false} autocomplete="off" maxLength={256} value={text} onInput={(e) => { setText(e.currentTarget.value); setInto(0); }} onKeyDown={(e) => { if (e.key === "Enter") e.preventDefault(); /* looking for one is no merge */ }} /></div>
        {!all ? !error && <Skeleton rows={3} label="Loading the open incidents" /> : !all.length ? <p class="dim">{text ? "No other open incident matches." : "There is no other open incident."}</p> : (
          <fieldset class="choices long"><legend>Into which?</legend>
            {all.map((x) => {
              const shared = sharedWith(i, x);
              return <label key={x.id}><input type="radio" name="into" checked={into === x.id} onChange={() => setInto(x.id)} /><span><strong>{x.id}</strong> <T s={x.title} max={160} />
                <small><SeverityMark severity={x.severity} /> {count(x.findings)} {plural(x.findings, "finding")}, last {date(x.last)}{shared.length > 0 && <>, also in <T s={shared.slice(0, 3).join(", ")} max={120} /></>}</small></span></label>;
            })}
          </fieldset>)}
        {target && <Notice level="warn">All {count(i.findings)} {plural(i.findings, "finding")} of {i.id} go into {target.id}, which goes on; {i.id} ends and points there. Both say so in a comment. There is no undo but to split the steps off again.</Notice>}
        {error && <Notice level="bad">{error}</Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy} disabled={!target}>{target ? `Merge into ${target.id}` : "Merge"}</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

export function Split({ incident: i, selected, onClose }: Props) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(() => new Set(i.lines[selected]?.finding ? [i.lines[selected].finding] : []));
  const { busy, error, send } = useSend(`/incidents/${i.id}/split`, (v) => { onClose(); go(href(`/incidents/${incidentFrom(v).id}`)); });
  const turn = (finding: string) => setChosen((old) => {
    const next = new Set(old);
    if (!next.delete(finding)) next.add(finding);
    return next;
  });
  const lines = i.lines.filter((l) => chosen.has(l.finding));
  const rest = i.lines.filter((l) => !chosen.has(l.finding));
  /* as the central does it: containers that no remaining step is in go along */
  const moved = i.places.filter((p) => lines.some((l) => l.lane === p.key) && !rest.some((l) => l.lane === p.key));
  const fits = lines.length > 0 && rest.length > 0;
  return (
    <Dialog title={`Split incident ${i.id}`} onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); if (fits) void send({ findings: lines.map((l) => l.finding).join(",") }); }}>
        <fieldset class="choices long"><legend>Which steps are a story of their own?</legend>
          {i.lines.filter((l) => l.finding).map((l) => <label key={l.finding}><input type="checkbox" checked={chosen.has(l.finding)} onChange={() => turn(l.finding)} /><span><T s={l.rule} max={160} />
            <small>{stamp(l.at, i.first)} <T s={l.container || l.node} max={60} />{(l.command || l.exe) && <> · <T s={l.command || l.exe} max={100} class="mono" /></>}</small></span></label>)}
        </fieldset>
        <p class="dim" role="status">{!lines.length ? "Choose what goes." : !rest.length ? "One step has to stay." : <>{count(lines.length)} of {count(i.lines.length)} steps become an incident of their own, with all their findings{moved.length > 0 && <>; <T s={moved.map((p) => p.name || p.container.slice(0, 12)).slice(0, 4).join(", ")} max={200} /> {plural(moved.length, "goes", "go")} along, and what follows there</>}. No finding joins the two again.</>}</p>
        {error && <Notice level="bad">{error}</Notice>}
        <div class="form-buttons"><Button type="submit" kind="primary" busy={busy} disabled={!fits}>Split them off</Button><Button onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

/* One of the three, by name: all in one script that is fetched when somebody asks. */
export default function Regroup({ what, ...props }: Props & { what: "assign" | "merge" | "split" }) {
  return what === "assign" ? <Assign {...props} /> : what === "merge" ? <Merge {...props} /> : <Split {...props} />;
}
