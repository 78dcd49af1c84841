// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { parse, href } = await load("app/router.ts");

test("an address says all that was chosen, and comes back the same", () => {
  const text = href("/containers", { q: 'a "b" & c#d', app: ["x", "<y>"], none: "", id: undefined });
  const r = parse(text);
  assert.equal(r.path, "/containers");
  assert.equal(r.params.get("q"), 'a "b" & c#d');
  assert.deepEqual(r.params.getAll("app"), ["x", "<y>"]);
  assert.equal(r.params.has("none"), false);
});

test("any text behind # is a place, never an error", () => {
  for (const t of ["", "#", "#/", "#//evil.example/x", "#javascript:alert(1)", "#/containers?%%%=%E0%A4%A", "#?q=1"]) assert.ok(parse(t).path.startsWith("/"), t);
});
