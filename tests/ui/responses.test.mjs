// SPDX-License-Identifier: Apache-2.0
// Acts on containers in the browser: asked for with a reason, kept in the ledger whatever the node says, undone. The node of this test answers no orders: each stays pending, as one to a node that is away.
import assert from "node:assert/strict";
import { test } from "node:test";
import { attack, plain, status } from "./data.mjs";
import { stage, until } from "./env.mjs";

let central, node, b, page;
const [web] = plain();
const { text, api } = stage(async (s) => {
  ({ central, b, page } = s);
  node = await central.node("node-a");
  await node.inventory(plain(), true);
  node.status(status());
  for (const f of attack(web)) await node.finding(f);
  await b.firstLogin();
});

test("an empty ledger says where acts come from", async () => {
  await b.open("#/responses");
  await until("the empty ledger", async () => /Nothing was done yet/.test(await text(".empty")));
});

test("a container is isolated from its incident, with a reason and an end", async () => {
  node.close(); /* away: the order waits for it */
  await b.open("#/incidents/1");
  await page.click(".places >> text=Act…");
  await page.selectOption(".dialog select >> nth=0", "isolate");
  await page.fill(".dialog textarea >> nth=0", "10.0.0.1:443/tcp");
  await page.selectOption(".dialog select >> nth=1", "3600");
  await page.fill(".dialog textarea >> nth=1", "a shell <b>below</b> nginx");
  await page.click(".dialog button.primary");
  await until("the ledger", async () => /isolate|Isolate/.test(await text(".table tbody")));
  const [r] = (await api("/responses")).responses;
  assert.equal(r.container_id, web.id);
  assert.deepEqual(r.allow.length, 1);
  assert.ok(r.until);
  await until("who and why", async () => /a shell <b>below<\/b> nginx/.test(await text(".table tbody")) && /admin/.test(await text(".table tbody")));
  assert.match(await text(".table tbody"), /in (59 min|1 h)/);
});

test("what cannot be undone wants the name, letter by letter", async () => {
  await b.open(`#/containers?id=${web.id}`);
  await page.click(".drawer >> text=Act…");
  await page.selectOption(".dialog select >> nth=0", "kill");
  assert.ok(await page.locator(".dialog button.danger").isDisabled());
  await page.fill(".dialog input[type=text]", "payments-api");
  assert.ok(await page.locator(".dialog button.danger").isDisabled());
  await page.fill(".dialog input[type=text]", web.name);
  assert.ok(await page.locator(".dialog button.danger").isEnabled());
  await page.click(".dialog >> text=Cancel");
  assert.equal((await api("/responses")).responses.length, 1);
});

test("it is released, and both are in the audit log", async () => {
  await b.open("#/responses");
  await page.click(".table button.small");
  await until("released or ordered", async () => !(await page.locator(".table button.small").count()));
  const [r] = (await api("/responses")).responses;
  assert.ok(r.releasing || r.state !== "pending", JSON.stringify(r));
  await b.open("#/audit");
  await until("the audit log", async () => /response\.release[\s\S]*response\.create/.test(await text(".table tbody")));
});
