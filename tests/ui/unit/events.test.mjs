// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load, REPO } from "./load.mjs";

const { describe, Feed, GROUPS, groupOf, quote, Rates, typesOf } = await load("lib/events.ts");

const TYPES = [...readFileSync(join(REPO, "bpf/include/event_types.tbl.h"), "utf8").matchAll(/^BH_EVENT_TYPE\(\d+, \w+, "(\w+)"/gm)].map((m) => m[1]);

test("every kind of event of the sensor's table stands in exactly one group", () => {
  assert.ok(TYPES.length > 50);
  const placed = GROUPS.flatMap((g) => g.types);
  assert.deepEqual([...placed].sort(), [...TYPES].sort());
});

test("every kind has a line, also without any field", () => {
  for (const type of TYPES) {
    const l = describe({ type });
    assert.equal(typeof l.main, "string", type);
    assert.ok(!/undefined|NaN|\[object/.test(l.main + l.tail), `${type}: ${l.main} ${l.tail}`);
  }
  assert.ok(describe({ type: "of_a_newer_sensor", path: "/x" }).main.includes("/x"));
});

test("a command line shows where one argument ends", () => {
  assert.equal(quote("a b"), "'a b'");
  assert.equal(quote("it's"), "'it'\\''s'");
  assert.equal(quote("--x=/y"), "--x=/y");
  assert.equal(quote(""), "''");
  assert.equal(describe({ type: "exec", "proc.exe": "/bin/sh", "proc.args": ["sh", "-c", "curl x | sh"], "proc.uid": 0 }).main, "/bin/sh -c 'curl x | sh'");
});

test("addresses, failures and losses are told", () => {
  assert.equal(describe({ type: "connect", "net.raddr": "2001:db8::1", "net.rport": 443, "net.proto": 6 }).main, "→ [2001:db8::1]:443");
  const failed = describe({ type: "connect", "net.raddr": "10.0.0.1", "net.rport": 5432, error: "ECONNREFUSED" });
  assert.ok(failed.failed && failed.tail.includes("ECONNREFUSED"));
  assert.equal(describe({ type: "sensor", action: "lost", message: "1,204 events were lost" }).main, "1,204 events were lost");
});

test("all groups ask for everything, none for nothing known", () => {
  assert.deepEqual(typesOf(GROUPS.map((g) => g.key)), []);
  assert.deepEqual(typesOf(["sensor"]), ["sensor"]);
  assert.equal(groupOf("exec"), "process");
});

const events = (n, from = 0) => Array.from({ length: n }, (_, i) => ({ id: String(from + i), time: "2026-01-01T00:00:00Z" }));

test("the list is bounded and says what it let go", () => {
  const f = new Feed(100);
  f.push(events(250));
  assert.equal(f.items.length, 100);
  assert.equal(f.forgotten, 150);
  assert.equal(f.items[99].event.id, "249");
});

test("a held list stands still, and the newest wait", () => {
  const f = new Feed(100);
  f.push(events(10));
  f.hold();
  f.push(events(5, 10));
  assert.equal(f.items.length, 10);
  assert.equal(f.waiting.length, 5);
  f.push(events(500, 15));
  assert.equal(f.waiting.length, 100);
  f.release();
  assert.equal(f.items.length, 100);
  assert.equal(f.waiting.length, 0);
  assert.equal(f.items[99].event.id, "514");
});

test("dropped events stand where they are missing, one row for losses in a row", () => {
  const f = new Feed(100);
  f.push(events(1));
  f.gap(10, "slow", 1);
  f.gap(5, "slow", 2);
  f.push(events(1, 1));
  f.gap(1, "slow", 3);
  assert.deepEqual(f.items.map((i) => i.dropped ?? "e"), ["e", 15, "e", 1]);
  assert.equal(f.dropped, 16);
});

test("rates are per second, the newest last, and forget what is old", () => {
  const r = new Rates(10);
  for (let s = 0; s < 100; s++) r.add(s * 1000, 2, s === 99 ? 3 : 0);
  const { events: e, drops } = r.series(99_500);
  assert.deepEqual(e, Array(10).fill(2));
  assert.equal(drops[9], 3);
});
