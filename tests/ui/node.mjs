// SPDX-License-Identifier: Apache-2.0
// A node for tests: speaks the bus to the real central in place of a sensor, so that inventory, status and events can be whatever a
// test needs, hostile names above all.
import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { connect } from "node:net";
import { container, decode, encode, event, finding, flow, listener, observation, resource } from "./wire.mjs";

const HELLO = 1, WELCOME = 2, MESSAGE = 3, ACK = 4, REQUEST = 5, CHUNK = 6, CREDIT = 7, END = 8, PING = 9, PONG = 10;
const ns = () => BigInt(Date.now()) * 1_000_000n;
let nextEvent = BigInt(Date.now()) * 1000n;

export class Node {
  #socket;
  #buffer = Buffer.alloc(0);
  #seq = 0n;
  #waiting = [];
  #live = new Map(); /* stream → credit */
  #recorded = [];
  acked = 0n;

  constructor(name) {
    this.name = name;
    this.id = randomBytes(16);
  }

  async connect(path) {
    this.#socket = connect(path);
    this.#socket.on("data", (d) => this.#data(d));
    this.#socket.on("error", () => undefined);
    await new Promise((ok, no) => this.#socket.once("connect", ok).once("error", no));
    const welcome = this.#until((f) => f.kind === WELCOME);
    this.#send([[1, HELLO], [5, encode([[1, 1], [2, this.id], [3, this.name], [4, "test"]])]]);
    await welcome;
    return this;
  }

  close() {
    this.#live.clear();
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  /* Resolves when the central has it durably. */
  async publish(topic, body) {
    const seq = ++this.#seq;
    const done = this.#until((f) => f.kind === ACK && f.seq >= seq);
    this.#send([[1, MESSAGE], [3, seq], [4, `${topic}.${this.name}`], [5, body]]);
    await done;
  }

  inventory(containers, full = false) {
    return this.publish("inventory", encode([[1, this.name], [2, "boot-1"], [3, "container"], [4, containers.map(container)], [5, full], [6, ns()]]));
  }

  /* What happened on connections until `at`; each call follows the one before it. */
  #through = 0n;
  flows(list, at = Date.now(), full = false) {
    const after = this.#through;
    this.#through += 100n;
    return this.publish("flow", encode([[1, this.name], [2, "boot-1"], [3, after], [4, this.#through], [5, full], [6, BigInt(Math.round(at)) * 1_000_000n], [7, list.map(flow)]]));
  }
  #findings = 0;
  finding(f) {
    return this.publish("finding", finding({ id: `${this.name}-${++this.#findings}`, node: this.name, time_ns: ns(), ...f }));
  }
  observe(o) {
    return this.publish("observation", observation({ node: this.name, first_ns: ns(), last_ns: ns(), ...o }));
  }
  /* What one source knows beside containers, all of it. */
  resources(list, { source = "docker", scope = "node" } = {}) {
    return this.publish("resources", encode([[1, this.name], [2, source], [3, scope], [4, ns()], [5, list.map(resource)]]));
  }
  listens(list) {
    return this.publish("listeners", encode([[1, this.name], [2, "boot-1"], [3, ns()], [4, list.map(listener)]]));
  }

  /* An item of the node's chain, signed as a sensor signs it (src/evidence/evidence.h), after the bytes that it names. */
  #chain = null;
  async evidence(kind, facts, bytes) {
    const pair = () => {
      const { privateKey, publicKey } = generateKeyPairSync("ed25519");
      return { privateKey, hex: publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("hex") };
    };
    this.#chain ??= { key: pair(), seq: 0, prev: "" };
    const c = this.#chain;
    c.name ??= c.key.hex;
    const next = pair();
    const object = bytes && { sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length };
    if (object) await this.publish("evidence", encode([[2, object.sha256], [4, bytes.length], [5, bytes]]));
    const json = JSON.stringify({ v: 1, chain: c.name, seq: ++c.seq, time_ns: "NOW", node: this.name, prev: c.prev, key: c.key.hex, next: next.hex, kind, ...facts, ...(object ? { object } : {}) }).replace('"NOW"', String(ns()));
    const line = `${json} ${sign(null, Buffer.from(`bulkhead-evidence-1\n${json}`), c.key.privateKey).toString("hex")}`;
    await this.publish("evidence", encode([[1, line]]));
    c.prev = createHash("sha256").update(line).digest("hex");
    c.key = next;
  }

  lost(topic, count) {
    return this.publish("lost", encode([[1, [encode([[1, topic], [2, 1], [3, count], [5, ns()], [6, ns()]])]]]));
  }

  status(json) {
    this.#send([[1, MESSAGE], [4, `status.${this.name}`], [5, encode([[1, this.name], [2, JSON.stringify({ node: this.name, ...json })], [3, ns()]])]]);
  }

  /* To whoever listens live; kept as recorded as well. `dropped` events are told as missing before them. */
  events(list, dropped = 0) {
    const batch = list.map((e) => event({ id: ++nextEvent, time_ns: ns(), node: this.name, ...e }));
    this.#recorded.push(...batch);
    for (const [stream, live] of this.#live) {
      if (live.credit <= 0) continue;
      live.credit--;
      this.#send([[1, CHUNK], [2, stream], [5, Node.#batch(batch)], [7, dropped]]);
    }
  }
  /* Batches that each listener takes now. */
  get room() {
    return Math.min(...[...this.#live.values()].map((l) => l.credit));
  }
  get listeners() {
    return this.#live.size;
  }

  static #batch(list) {
    return Buffer.concat(list.flatMap((b) => {
      const n = Buffer.alloc(4);
      n.writeUInt32LE(b.length);
      return [n, b];
    }));
  }

  #send(fields) {
    const body = encode(fields);
    const head = Buffer.alloc(4);
    head.writeUInt32LE(body.length);
    this.#socket?.write(Buffer.concat([head, body]));
  }

  /* Other requests that a test answers: subject → (body) → the one piece of its answer, or nothing. */
  serve = {};

  /* EventsRequest, noted for tests that look at what was asked. */
  asked = [];
  #ask(body) {
    const raw = decode(body ?? Buffer.alloc(0));
    const asked = { types: (raw[1] ?? []).map(String), container: String(raw[2]?.[0] ?? ""), follow: !!raw[6]?.[0], filter: String(raw[7]?.[0] ?? ""), since: Number((raw[3]?.[0] ?? 0n) / 1_000_000n) };
    this.asked.push(asked);
    return asked;
  }

  #until(test) {
    return new Promise((ok, no) => {
      const timer = setTimeout(() => no(new Error(`${this.name}: the central did not answer within 40 s`)), 40_000);
      this.#waiting.push({ test, ok: (f) => { clearTimeout(timer); ok(f); } });
    });
  }

  #data(d) {
    this.#buffer = Buffer.concat([this.#buffer, d]);
    while (this.#buffer.length >= 4 && this.#buffer.length >= 4 + this.#buffer.readUInt32LE(0)) {
      const n = this.#buffer.readUInt32LE(0);
      this.#frame(decode(this.#buffer.subarray(4, 4 + n)));
      this.#buffer = this.#buffer.subarray(4 + n);
    }
  }

  #frame(raw) {
    const f = { kind: Number(raw[1]?.[0] ?? 0), stream: raw[2]?.[0] ?? 0n, seq: raw[3]?.[0] ?? 0n, subject: String(raw[4]?.[0] ?? ""), body: raw[5]?.[0], credit: Number(raw[8]?.[0] ?? 0) };
    if (f.kind === PING) this.#send([[1, PONG]]);
    else if (f.kind === ACK) this.acked = f.seq;
    else if (f.kind === CREDIT && this.#live.has(f.stream)) this.#live.get(f.stream).credit += f.credit;
    else if (f.kind === END) this.#live.delete(f.stream);
    else if (f.kind === REQUEST) {
      if (this.serve[f.subject]) {
        const answer = this.serve[f.subject](f.body);
        if (answer) this.#send([[1, CHUNK], [2, f.stream], [5, Buffer.from(answer)]]);
        this.#send([[1, END], [2, f.stream]]);
      } else if (f.subject !== "events") this.#send([[1, END], [2, f.stream], [6, "not in this test"]]);
      else if (this.#ask(f.body).follow) this.#live.set(f.stream, { credit: f.credit });
      else {
        if (this.#recorded.length) this.#send([[1, CHUNK], [2, f.stream], [5, Node.#batch(this.#recorded.slice(-100))]]);
        this.#send([[1, END], [2, f.stream]]);
      }
    }
    this.#waiting = this.#waiting.filter((w) => !w.test(f) || (w.ok(f), false));
  }
}
