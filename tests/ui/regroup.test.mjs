// SPDX-License-Identifier: Apache-2.0
// Whose an incident is and what belongs to it; its evidence, as one archive, item by item, and verified.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { attack, HOSTILE, plain, status } from "./data.mjs";
import { Browser, stage, until } from "./env.mjs";

let central, node, b, page, web, proxy;
const BYTES = Buffer.from("#!/bin/sh\necho dropped\n");
const { text, api } = stage(async (s) => {
  ({ central, b, page } = s);
  node = await central.node("node-a");
  await node.inventory(plain(), true);
  node.status(status());
  await b.firstLogin();
  [web, , , proxy] = plain();
  for (const f of attack(web)) await node.finding(f);
  for (const f of attack(proxy).slice(0, 2)) await node.finding(f);
  await node.evidence("file", { path: `/tmp/${HOSTILE[0]}`, why: "run", rule: "Program run from a directory that anyone can write to", container: { id: web.id, name: web.name }, process: { pid: 42, exe: "/bin/sh" } }, BYTES);
  await until("two incidents with evidence", async () => (await api("/incidents?state=open")).incidents.length === 2 && (await api("/evidence?incident=1")).evidence.length > 0);
});
const more = async (what) => {
  await page.click(".subject-acts .menu-button >> text=More");
  await page.click(`.menu-panel >> text=${what}`);
  await page.waitForSelector(".dialog");
};
const quiet = async () => assert.deepEqual(await b.violations(["label", "button-name", "aria-valid-attr-value", "color-contrast", "nested-interactive"]), []);

test("evidence is shown item by item, down to the line that was signed", async () => {
  await b.open("#/incidents/1");
  await until("the item", async () => /file \/tmp\/<img/.test(await text(".evidence")));
  await page.click(".evidence-what");
  await until("its facts", async () => /item 1 of/.test(await text(".dialog .facts")));
  await page.click(".dialog >> text=As it was signed");
  const shown = await text(".dialog .raw pre");
  assert.match(shown, /"kind":"file"/);
  assert.match(shown, / [0-9a-f]{128}$/);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  await quiet();
  await page.keyboard.press("Escape");
  await page.waitForSelector(".dialog", { state: "detached" });
});

test("it is saved as one archive that has the bytes", async () => {
  const waiting = page.waitForEvent("download");
  await page.click("text=Save as one archive");
  const d = await waiting;
  assert.equal(d.suggestedFilename(), "bulkhead-evidence-incident-1.tar");
  const path = await d.path();
  const names = execFileSync("tar", ["-tf", path], { encoding: "utf8" });
  assert.match(names, /^README$/m);
  assert.match(names, /^log$/m);
  const object = names.split("\n").find((n) => n.startsWith("objects/") && !n.endsWith("/"));
  assert.ok(execFileSync("tar", ["-xOf", path, object]).equals(BYTES));
  assert.ok(readFileSync(path).length > 1024);
});

