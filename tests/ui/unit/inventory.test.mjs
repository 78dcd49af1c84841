// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { Inventory, exposureOf, EXPOSURES, scoreOf } = await load("lib/inventory.ts");
const { parseQuery, matcher } = await load("lib/query.ts");
const { span, reveal, step } = await load("lib/virtual.ts");

const id = (n) => n.toString(16).padStart(64, "0");
const view = (o = {}) => ({ query: "", selected: {}, sort: "attention", descending: false, ...o });

function some() {
  const inv = new Inventory();
  inv.upsert([
    { id: id(1), name: "pay-api-1", image: "team/api:1", application: "payments", workload: "api", node: "a", state: "running", labels: { tier: "gold" } },
    { id: id(2), name: "pay-db-1", image: "postgres:16", application: "payments", workload: "db", node: "b", state: "exited", created: "2026-01-01T00:00:00Z" },
    { id: id(3), name: "edge-1", image: "nginx:1.27", application: "edge", workload: "proxy", node: "a", state: "running", privileged: true },
    { id: id(4), name: "", image: "busybox", application: "", workload: "", node: "a", state: "running", host_network: true, mounts: [{ sensitive: true }] },
  ]);
  return inv;
}
const facet = (r, key) => Object.fromEntries(r.facets.find((f) => f.key === key).values.map((v) => [v.value, v.count]));

test("the most exposed running container comes first", () => {
  assert.deepEqual(some().select(view()).rows.map((r) => r.name), ["edge-1", id(4).slice(0, 12), "pay-api-1", "pay-db-1"]);
});

test("a facet counts what choosing another of its values would add", () => {
  const r = some().select(view({ selected: { app: ["payments"] } }));
  assert.deepEqual(r.rows.map((x) => x.name), ["pay-api-1", "pay-db-1"]);
  assert.deepEqual(facet(r, "app"), { payments: 2, edge: 1, "": 1 });
  assert.deepEqual(facet(r, "state"), { running: 1, exited: 1 });
  const two = some().select(view({ selected: { app: ["payments", "edge"], state: ["running"] } }));
  assert.deepEqual(two.rows.map((x) => x.name), ["edge-1", "pay-api-1"]);
});

test("a chosen value that matches nothing stays to be taken back", () => {
  const r = some().select(view({ selected: { app: ["payments"] }, query: "edge" }));
  assert.equal(r.rows.length, 0);
  assert.deepEqual(r.facets.find((f) => f.key === "app").values.map((v) => [v.value, v.count, v.selected]), [["payments", 0, true], ["edge", 1, false]]);
});

test("a value that nobody has gives nothing instead of everything", () => {
  assert.equal(some().select(view({ selected: { app: ["no such"] } })).rows.length, 0);
});

test("exposure is a facet of several values", () => {
  const r = some().select(view({ selected: { exposure: ["privileged", "host_mount"] } }));
  assert.deepEqual(r.rows.map((x) => x.name), ["edge-1", id(4).slice(0, 12)]);
  assert.equal(facet(r, "exposure").host_network, 1);
});

test("every exposure is seen for what it is", () => {
  const of = (c) => EXPOSURES.filter((e) => exposureOf({ id: "x", ...c }) & e.bit).map((e) => e.key);
  assert.deepEqual(of({}), []);
  assert.deepEqual(of({ privileged: true, host_pid: true, host_ipc: true, host_network: true }), ["privileged", "host_pid", "host_network", "host_ipc"]);
  assert.deepEqual(of({ security_opt: ["seccomp=unconfined", "apparmor:unconfined"] }), ["no_seccomp", "no_apparmor"]);
  assert.deepEqual(of({ cap_add: ["CAP_SYS_ADMIN"], devices: ["/dev/kvm"] }), ["caps", "devices"]);
  assert.deepEqual(of({ mounts: [{ sensitive: false }] }), []);
  assert.ok(scoreOf(1) > scoreOf(2));
});

