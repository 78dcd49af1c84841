/* SPDX-License-Identifier: Apache-2.0 */
/* One container with every field that the API gives; what is unknown to this page is still shown, at the end. */
import { useEffect, useState } from "preact/hooks";
import type { Container } from "../../api/openapi";
import { get, sentence, ApiError } from "../../api/client";
import { href } from "../../app/router";
import { incidentsChanged, inventory, inventoryVersion, mayAct, now } from "../../app/state";
import { age, bytes, count, date, toMs } from "../../lib/format";
import { EXPOSURES, exposureOf } from "../../lib/inventory";
import { shortId, visible } from "../../lib/text";
import { Icon, StateMark } from "../../parts/icons";
import { Button, Copy, Facts, Notice, Section, Skeleton, T } from "../../parts/ui";
import { Drawer } from "../../parts/drawer";
import { EvidenceList } from "../evidence/list";
import { Act } from "../responses/act";
import { Held, useHeld } from "../responses/held";

type Full = Partial<Container> & { id: string };
type Mount = Container["mounts"][number];
type Network = Container["networks"][number];
type Port = Container["ports"][number];

/* What Details() shows by itself; a field that the API gains is shown under "More" until it has its place. */
const SHOWN = new Set<string>(["id", "name", "image", "image_id", "image_digest", "runtime", "state", "workload", "application", "outer_id", "depth", "labels", "mounts", "networks", "ports", "privileged",
  "cap_add", "cap_drop", "devices", "security_opt", "network_mode", "pid_mode", "ipc_mode", "host_network", "host_pid", "host_ipc", "host_userns", "readonly_rootfs", "user", "env_names", "health", "init_pid", "created",
  "started", "finished", "exit_code", "oom_killed", "restart_count", "cgroup_parent", "cgroup_paths", "refused", "node", "display_name", "level", "first_seen", "last_seen", "ended",
  "layers", "created_by", "started_by", "ended_by", "seccomp", "lsm", "uts_mode", "host_uts", "host_cgroupns", "no_new_privileges", "memory_limit", "cpu_limit", "pids_limit", "restart_policy", "command", "runs", "capabilities", "risks", "health_command", "net_ns", "network_of"]);

const LEVELS: Record<string, string> = { cgroup: "its control group alone", event: "an event of its runtime", full: "its runtime, inspected" };
const list = (v: unknown): string[] => (Array.isArray(v) ? v.map(String) : []);
const when = (v: unknown) => {
  const ms = toMs(v);
  return Number.isFinite(ms) ? <><time>{date(ms)}</time> <span class="dim">{age(now.value - ms)} ago</span></> : null;
};
const bool = (v: unknown) => (v === true ? "yes" : v === false ? "no" : null);
const txt = (s: unknown) => (s ? <T s={String(s)} /> : null);
/* A value, or null so that a fact without one shows as such. */
const mono = (s: unknown, copy = false) => (s === undefined || s === null || s === "" ? null : <span class="mono wrap"><T s={String(s)} />{copy && <Copy text={String(s)} />}</span>);
const Strings = ({ list: l, none = "none" }: { list: string[]; none?: string }) => (l.length ? <ul class="strings">{l.map((s, i) => <li key={i} class="mono wrap"><T s={s} max={1024} /></li>)}</ul> : <span class="none">{none}</span>);

