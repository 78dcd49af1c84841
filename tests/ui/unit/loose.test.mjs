// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { object, text, num, list, texts } = await load("lib/loose.ts");

test("whatever an answer holds becomes a value of the type that was asked for", () => {
  for (const v of [null, undefined, true, NaN, Infinity, "", "x", [], {}, () => 0, Symbol("x"), [null, {}, "x"]]) {
    assert.equal(Object.prototype.toString.call(object(v)), "[object Object]");
    assert.equal(typeof text(v), "string");
    assert.ok(Number.isFinite(num(v)), String(v));
    assert.ok(Array.isArray(list(v)));
    assert.ok(texts(v).every((s) => typeof s === "string" && s));
  }
  assert.deepEqual([text(7), num("12"), num(1.5), texts(["a", 2, null, ""])], ["7", 12, 1.5, ["a", "2"]]);
  assert.deepEqual([object([1]), list({ length: 1 }), num([3])], [{}, [], 0]);
});
