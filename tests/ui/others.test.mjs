// SPDX-License-Identifier: Apache-2.0
// What there is beside containers, in the browser: resources of runtimes, and the HTTP requests of workloads.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { HOSTILE, plain, status } from "./data.mjs";
import { stage, until } from "./env.mjs";
import { packed } from "./wire.mjs";

let b, page;
const [web] = plain();
const { text, api } = stage(async (s) => {
  ({ b, page } = s);
  const node = await s.central.node("node-a");
  await node.inventory(plain(), true);
  node.status(status());
  await node.resources([{ kind: "network", id: "n1", name: "payments_default", application: "payments", labels: { tier: "gold" }, detail: { driver: "bridge", subnet: "10.0.0.0/24" } }, { kind: "volume", id: HOSTILE[1], name: HOSTILE[0], labels: { [HOSTILE[2]]: HOSTILE[0] }, detail: { [HOSTILE[0]]: HOSTILE[1] } }]);
  const http = (subject, detail, sums) => node.observe({ container: web, kind: "http", subject, parent: "/usr/sbin/nginx", detail, count: 2, sums });
  await http("GET /items/{n}", "server", [[1, packed([0, 0, 3, 0, 1, 0])], [2, 10], [3, 20], [4, 2], [5, 4000], [6, 3000]]);
  await http(`POST /${HOSTILE[0]}`, "server");
  await node.observe({ container: web, kind: "parameter", subject: "GET /items/{n} id", parent: "/usr/sbin/nginx", detail: "server query number, up to 4 bytes" });
  await b.firstLogin();
  await until("both", async () => (await api("/endpoints")).endpoints.length === 2 && (await api("/resources")).resources.length === 2);
});
const clean = async () => {
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.deepEqual(await b.violations(), []);
};

test("resources are found by kind and text, and told whole", async () => {
  await b.open("#/containers");
  await page.click('.segments a:has-text("Resources")');
  await until("both", async () => (await page.locator(".others-grid .grid-body .row").count()) === 2);
  await clean();
  await page.selectOption('[aria-label="Kind"]', "volume");
  await until("one", async () => (await page.locator(".others-grid .grid-body .row").count()) === 1);
  assert.match(page.url(), /tab=resources&kind=volume|kind=volume&tab=resources/);
  await page.click(".others-grid .grid-body .row");
  await until("its drawer", async () => /<img src=x/.test(await text(".drawer h2")));
  await clean();
  await page.keyboard.press("Escape");
  await page.selectOption('[aria-label="Kind"]', "");
  await page.fill('[aria-label="Search Resources"]', "payments");
  await until("the network alone", async () => (await page.locator(".others-grid .grid-body .row").count()) === 1 && /payments_default/.test(await text(".others-grid .grid-body")));
  await page.click(".others-grid .grid-body .row");
  await until("its details", async () => /subnet\s*10\.0\.0\.0\/24[\s\S]*tier/.test(await text(".drawer")));
  await page.fill('[aria-label="Search Resources"]', "nothing such");
  await until("none", async () => /Nothing matches/.test(await text(".empty")));
  await page.click(".empty >> text=Clear");
  await until("both again", async () => (await page.locator(".others-grid .grid-body .row").count()) === 2);
});

test("requests are told with their answers and parameters, and exported", async () => {
  await page.click('.segments a:has-text("HTTP requests")');
  await until("both", async () => (await page.locator(".others-grid .grid-body .row").count()) === 2);
  await clean();
  await page.selectOption('[aria-label="Side"]', "client");
  await until("none is made", async () => /Nothing matches/.test(await text(".empty")));
  await page.click(".empty >> text=Clear");
  await page.click('.others-grid .row:has-text("/items/{n}")');
  await until("its parameter", async () => /id[\s\S]*query number, up to 4 bytes/.test(await text(".drawer .things")));
  assert.match(await text(".drawer .facts"), /2xx 3, 4xx 1/);
  assert.match(await text(".drawer .facts"), /2\.0 ms on average, at most 3\.0 ms[\s\S]*5 B asked, 10 B answered/); /* 4,000 µs of 2; 10 and 20 bytes of 2 */
  assert.match(page.url(), /id=\d+/);
  await page.reload();
  await until("the same", async () => /GET \/items\/\{n\}/.test(await text(".drawer h2")));
  const waiting = page.waitForEvent("download");
  await page.click(".toolbar .menu-button");
  await page.click(".menu-panel >> text=CSV");
  const saved = readFileSync(await (await waiting).path(), "utf8");
  assert.match(saved, /payments,api,server,GET,\/items\/\{n\}/);
});

test("both fit a phone", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const [tab, says] of [["resources", /payments_default/], ["requests", /items/]]) {
    await b.open(`#/containers?tab=${tab}`);
    await until(tab, async () => says.test(await text(".others-grid .grid-body")));
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && document.querySelector(".listing").scrollWidth <= innerWidth));
    await clean();
  }
});
