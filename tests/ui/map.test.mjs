// SPDX-License-Identifier: Apache-2.0
// The map in a real browser against the real central: what it shows is what the API says, whatever way one takes to it.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { HOSTILE, hostile, id, status } from "./data.mjs";
import { hostileFlows, shop } from "./environment.mjs";
import { Browser, Central, stage, until } from "./env.mjs";

const SHOTS = process.env.BH_UI_SHOTS; /* a folder for people to look at */
let central, node, b, page, env;

const hour = () => new Date(Math.floor((Date.now() - 3_600_000) / 10_000) * 10_000).toISOString();
const graph = (level = "workload", more = "") => api(`/graph?level=${level}&hidden=1&limit=10000&since=${hour()}${more}`);
const number = (s) => Number(s.replace(/[^\d]/g, ""));
const rows = () => page.locator(".map-grid .grid-body .row");
const failed = (e) => e.refused + e.timed_out + e.unreachable + e.failed;
/* Opens the map with one node in the middle of the canvas, by the places that this browser keeps. */
async function centred(unit, k = 1, more = "") {
  const places = JSON.parse(await page.evaluate(() => localStorage.getItem("bulkhead-map-places")));
  const [, boxKey, col, row] = places.places.find((p) => p[0] === unit);
  const [, , x, y] = places.boxes.find((p) => p[0] === boxKey);
  const at = [x + 14 + (col + 0.5) * 84, y + 30 + (row + 0.42) * 78];
  /* from another page: a map that is there already would glide to the place, and a click might come on the way */
  await b.open("#/health");
  await page.waitForSelector(".map-canvas", { state: "detached" });
  await page.evaluate(() => performance.clearMarks());
  await b.open(`#/map?at=${at.map(Math.round)},${k}${more}`);
  await page.waitForSelector(".map-canvas");
  await painted();
  const box = await page.locator(".map-canvas").boundingBox();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}
/* Two frames after the page had its data. */
async function painted() {
  await until("a picture", () => page.evaluate(() => performance.getEntriesByName("map:paint").length > 0));
  await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
}

const { text, sees, api } = stage(async (s) => {
  ({ central, b, page } = s);
  env = shop();
  node = await central.node("node-a");
  await node.inventory([...env.containers, ...hostile()], true);
  /* most of it began before the window of an hour, so that "new" says something */
  const old = env.flows.filter((f) => f.port !== 8443).map((f) => ({ ...f, first: f.first - 8_000_000, last: f.last - 7_500_000 }));
  await node.flows(old, Date.now() - 7_500_000, true);
  await node.flows(env.flows);
  const of = (w) => env.containers.filter((c) => c.workload === w);
  await node.listens([...of("db").map((c) => ({ id: c.id, exe: "/usr/lib/postgresql/16/bin/postgres", port: 5432 })), ...of("api").map((c) => ({ id: c.id, exe: "/usr/bin/python3.11", port: 8080 }))]);
  node.status(status());
  await b.firstLogin();
  await page.waitForSelector(".connection.live");
});

