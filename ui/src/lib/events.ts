/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as people read them: which kind belongs to which group (colour and shape), one line that says what happened, and the
 * bounded list that the live page shows. Field names are those of docs/events.md.
 */
import { toMs } from "./format";
import { bytes } from "./format";

export type BhEvent = Record<string, unknown> & { id?: string; time?: string; type?: string };

export interface Group { key: string; label: string; types: string[]; quiet?: boolean }

/* `quiet` groups come in floods and are off until asked for. */
export const GROUPS: Group[] = [
  { key: "process", label: "Process", types: ["exec", "fork", "exit", "process", "signal", "chdir", "dup_stdio", "comm"] },
  { key: "network", label: "Network", types: ["connect", "accept", "listen", "bind", "net_close", "dns", "send", "recv", "socket"] },
  { key: "privilege", label: "Privilege", types: ["creds", "setns", "unshare", "chroot", "seccomp", "mount", "umount", "pivot_root", "move_mount", "setxattr", "mknod"] },
  { key: "memory", label: "Memory", types: ["ptrace", "vm_write", "mem_write", "pidfd_getfd", "memfd_create", "mprotect_exec", "mmap_exec"] },
  { key: "kernel", label: "Kernel", types: ["module_load", "module_unload", "bpf", "kexec", "perf_event_open", "userfaultfd", "io_uring_setup"] },
  { key: "file", label: "Files", types: ["open", "close_write", "rename", "link", "symlink", "unlink", "mkdir", "rmdir", "chmod", "chown"], quiet: true },
  { key: "container", label: "Container", types: ["container", "cgroup_create", "cgroup_remove", "cgroup_attach"] },
  { key: "sensor", label: "Sensor", types: ["sensor"] },
];

const GROUP_OF = new Map(GROUPS.flatMap((g) => g.types.map((t) => [t, g.key] as const)));

export function groupOf(type: string): string {
  return GROUP_OF.get(type) ?? "sensor";
}

/* Types to ask the server for; empty where all groups are on, which also brings types this page does not know. */
export function typesOf(groups: string[]): string[] {
  if (GROUPS.every((g) => groups.includes(g.key))) return [];
  return GROUPS.filter((g) => groups.includes(g.key)).flatMap((g) => g.types);
}

export interface Line { main: string; tail: string; failed: boolean }

const str = (e: BhEvent, k: string) => (typeof e[k] === "string" || typeof e[k] === "number" ? String(e[k]) : "");
const list = (e: BhEvent, k: string) => (Array.isArray(e[k]) ? (e[k] as unknown[]).map(String) : []);

function endpoint(e: BhEvent, which: "laddr" | "raddr"): string {
  const address = str(e, `net.${which}`);
  if (!address) return str(e, "path");
  const port = str(e, which === "laddr" ? "net.lport" : "net.rport");
  return port ? `${address.includes(":") ? `[${address}]` : address}:${port}` : address;
}

