// SPDX-License-Identifier: Apache-2.0
// What is written into files: exports that a spreadsheet opens, the file of switches, outputs; and where an editor puts its caret.
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { csv, fileName } = await load("lib/export.ts");
const { mergeRules, offsetOf, readSwitches, ruleState, validFile, validPolicy, writeSwitches } = await load("lib/rules.ts");
const { configOf, formOf, settingsFrom } = await load("lib/settings.ts");
const { HELP } = await load("app/help.ts");

test("a CSV survives quotes, line ends and what a spreadsheet would run", () => {
  const rows = [{ a: 'say "hi", you', b: "x\ny" }, { a: "=cmd|'/c calc'!A1", b: -5 }, { a: "@SUM(1)", b: null }, { a: "+1", b: ["p", "q"] }];
  assert.equal(csv([["a", (r) => r.a], ["b", (r) => r.b]], rows),
    'a,b\r\n"say ""hi"", you","x\ny"\r\n"\'=cmd|\'/c calc\'!A1",-5\r\n"\'@SUM(1)",\r\n"\'+1","[""p"",""q""]"\r\n');
  for (const first of ["\n=", "\uff1d", "\uff0b", "\uff0d", "\uff20"]) assert.match(csv([["a", (r) => r]], [`${first}1`]), /^a\r\n"'/, JSON.stringify(first));
  assert.equal(fileName("findings", new Date("2026-11-27T11:40:00.123Z")), "bulkhead-findings-20261127T114000Z");
});

test("switches come back as they were written, whatever a rule is called, and what others wrote is left alone", () => {
  const want = new Map([['a "b" \\ c\n- rule: x', false], ["Shell: in <b>", true], ["'; drop", false]]);
  assert.deepEqual(readSwitches(writeSwitches(want)), want);
  assert.deepEqual(readSwitches(""), new Map());
  assert.equal(readSwitches("- rule: Mine\n  enabled: false\n"), null);
  assert.equal(readSwitches(writeSwitches(want) + "# mine\n"), null);
});

test("rules of several nodes are one row, with what keeps them from matching", () => {
  const rule = (node, o = {}) => ({ name: "R", priority: "Warning", source: "syscall", tags: ["t"], description: "d", enabled: true, runs: true, file: "f.yaml", line: 3, matches: 2, node, ...o });
  const [both] = mergeRules([rule("a"), rule("b")]);
  assert.deepEqual([both.matches, both.nodes, ruleState(both)], [4, ["a", "b"], "on"]);
  assert.equal(ruleState(mergeRules([rule("a"), rule("b", { problem: "no such hook" })])[0]), "partly");
  assert.equal(ruleState(mergeRules([rule("a", { problem: "x" })])[0]), "blind");
  assert.equal(ruleState(mergeRules([rule("a", { enabled: false, runs: false })])[0]), "off");
  assert.deepEqual(mergeRules([null, 7, {}]).length, 1);
});

test("a line and a column are found, and none beyond the text", () => {
  const text = "ab\n\ncdef";
  assert.equal(offsetOf(text, 1, 2), 1);
  assert.equal(offsetOf(text, 2, 9), 3);
  assert.equal(offsetOf(text, 3, 3), 6);
  assert.equal(offsetOf(text, 3, 99), 8);
  assert.equal(offsetOf(text, 99, 1), 8);
});

test("names that the central would refuse are refused before", () => {
  for (const n of ["site.yaml", "A_b-1.yml"]) assert.ok(validFile(n), n);
  for (const n of ["", ".x.yaml", "a b.yaml", "x.json", `${"x".repeat(100)}.yaml`, "../a.yaml"]) assert.ok(!validFile(n), n);
  for (const n of ["a", "isolate-shells", "a".repeat(63)]) assert.ok(validPolicy(n), n);
  for (const n of ["", "-a", "a-", "A", "a_b", "a".repeat(64)]) assert.ok(!validPolicy(n), n);
});

test("a secret that nobody touched is kept, and only what its type has is sent", () => {
  const f = formOf("hook", { type: "webhook", url: "https://hooks.example/", url_secret: true, headers: { Authorization: true, "X-A": "b" }, tags: ["x*"], key: true });
  assert.deepEqual(configOf(f), { type: "webhook", enabled: true, url: "https://hooks.example/", url_secret: true, headers: { Authorization: true, "X-A": "b" }, tags: ["x*"], key: true });
  assert.deepEqual(configOf({ ...f, type: "file", file: "alerts.json" }), { type: "file", enabled: true, tags: ["x*"], file: "alerts.json" });
  assert.throws(() => configOf({ ...f, headers: "no colon" }), /Name: value/);
  assert.throws(() => configOf({ ...f, type: "syslog", transport: "tcp", host: "h", port: "x" }), /number/);
});

test("settings of a newer central are shown too", () => {
  const groups = settingsFrom({ settings: [{ key: "retention.days", value: 30, default: 30, min: 1, max: 3650, description: "d" }, { key: "new.thing", value: "x", default: "", min: 0, max: 9, description: "n" }] });
  assert.equal(groups.get("Retention")[0].value, 30);
  assert.equal(groups.get("Other")[0].title, "new.thing");
});

test("each page has its help", async () => {
  const { readFileSync } = await import("node:fs");
  const { REPO } = await import("./load.mjs");
  const paths = [...readFileSync(`${REPO}/ui/src/app/app.tsx`, "utf8").matchAll(/\{ path: "([^"]+)"/g)].map((m) => m[1]);
  assert.ok(paths.length >= 14);
  for (const p of paths) assert.ok(HELP[p]?.text.length, p);
});