describe("the picture", () => {
  test("says how much there is, what is wrong stands first", async () => {
    await b.open("#/map");
    await painted();
    const g = await graph();
    const shown = g.edges.filter((e) => !e.hidden);
    await sees("how many connections", ".map-tally", /connections/);
    assert.equal(number((await text(".map-tally")).match(/([\d,]+) connections/)[1]), shown.length);
    const chips = (await page.locator(".map-chips").innerText()).replace(/\s+/g, " ");
    assert.match(chips, /1 scanning/);
    assert.equal(number(chips.match(/(\d+) failing/)[1]), shown.filter((e) => failed(e) * 2 >= e.connections && failed(e) > 0 && e.ports < 2).length);
    assert.equal(number(chips.match(/DNS hidden (\d+)/)[1]), g.edges.filter((e) => e.hidden).length);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  });

  test("a click on a node opens what the API says of it", async () => {
    const at = await centred("w:shop/api");
    await page.mouse.click(at.x, at.y);
    await sees("the panel", ".drawer h2", /^api$/);
    assert.match(page.url(), /sel=w%3Ashop%2Fapi/);
    const g = await graph();
    const out = g.edges.filter((e) => e.from === "w:shop/api" && !e.hidden);
    const into = g.edges.filter((e) => e.to === "w:shop/api" && !e.hidden);
    const sections = page.locator(".drawer .section");
    assert.equal(number(await sections.filter({ hasText: "Talks to" }).locator(".tally").innerText()), out.length);
    assert.equal(number(await sections.filter({ hasText: "Is talked to by" }).locator(".tally").innerText()), into.length);
    assert.equal(await sections.filter({ hasText: "Talks to" }).locator(".peer").count(), out.length);
    for (const e of out) assert.ok((await sections.filter({ hasText: "Talks to" }).innerText()).includes(`${e.port}/tcp`), String(e.port));
    await sees("the scan is told first", ".drawer .trouble", /Scanning\. runner tried 1,000 ports/);
    const listening = await api("/listeners?application=shop&workload=api");
    assert.equal(listening.listeners.length, 4);
    await sees("where it listens, equal replicas in one line", ".drawer .section:has-text('Listens') .things", /8080\/tcp ×4/);
    assert.equal(await page.locator(".drawer .section:has-text('Containers') .peer").count(), 4);
    const figures = await page.locator(".drawer .twin-figures").innerText();
    assert.equal(number(figures.match(/([\d,]+) begun/)[1]), out.reduce((n, e) => n + e.connections, 0));
  });

  test("from a peer to the connection, with all that the API says of it", async () => {
    await page.locator(".drawer .peer", { hasText: "5432/tcp" }).first().click();
    await sees("the connection", ".drawer .edge-head", /api[\s\S]*db/);
    const g = await graph();
    const e = g.edges.find((x) => x.from === "w:shop/api" && x.to === "w:shop/db");
    const d = await api(`/graph/edges/${e.id}?level=workload&since=${hour()}`);
    await until("its parts", async () => (await page.locator(".drawer .peer.part").count()) === d.parts.length);
    const all = await page.locator(".drawer").innerText();
    for (const s of [...e.clients, ...e.servers, e.protocol, `${e.port}/tcp`, ...e.names]) assert.ok(all.includes(s), s);
    assert.equal(number(all.match(/Connections\s+([\d,]+)/)[1]), e.connections);
    /* a part is a connection of the level below */
    await page.locator(".drawer .peer.part").first().click();
    await sees("a container's connection", ".drawer .edge-head", /shop-api-\d[\s\S]*shop-db-1/);
    await until("its own numbers", async () => /one|finest level/.test(await page.locator(".drawer").innerText()));
    await page.locator(".endlink").first().click();
    await sees("the container", ".drawer p", /Container in shop, api/);
    await page.keyboard.press("Escape");
    await until("closed", async () => (await page.locator(".drawer").count()) === 0);
    assert.doesNotMatch(page.url(), /sel=/);
  });

  test("pointing at a node shows what it is, and nothing is selected by it", async () => {
    const at = await centred("w:shop/web");
    await page.mouse.move(at.x, at.y);
    await sees("the tip", ".map-tip:not(.off)", /web[\s\S]*3 of 3 containers running[\s\S]*shop\/web:2\.1/);
    assert.equal(await page.locator(".drawer").count(), 0);
  });

  test("is dragged and zoomed, and the address keeps where one is", async () => {
    const at = await centred("w:shop/web");
    await page.mouse.move(at.x, at.y);
    await page.mouse.down();
    await page.mouse.move(at.x + 150, at.y + 60, { steps: 6 });
    await page.mouse.up();
    for (let i = 0; i < 4; i++) await page.mouse.wheel(0, -240);
    await sees("containers when near", ".map-level", /Containers/);
    await until("it is in the address", () => /at=-?\d+%2C-?\d+%2C\d/.test(page.url()));
    assert.equal(await page.locator(".drawer").count(), 0, "a drag is no click");
    for (let i = 0; i < 9; i++) await page.mouse.wheel(0, 240);
    await sees("applications when far", ".map-level", /Applications/);
    await page.click("[aria-label='Show all']");
    await until("no place in the address", () => !/at=/.test(page.url()));
  });

  test("is walked by keyboard alone: arrows, Enter, Escape, and / for the filter", async () => {
    await b.open("#/map?level=workload");
    await painted();
    await page.focus(".map-canvas-box");
    const seen = new Set();
    for (const key of ["ArrowRight", "ArrowRight", "ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowRight"]) {
      await page.keyboard.press(key);
      const label = await page.getAttribute(".map-canvas-box", "aria-label");
      if (/; at /.test(label)) seen.add(label.split("; at ")[1]);
    }
    assert.ok(seen.size >= 3, [...seen].join());
    assert.match(await page.locator(".map-picture [role=status]").innerText(), /\d+ out, \d+ in/);
    const at = (await page.getAttribute(".map-canvas-box", "aria-label")).split("; at ")[1];
    await page.keyboard.press("Enter");
    await sees("the panel", ".drawer h2", new RegExp(at.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
    await page.keyboard.press("Escape");
    await until("closed", async () => (await page.locator(".drawer").count()) === 0);
    assert.equal(await page.evaluate(() => document.activeElement.className), "map-canvas-box");
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Filter the map");
    await page.keyboard.press("Escape");
  });
});

describe("filter, chips and table", () => {
  test("the table has every connection of the API, number by number", async () => {
    await b.open("#/map?view=table");
    await page.waitForSelector(".map-grid .grid-body .row");
    const g = await graph();
    const shown = g.edges.filter((e) => !e.hidden);
    assert.equal(await rows().count(), shown.length);
    const name = Object.fromEntries(g.nodes.map((n) => [n.id, n.name]));
    const seen = (await page.evaluate(() => [...document.querySelectorAll(".map-grid .grid-body .row")].map((r) => {
      const of = (c) => r.querySelector(`.m-${c}`);
      return [of("from").querySelector("bdi").innerText, of("to").querySelector("bdi").innerText, of("port").innerText, of("connections").innerText, of("failures").innerText].join("|");
    }))).sort();
    const n = (x) => x.toLocaleString("en-US");
    assert.deepEqual(seen, shown.map((e) => [name[e.from], name[e.to], e.ports > 1 ? `${e.ports} ports` : `${e.port}/${e.proto}`, n(e.connections), failed(e) ? n(failed(e)) : ""].join("|")).sort());
    assert.match(await rows().first().innerText(), /scanning/, "what is wrong stands first");
    assert.equal(await page.getAttribute(".map-grid", "aria-rowcount"), String(shown.length + 1));
  });

  test("is sorted by its heads and walked by keyboard, with the map's selection", async () => {
    await page.click(".map-grid .m-connections button");
    await until("sorted", async () => (await page.getAttribute(".map-grid .row.head .m-connections", "aria-sort")) === "ascending");
    const counts = (await page.locator(".map-grid .grid-body .m-connections").allInnerTexts()).map(number);
    assert.deepEqual(counts, counts.slice().sort((x, y) => y - x));
    await page.focus(".map-grid");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".drawer .edge-head");
    assert.match(page.url(), /view=table/);
    assert.match(page.url(), /edge=[0-9a-f]{16}/);
    assert.equal(await page.locator(".map-grid .row.selected").count(), 1);
    await page.click("text=Map >> nth=-1");
    await page.waitForSelector(".map-canvas");
    assert.equal(await page.locator(".drawer .edge-head").count(), 1, "the same selection in the picture");
    await page.keyboard.press("Escape");
  });

  test("filters and chips narrow both, stand in the address, and say when nothing is left", async () => {
    await b.open("#/map?view=table");
    await page.waitForSelector(".map-grid .grid-body .row");
    const g = await graph();
    await page.fill(".map-filter input", "port:5432");
    await until("the rows of that port", async () => (await rows().count()) === g.edges.filter((e) => e.port === 5432).length);
    assert.match(page.url(), /q=port%3A5432/);
    await page.click(".mchip:has-text('failing')");
    await until("those that fail too", async () => (await rows().count()) === g.edges.filter((e) => e.port === 5432 && failed(e)).length);
    const address = page.url();
    await b.open("#/");
    await page.goto(address);
    await until("the same again", async () => (await rows().count()) === 1);
    await page.fill(".map-filter input", "svc:no-such");
    await sees("nothing", ".empty h2", /No connection matches/);
    await page.click("[aria-label='Clear the filter']");
    const visible = g.edges.filter((e) => !e.hidden).length;
    await until("all", async () => (await rows().count()) === visible);
    await page.click(".mchip:has-text('DNS hidden')");
    await until("quiet ones too", async () => (await rows().count()) === g.edges.length);
    assert.match(page.url(), /show=dns/);
    await page.click(".mchip:has-text('DNS shown')");
    await page.fill(".map-filter input", "container:shop-db-1");
    await sees("containers are asked for", ".map-table-bar .hint", /Between containers/);
    const c = await graph("container");
    const db = c.nodes.find((x) => x.name === "shop-db-1").id;
    await until("its connections", async () => (await rows().count()) === c.edges.filter((e) => e.from === db || e.to === db).length);
  });

  test("nodes have a table as well", async () => {
    await b.open("#/map?view=table");
    await page.click(".map-table-bar >> text=Nodes");
    await until("every workload", async () => {
      const all = (await page.locator(".map-nodes .grid-body").innerText());
      return ["proxy", "web", "api", "db", "runner", "smtp.mail.example"].every((n) => all.includes(n));
    });
  });
});

describe("time", () => {
  test("the window is moved by keyboard and by dragging; it holds, and goes on", async () => {
    await b.open("#/map?range=21600");
    await painted();
    const begin = page.locator("[aria-label='Begin of the window']");
    assert.equal(await page.locator("[aria-label='End of the window']").getAttribute("aria-valuetext"), "now");
    await begin.focus();
    for (let i = 0; i < 4; i++) await page.keyboard.press("ArrowLeft");
    await until("a longer window", () => /win=4320/.test(page.url()));
    const box = await page.locator(".track .window").boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x - 140, box.y + 20, { steps: 5 });
    await page.mouse.up();
    await until("a window in the past", () => /until=2/.test(page.url()));
    await sees("held", ".scrubber .button", /Paused/);
    await page.click(".scrubber .button");
    await sees("going on", ".scrubber .button", /Live/);
    assert.doesNotMatch(page.url(), /until=/);
  });

  test("what happens on a node is on the map without a reload; a held window stands still", async () => {
    await b.open("#/map?view=table&q=port:4711");
    await sees("nothing yet", ".empty h2", /No connection matches/);
    const [web, db] = [env.containers.find((c) => c.workload === "web"), env.containers.find((c) => c.workload === "db")];
    await node.flows([{ from: web, to: db, port: 4711, proto: 6, exe: "/tmp/odd", connections: 3, bytesOut: 10, bytesIn: 10, first: Date.now(), last: Date.now() }]);
    await until("it came", async () => (await rows().count()) === 1, 15_000);
    await page.click(".scrubber .button");
    await sees("held", ".scrubber .button", /Paused/);
    const held = await text(".map-grid .grid-body .m-connections");
    await node.flows([{ from: web, to: db, port: 4711, proto: 6, exe: "/tmp/odd", connections: 500, bytesOut: 10, bytesIn: 10, first: Date.now(), last: Date.now() }]);
    await until("the server has it", async () => (await graph()).edges.find((e) => e.port === 4711)?.connections === 503);
    assert.equal(await text(".map-grid .grid-body .m-connections"), held);
    await page.click(".scrubber .button");
    await until("it goes on", async () => number(await text(".map-grid .grid-body .m-connections")) === 503, 15_000);
  });

  test("what came in the second in which the window is held is in it", async () => {
    const minute = Math.floor(Date.now() / 60_000) * 60_000; // windows are widened to whole minutes: only their first second shows it
    const [web, db] = [env.containers.find((c) => c.workload === "web"), env.containers.find((c) => c.workload === "db")];
    await node.flows([{ from: web, to: db, port: 4713, proto: 6, exe: "/tmp/odd", connections: 3, bytesOut: 10, bytesIn: 10, first: minute + 200, last: minute + 200 }]);
    await b.open("#/map?view=table&q=port:4713");
    await until("it came", async () => (await rows().count()) === 1, 15_000);
    const asked = page.waitForResponse((r) => /\/graph\?.*level=workload.*until=/.test(r.url()));
    await page.evaluate((now) => {
      const real = Date.now;
      Date.now = () => now;
      document.querySelector(".scrubber .button").click();
      Date.now = real;
    }, minute + 500);
    assert.ok((await (await asked).json()).edges.some((e) => e.port === 4713));
    await sees("held", ".scrubber .button", /Paused/);
    assert.equal(await rows().count(), 1);
  });

  test("what changed is what the API says changed", async () => {
    await b.open("#/map?diff=1&win=3600&range=21600");
    await page.waitForSelector(".drawer .twin-figures");
    const now = Date.now();
    const since = Math.floor((now - 3_600_000) / 10_000) * 10_000;
    const iso = (t) => new Date(t).toISOString();
    const d = await api(`/graph/diff?level=workload&since=${iso(since)}&until=${iso(now)}&base_since=${iso(since - 3_600_000)}&base_until=${iso(since)}`);
    const figures = (await page.locator(".drawer .twin-figures dd").allInnerTexts()).map(number);
    assert.deepEqual(figures, [d.new.length, d.gone.length, d.changed.length]);
    assert.ok(d.new.length > 0);
    await page.locator(".drawer .peer").first().click();
    await page.waitForSelector(".drawer .edge-head");
  });
});

