// SPDX-License-Identifier: Apache-2.0
// Behaviour models in the browser: what was learned, what is to be judged, and what a lock and a relearning change.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { HOSTILE, plain, status } from "./data.mjs";
import { Browser, stage, until } from "./env.mjs";

let central, node, b, page, exported;
const [web] = plain();
const model = async () => (await api("/models?application=payments&workload=api")).models[0];

const { text, api } = stage(async (s) => {
  ({ central, b, page } = s);
  node = await central.node("node-a");
  await node.inventory(plain(), true);
  node.status(status());
  await b.firstLogin();
});

test("a filter that leaves nothing says so, and goes", async () => {
  await b.open("#/models?q=nothing-such");
  await until("the empty list", async () => /No model matches/.test(await text(".empty")));
  await page.click(".empty >> text=Clear");
  await until("the address is free of it", () => !page.url().includes("q="));
});

test("what a workload does is there, with what is to be judged", async () => {
  for (const program of ["/usr/sbin/nginx", "/usr/bin/curl", `/opt/${HOSTILE[0]}`]) await node.observe({ container: web, subject: program, parent: "/usr/bin/dumb-init", count: 7 });
  await node.observe({ container: web, kind: "file", subject: "/etc/nginx/nginx.conf", parent: "/usr/sbin/nginx", detail: "read" });
  await node.observe({ container: web, subject: "/bin/sh", parent: "/usr/sbin/nginx", suspicious: true, why: "a shell started by a server" });
  await until("the model", async () => (await model())?.versions[0]?.outstanding >= 1);
  await page.reload();
  await until("the row", async () => /payments.*api/s.test(await text(".models-grid .row:not(.head)")));
  await page.click(".m-name a");
  await page.waitForSelector(".items-grid .row:not(.head)");
  assert.match(page.url(), /app=payments/);
  const m = (await model()).versions[0];
  assert.equal(await page.locator(".family").count(), m.families.length + 1);
  await until("all items", async () => (await page.locator(".items-grid .grid-body .row").count()) === m.learned + m.outstanding);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

test("an item is read and accepted, and the central knows it", async () => {
  await page.click("text=Only what is to be judged");
  await until("one item", async () => (await page.locator(".items-grid .grid-body .row").count()) === 1);
  await page.click(".items-grid .grid-body .row");
  await until("its drawer", async () => /a shell started by a server/.test(await text(".drawer")));
  assert.match(page.url(), /item=[0-9a-f]{16}/);
  await page.click(".drawer >> text=Accept as normal");
  await until("accepted", async () => (await model()).versions[0].outstanding === 0);
  await until("nothing left", async () => /Nothing is to be judged/.test(await text(".empty")));
});

test("a lock shows first what it changes", async () => {
  await page.click("text=Only what is to be judged");
  await page.click(".subject-acts >> text=Lock…");
  await until("what changes", async () => /still learning\. From now on whatever is new there is told/.test(await text(".changes")));
  await page.click(".dialog >> text=Leave it");
  assert.equal((await model()).versions[0].locked, false);
  await page.click(".subject-acts >> text=Lock…");
  await page.click(".dialog >> css=button.primary");
  await until("locked", async () => (await model()).versions[0].locked === true);
  await until("said", async () => /locked/.test(await text(".subject-title .model-state")));
});

test("a locked model is observed, enforced when its name was typed, and let go", async () => {
  const enforced = async () => (await api("/models/enforced")).enforced.find((e) => e.workload === "api");
  await page.click(".subject-acts >> text=Enforce…");
  await page.selectOption(".dialog select >> nth=1", "3600");
  await page.fill(".dialog textarea", `a first look ${HOSTILE[0]}`);
  await page.click(".dialog >> css=button.primary");
  await until("observed", async () => (await enforced())?.mode === "observe");
  const first = await enforced();
  const hour = Date.parse(first.until) - Date.now();
  assert.ok(hour > 3_000_000 && hour <= 3_600_000, first.until);
  await until("the line that says so", async () => /Programs that are not in it are observed[\s\S]*Ordered by [\s\S]*, until [\s\S]*Why: [\s\S]*a first look/.test(await text(".model-body")));
  await page.click(".subject-acts >> text=Enforce…");
  await page.selectOption(".dialog select >> nth=0", "enforce");
  assert.equal(await page.isDisabled(".dialog >> css=button.danger"), true);
  await page.fill(".dialog input", "api");
  await page.click(".dialog >> css=button.danger");
  await until("enforced", async () => (await enforced())?.mode === "enforce");
  const then = await enforced();
  assert.equal(then.reason, first.reason); /* who changes the one keeps the other */
  assert.ok(Math.abs(Date.parse(then.until) - Date.parse(first.until)) < 60_000, `${first.until} became ${then.until}`);
  await until("the line that says so", async () => /Programs that are not in it are refused/.test(await text(".model-body")));
  await page.click(".subject-acts >> text=Enforce…");
  await page.click(".dialog >> text=End it");
  await until("ended", async () => (await enforced()) === undefined);
});

test("a family is looked at alone and relearned alone, with its preview", async () => {
  await page.click(".family >> nth=1");
  assert.match(page.url(), /family=/);
  await page.click("text=Relearn this family…");
  await until("what changes", async () => /forgotten[\s\S]*lock of/.test(await text(".changes")));
  await page.click(".dialog >> text=Forget and learn anew");
  const key = new URLSearchParams(page.url().split("?")[1]).get("family");
  await until("forgotten", async () => {
    const f = (await model()).versions[0].families.find((x) => x.family === key);
    return !f.locked;
  });
});

test("the model leaves as text", async () => {
  const waiting = page.waitForEvent("download");
  await page.click(".subject-acts .menu-button");
  await page.click(".menu-panel >> text=Model, for another");
  const d = await waiting;
  assert.match(d.suggestedFilename(), /^api-model\.jsonl$/);
  exported = readFileSync(await d.path(), "utf8");
  assert.match(exported, /nginx\.conf|curl/);
});

test("a model is imported into another workload, after what the file holds was shown", async () => {
  const file = { name: "m.jsonl", mimeType: "text/plain", buffer: Buffer.from(exported) };
  await b.open("#/models");
  await page.click(".toolbar >> text=Import…");
  await page.setInputFiles(".dialog input[type=file]", { ...file, buffer: Buffer.from("{}\n") });
  await until("it is none", async () => /not that of an exported model/.test(await text(".dialog .notice.bad")));
  await page.setInputFiles(".dialog input[type=file]", file);
  await until("what it holds", async () => /Model of payments \/ api.*1 forbidden|Model of payments \/ api[\s\S]*items? \(/.test(await text(".dialog .notice")));
  await page.fill(".dialog .twin input >> nth=0", HOSTILE[0]);
  await page.fill(".dialog .twin input >> nth=1", "api-next");
  assert.deepEqual(await b.violations(["label", "button-name", "color-contrast"]), []);
  await page.click(".dialog >> css=button.primary");
  await until("the new model", async () => /api-next/.test(await text("#md-title")));
  const items = (await api(`/models/items?workload=api-next`)).items;
  assert.ok(items.length > 0 && items.every((i) => ["accepted", "forbidden"].includes(i.standing)), JSON.stringify(items));
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

test("a model is imported into the one that is looked at; what the central refuses is told", async () => {
  await b.open("#/models?app=payments&workload=api");
  await page.click(".subject-acts >> text=Import…");
  await page.locator(".dialog input[type=file]").evaluate((e) => e.dispatchEvent(new Event("cancel", { bubbles: true }))); /* as when the chooser is left without a file */
  assert.ok(await page.locator(".dialog[open]").isVisible());
  const lines = exported.trim().split("\n");
  b.expected.push(/400/);
  await page.setInputFiles(".dialog input[type=file]", { name: "bad.jsonl", mimeType: "text/plain", buffer: Buffer.from(`${lines[0]}\n{"family":"nothing such"}\n`) });
  await page.click(".dialog >> css=button.primary");
  await until("why not", async () => /line 2.*family/.test(await text(".dialog .notice.bad")));
  b.expected = [];
  const item = JSON.stringify({ ...JSON.parse(lines[1]), object: "/usr/bin/imported", detail: "" });
  await page.setInputFiles(".dialog input[type=file]", { name: "good.jsonl", mimeType: "text/plain", buffer: Buffer.from(`${lines[0]}\n${item}\n`) });
  await page.click(".dialog >> text=Import 1 item");
  await page.waitForSelector(".dialog", { state: "detached" });
  await until("it is there", async () => (await api("/models/items?application=payments&workload=api")).items.some((i) => i.object === "/usr/bin/imported" && i.standing === "accepted"));
});

test("a viewer may look and not act", async () => {
  const v = await Browser.viewer(central, page);
  try {
    await v.open("#/models");
    await v.page.click(".m-name a");
    await v.page.waitForSelector(".families");
    for (const act of ["Relearn…", "Import…"]) assert.equal(await v.page.locator(`text=${act}`).count(), 0);
    assert.deepEqual(v.problems, []);
  } finally {
    await v.stop();
  }
});
