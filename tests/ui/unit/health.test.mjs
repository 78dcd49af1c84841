// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { verdict, problemsOf, nodeProblems, lostOf, hookSummary } = await load("lib/health.ts");
const model = await load("api/model.ts");

const now = 1_800_000_000_000;
const hook = (type, o = {}) => ({ type, backend: "preferred", effective: true, tested: true, generated: 10, delivered: 10, folded: 0, lost: { ring_full: 0 }, ...o });
const node = (o = {}, s = {}) => ({ name: "n1", up: true, seen: now - 1000, status: { lost: 0, hooks: [hook("exec")], recorder: { state: "ok" }, runtimes: { docker: { state: "connected" } }, ...s }, ...o });
const known = (o = {}) => ({ now, loaded: true, stream: "live", streamSince: now, nodes: [node()], central: [], containers: 5, running: 4, exposed: 0, inventoryComplete: true, incidents: 0, ...o });

test("all is well only when everything is known to be", () => {
  const v = verdict(known());
  assert.equal(v.tone, "good");
  assert.match(v.title, /Watching 4 running containers on 1 node/);
});

test("an open incident comes before all else that can be said of the nodes, and what keeps from seeing is said with it", () => {
  assert.deepEqual([verdict(known({ incidents: 1 })).tone, verdict(known({ incidents: 1 })).title], ["incident", "One incident is open"]);
  const v = verdict(known({ incidents: 3, nodes: [node({ up: false })] }));
  assert.equal(v.title, "3 incidents are open");
  assert.match(v.detail, /n1 is not connected/);
  assert.equal(verdict(known({ incidents: 1, incident: "Way out" })).detail, "Way out");
  assert.match(verdict(known({ incidents: 3, incident: "Way out", nodes: [node({ up: false })] })).detail, /^The latest: Way out · Also: n1 is not connected/);
  for (const incidents of [-1, undefined, NaN]) assert.equal(verdict(known({ incidents })).tone, "unknown");
});

test("a runtime that is not there at all is no trouble, one that does not answer is", () => {
  assert.equal(verdict(known({ nodes: [node({}, { runtimes: { docker: { state: "connected" }, containerd: { state: "absent", error: "" } } })] })).tone, "good");
  assert.notEqual(verdict(known({ nodes: [node({}, { runtimes: { docker: { state: "connected" }, containerd: { state: "not connected", error: "refused" } } })] })).tone, "good");
});

test("missing data never reads as all clear", () => {
  for (const [what, k] of [
    ["no status", known({ loaded: false })],
    ["no node", known({ nodes: [] })],
    ["stream stale", known({ stream: "stale", streamSince: now - 60_000 })],
    ["stream denied", known({ stream: "denied" })],
    ["node down", known({ nodes: [node({ up: false })] })],
    ["node silent", known({ nodes: [node({ seen: now - 31_000 })] })],
    ["node never told a status", known({ nodes: [node({ seen: 0, status: null })] })],
    ["list incomplete", known({ inventoryComplete: false })],
    ["blind hook", known({ nodes: [node({}, { hooks: [hook("exec", { effective: false, why: "no such function" })] })] })],
    ["lost", known({ nodes: [node({}, { lost: 7 })] })],
    ["recorder lost", known({ nodes: [node({}, { recorder: { state: "ok", lost: { disk_full: 3 } } })] })],
    ["disk full", known({ nodes: [node({}, { recorder: { state: "disk-full", problem: "no space" } })] })],
    ["no docker", known({ nodes: [node({}, { runtimes: { docker: { state: "not connected", error: "refused" } } })] })],
    ["canary broken", known({ nodes: [node({}, { canary: { error: "gone" } })] })],
    ["one of two down", known({ nodes: [node(), node({ name: "n2", up: false })] })],
    ["database restored", known({ central: [{ level: "warn", key: "x", title: "restored", detail: "", href: "/" }] })],
  ]) assert.notEqual(verdict(k).tone, "good", what);
});

test("problems come in the order of their weight and lead somewhere", () => {
  const k = known({ nodes: [node({}, { lost: 7, events: { stalls: 2 } }), node({ name: "n2", up: false, seen: now - 120_000 })] });
  assert.deepEqual(problemsOf(k).map((p) => p.level), ["bad", "warn", "note"]);
  for (const p of problemsOf(k)) assert.match(p.href, /^\/health/);
  assert.match(nodeProblems(k.nodes[1], now)[0].detail, /2 min/);
});

test("losses of every place are summed", () => {
  assert.equal(lostOf({ lost: 3, recorder: { lost: { a: 1, b: 2 } }, events: { undecodable: 4 } }), 10);
  assert.equal(lostOf(null), 0);
  assert.deepEqual(hookSummary({ hooks: [hook("a"), hook("b", { backend: "fallback" }), hook("c", { effective: false, tested: false })] }), { total: 3, effective: 2, fallback: 1, untested: 1 });
});

test("answers of a wrong shape break nothing", () => {
  for (const junk of [null, undefined, 7, "x", [], { nodes: "no" }, { nodes: [null, 3, {}] }, { central: [] }]) {
    const v = model.statusFrom(junk);
    assert.ok(Array.isArray(v.nodes));
    problemsOf(known({ nodes: v.nodes, central: v.problems }));
    assert.ok(Array.isArray(model.pageFrom(junk, "containers").items));
    assert.ok(model.containersFrom(junk).items.length >= 0);
    assert.equal(model.meFrom(junk).role, "viewer");
    model.userFrom(junk); model.tokenFrom(junk); model.auditFrom(junk); model.findingFrom(junk); model.lossFrom(junk);
  }
});

test("a damaged database that was restored is said", () => {
  const v = model.statusFrom({ central: { store: { restored_from: "/b/1.db", damaged_kept_as: "/b.damaged" }, upkeep: { problem: "the disk is full" } } });
  assert.deepEqual(v.problems.map((p) => p.level), ["warn", "bad"]);
});