function Details({ c }: { c: Full }) {
  const bits = exposureOf(c);
  const exposures = EXPOSURES.filter((e) => bits & e.bit);
  const labels = Object.entries((c.labels ?? {}) as Record<string, string>);
  const mounts = (c.mounts ?? []) as Mount[];
  const networks = (c.networks ?? []) as Network[];
  const ports = (c.ports ?? []) as Port[];
  const layers = list(c.layers);
  const risks = list(c.risks);
  const runs = Array.isArray(c.runs) ? c.runs : [];
  const other = Object.entries(c).filter(([k, v]) => !SHOWN.has(k) && v !== null && v !== "");
  return (
    <>
      {exposures.length > 0 && (
        <section class="levers" aria-label="Exposure">
          <h3><Icon name="warn" /> {exposures.length === 1 ? "A lever on the host" : `${exposures.length} levers on the host`}</h3>
          <dl>{exposures.map((e) => <div key={e.key}><dt>{e.label}</dt><dd>{e.why}{e.key === "caps" && <> <span class="mono">{list(c.cap_add).map((s) => visible(s, 64)).join(", ")}</span></>}</dd></div>)}</dl>
        </section>
      )}
      {risks.length > 0 && <Section title="Ways to the host" count={risks.length}><ul class="strings">{risks.map((r, i) => <li key={i} class="wrap"><T s={r} max={400} /></li>)}</ul></Section>}
      <Section title="Identity">
        <Facts rows={[
          ["Container id", mono(c.id, true)],
          ["Image", mono(c.image, true)],
          ["Image digest", mono(c.image_digest, true)],
          ["Image id", mono(c.image_id)],
          ["Application", c.application ? <a href={href("/containers", { app: c.application })}><T s={c.application} /></a> : null],
          ["Workload", txt(c.workload)],
          ["Node", txt(c.node)],
          ["Runtime", txt(c.runtime)],
          ["Command", <Strings list={list(c.command)} none="not known" />],
          ["Runs inside", c.outer_id ? <a class="mono" href={href("/containers", { id: String(c.outer_id) })}>{shortId(String(c.outer_id))}</a> : `the host${c.depth ? `, depth ${c.depth}` : ""}`],
          ["Known from", LEVELS[String(c.level)] ?? visible(String(c.level ?? ""))],
        ]} />
      </Section>
      <Section title="Life">
        <Facts rows={[
          ["State", <><StateMark state={String(c.state)} /> {visible(String(c.state ?? "unknown"))}</>],
          ["Health", txt(c.health)],
          ["Created", when(c.created)],
          ["Created by", txt(c.created_by)],
          ["Started", when(c.started)],
          ["Started by", txt(c.started_by)],
          ["Finished", when(c.finished)],
          ["Ended by", txt(c.ended_by)],
          ["Exit code", c.exit_code === null || c.exit_code === undefined ? null : String(c.exit_code)],
          ["Killed for memory", bool(c.oom_killed)],
          ["Restarts", c.restart_count === undefined ? null : String(c.restart_count)],
          ["Restart policy", txt(c.restart_policy)],
          ["Health command", mono(list(c.health_command).join(" "))],
          ["First seen here", when(c.first_seen)],
          ["Last told", when(c.last_seen)],
          ["Ended", when(c.ended)],
          ["First process", c.init_pid ? `pid ${c.init_pid}` : null],
        ]} />
      </Section>
      {runs.length > 0 && (
        <Section title="Past runs" count={runs.length} open={false}>
          <ul class="things">{runs.map((r, i) => (
            <li key={i}><span><time>{date(toMs(r.started))}</time> – <time>{date(toMs(r.finished))}</time></span><span class="tags"><span class={`tag ${r.exit_code ? "amber" : ""}`}>exit {r.exit_code ?? "–"}</span>{r.oom_killed && <span class="tag amber">killed for memory</span>}</span>{r.error && <span class="wrap dim"><T s={r.error} max={400} /></span>}</li>))}</ul>
        </Section>
      )}
      <Section title="Privileges">
        <Facts rows={[
          ["Privileged", bool(c.privileged)],
          ["User", c.user ? <T s={String(c.user)} /> : "image's default, often root"],
          ["Added capabilities", <Strings list={list(c.cap_add)} />],
          ["Dropped capabilities", <Strings list={list(c.cap_drop)} />],
          ["Has at most", <Strings list={list(c.capabilities)} none="not known" />],
          ["Seccomp", txt(c.seccomp)],
          ["Security module", txt(c.lsm)],
          ["No new privileges", bool(c.no_new_privileges)],
          ["Security options", <Strings list={list(c.security_opt)} none="runtime's defaults" />],
          ["Devices", <Strings list={list(c.devices)} />],
          ["Read-only root", bool(c.readonly_rootfs)],
          ["Host namespaces", (() => {
            const ns = [["network", c.host_network], ["pid", c.host_pid], ["ipc", c.host_ipc], ["user", c.host_userns], ["uts", c.host_uts], ["cgroup", c.host_cgroupns]].filter(([, v]) => v).map(([k]) => k);
            return ns.length ? ns.join(", ") : "none";
          })()],
          ["Modes", txt([["network", c.network_mode], ["pid", c.pid_mode], ["ipc", c.ipc_mode], ["uts", c.uts_mode]].filter(([, v]) => v).map(([k, v]) => `${k} ${v}`).join(", "))],
        ]} />
      </Section>
      <Section title="Limits" open={false}>
        <Facts rows={[["Memory", c.memory_limit ? bytes(Number(c.memory_limit)) : "none"], ["Processors", c.cpu_limit ? (Number(c.cpu_limit) / 1e9).toFixed(2) : "none"], ["Processes", c.pids_limit ? count(Number(c.pids_limit)) : "none"]]} />
      </Section>
      <Section title="Mounts" count={mounts.length}>
        {mounts.length ? (
          <ul class="things">{mounts.map((m, i) => (
            <li key={i} class={m.sensitive ? "sensitive" : ""}>
              <span class="mono wrap"><T s={m.destination} /></span>
              <span class="mono wrap dim"><T s={m.source} /></span>
              <span class="tags"><span class="tag"><T s={m.type} /></span><span class="tag">{m.rw ? "read-write" : "read-only"}</span>{m.sensitive && <span class="tag amber"><Icon name="warn" size={12} /> lever on the host</span>}</span>
            </li>))}</ul>
        ) : <p class="none">None.</p>}
      </Section>
      <Section title="Network" count={networks.length + ports.length}>
        {networks.length > 0 && <ul class="things">{networks.map((n, i) => <li key={i}><span class="wrap"><T s={n.name} /></span><span class="mono wrap">{[n.ip, n.ip6].filter(Boolean).map((x) => visible(x!)).join("  ") || "no address"}</span><span class="mono dim wrap"><T s={n.mac} /></span></li>)}</ul>}
        {ports.length > 0 && <ul class="ports" aria-label="Ports">{ports.map((p, i) => (
          <li key={i} class={`mono ${p.host_port ? "published" : ""}`}>{p.host_port ? <>{p.host_ip ? visible(p.host_ip) + ":" : ""}{p.host_port} → </> : null}{p.container_port}/{visible(p.protocol ?? "")}{p.host_port ? "" : " (not published)"}</li>))}</ul>}
        {!networks.length && !ports.length && <p class="none">None.</p>}
        {(c.network_of || c.net_ns) ? <Facts rows={[["Shares the network of", txt(c.network_of)], ["Namespace", c.net_ns ? String(c.net_ns) : null]]} /> : null}
      </Section>
      <Section title="Labels" count={labels.length} open={labels.length <= 24}>
        {labels.length ? <dl class="labels">{labels.map(([k, v]) => <div key={k}><dt class="mono wrap"><T s={k} max={256} /></dt><dd class="mono wrap"><T s={String(v)} max={1024} /></dd></div>)}</dl> : <p class="none">None.</p>}
      </Section>
      <Section title="Environment names" count={list(c.env_names).length} open={false}><p class="hint">Values are never kept.</p><Strings list={list(c.env_names)} /></Section>
      {layers.length > 0 && <Section title="Image layers" count={layers.length} open={false}><Strings list={layers} /></Section>}
      <Section title="Control groups" open={false}><Facts rows={[["Parent", mono(c.cgroup_parent)], ["Paths", <Strings list={list(c.cgroup_paths)} />]]} /></Section>
      {!!c.refused && <p class="hint">{String(c.refused)} of its labels, mounts or texts were over a bound and are not shown in full.</p>}
      {other.length > 0 && <Section title="More" open={false}><Facts rows={other.map(([k, v]) => [visible(k, 64), mono(typeof v === "object" ? JSON.stringify(v) : v)])} /></Section>}
    </>
  );
}