test("names that attackers wrote are inert in picture, tip, panel and table", async () => {
  await node.flows(hostileFlows());
  await b.open("#/map?view=table&q=port:443-460");
  await until("they are there", async () => (await rows().count()) >= HOSTILE.length, 15_000);
  const all = await page.locator(".map-grid .grid-body").innerText();
  assert.ok(all.includes("<img src=x onerror=") || all.includes("<img src=x"), all.slice(0, 400));
  assert.doesNotMatch(all, /[\u001b\u202e\u200b\u2066]/);
  for (let i = 0; i < Math.min(8, await rows().count()); i++) {
    await rows().nth(i).click();
    await page.waitForSelector(".drawer .edge-head");
    assert.doesNotMatch(await page.locator(".drawer").innerText(), /[\u001b\u202e\u200b\u2066]/);
  }
  await b.open("#/map");
  await painted();
  await page.focus(".map-canvas-box");
  for (const key of ["ArrowRight", "ArrowDown", "ArrowRight", "ArrowDown"]) await page.keyboard.press(key);
  for (const h of HOSTILE.slice(0, 3)) {
    const hostileId = (await graph()).nodes.find((n) => n.kind === "workload" && n.name === h)?.id;
    assert.ok(hostileId, `expected a workload named ${h}`);
    await b.open(`#/map?sel=${encodeURIComponent(hostileId)}`);
    await page.waitForSelector(".drawer h2");
  }
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.equal(await page.locator("main img, main script, main svg[onload]").count(), 0);
});

