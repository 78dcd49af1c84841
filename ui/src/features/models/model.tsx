/* SPDX-License-Identifier: Apache-2.0 */
/* One model: how far each family has come and why, what it holds item by item, what is to be judged, and what a lock or a relearning would change. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, post, sentence } from "../../api/client";
import { pageFrom } from "../../api/model";
import { patch, route } from "../../app/router";
import { mayAct, now } from "../../app/state";
import { age, ageShort, brief, bytes, count, date } from "../../lib/format";
import { isOpen, type Item, itemFrom, lockChanges, type Model, modelFrom, relearnChanges, shortDigest, STANDINGS, STATES, type Version } from "../../lib/models";
import { save } from "../../lib/save";
import { plural } from "../../lib/text";
import { Grid } from "../../parts/grid";
import { Icon } from "../../parts/icons";
import { useNarrow } from "../../parts/media";
import { Button, Dialog, Empty, Facts, Menu, Notice, Skeleton, T } from "../../parts/ui";
import { Drawer } from "../../parts/drawer";
import { Enforced } from "./enforce";
import { Import, type Into } from "./import";
import { ModelState } from "./models";

interface Named { application: string; workload: string }
const FORMATS: [string, string, string][] = [["model", "Model, for another installation", "jsonl"], ["allow", "Allow list", "txt"], ["networkpolicy", "Kubernetes network policy", "yaml"], ["seccomp", "Seccomp profile", "json"]];

function Confirm({ act, of, version, family, onDone, onClose }: { act: "lock" | "relearn"; of: Named; version: Version; family?: string; onDone: (v: unknown) => void; onClose: () => void }) {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const title = version.families.find((f) => f.key === family)?.title;
  const changes = act === "lock" ? lockChanges(version, family) : relearnChanges(version, family);
  const submit = async () => {
    setBusy(true);
    try {
      const body = { application: of.application, workload: of.workload, image_digest: version.digest, ...(family ? { family } : {}) };
      onDone(act === "lock" ? await post("/models/lock", body) : await post("/models/relearn", body));
      onClose();
    } catch (e) {
      setError(sentence(e));
    }
    setBusy(false);
  };
  return (
    <Dialog title={`${act === "lock" ? "Lock" : "Relearn"} ${title ? `“${title}” of ` : ""}this model`} onClose={onClose}>
      <p>What changes:</p>
      <ul class="changes">{changes.map((c) => <li key={c}><T s={c} /></li>)}</ul>
      {error && <p><Notice level="bad">{error}</Notice></p>}
      <div class="form-buttons"><Button kind={act === "lock" ? "primary" : "danger"} busy={busy} onClick={() => void submit()}>{act === "lock" ? "Lock" : "Forget and learn anew"}</Button><Button onClick={onClose}>Leave it</Button></div>
    </Dialog>
  );
}

function ItemDrawer({ item, may, judge, onClose }: { item: Item; may: boolean; judge: (item: Item, verdict: "accept" | "forbid") => Promise<void>; onClose: () => void }) {
  const [busy, setBusy] = useState(false);
  const say = async (verdict: "accept" | "forbid") => {
    setBusy(true);
    await judge(item, verdict);
    setBusy(false);
  };
  const standing = STANDINGS[item.standing] ?? [item.standing, ""];
  const mono = (s: string) => (s ? <span class="mono wrap"><T s={s} max={1000} /></span> : null);
  return (
    <Drawer label="Item of the model" focusKey={item.id} onClose={onClose} head={<><h2><T s={item.says || item.object} max={240} /></h2><p>{standing[0]}: {standing[1]}</p></>}>
      {may && <div class="drawer-links">
        {item.standing !== "accepted" && <Button kind={isOpen(item.standing) ? "primary" : "plain"} busy={busy} onClick={() => void say("accept")}>Accept as normal</Button>}
        {item.standing !== "forbidden" && <Button busy={busy} onClick={() => void say("forbid")}>Forbid</Button>}
      </div>}
      {item.why && <Notice level="warn"><T s={item.why} max={400} /></Notice>}
      <Facts rows={[["Program", mono(item.actor)], ["Object", mono(item.object)], ["Detail", mono(item.detail)], ["As it was seen first", mono(item.example)], ["User id", count(item.uid).replace(/,/g, "")], ["Seen", `${count(item.count)} ${plural(item.count, "time")} in ${count(item.trials)} ${plural(item.trials, "trial")}, by ${item.replicas >= 6 ? "6 or more replicas" : `${item.replicas} ${plural(item.replicas, "replica")}`}`],
        ["First", Number.isFinite(item.first) ? date(item.first) : null], ["Last", Number.isFinite(item.last) ? date(item.last) : null], ["Notes", [item.inherited && "from the version before, not seen in this one", item.starting && "only while a container began"].filter(Boolean).join("; ") || null], ["Item", mono(item.id)]]} />
    </Drawer>
  );
}

export function ModelPage({ application, workload }: Named) {
  const of = useMemo(() => ({ application, workload }), [application, workload]);
  const params = route.value.params;
  const [model, setModel] = useState<Model | null | undefined>(undefined);
  const [items, setItems] = useState<Item[] | null>(null);
  const [left, setLeft] = useState(0);
  const [error, setError] = useState("");
  const [said, setSaid] = useState("");
  const [asking, setAsking] = useState<{ act: "lock" | "relearn"; family?: string } | null>(null);
  const [importing, setImporting] = useState<Into | null>(null); /* as it was opened: a newer version may come meanwhile */
  const [enforcing, setEnforcing] = useState(false);
  const [active, setActive] = useState(0);
  const [again, setAgain] = useState(0);
  const narrow = useNarrow();
  const may = mayAct.value;
  const version = model?.versions.find((v) => v.digest === params.get("version")) ?? model?.versions[0];
  const family = params.get("family") ?? "";
  const open = params.get("open") === "1";
  const compared = params.get("base");
  useEffect(() => {
    const over = new AbortController();
    const read = () => get<unknown>("/models", { application, workload }, over.signal).then((v) => {
      const all = pageFrom<unknown>(v, "models").items.map(modelFrom);
      setModel(all.find((m) => m.application === application && m.workload === workload) ?? all[0] ?? null);
      setError("");
    }, (e: unknown) => { if (!over.signal.aborted) setError(sentence(e)); });
    void read();
    const t = setInterval(() => { if (!document.hidden) void read(); }, 10_000);
    return () => { over.abort(); clearInterval(t); };
  }, [application, workload, again]);
  useEffect(() => {
    if (!version) return;
    const over = new AbortController();
    const query = { application, workload, image_digest: version.digest };
    const asked = compared !== null
      ? get<{ added?: unknown[]; left_out?: number }>("/models/diff", { ...query, base: compared || undefined }, over.signal).then((v) => ({ list: v.added ?? [], left: v.left_out ?? 0 }))
      : get<{ items?: unknown[]; left_out?: number }>("/models/items", { ...query, family: family || undefined, outstanding: open ? "true" : undefined }, over.signal).then((v) => ({ list: v.items ?? [], left: v.left_out ?? 0 }));
    asked.then((r) => {
      const all = r.list.map(itemFrom).filter((i) => !family || i.family === family);
      setItems(all.sort((a, b) => Number(isOpen(b.standing)) - Number(isOpen(a.standing)) || b.risk - a.risk || b.count - a.count || (a.id < b.id ? -1 : 1)));
      setLeft(r.left);
    }, (e: unknown) => { if (!over.signal.aborted) setSaid(sentence(e)); });
    return () => over.abort();
  }, [application, workload, version?.digest, version?.learned, version?.outstanding, family, open, compared, again]);

  const took = (v: unknown) => {
    const m = modelFrom(v);
    if (m.workload) setModel(m);
    setSaid("");
    setAgain((n) => n + 1);
  };
  const judge = async (item: Item | null, verdict: string) => {
    try {
      took(await post("/models/judge", { application, workload, image_digest: version!.digest, verdict, ...(item ? { item: item.id } : {}) }));
    } catch (e) {
      setSaid(sentence(e));
    }
  };
  const fetchText = async (format: string, ext: string) => {
    try {
      const v = await get<{ text?: string }>("/models/text", { application, workload, image_digest: version!.digest, format });
      save(`${workload.replace(/[^\w.-]+/g, "-").slice(0, 60) || "model"}-${format}.${ext}`, "text/plain", v.text ?? "");
      setSaid("");
    } catch (e) {
      setSaid(sentence(e));
    }
  };
  const crumbs = <p class="crumbs"><a href="#/models">Models</a> {application && <><span class="faint">/</span> <T s={application} max={80} /> </>}<span class="faint">/</span> <T s={workload} max={120} /></p>;
  if (model === undefined) return <div class="page">{crumbs}{error ? <Empty icon="warn" title="The model could not be read"><p>{error}</p></Empty> : <Skeleton rows={10} label="Loading the model" />}</div>;
  if (!model || !version) return <div class="page">{crumbs}<Empty icon="models" title="There is no such model"><p>It comes with the workload's first act.</p></Empty></div>;
  const id = params.get("item");
  const chosen = items?.find((i) => i.id === id);
  const drift = (items ?? []).filter((i) => i.standing === "drift").length;
  return (
    <div class={`page split model ${chosen ? "with-drawer" : ""}`}>
      <section class="model-body" aria-labelledby="md-title">
        <header class="model-head">
          {crumbs}
          <div class="subject-title"><h1 id="md-title"><T s={workload} max={200} /></h1><ModelState state={version.state} locked={version.locked} /></div>
          <div class="subject-acts">
            {may && !version.locked && <Button glyph="lock" onClick={() => setAsking({ act: "lock" })}>Lock…</Button>}
            {may && <Button onClick={() => setAsking({ act: "relearn" })}>Relearn…</Button>}
            {may && <Button onClick={() => setEnforcing(true)}>Enforce…</Button>}
            {may && <Button onClick={() => setImporting({ application, workload, digest: version.digest })}>Import…</Button>}
            <Menu button={<><Icon name="down" size={14} />Export</>}>{(close) => FORMATS.map(([key, label, ext]) => <button key={key} type="button" class="menu-item" onClick={() => { close(); void fetchText(key, ext); }}>{label}</button>)}</Menu>
          </div>
        </header>
        {said && <Notice level="bad">{said}</Notice>}
        <Enforced application={model.application} workload={model.workload} asking={enforcing} onClose={() => setEnforcing(false)} />
        {error && <Notice level="warn">What you see may be old: {error}</Notice>}
        <p class="subject-facts">
          <span>{version.hours < 10 ? version.hours.toFixed(1) : count(version.hours)} container hours, {count(version.starts)} {plural(version.starts, "start")}, {count(version.running)} running</span><span>{count(version.learned)} learned</span>
          <span class={version.outstanding ? "amber" : ""}>{count(version.outstanding)} to judge</span><span>{bytes(model.bytes)} of memory</span>{version.shadow && <span>began with what the version before had learned</span>}
          {Number.isFinite(version.last) && <span>last seen {age(now.value - version.last)} ago</span>}
        </p>
        <div class="model-bar">
          <label>Version <select value={version.digest} onChange={(e) => patch({ version: e.currentTarget.value, base: undefined, item: undefined })}>{model.versions.map((v, n) => <option key={v.digest} value={v.digest}>{shortDigest(v.digest)}{n === 0 ? " (latest)" : ""}</option>)}</select></label>
          {model.versions.length > 1 && <label class="tick"><input type="checkbox" checked={compared !== null} onChange={(e) => {
            const others = model.versions.filter((v) => v !== version);
            patch({ base: e.currentTarget.checked ? (others.find((v) => v.first <= version.first) ?? others[0]).digest : undefined, item: undefined });
          }} />What it does that {compared ? shortDigest(compared) : "the other version"} did not</label>}
          {may && drift > 0 && <Button onClick={() => void judge(null, "accept_drift")}>Accept all drift ({drift})</Button>}
        </div>
        <div class="families" role="group" aria-label="Families">
          <button type="button" class="family" aria-pressed={!family} onClick={() => patch({ family: undefined, item: undefined })}><span class="family-name">All</span><span class="family-n">{count(version.learned)}</span></button>
          {[...version.families].sort((a, b) => Number(b.observed) - Number(a.observed)).map((f) => (
            <button key={f.key} type="button" class={`family ${f.observed ? "" : "unseen"}`} aria-pressed={family === f.key} title={f.observed ? `${STATES[f.state] ?? f.state}. At most ${Number.isFinite(f.perTrial) ? brief(f.perTrial * 1000) : "–"} new items in 1,000 trials are to be expected (95 %).` : "No sensor has told of such acts: silence proves nothing"} onClick={() => patch({ family: f.key, item: undefined })}>
              <span class="family-name"><T s={f.title} max={40} /></span>{f.observed ? <ModelState state={f.state} locked={f.locked} /> : <span class="tag">not observed</span>}<span class="family-n">{count(f.learned)}{f.outstanding > 0 && <b class="amber"> +{count(f.outstanding)}</b>}</span>
            </button>))}
        </div>
        <div class="model-bar">
          <label class="tick"><input type="checkbox" checked={open} onChange={(e) => patch({ open: e.currentTarget.checked ? "1" : undefined, item: undefined })} />Only what is to be judged</label>
          {may && family && !version.families.find((f) => f.key === family)?.locked && <Button class="small" onClick={() => setAsking({ act: "lock", family })}>Lock this family…</Button>}
          {may && family && <Button class="small" onClick={() => setAsking({ act: "relearn", family })}>Relearn this family…</Button>}
          <p class="tally-line" role="status">{items ? `${count(items.length)} ${plural(items.length, "item")}${left ? `, ${count(left)} more are not shown` : ""}` : "Loading…"}</p>
        </div>
        {!items ? <Skeleton rows={8} label="Loading items" /> : !items.length ? <Empty icon={open ? "good" : "note"} title={compared !== null ? "Nothing new" : open ? "Nothing is to be judged" : "Nothing was learned here yet"} />
          : <Grid id="mi" label={`Items, ${count(items.length)}`} class="items-grid" total={items.length} rowHeight={narrow ? 58 : 38} columns={narrow ? 2 : 5} active={active} onActive={setActive} selected={chosen ? items.indexOf(chosen) : -1} onOpen={(n) => patch({ item: items[n].id })}
              head={<div role="row" class="row head" aria-rowindex={1}>{(narrow ? ["Standing", "What"] : ["Standing", "What", "Times", "First", "Last"]).map((h) => <span key={h} role="columnheader" class={/Times|First|Last/.test(h) ? "n" : ""}>{h}</span>)}</div>}
              row={(n) => {
                const i = items[n];
                const standing = <span role="gridcell"><span class={`tag st-${i.standing}`}>{STANDINGS[i.standing]?.[0] ?? i.standing}</span></span>;
                const what = <span role="gridcell" class="mi-what"><T s={i.says || `${i.actor} ${i.detail} ${i.object}`} max={300} title /></span>;
                return { key: i.id, cells: narrow ? <>{standing}{what}</> : <>{standing}{what}<span role="gridcell" class="n">{brief(i.count)}</span><span role="gridcell" class="n dim">{Number.isFinite(i.first) ? ageShort(now.value - i.first) : "–"}</span><span role="gridcell" class="n dim">{Number.isFinite(i.last) ? ageShort(now.value - i.last) : "–"}</span></> };
              }} />}
      </section>
      {importing && <Import into={importing} onDone={took} onClose={() => setImporting(null)} />}
      {chosen && <ItemDrawer item={chosen} may={may} judge={judge} onClose={() => patch({ item: undefined })} />}
      {asking && <Confirm act={asking.act} family={asking.family} of={of} version={version} onDone={took} onClose={() => setAsking(null)} />}
    </div>
  );
}
