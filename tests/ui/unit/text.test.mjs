// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { visible, shortId, shortImage, repository } = await load("lib/text.ts");
const format = await load("lib/format.ts");

test("characters that hide or reorder text are written out", () => {
  assert.equal(visible("\u202Egnp.exe"), "‹202E›gnp.exe");
  assert.equal(visible("a\u200Bb\u0000c\u001b[31m"), "a‹200B›b‹0000›c‹001B›[31m");
  assert.equal(visible("x\u2066y\u2069"), "x‹2066›y‹2069›");
  assert.equal(visible("one\ntwo\tthree"), "one⏎two⇥three");
  assert.equal(visible("\u{E0041}"), "‹E0041›");
  assert.equal(visible("\ufeffbom"), "‹FEFF›bom");
});

test("lone surrogates are written out and whole ones kept", () => {
  assert.equal(visible("a\ud83d"), "a‹D83D›");
  assert.equal(visible("\ude00b"), "‹DE00›b");
  assert.equal(visible("😀"), "😀");
});

test("marks that pile up are cut to three", () => {
  assert.equal([...visible("a" + "\u0301".repeat(40))].length, 4);
  assert.equal(visible("é ñ"), "é ñ");
});

test("markup is left as it is, for it only ever becomes a text node", () => {
  assert.equal(visible("<img src=x onerror=alert(1)>"), "<img src=x onerror=alert(1)>");
});

test("long text is cut and says so", () => {
  assert.equal(visible("x".repeat(300), 10), "x".repeat(10) + "…");
});

test("ids and images get the short form that people use", () => {
  assert.equal(shortId("a".repeat(64)), "a".repeat(12));
  assert.equal(shortId("my-name"), "my-name");
  assert.equal(shortImage("registry.example:5000/team/app:1.2@sha256:" + "0".repeat(64)), "team/app:1.2");
  assert.equal(shortImage("nginx:1.27"), "nginx:1.27");
  assert.equal(repository("registry.example:5000/team/app:1.2"), "team/app");
  assert.equal(repository("sha256:" + "a".repeat(64)), "sha256:" + "a".repeat(12));
});

test("numbers, sizes and ages", () => {
  assert.equal(format.brief(950), "950");
  assert.equal(format.brief(12345), "12.3k");
  assert.equal(format.brief(54_300_000), "54.3M");
  assert.equal(format.brief(1_000_000), "1M");
  assert.equal(format.brief(100_000), "100k");
  assert.equal(format.brief(0.5), "0.5");
  assert.equal(format.brief(NaN), "–");
  assert.equal(format.bytes(1.9 * 2 ** 30), "1.9 GiB");
  assert.equal(format.bytes(0), "0 B");
  assert.equal(format.age(59_999), "59 s");
  assert.equal(format.age(3_600_000), "1 h");
  assert.equal(format.age(90_000_000), "1 d 1 h");
  assert.equal(format.age(-5), "0 s");
  assert.equal(format.ageShort(23.9 * 3600_000), "23 h");
  assert.equal(format.percent(1, 100_000), "< 0.1 %");
  assert.equal(format.percent(0, 0), "0 %");
});

test("times in every form the API has", () => {
  assert.equal(format.toMs("2026-11-24T03:08:20.123456789Z"), Date.UTC(2026, 10, 24, 3, 8, 20, 123));
  assert.equal(format.toMs(1_790_000_000_000_000_000), 1_790_000_000_000);
  assert.equal(format.toMs("1790000000000000000"), 1_790_000_000_000);
  for (const none of [null, undefined, "", 0, "yesterday"]) assert.ok(Number.isNaN(format.toMs(none)), String(none));
});