test("changes replace, removals go, a complete listing drops what it had not", () => {
  const inv = some();
  inv.upsert([{ id: id(1), name: "renamed", state: "exited" }]);
  assert.equal(inv.get(id(1)).name, "renamed");
  assert.equal(inv.size, 4);
  inv.remove(id(2));
  assert.equal(inv.get(id(2)), undefined);
  assert.equal(inv.get(id(4)).state, "running");
  inv.keepOnly(new Set([id(1)]));
  assert.deepEqual(inv.rows.map((r) => r.id), [id(1)]);
  inv.upsert([null, {}, { id: 7 }, { id: "" }]);
  assert.equal(inv.size, 1);
});

test("hostile names and prototype keys are just text", () => {
  const inv = new Inventory();
  inv.upsert([{ id: id(9), name: "__proto__", application: "constructor", image: "hasOwnProperty", labels: JSON.parse('{"__proto__":"x"}') }]);
  const r = inv.select(view({ selected: { app: ["constructor"] } }));
  assert.equal(r.rows.length, 1);
  assert.equal(({}).polluted, undefined);
});

test("the search language: words, keys, quotes, not", () => {
  assert.deepEqual(parseQuery('app:payments -state:exited "two words" nginx:1.27'), [
    { key: "app", value: "payments", not: false }, { key: "state", value: "exited", not: true },
    { key: "", value: "two words", not: false }, { key: "", value: "nginx:1.27", not: false }]);
  assert.deepEqual(parseQuery('  ""  '), []);
  const inv = some();
  const names = (q) => inv.select(view({ query: q })).rows.map((r) => r.name);
  assert.deepEqual(names("payments -state:exited"), ["pay-api-1"]);
  assert.deepEqual(names("label:tier=gold"), ["pay-api-1"]);
  assert.deepEqual(names("NGINX:1.27"), ["edge-1"]);
  assert.deepEqual(names("nowhere"), []);
  assert.equal(matcher([])({}), true);
});

/* Milliseconds of processors that this process had since: what else the machine does is not in it. */
function spent(since) {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}

test("a search of ten thousand characters ends", () => {
  const began = process.cpuUsage();
  parseQuery('"'.repeat(10_000) + "-a:".repeat(3000));
  assert.ok(spent(began) < 200);
});

test("100,000 rows are filtered and counted within a moment", () => {
  const inv = new Inventory();
  inv.upsert(Array.from({ length: 100_000 }, (_, i) => ({ id: id(i), name: `c-${i}`, application: `app-${i % 40}`, image: `img-${i % 300}:1`, node: `n-${i % 50}`, state: i % 9 ? "running" : "exited", privileged: i % 97 === 0 })));
  inv.select(view());
  const began = process.cpuUsage();
  const r = inv.select(view({ query: "app:app-7", selected: { state: ["running"] } }));
  const took = spent(began);
  assert.equal(r.rows.length, 2222);
  assert.ok(took < 500, `${took} ms of a processor`);
});

test("only the seen rows exist, wherever one scrolls", () => {
  assert.deepEqual(span(0, 760, 38, 100_000, 8), { start: 0, end: 28 });
  assert.deepEqual(span(38 * 50_000, 760, 38, 100_000, 8), { start: 49_992, end: 50_028 });
  assert.equal(span(38 * 100_000, 760, 38, 100_000).end, 100_000);
  assert.deepEqual(span(9e9, 760, 38, 10), { start: 9, end: 10 });
  assert.deepEqual(span(0, 760, 38, 0), { start: 0, end: 0 });
  assert.equal(reveal(0, 500, 760, 38), 0);
  assert.equal(reveal(30, 0, 760, 38), 31 * 38 - 760);
  assert.equal(reveal(5, 0, 760, 38), 0);
});

test("keys move within the list", () => {
  assert.equal(step("ArrowDown", -1, 3, 2), 0);
  assert.equal(step("ArrowDown", 2, 3, 2), 2);
  assert.equal(step("ArrowUp", 0, 3, 2), 0);
  assert.equal(step("PageDown", 0, 100, 20), 20);
  assert.equal(step("End", 0, 100, 20), 99);
  assert.equal(step("a", 0, 100, 20), -1);
  assert.equal(step("ArrowDown", 0, 0, 20), -1);
});
