// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { BASES, incidentFrom, lanesOf, forestOf, reportOf, laneKey, untaught } = await load("lib/incidents.ts");

const line = (s, o) => ({ finding: `f${s}`, time: new Date(1_790_000_000_000 + s * 1000).toISOString(), last: null, count: 1, rule: "r", priority: "Critical", tactics: [], joined_by: "container", node: "n", container_id: "a", container_name: "web", pid: 1, exe: "/bin/sh", command: "", parent: "", object: "", output: "", ...o });
const incident = (timeline, o = {}) => incidentFrom({ id: 7, state: "open", severity: "high", title: "t", story: "s", tactics: ["execution"], first: timeline[0]?.time, last: timeline.at(-1)?.time, findings: 3, nodes: ["n"], containers: [], timeline, ...o });

test("what a verdict could not teach is said", () => {
  for (const v of [null, 5, [], {}, { taught: null }, { taught: { accepted: 3, known: 1, forbidden: 0, gone: 0, failed: 0, more: false } }]) assert.equal(untaught(v), "");
  const said = untaught({ taught: { accepted: 3, known: 0, forbidden: 2, gone: 1, failed: 0, more: true } });
  assert.ok(said.includes("2 forbidden by name") && said.includes("1 not in the model") && said.includes("older findings") && !said.includes("stored"), said);
});

test("an answer of any shape becomes an incident", () => {
  for (const v of [null, undefined, 5, "x", [], {}, { timeline: [null, 4, {}], containers: [null, "x"], comments: {}, tactics: "no", severity: "__proto__" }]) {
    const i = incidentFrom(v);
    assert.equal(i.severity, "low");
    assert.ok(Array.isArray(i.lines) && Array.isArray(i.places) && Array.isArray(i.comments) && Array.isArray(i.tactics));
    lanesOf(i);
    forestOf(i);
    reportOf(i);
  }
});

test("lanes stand in the order in which they come in, marks in that of time", () => {
  const i = incident([line(0, { joined_by: "" }), line(10, { container_id: "b", container_name: "db", joined_by: "reached" }), line(20, { container_id: "", joined_by: "file" }), line(40)]);
  const p = lanesOf(i, 0.01);
  assert.deepEqual(p.lanes.map((l) => [l.name, l.host]), [["web", false], ["db", false], ["n", true]]);
  assert.deepEqual(p.marks.map((m) => [m.lane, m.x]), [[0, 0], [1, 0.25], [2, 0.5], [0, 1]]);
  assert.deepEqual(p.arrows.map((a) => [a.from, a.to, a.why]), [[0, 1, "reached"], [1, 2, "file"]]);
  assert.equal(p.span, 40_000);
  assert.ok(p.ticks.length >= 2 && p.ticks.every((t) => t.x >= 0 && t.x <= 1));
});

test("marks of one moment do not lie on each other, and none leaves the picture", () => {
  const p = lanesOf(incident(Array.from({ length: 300 }, (_, n) => line(n < 20 ? 0 : 5, { finding: `f${n}` }))), 0.01);
  for (let n = 1; n < 20; n++) assert.ok(p.marks[n].x - p.marks[n - 1].x > 0.009);
  assert.ok(p.marks.every((m) => m.x >= 0 && m.x <= 1));
});

test("lanes of equal containers on two nodes are two and say which", () => {
  const p = lanesOf(incident([line(0), line(1, { node: "m" })], { nodes: ["n", "m"] }));
  assert.deepEqual(p.lanes.map((l) => [l.key, l.node]), [[laneKey("n", "a"), "n"], [laneKey("m", "a"), "m"]]);
});

test("who started something stands above it, once", () => {
  const i = incident([line(0, { parent: "nginx", pid: 41, command: "sh -c id" }), line(1, { parent: "nginx", pid: 41, command: "sh -c id" }), line(2, { parent: "sh", pid: 42, exe: "/tmp/x" })]);
  assert.deepEqual(forestOf(i).map((p) => [p.name, p.depth, p.lines]), [["nginx", 0, []], ["sh -c id", 1, [0, 1]], ["sh", 0, []], ["/tmp/x", 1, [2]]]);
});

test("the report says all of it and lets no text be markup", () => {
  const evil = "<img src=x>| [x](javascript:1) \u202E\n# no";
  const text = reportOf(incident([line(0, { rule: evil, object: evil }), line(1)], { title: evil, story: evil, now: `${evil} goes on`, weighed: { stages: 9, way_out: 3, node: 0, asset: 0, surprise: 2, other: 7 }, comments: [{ time: "2026-01-01T00:00:00Z", who: "a", text: evil }] }), Date.UTC(2026, 0, 2, 3, 4, 5));
  assert.doesNotMatch(text, /<img|\]\(java|\u202E|^# no/m);
  assert.match(text, /^As of 2026-01-02T03:04:05.*, when this report was made: .*goes on$/m);
  assert.match(text, /^Severity of 14 points: stages 9, way out 3, surprise 2 \(7 are high, 12 critical\)\.$/m);
  assert.match(text, /2026-09-21T/);
  for (const row of text.split("\n").filter((l) => l.startsWith("| 20"))) assert.equal(row.replace(/\\./g, "").split("|").length, 9, row);
});

test("a tie by a credential names what was read", () => {
  const i = incident([line(0), line(1, { joined_by: "credential", used: "/root/.pgpass" })]);
  assert.equal(i.lines[1].used, "/root/.pgpass");
  assert.match(BASES[i.lines[1].basis], /reached/);
  assert.equal(i.weighed, "");
});
