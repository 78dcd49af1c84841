// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { modelFrom, itemFrom, versionFrom, lockChanges, relearnChanges, observed, trusted } = await load("lib/models.ts");
const family = (family, o = {}) => ({ family, title: family, state: "learning", locked: false, observed: true, learned: 5, outstanding: 0, ...o });
const version = (...families) => versionFrom({ image_digest: "sha256:1", families });

test("an answer of any shape becomes a model", () => {
  for (const v of [null, 5, [], { versions: [null, { families: [null, 7] }] }, { versions: "x" }]) {
    const m = modelFrom(v);
    assert.ok(Array.isArray(m.versions));
    for (const x of m.versions) lockChanges(x).concat(relearnChanges(x)).forEach((s) => assert.equal(typeof s, "string"));
  }
  assert.equal(itemFrom({}).standing, "");
});

test("a family that nobody observes is neither trusted nor counted", () => {
  const v = version(family("exec", { state: "scored" }), family("file"), family("dns", { observed: false, state: "enforceable" }), family("peer", { locked: true }));
  assert.deepEqual(observed(v).map((f) => f.key), ["exec", "file", "peer"]);
  assert.deepEqual(trusted(v).map((f) => f.key), ["exec", "peer"]);
});

test("a lock says what is still learning, what was never seen and what nobody judged", () => {
  const v = version(family("exec", { state: "scored" }), family("file", { outstanding: 2 }), family("dns", { observed: false, learned: 0 }));
  const all = lockChanges(v).join(" ");
  assert.match(all, /10 learned items stay normal/);
  assert.match(all, /file: still learning/);
  assert.match(all, /dns: nothing was ever seen/);
  assert.match(all, /2 items that nobody has judged stay/);
  assert.doesNotMatch(lockChanges(v, "exec").join(" "), /still learning|never seen|judged/);
});

test("relearning says what is forgotten, and that a lock goes", () => {
  const v = version(family("exec", { locked: true }), family("file", { learned: 1 }));
  assert.match(relearnChanges(v).join(" "), /6 items[\s\S]*lock of exec/);
  assert.match(relearnChanges(v, "file").join(" "), /1 item that was learned/);
});

test("an exported model is read before it is sent; what is none says so", async () => {
  const { modelTextFrom } = await load("lib/models.ts");
  const head = JSON.stringify({ bulkhead_model: 1, application: "shop", workload: "web", image_digest: "sha256:1", container_hours: 2.5 });
  const item = (family, forbidden = false) => JSON.stringify({ family, actor: "a", object: "o", detail: "", forbidden });
  assert.deepEqual(modelTextFrom([head, item("exec"), "", item("file"), item("file", true), ""].join("\n")), { application: "shop", workload: "web", digest: "sha256:1", hours: 2.5, items: 3, forbidden: 1, families: [["file", 2], ["exec", 1]] });
  for (const [wrong, says] of [["", /no model/], ["no json", /Line 1 is not JSON/], ["{}", /first line/], ["[1]", /first line/], [`${head}\nx`, /Line 2/]]) assert.throws(() => modelTextFrom(wrong), says);
});
