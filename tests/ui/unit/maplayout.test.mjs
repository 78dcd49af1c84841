// SPDX-License-Identifier: Apache-2.0
// Places: the same for the same data, left to right by tier, no two on each other, and never moved by what comes later.
import assert from "node:assert/strict";
import { test } from "node:test";
import { environment, random } from "../environment.mjs";
import { load } from "./load.mjs";

const G = await load("lib/graph.ts");
const L = await load("lib/maplayout.ts");

function modelOf(env) {
  const nodes = env.units.map((u) => ({ id: G.unitId(u.application, u.name), kind: "workload", name: u.name, application: u.application, workload: u.name, level: u.tier + (u.role[2] > 2 ? 1 : 0), containers: u.containers.length, running: u.containers.length }));
  const of = new Map(env.units.flatMap((u) => u.containers.map((c) => [c.id, G.unitId(u.application, u.name)])));
  const edges = env.flows.map((f, i) => G.edgeFrom({ id: String(i), from: of.get(f.from.id), to: of.get(f.to.id), port: f.port, bytes_in: f.bytesIn, connections: 1 }));
  return { model: G.buildModel([], [{ level: "workload", nodes: nodes.map(G.nodeFrom), edges }]), edges };
}
const places = (l, m) => Object.fromEntries([...m.units.keys()].sort().map((id) => [id, l.at(id)]));
const overlapping = (l) => {
  const b = [...l.boxes.values()];
  return b.flatMap((x, i) => b.slice(i + 1).filter((y) => x.x < y.x + y.w && y.x < x.x + x.w && x.y < y.y + y.h && y.y < x.y + x.h).map((y) => `${x.key} ${y.key}`));
};
const full = environment({ apps: 30, workloads: 1000, containers: 5000, flows: 3000 });

test("equal data gives equal places, whatever order it comes in", () => {
  const a = modelOf(full);
  const b = modelOf({ ...full, units: full.units.slice().reverse(), flows: full.flows.slice().reverse() });
  const la = new L.Layout();
  const lb = new L.Layout();
  la.arrange(a.model, a.edges);
  lb.arrange(b.model, b.edges);
  assert.deepEqual(places(la, a.model), places(lb, b.model));
});

test("a thousand workloads: all have a place, none two, no box on another, tiers from left to right", () => {
  const { model, edges } = modelOf(full);
  const l = new L.Layout();
  l.arrange(model, edges);
  const all = [...model.units.keys()].map((id) => l.at(id));
  assert.ok(all.every(Boolean));
  assert.equal(new Set(all.map((p) => `${p.x} ${p.y}`)).size, 1000);
  assert.deepEqual(overlapping(l), []);
  for (let i = 1; i < l.columns.length; i++) {
    assert.ok(l.columns[i].x > l.columns[i - 1].x);
    assert.ok(l.columns[i].tier >= l.columns[i - 1].tier);
  }
});

test("whatever comes later moves nothing, lies on nothing, and is placed the same from what was kept", () => {
  const r = random(3);
  const l = new L.Layout();
  const few = environment({ apps: 8, workloads: 60, containers: 100, flows: 120 });
  const start = modelOf(few);
  l.arrange(start.model, start.edges);
  let before = places(l, start.model);
  for (let step = 0; step < 40; step++) {
    /* more workloads, more applications, and some that go for a while */
    const more = environment({ apps: 8 + Math.floor(step / 4), workloads: 60 + step * 9, containers: 700, flows: 200 });
    const units = more.units.filter(() => r.f() > 0.1);
    const { model } = modelOf({ ...more, units, flows: [] });
    l.extend(model);
    for (const [id, at] of Object.entries(before)) if (l.places.has(id)) assert.deepEqual(l.at(id), at, `${id} moved in step ${step}`);
    for (const id of model.units.keys()) assert.ok(l.at(id), `${id} has no place`);
    assert.equal(new Set([...l.places.keys()].map((id) => `${l.at(id).x} ${l.at(id).y}`)).size, l.places.size);
    assert.deepEqual(overlapping(l), []);
    before = Object.fromEntries([...l.places.keys()].map((id) => [id, l.at(id)]));
  }
  assert.ok(l.untidy);
  const again = new L.Layout();
  assert.ok(again.restore(JSON.parse(JSON.stringify(l.save()))));
  for (const [id, at] of Object.entries(before)) assert.deepEqual(again.at(id), at);
  const one = modelOf(environment({ apps: 40, workloads: 700, containers: 700, flows: 0 })).model;
  l.extend(one);
  again.extend(one);
  assert.deepEqual(places(l, one), places(again, one));
});

test("what was not kept by us is refused", () => {
  for (const bad of [null, 1, {}, { v: 2 }, { v: 1, boxes: [["a"]], places: [], columns: [] }, { v: 1, boxes: [], places: [["u", "b", "x", 0]], columns: [[0, 0, 0, 0]] }, { v: 1, boxes: [["a", "a", 0, 0, 1e9, 1, 0]], places: [["u", "a", 0, 0]], columns: [] }])
    assert.equal(new L.Layout().restore(bad), false, JSON.stringify(bad));
  const l = new L.Layout();
  assert.ok(l.restore({ v: 1, boxes: [["a", "a", 0, 0, 2, 2, 0]], places: [["u", "a", 0, 0], ["v", "a", 0, 0], ["w", "a", 9, 9]], columns: [[0, 0, 100, 0]] }));
  assert.deepEqual([...l.places.keys()], ["u"], "neither two in one cell nor one outside of its box");
});

test("a small environment fills the picture", () => {
  const { model, edges } = modelOf(environment({ apps: 3, workloads: 14, containers: 20, flows: 30 }));
  for (const aspect of [1.65, 0.75]) {
    const l = new L.Layout();
    l.arrange(model, edges, aspect);
    const b = [...l.boxes.values()];
    const w = Math.max(...b.map((x) => x.x + x.w)) - Math.min(...b.map((x) => x.x));
    const h = Math.max(...b.map((x) => x.y + x.h)) - Math.min(...b.map((x) => x.y));
    assert.ok(w / h < aspect * 2.6 && w / h > aspect / 2.6, `${w} × ${h} for ${aspect}`);
  }
});

test("containers keep their dot when others come and go, and the dots of a circle do not touch", () => {
  const n = new L.Numbers();
  assert.deepEqual([...n.assign("u", ["a", "b", "c"])], [["a", 0], ["b", 1], ["c", 2]]);
  assert.deepEqual([...n.assign("u", ["a", "c", "d", "e"])].sort(), [["a", 0], ["c", 2], ["d", 1], ["e", 3]]);
  for (const count of [1, 2, 7, 8, 26, 27, 70, 71, 200]) {
    const ring = L.ringOf(count);
    const dots = Array.from({ length: count }, (_, i) => L.dotAt(i, ring));
    for (const [i, a] of dots.entries()) {
      assert.ok(Math.hypot(a.x, a.y) + ring.dot <= ring.r + 0.5, `dot ${i} of ${count} leaves its circle`);
      for (const b of dots.slice(i + 1)) assert.ok(Math.hypot(a.x - b.x, a.y - b.y) >= ring.dot * 1.5, `dots of ${count} lie on each other`);
    }
  }
});