/* Only where something was kept: of most containers nothing ever is. */
function Kept({ id }: { id: string }) {
  const [total, setTotal] = useState(0);
  const [failed, setFailed] = useState(false);
  return <div hidden={!total && !failed}><Section title="Evidence" count={total}><EvidenceList of={{ container: id }} name={shortId(id)} version={incidentsChanged.value} onTotal={(n, error) => { setTotal(n); setFailed(error !== ""); }} /></Section></div>;
}

export function ContainerDrawer({ id, onClose }: { id: string; onClose: () => void }) {
  const [told, setFull] = useState<Full | null>(null);
  const [error, setError] = useState("");
  const [gone, setGone] = useState(false);
  const [acting, setActing] = useState(false);
  const { held, error: heldError, put } = useHeld(inventory.find(id)?.id ?? id);
  void inventoryVersion.value;
  const row = inventory.find(id);
  const key = row?.id ?? id;

  /* what was told of the container before is not shown as this one's, not even for a moment */
  const full = told && told.id.startsWith(key) ? told : null;

  useEffect(() => {
    const over = new AbortController();
    setError("");
    setGone(false);
    get<unknown>(`/containers/${encodeURIComponent(key)}`, {}, over.signal).then((v) => {
      setFull(v as Full);
    }, (e: unknown) => {
      if (over.signal.aborted) return;
      if (e instanceof ApiError && e.status === 404) setGone(true);
      else setError(sentence(e));
    });
    return () => over.abort();
    /* the row object is a new one whenever the container changed */
  }, [key, row]);

  const name = (full?.name || full?.display_name) ?? row?.name ?? shortId(id);
  const state = String(full?.state ?? row?.state ?? "");
  const acts = mayAct.value && !gone && (state === "running" || state === "paused");
  return (
    <Drawer label={`Container ${visible(name, 80)}`} focusKey={key} onClose={onClose} head={
      <>
        <h2><StateMark state={state} /><T s={name} max={160} /></h2>
        <p><T s={[full?.application ?? row?.application, full?.workload ?? row?.workload].filter(Boolean).join(" / ")} max={160} /></p>
      </>}>
      <p class="drawer-links"><a class="button" href={href("/events", { container: full?.name ?? row?.name ?? id })}><Icon name="events" />Live events</a><a class="button" href={href("/containers", { q: `image:"${full?.image ?? row?.image ?? ""}"` })}><Icon name="search" />Same image</a>
        {acts && <Button glyph="responses" onClick={() => setActing(true)}>Act…</Button>}</p>
      {acting && <Act container={key} name={name} node={String(full?.node ?? row?.node ?? "")} onClose={() => setActing(false)} onDone={put} />}
      <Held list={held} error={heldError} put={put} />
      {error && <Notice level="warn">{error}{full ? " What is shown is what was read last." : ""}</Notice>}
      {gone ? <Notice level="note">No such container is known. It was removed, or the address is not right.</Notice>
        : full ? <><Kept key={full.id} id={full.id} /><Details c={full} /></> : !error && <Skeleton rows={10} label="Loading the container" />}
    </Drawer>
  );
}
