// SPDX-License-Identifier: Apache-2.0
// An attack as a node tells it, followed in the browser: it appears by itself, is read to its last byte, assigned, commented, exported and closed.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { attack, plain, status } from "./data.mjs";
import { stage, until } from "./env.mjs";

let central, node, b, page, web;
const { text, api } = stage(async (s) => {
  ({ central, b, page } = s);
  node = await central.node("node-a");
  await node.inventory(plain(), true);
  node.status(status());
  await b.firstLogin();
  web = plain()[0];
});

describe("incidents", () => {
  test("none is said as such", async () => {
    await b.open("#/incidents");
    await until("the empty list", async () => /No open incident/.test(await text(".empty")));
    assert.equal(await page.locator(".nav .badge.red").count(), 0);
  });

  test("an attack appears by itself, once, and is counted in the navigation", async () => {
    for (const f of attack(web)) await node.finding(f);
    await until("the row", async () => (await page.locator(".incidents-grid .row.is-open").count()) === 1);
    await until("all findings", async () => /\b(4|6) findings/.test(await text(".incidents-grid .row.is-open")));
    assert.match(await text(".nav .badge.red"), /^1/);
    assert.match(await text(".i-severity .severity"), /critical|high/);
    const [i] = (await api("/incidents")).incidents;
    assert.equal(await text(".i-name"), i.title);
  });

  test("the first page names it, and leads to it", async () => {
    await b.open("#/");
    const [i] = (await api("/incidents")).incidents;
    await until("its title", async () => (await text(".verdict p")) === i.title);
    await page.click(".verdict p a");
    await until("the incident", async () => (await text(".incident h1")) === i.title);
  });

  test("two clicks from the login's first page lead to a step", async () => {
    await b.open("#/");
    await page.click(".nav >> text=Incidents");
    await page.click(".i-name");
    await page.waitForSelector(".incident h1");
    const i = await api("/incidents/1");
    assert.equal(await text(".incident h1"), i.title);
    assert.ok((await text(".story > p")).length > 40);
    // what went over connections is counted on
    const fixed = (now) => now.replace(/ Since .*/, "");
    assert.equal(fixed(await text(".story > .state-now")), fixed(i.now));
    assert.match(i.now, /^Container .+ is running and not isolated\./);
    assert.equal(await page.locator(".timeline button").count(), i.timeline.length);
    assert.equal(await page.locator(".lane-area .lane-mark").count(), i.timeline.length);
    assert.deepEqual((await page.locator(".tactics.named li.on").allInnerTexts()).length, i.tactics.length);
    await page.click(".timeline button >> nth=2");
    await until("the address says which", () => page.url().includes("finding="));
    assert.match(await text(".step-rule"), /Password hashes read/);
    await until("its lineage", async () => /nginx/.test(await text(".step .lineage")));
    assert.match(await text(".step .facts"), /\/etc\/shadow/);
  });

  test("a link leads to the same step, and the event is there to its last field", async () => {
    await page.reload();
    await until("the step", async () => /Password hashes read/.test(await text(".step-rule")));
    await page.click("text=As it was recorded");
    const shown = JSON.parse((await text(".raw pre")).replace(/\u00a0/g, " "));
    assert.equal(shown.rule, "Password hashes read");
    assert.equal(shown.event["proc.pid"], 42);
  });

  test("picture, timeline and processes are one selection, by keyboard too", async () => {
    await page.focus(".lane-area");
    await page.keyboard.press("ArrowRight");
    await until("the next step", async () => /entered/.test(await text(".step-rule")));
    assert.match(await page.getAttribute(".lane-area", "aria-valuetext"), /entered/);
    assert.match(await text(".timeline [aria-current]"), /entered/);
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    await until("the second", async () => /anyone can write/.test(await text(".step-rule")));
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.match(await text(".step-rule + p"), /<img src=x/);
    await page.click(".forest >> text=curl");
    await until("the first", async () => /started a shell/.test(await text(".step-rule")));
    assert.match(await text(".step .notice"), /isolate the container/);
  });

  test("it grows while it is looked at, and the step that is read stays", async () => {
    const more = attack(web, Date.now() + 20_000)[2];
    await node.finding({ ...more, rule: "Log removed or emptied", fold: "other", tags: ["mitre_defense_evasion"] });
    await until("the fifth step", async () => (await page.locator(".timeline button").count()) === 5);
    assert.match(await text(".step-rule"), /started a shell/);
    assert.ok((await page.locator(".tactics.named li.on").allInnerTexts()).includes("Evasion"));
  });

  test("it is taken, commented and exported", async () => {
    await page.click("text=Take it");
    await until("assigned", async () => /assigned to admin/.test(await text(".subject-facts")));
    await page.fill(".comment-form textarea", "seen <b>before</b>");
    await page.click(".comment-form button");
    await until("the comment", async () => /seen <b>before<\/b>/.test(await text(".comments")));
    for (const [what, name, check] of [["Report", "incident-1.md", (t) => t.startsWith("# Incident 1: ") && !t.includes("<img")], ["JSON", "incident-1.json", (t) => JSON.parse(t).timeline.length === 5], ["Exceptions", "incident-1-exceptions.yaml", (t) => t.includes("exceptions:")]]) {
      const waiting = page.waitForEvent("download");
      await page.click(".subject-acts .menu-button");
      await page.click(`.menu-panel >> text=${what}`);
      const d = await waiting;
      assert.equal(d.suggestedFilename(), name);
      assert.ok(check(readFileSync(await d.path(), "utf8")), what);
    }
  });

  test("it is closed with a verdict, and the lists say so", async () => {
    await page.click(".subject-acts >> text=Close…");
    await page.click(".dialog >> text=Close the incident");
    assert.match(await text(".dialog .notice"), /Choose what it was/);
    await page.click(".dialog >> text=A false alarm");
    await page.fill(".dialog textarea", "a drill");
    await page.click(".dialog >> text=Close the incident");
    await until("closed", async () => /Closed by admin .*a false alarm/.test(await text(".page > .notice")));
    assert.equal(await page.locator("text=Take it").count(), 0);
    await page.click(".crumbs a");
    await until("none open", async () => /No open incident/.test(await text(".empty")));
    await until("no badge", async () => (await page.locator(".nav .badge.red").count()) === 0);
    await page.click(".segments >> text=Closed");
    await until("the closed one", async () => /closed: a false alarm/.test(await text(".incidents-grid .row.is-closed")));
  });

  test("a container's label says what it is worth, and raises severity, also when it is known later than the finding", async () => {
    const [db, label] = [{ ...plain()[1], id: "a55e7".padEnd(64, "0"), name: "vault-1" }, { "bulkhead.asset": "critical" }];
    await node.inventory([db], false);
    await node.finding({ rule: "Odd", priority: "error", tags: ["mitre_execution"], output: "odd", container: db, event: { type: 1, pid: 90, exe: "/bin/odd", container_id: db.id } });
    const its = async () => (await api(`/incidents?state=open&container=${db.id}`)).incidents[0];
    await until("the incident", its);
    assert.equal((await its()).severity, "low");
    await node.inventory([{ ...db, labels: label }], false);
    await until("its severity", async () => (await its()).severity === "high");
    await b.open(`#/incidents/${(await its()).id}`);
    await until("its tag", async () => /vault-1[\s\S]*critical asset/.test(await text(".places")));
    await api(`/incidents/${(await its()).id}`).then((i) => assert.deepEqual([i.containers[0].asset, i.timeline[0].asset], ["critical", "critical"]));
  });

  test("filters are in the address and say when nothing is left", async () => {
    await b.open("#/incidents?state=all&severity=critical");
    await page.waitForSelector(".incidents-grid, .empty");
    await page.fill('[aria-label="Search incidents"]', "nothing such");
    await until("none", async () => /No incident matches/.test(await text(".empty")));
    assert.match(page.url(), /q=nothing/);
    await page.click(".empty >> text=Clear");
    await until("it is back", async () => (await page.locator(".incidents-grid .row.is-closed").count()) === 1);
  });

  test("an incident that does not exist is said, with a way back", async () => {
    b.expected.push(/404/);
    await b.open("#/incidents/999");
    await until("said", async () => /could not be read/.test(await text(".empty")));
    b.expected = [];
  });
});