test("it is verified: what is whole, and who could not be asked", async () => {
  await page.click(".evidence-acts >> text=Verify");
  await until("the report", async () => /not every node could be asked/.test(await text(".evidence-acts .notice")));
  assert.match(await text(".chains"), /central's copy: whole: 1 item, 1 object[\s\S]*node-a could not be asked/);
  const whole = { ok: true, items: 1, objects: 1, problem_count: 0, problems: [] };
  node.serve.evidence_verify = () => JSON.stringify({ head: null, report: whole });
  await page.click(".evidence-acts >> text=Verify");
  await until("all of it", async () => /All evidence is as it was signed/.test(await text(".evidence-acts .notice.good")));
  node.serve.evidence_verify = () => JSON.stringify({ head: null, report: { ...whole, ok: false, problem_count: 1, problems: [{ what: "changed", seq: 1, text: `item 1 was changed: ${HOSTILE[0]}` }] } });
  await page.click(".evidence-acts >> text=Verify");
  await until("the problem", async () => /not as it was signed[\s\S]*item 1 was changed: <img/.test(await text(".evidence-acts .notice.bad")));
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

test("health verifies all, and gives the heads of the chains", async () => {
  await b.open("#/health");
  await page.waitForSelector("#h-evidence");
  const waiting = page.waitForEvent("download");
  await page.click("text=Save heads");
  const d = await waiting;
  assert.match(d.suggestedFilename(), /^bulkhead-evidence-heads-\d{8}T\d{6}Z\.jsonl$/);
  const head = JSON.parse(readFileSync(await d.path(), "utf8").trim());
  assert.deepEqual([head.node, head.seq], ["node-a", 1]);
  await page.click(".evidence-acts >> text=Verify");
  await until("the problem", async () => /not as it was signed/.test(await text(".evidence-acts .notice.bad")));
  delete node.serve.evidence_verify;
});

test("a container has its evidence in its panel", async () => {
  await b.open(`#/containers?id=${web.id}`);
  await until("the item", async () => /file \/tmp\/<img/.test(await text(".drawer .evidence")));
});

test("an incident is given to somebody, and one who does not exist is told", async () => {
  await b.open("#/incidents/1");
  await more("Assign to…");
  b.expected.push(/404/);
  await page.fill(".dialog input", "nobody-such");
  await page.click(".dialog >> css=button.primary");
  await until("why not", async () => (await text(".dialog .notice.bad")).length > 5);
  b.expected = [];
  await page.fill(".dialog input", "admin");
  await quiet();
  await page.click(".dialog >> css=button.primary");
  await until("assigned", async () => /assigned to admin/.test(await text(".subject-facts")));
  await more("Assign to…");
  await page.fill(".dialog input", "");
  await page.click(".dialog >> text=Take it from everybody");
  await until("nobody's", async () => /assigned to nobody/.test(await text(".subject-facts")));
});

test("steps are split off, with what goes along said before", async () => {
  const before = await api("/incidents/1");
  await more("Split steps off…");
  await until("the first step", async () => /1 of 4 steps/.test(await text(".dialog [role=status]")));
  for (let i = 1; i < 4; i++) await page.click(`.dialog .choices label >> nth=${i}`);
  await until("one has to stay", async () => /One step has to stay/.test(await text(".dialog [role=status]")));
  assert.equal(await page.locator(".dialog button.primary").isDisabled(), true);
  await page.click(".dialog .choices label >> nth=0");
  await page.click(".dialog .choices label >> nth=1");
  await quiet();
  await page.click(".dialog >> text=Split them off");
  await until("the new one", () => /#\/incidents\/[3-9]/.test(page.url()));
  const id = Number(/incidents\/(\d+)/.exec(page.url())[1]);
  const made = await api(`/incidents/${id}`);
  assert.equal(made.timeline.length, 2);
  assert.equal((await api("/incidents/1")).timeline.length, before.timeline.length - 2);
  await until("it is shown", async () => (await page.locator(".timeline button").count()) === 2);
});

test("an incident is merged into the one that is chosen, and points there", async () => {
  const into = (await api("/incidents/2")).id;
  await b.open("#/incidents/1");
  await more("Merge into another…");
  await until("the others", async () => (await page.locator(".dialog .choices label").count()) === 2);
  assert.match(await text(".dialog .choices label"), /also in payments-api-1/); /* the one that was split off shares a container */
  await page.fill(".dialog .searchbox input", "nothing such");
  await until("none", async () => /No other open incident matches/.test(await text(".dialog")));
  await page.fill(".dialog .searchbox input", "");
  await page.waitForSelector(".dialog .choices label");
  assert.equal(await page.locator(".dialog button.primary").isDisabled(), true);
  await page.click(`.dialog .choices label:has(strong:text-is("${into}"))`);
  await page.locator(".dialog .searchbox input").press("Enter"); /* who looks for one merges none */
  await page.fill(".dialog .searchbox input", "n"); /* and what was chosen before is not meant any more */
  assert.equal(await page.locator(".dialog button.primary").isDisabled(), true);
  await page.fill(".dialog .searchbox input", "");
  assert.equal((await api("/incidents/1")).state, "open");
  await page.waitForSelector(".dialog .choices label");
  await page.click(`.dialog .choices label:has(strong:text-is("${into}"))`);
  await until("what it does", async () => /go into 2, which goes on/.test(await text(".dialog .notice")));
  await quiet();
  await page.click(`.dialog >> text=Merge into ${into}`);
  await until("the other", () => page.url().endsWith("#/incidents/2"));
  assert.equal((await api("/incidents/1")).state, "merged");
  await b.open("#/incidents/1");
  await until("where it went", async () => /part of incident 2/.test(await text(".page > .notice")));
  assert.equal(await page.locator(".subject-acts >> text=More").count(), 0);
});

test("a viewer sees evidence and heads, and no act that is not his", async () => {
  const v = await Browser.viewer(central, page);
  try {
    await v.open("#/incidents/2");
    await v.page.waitForSelector(".evidence-what, .evidence .faint");
    for (const act of ["More", "Save as one archive", "Verify"]) assert.equal(await v.page.locator(`button >> text=${act}`).count(), 0, act);
    await v.open("#/health");
    await v.page.waitForSelector("text=Save heads");
    for (const act of ["Verify", "Save all as one archive"]) assert.equal(await v.page.locator(`button >> text=${act}`).count(), 0, act);
    await v.open("#/policies");
    await v.page.waitForSelector("#p-title");
    assert.equal(await v.page.locator("text=Reload…").count(), 0);
    await v.open("#/models");
    await v.page.waitForSelector("#m-title");
    assert.equal(await v.page.locator("text=Import…").count(), 0);
    assert.deepEqual(v.problems, []);
  } finally {
    await v.stop();
  }
});

test("evidence of a node that is away is not called whole", async () => {
  node.serve.evidence_verify = () => JSON.stringify({ head: null, report: { ok: true, items: 1, objects: 1, problem_count: 0, problems: [] } });
  node.close();
  await b.open("#/health");
  await page.waitForSelector("#h-evidence");
  await until("it is away", async () => {
    await page.click(".evidence-acts >> text=Verify");
    return /not connected now/.test(await text(".chains"));
  });
  assert.match(await text(".evidence-acts .notice"), /not every node could be asked/);
});