function protocol(e: BhEvent): string {
  const proto = Number(e["net.proto"]);
  return ({ 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" } as Record<number, string>)[proto] ?? str(e, "net.family");
}

function target(e: BhEvent): string {
  const name = str(e, "target.name") || str(e, "target.exe");
  const pid = str(e, "target.pid");
  return name && pid ? `${name} [${pid}]` : name || (pid && `pid ${pid}`);
}

/* An argument as a shell would take it, so that "a b" and "a" "b" look different. */
export function quote(arg: string): string {
  return /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replace(/'/g, "'\\''")}'`;
}

export function describe(e: BhEvent): Line {
  const type = str(e, "type");
  const failed = typeof e.error === "string" && e.error !== "";
  const result = failed ? str(e, "error") : "";
  const join = (...parts: string[]) => parts.filter(Boolean).join("  ");
  const line = (main: string, ...tail: string[]): Line => ({ main, tail: join(...tail, result), failed });
  const flags = (k: string) => list(e, k).map((f) => f.replace(/^(O_|PROT_|CLONE_NEW)/, "").toLowerCase()).join(" ");

  switch (type) {
    case "exec":
    case "process": {
      const args = list(e, "proc.args");
      const exe = str(e, "proc.exe");
      return line(join(exe, args.slice(1).map(quote).join(" ")).replace("  ", " "), str(e, "proc.script") && `script ${str(e, "proc.script")}`,
        str(e, "parent.name") && `by ${str(e, "parent.name")}`, e["proc.uid"] === 0 ? "as root" : "");
    }
    case "fork": return line(`new process ${str(e, "child.pid")}`, flags("clone_flags"));
    case "exit":
      return line(e["exit.signal"] ? `ended by signal ${str(e, "exit.signal")}` : `exit code ${str(e, "exit.code") || "0"}`, str(e, "proc.exe"));
    case "connect": return line(`→ ${endpoint(e, "raddr") || "unnamed"}`, protocol(e));
    case "accept": return line(`← ${endpoint(e, "raddr") || "unnamed"}`, protocol(e), endpoint(e, "laddr") && `on ${endpoint(e, "laddr")}`);
    case "listen":
    case "bind": return line(endpoint(e, "laddr") || str(e, "net.family"), protocol(e));
    case "net_close":
      return line(`${e["net.outgoing"] ? "→" : "←"} ${endpoint(e, "raddr")}`, `${bytes(Number(e["net.bytes_out"] ?? 0))} out, ${bytes(Number(e["net.bytes_in"] ?? 0))} in`);
    case "dns":
    case "send":
    case "recv": return line(`${e["net.outgoing"] || type === "send" ? "→" : "←"} ${endpoint(e, "raddr")}`, str(e, "name"), e.bytes ? bytes(Number(e.bytes)) : "");
    case "creds": {
      const parts: string[] = [];
      if (e["cred.old_euid"] !== undefined && e["cred.old_euid"] !== e["cred.euid"]) parts.push(`uid ${str(e, "cred.old_euid")} → ${str(e, "cred.euid")}`);
      if (e["cred.old_egid"] !== undefined && e["cred.old_egid"] !== e["cred.egid"]) parts.push(`gid ${str(e, "cred.old_egid")} → ${str(e, "cred.egid")}`);
      if (e["cred.old_cap_effective"] !== undefined && e["cred.old_cap_effective"] !== e["cred.cap_effective"]) parts.push("capabilities changed");
      return line(parts.join(", ") || "credentials changed", str(e, "proc.exe"));
    }
    case "setns":
    case "unshare": return line(flags("ns_flags") || "namespace", target(e));
    case "signal": return line(`signal ${str(e, "signal")} → ${target(e)}`);
    case "ptrace":
    case "vm_write":
    case "mem_write":
    case "pidfd_getfd": return line(`→ ${target(e)}`, e.bytes ? bytes(Number(e.bytes)) : "");
    case "mmap_exec":
    case "mprotect_exec": return line(str(e, "path") || "anonymous memory", flags("prot"));
    case "rename":
    case "link":
    case "symlink": return line(`${str(e, "path")} → ${str(e, "path2")}`);
    case "mount": return line(str(e, "path"), str(e, "path2") && `from ${str(e, "path2")}`, str(e, "name"));
    case "open": return line(str(e, "path") || str(e, "name"), flags("open_flags"));
    case "close_write": return line(str(e, "path"), `${bytes(Number(e.bytes ?? 0))} written`);
    case "container": {
      const attributes = (e.attributes ?? {}) as Record<string, string>;
      return line(str(e, "action"), str(e, "container.image") || String(attributes.image ?? ""), str(e, "message"));
    }
    case "sensor": return line(str(e, "message") || str(e, "action"));
  }
  return line(str(e, "path") || str(e, "name") || str(e, "cgroup.path") || str(e, "message") || target(e) || str(e, "action") || "–",
    e.bytes ? bytes(Number(e.bytes)) : "");
}

export interface Item { seq: number; at: number; kind: "event" | "gap"; event?: BhEvent; dropped?: number; why?: string }

/*
 * What the live page shows, newest last in memory. Bounded: the oldest go and are counted, and events that were dropped on the
 * way stand as a row of their own where they are missing. Held (paused) the list stays still while the newest `max` wait.
 */
export class Feed {
  items: Item[] = [];
  waiting: Item[] = [];
  held = false;
  seen = 0;
  dropped = 0;
  forgotten = 0;
  #seq = 0;

  constructor(readonly max = 5000) {}

  push(events: BhEvent[]): void {
    this.seen += events.length;
    this.#add(events.map((event) => ({ seq: ++this.#seq, at: toMs(event.time), kind: "event", event })));
  }

  gap(dropped: number, why: string, at: number): void {
    const into = this.held ? this.waiting : this.items;
    const last = into[into.length - 1];
    this.dropped += dropped;
    /* Losses one after the other are one row: a flood must not push out what it did not lose. */
    if (last?.kind === "gap" && last.why === why) {
      last.dropped = (last.dropped ?? 0) + dropped;
      last.at = at;
      return;
    }
    this.#add([{ seq: ++this.#seq, at, kind: "gap", dropped, why }]);
  }

  hold(): void {
    this.held = true;
  }

  release(): void {
    this.held = false;
    const waiting = this.waiting;
    this.waiting = [];
    this.#add(waiting);
  }

  clear(): void {
    this.items = [];
    this.waiting = [];
    this.seen = this.dropped = this.forgotten = 0;
  }

  #add(more: Item[]): void {
    const into = this.held ? this.waiting : this.items;
    for (const item of more) into.push(item);
    if (into.length > this.max) this.forgotten += into.splice(0, into.length - this.max).length;
  }
}

/* Counts per second for the strip at the bottom; the newest bucket last. */
export class Rates {
  #events = new Map<number, number>();
  #drops = new Map<number, number>();

  constructor(readonly seconds = 120) {}

  add(atMs: number, events: number, dropped = 0): void {
    const s = Math.floor(atMs / 1000);
    this.#events.set(s, (this.#events.get(s) ?? 0) + events);
    if (dropped) this.#drops.set(s, (this.#drops.get(s) ?? 0) + dropped);
    if (this.#events.size > this.seconds * 2) {
      for (const k of this.#events.keys()) if (k < s - this.seconds) this.#events.delete(k);
      for (const k of this.#drops.keys()) if (k < s - this.seconds) this.#drops.delete(k);
    }
  }

  series(nowMs: number): { events: number[]; drops: number[] } {
    const last = Math.floor(nowMs / 1000);
    const at = (m: Map<number, number>) => Array.from({ length: this.seconds }, (_, i) => m.get(last - this.seconds + 1 + i) ?? 0);
    return { events: at(this.#events), drops: at(this.#drops) };
  }
}
