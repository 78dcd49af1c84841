// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { chainsFrom } = await load("lib/evidence.ts");
const whole = { ok: true, items: 3, objects: 2, problem_count: 0, problems: [] };
const node = (report, error = null) => ({ node: "a", error, answer: report && { head: null, report } });

test("nothing is called whole that was not asked", () => {
  assert.equal(chainsFrom({ central: whole, nodes: [node(whole)] }).level, "good");
  assert.equal(chainsFrom({ central: whole, nodes: [node(whole), node(null, "away")] }).level, "warn");
  assert.equal(chainsFrom({ central: { ...whole, ok: false }, nodes: [node(null)] }).level, "bad");
  assert.equal(chainsFrom({ central: whole, nodes: [node({ ...whole, ok: false, problems: [{ what: "changed", text: "t" }] })] }).level, "bad");
  for (const v of [null, [], 7, { central: null, nodes: [null, 5] }]) assert.equal(chainsFrom(v).level, "bad");
});
