/* SPDX-License-Identifier: Apache-2.0 */
/* The question before a response: what, why, for how long; what it would touch is asked of the node first, and what cannot be undone wants the container's name. */
import { useState } from "preact/hooks";
import { ApiError, post, sentence } from "../../api/client";
import { ACTIONS, processesOf, type Response, responseFrom } from "../../lib/responses";
import { Button, Dialog, Field, Notice, T } from "../../parts/ui";

const TIMES: [number, string][] = [[0, "Until it is released"], [900, "15 minutes"], [3600, "1 hour"], [28800, "8 hours"], [86400, "1 day"]];

export function Act({ container, name, node, onClose, onDone }: { container: string; name: string; node: string; onClose: () => void; onDone: (r: Response) => void }) {
  const [key, setKey] = useState("isolate");
  const [reason, setReason] = useState("");
  const [ttl, setTtl] = useState(0);
  const [peers, setPeers] = useState("");
  const [to, setTo] = useState("");
  const [typed, setTyped] = useState("");
  const [pid, setPid] = useState("");
  const [started, setStarted] = useState("");
  const [project, setProject] = useState(false);
  const [force, setForce] = useState(false);
  const [bestEffort, setBestEffort] = useState(false);
  const [tried, setTried] = useState<Response | null>(null);
  const [error, setError] = useState<ApiError | Error | null>(null);
  const [busy, setBusy] = useState("");
  const action = ACTIONS.find((a) => a.key === key)!;
  /* a container by its name; of a service, which the dialog does not know, the central says whether the name is right */
  const wanted = action.of === "workload" ? null : action.undo ? "" : name;
  const ready = (wanted === null ? typed !== "" : typed === wanted || wanted === "") && (action.of !== "process" || (/^[1-9]\d*$/.test(pid) && started !== "")) && (action.peers !== "lead" || (peers.trim() !== "" && to.trim() !== ""));
  const send = async (dry: boolean) => {
    setBusy(dry ? "dry" : "do");
    try {
      const r = responseFrom(await post<unknown>("/responses", {
        action: key, container, node, reason: reason.trim(), ...(action.undo && ttl ? { ttl } : {}), ...(action.peers && peers.trim() ? { [action.peers]: peers } : {}), ...(action.peers === "lead" && to.trim() ? { to: to.trim() } : {}), ...(dry ? { dry_run: true } : {}), ...(force ? { force } : {}), ...(bestEffort ? { best_effort: true } : {}),
        ...(action.of === "process" ? { pid: Number(pid), ...(started.trim() ? { started: started.trim() } : {}) } : {}), ...(action.of === "workload" && project ? { project } : {}),
        ...(wanted === "" ? {} : { confirm: dry && wanted !== null ? wanted : typed }),
      }));
      setError(null);
      if (dry) {
        setTried(r);
        const one = processesOf(r).find((p) => String(p.pid) === pid);
        if (one) setStarted(one.started);
      }
      else {
        onDone(r);
        onClose();
      }
    } catch (e) {
      setTried(null);
      setError(e as Error);
    }
    setBusy("");
  };
  const fresh = () => setTried(null);
  const open = Array.isArray(tried?.detail.open) ? tried.detail.open.map(String) : [];
  return (
    <Dialog title="Act on a container" onClose={onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void send(false); }}>
        <p>Container <strong><T s={name || container.slice(0, 12)} max={120} /></strong> on node <T s={node} max={64} />.</p>
        <Field label="What" hint={action.says}>{(p) => <select {...p} value={key} onChange={(e) => { setKey(e.currentTarget.value); fresh(); }}>{ACTIONS.map((a) => <option key={a.key} value={a.key}>{a.title}{a.undo ? "" : " (cannot be undone)"}</option>)}</select>}</Field>
        {action.peers && <Field label={action.peers === "allow" ? "Peers that remain, one a line" : action.peers === "lead" ? "Destinations, one a line" : "What is refused, one a line"} hint={action.peers === "lead" ? "Address or network, port where wanted: 10.0.0.9:6379, 203.0.113.0/24, *:22" : action.peers === "allow" ? "Address or network, port and protocol where wanted: 10.0.0.1:443/tcp, peer:www.example.com" : "A peer (10.0.0.0/8, peer:*.example.com:443), exec:PATH, exec-only:PATH (nothing else runs; with observe beside it that is only told), exec-not-in-image, exec-hash:sha256:…, file:PATH (file:wd:PATH for some of read, write, create, delete), cap:net_raw, mount, ptrace, module"}>{(p) => <textarea {...p} rows={2} value={peers} spellcheck={false} onInput={(e) => { setPeers(e.currentTarget.value); fresh(); }} />}</Field>}
        {action.peers === "lead" && <Field label="Where the decoy listens" hint="As the container reaches it: 10.0.0.5:7000">{(p) => <input {...p} type="text" autocomplete="off" spellcheck={false} value={to} onInput={(e) => { setTo(e.currentTarget.value); fresh(); }} />}</Field>}
        {action.of === "process" && <><Field label="Its number on the node" hint="As events and the list of processes tell it. What would it do? finds when it began.">{(p) => <input {...p} type="text" inputMode="numeric" autocomplete="off" value={pid} onInput={(e) => { setPid(e.currentTarget.value.trim()); setStarted(""); fresh(); }} />}</Field>
          <Field label="When it began" hint="No later process of that number is meant">{(p) => <input {...p} type="text" autocomplete="off" spellcheck={false} value={started} onInput={(e) => { setStarted(e.currentTarget.value); fresh(); }} />}</Field></>}
        {action.of === "workload" && <label class="tick"><input type="checkbox" checked={project} onChange={(e) => { setProject(e.currentTarget.checked); fresh(); }} />All services of its Compose project</label>}
        {action.undo && <Field label="For how long">{(p) => <select {...p} value={String(ttl)} onChange={(e) => setTtl(Number(e.currentTarget.value))}>{TIMES.map(([s, label]) => <option key={s} value={s}>{label}</option>)}</select>}</Field>}
        <Field label="Why">{(p) => <textarea {...p} rows={2} maxLength={4096} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />}</Field>
        {wanted !== "" && <Field label={wanted === null ? `Type the name of the ${project ? "project" : "service"}` : "It cannot be undone. Type the container's name"}>{(p) => <input {...p} type="text" autocomplete="off" spellcheck={false} value={typed} onInput={(e) => setTyped(e.currentTarget.value)} />}</Field>}
        {tried && <Notice level={tried.state === "failed" ? "bad" : "note"}><strong>{tried.state === "failed" ? "It would fail." : "What it would do."}</strong> <T s={tried.result} max={1000} />{processesOf(tried).length > 0 && <ul class="strings">{processesOf(tried).map((p) => <li key={p.pid}>{p.pid} <T s={p.comm} max={64} /></li>)}</ul>}{open.length > 0 && <ul class="strings">{open.map((o, n) => <li key={n}><T s={o} max={300} /></li>)}</ul>}</Notice>}
        {error && <Notice level="bad">{sentence(error)}</Notice>}
        {error && <><label class="tick"><input type="checkbox" checked={force} onChange={(e) => setForce(e.currentTarget.checked)} />Also beyond the bound of what may be held at once</label>
          <label class="tick"><input type="checkbox" checked={bestEffort} onChange={(e) => setBestEffort(e.currentTarget.checked)} />Also where the node cannot close every way</label></>}
        <div class="form-buttons"><Button type="submit" kind={action.undo ? "primary" : "danger"} busy={busy === "do"} disabled={!ready}>{action.title}</Button><Button busy={busy === "dry"} onClick={() => void send(true)}>What would it do?</Button><Button kind="quiet" onClick={onClose}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}