test("a map that cannot be read is said, what is shown stays, and it goes on by itself", async () => {
  b.expected.push(/500/);
  await b.open("#/map");
  await painted();
  await page.route("**/api/v1/graph?**", (r) => r.fulfill({ status: 500, contentType: "application/json", body: '{"error":{"code":"x","message":"the store is being repaired"}}' }));
  await node.flows([{ from: env.containers[0], to: env.containers[3], port: 4712, proto: 6, connections: 1, bytesOut: 1, bytesIn: 1, first: Date.now(), last: Date.now() }]);
  await sees("why", ".inline-warn", /The store is being repaired\..*as of/, 15_000);
  assert.equal(await page.locator(".map-canvas").count(), 1);
  await page.unroute("**/api/v1/graph?**");
  await until("it goes on", async () => (await page.locator(".inline-warn").count()) === 0, 20_000);
});

test("with nothing to draw it says so", async () => {
  const bare = await Central.start();
  const other = await Browser.start(bare);
  try {
    await other.firstLogin();
    await other.open("#/map");
    await until("the words", async () => /Nothing to draw yet/.test(await other.page.innerText(".map-body")));
    assert.deepEqual(other.problems, []);
  } finally {
    await other.stop();
    await bare.stop();
  }
});

for (const theme of ["dark", "light"])
  for (const [width, height] of [[1440, 900], [390, 844]])
    describe(`${theme} ${width}×${height}`, () => {
      let o;
      const STATES = [["map", "#/map?q=-text:pwned"], ["map-workload", "#/map?sel=w:shop/api"], ["map-connection", "#/map?sel=w:backoffice/report&to=w:shop/db"], ["map-containers", "#/map?level=container"], ["map-changes", "#/map?diff=1"], ["map-table", "#/map?view=table"], ["map-filtered", "#/map?q=state:failing"], ["overview-map", "#/"]];
      before(async () => {
        o = await Browser.start(central, { width, height, theme, reduced: theme === "light" });
        await o.open();
        await o.login();
        await o.page.waitForSelector(".connection.live");
      });
      after(() => o?.stop());
      for (const [name, hash] of STATES)
        test(name, async () => {
          await o.open("#/health");
          await o.open(hash);
          await o.page.waitForSelector(name === "overview-map" ? ".mini-map" : name === "map-table" ? ".map-grid .row" : ".map-canvas");
          if (/workload|connection/.test(name)) await o.page.waitForSelector(".drawer .twin-figures");
          await o.page.evaluate(() => new Promise((r) => setTimeout(r, 500)));
          if (SHOTS) {
            mkdirSync(SHOTS, { recursive: true });
            await o.page.screenshot({ path: join(SHOTS, `${name}-${theme}-${width}.png`) });
          }
          assert.deepEqual(await o.violations(), []);
          assert.ok(await o.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "wider than the screen");
          assert.deepEqual(o.problems, []);
        });
    });
