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
  await node.flows([{ from: web, to: plain()[2], port: 5432, proto: 6, exe: "/usr/bin/app", peerExe: "/usr/bin/db", connections: 3, bytesOut: 900, bytesIn: 9000, first: Date.now() - 60_000, last: Date.now() - 1000 }], Date.now(), true);
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
  /* it stays where the person is: in force, beside the container */
  await until("the act beside the container", async () => /Isolate[\s\S]*its node has not said yet[\s\S]*by admin/.test(await text(".places .held")));
  const [r] = (await api("/responses")).responses;
  assert.equal(r.container_id, web.id);
  assert.deepEqual(r.allow.length, 1);
  assert.ok(r.until);
  await b.open("#/responses");
  await until("who and why", async () => /a shell <b>below<\/b> nginx/.test(await text(".table tbody")) && /admin/.test(await text(".table tbody")));
  assert.match(await text(".table tbody"), /in (59 min|1 h)/);
});

test("it is in force in the container's panel and on the map as well, and is released from there", async () => {
  await b.open(`#/containers?id=${web.id}`);
  await until("the container's panel", async () => /Isolate/.test(await text(".drawer .held")));
  await b.open(`#/map?level=container&sel=${encodeURIComponent(`c:node-a/${web.id}`)}`);
  await until("the map's panel", async () => /Isolate[\s\S]*by admin/.test(await text(".drawer .held")));
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

test("one process is named by its number and when it began; a service by its name", async () => {
  await b.open(`#/containers?id=${web.id}`);
  await page.click(".drawer >> text=Act…");
  await page.selectOption(".dialog select >> nth=0", "kill-tree");
  await page.getByLabel("Its number on the node").fill("4242");
  await page.getByLabel("Type the container's name").fill(web.name);
  assert.ok(await page.locator(".dialog button.danger").isDisabled(), "without its start another of that number could be meant");
  await page.getByLabel("When it began").fill("2026-11-27T10:00:00.120000000Z");
  await page.click(".dialog button.danger");
  await until("the order", async () => (await api("/responses")).responses.some((r) => r.action === "kill-tree" && r.container_id === web.id));
  await page.click(".drawer >> text=Act…");
  await page.selectOption(".dialog select >> nth=0", "scale-to-zero");
  assert.ok(await page.locator(".dialog button.primary").isDisabled());
  b.expected.push(/400/);
  await page.getByLabel("Type the name of the service").fill("not its service");
  await page.click(".dialog button.primary");
  await until("it is refused", async () => (await text(".dialog .notice")).length > 20);
  assert.ok(!(await api("/responses")).responses.some((r) => r.action === "scale-to-zero"));
  b.expected = [];
  await page.click(".dialog >> text=Cancel");
});

test("a container is led to a decoy: from where, and where to", async () => {
  await b.open(`#/containers?id=${web.id}`);
  await page.click(".drawer >> text=Act…");
  await page.selectOption(".dialog select >> nth=0", "decoy");
  assert.ok(await page.locator(".dialog button.primary").isDisabled(), "it says neither from where nor where to");
  await page.getByLabel("Destinations, one a line").fill("10.0.0.9:6379\n203.0.113.0/24");
  assert.ok(await page.locator(".dialog button.primary").isDisabled(), "it does not say where to");
  await page.getByLabel("Where the decoy listens").fill("172.17.0.9:7000");
  await page.click(".dialog button.primary");
  await until("the order", async () => (await api("/responses")).responses.some((r) => r.action === "decoy" && r.subject === "172.17.0.9:7000" && r.deny.length === 2));
  const led = (await api("/responses")).responses.find((r) => r.action === "decoy");
  await b.open(`#/responses?id=${led.id}`);
  await until("what is led, and where", async () => /Lead to a decoy[\s\S]*203\.0\.113\.0\/24[\s\S]*172\.17\.0\.9:7000[\s\S]*0 connections/.test(await text(".drawer")));
  await page.click(".drawer >> text=Release…");
  await page.click(".dialog button[type=submit]");
  await until("its end", async () => (await api("/responses")).responses.some((r) => r.action === "decoy" && (r.releasing || r.state !== "pending")));
});

test("it is released, and both are in the audit log", async () => {
  await b.open("#/responses");
  await page.click(".table button.small");
  assert.match(await text(".dialog"), new RegExp(`Undoes “Isolate” on container ${web.name}, node node-a`));
  await page.click(".dialog >> text=Cancel");
  await page.click(".table button.small");
  await page.getByLabel("Why").fill("a false alarm <b>indeed</b>");
  await page.click(".dialog button.primary");
  await until("released or ordered", async () => !(await page.locator(".table button.small").count()));
  const r = (await api("/responses")).responses.find((x) => x.action === "isolate");
  assert.ok(r.releasing || r.state !== "pending", JSON.stringify(r));
  await b.open("#/audit");
  await until("the audit log", async () => /response\.release[\s\S]*a false alarm <b>indeed<\/b>[\s\S]*response\.create/.test(await text(".table tbody")));
});
