/* SPDX-License-Identifier: Apache-2.0 */
/* What was done to containers, as the pages use it. */
import { toMs } from "./format";
import { object, text, texts } from "./loose";

export interface Response { id: string; action: string; state: string; releasing: boolean; node: string; subject: string; containerId: string; container: string; workload: string; application: string; actor: string; reason: string; allow: string[]; deny: string[]; result: string; until: number; created: number; changed: number; detail: Record<string, unknown> }

export interface Action { key: string; title: string; says: string; undo: boolean; peers?: "allow" | "deny" | "lead"; of?: "process" | "workload" }
export const ACTIONS: Action[] = [
  { key: "isolate", title: "Isolate", says: "Cuts all its traffic, what is open too. Its processes go on.", undo: true, peers: "allow" },
  { key: "quarantine", title: "Quarantine", says: "Isolates it and freezes its processes, after a picture of them was taken.", undo: true, peers: "allow" },
  { key: "block", title: "Block", says: "Refuses what is named: connections to and from peers, programs, files, capabilities.", undo: true, peers: "deny" },
  { key: "decoy", title: "Lead to a decoy", says: "Its new TCP connections to the destinations that are named end at a decoy, which records them. All else to them is refused.", undo: true, peers: "lead" },
  { key: "pause", title: "Pause", says: "Freezes its processes.", undo: true },
  { key: "restart", title: "Restart", says: "The runtime stops and starts it again.", undo: false },
  { key: "stop", title: "Stop", says: "The runtime stops it.", undo: false },
  { key: "kill", title: "Kill", says: "Ends its processes at once.", undo: false },
  { key: "kill-process", title: "Kill a process", says: "Ends one process of it; the others go on.", undo: false, of: "process" },
  { key: "kill-tree", title: "Kill a process and all it started", says: "Ends one process of it and all that descend from it, whoever their parent is now.", undo: false, of: "process" },
  { key: "scale-to-zero", title: "Scale to zero", says: "Takes all containers of its service away, of a Swarm or of Compose. Released, as many come back.", undo: true, of: "workload" },
];
export const actionTitle = (key: string) => ACTIONS.find((a) => a.key === key)?.title ?? key;
export const STATES: Record<string, string> = { pending: "its node has not said yet what came of it", active: "in force", released: "undone", gone: "the container is gone", done: "done", failed: "failed", dry_run: "nothing was done" };
/* What can be released: it holds, or is going to. */
export const holds = (r: Response) => (r.state === "active" || r.state === "pending") && !r.releasing && !!ACTIONS.find((a) => a.key === r.action)?.undo;

/* The processes that a response would end, or ended: their numbers on the node, and when they began. */
export interface Ended { pid: number; started: string; comm: string }
export function processesOf(r: Response): Ended[] {
  const all = Array.isArray(r.detail.process_list) ? r.detail.process_list : [];
  return all.map(object).map((o) => ({ pid: Number(o.pid) || 0, started: text(o.started), comm: text(o.comm) }));
}

/* The last connections that were led to a decoy; how many there were in all. */
export interface Led { time: number; asked: string; from: string; pid: number; comm: string }
export function ledOf(r: Response): { connections: number; last: Led[] } {
  const last = Array.isArray(r.detail.last_led) ? r.detail.last_led : [];
  return { connections: Number(object(r.detail.led).connections) || 0, last: last.map(object).map((o) => ({ time: toMs(o.time), asked: text(o.asked), from: text(o.from), pid: Number(o.pid) || 0, comm: text(o.comm) })) };
}

export function responseFrom(v: unknown): Response {
  const o = object(v);
  return {
    id: text(o.id), action: text(o.action), state: text(o.state), releasing: o.releasing === true, node: text(o.node), subject: text(o.subject), containerId: text(o.container_id), container: text(o.container_name), workload: text(o.workload), application: text(o.application),
    actor: text(o.actor), reason: text(o.reason), allow: texts(o.allow), deny: texts(o.deny), result: text(o.result), until: toMs(o.until), created: toMs(o.created), changed: toMs(o.changed),
    detail: object(o.detail),
  };
}
