// SPDX-License-Identifier: Apache-2.0
// The pages, in a real browser against the real central, which a test's node feeds. Every test ends with: no console message, no
// request to another host, no dialog.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { blind, events, HOSTILE, hostile, id, lossy, many, plain, status } from "./data.mjs";
import { Browser, PASSWORD, stage, until } from "./env.mjs";

let central, node, b, page;
const rows = () => page.locator(".grid-body .row");

const { text, sees } = stage(async (s) => {
  ({ central, b, page } = s);
});

describe("login", () => {
  test("a wrong password is told without saying what was wrong", async () => {
    b.expected.push(/401/);
    await b.open("#/health");
    await b.login("admin", "not the password");
    await sees("the refusal", ".notice", /do not belong together/);
    assert.equal(await page.inputValue("input[name=password]"), "");
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("name")), "password");
  });

  test("the first login demands a password of one's own and then opens", async () => {
    await b.open("#/health");
    await b.login("admin", central.firstPassword);
    await page.waitForSelector("#pw-title");
    assert.equal(await page.locator(".nav").count(), 0);
    const fields = page.locator("input[type=password]");
    await fields.nth(0).fill(central.firstPassword);
    await fields.nth(1).fill("short");
    await fields.nth(2).fill("other");
    await page.click("button[type=submit]");
    await sees("why not", ".field-error", /At least 12/);
    await fields.nth(1).fill(PASSWORD);
    await fields.nth(2).fill(PASSWORD);
    await page.click("button[type=submit]");
    await page.waitForSelector(".nav");
    assert.match(page.url(), /#\/health$/);
  });

  test("the session holds over a reload, and the page is served under a strict policy", async () => {
    const answer = await page.reload();
    assert.match(answer.headers()["content-security-policy"], /default-src 'self'/);
    assert.doesNotMatch(answer.headers()["content-security-policy"], /unsafe|data:|\*/);
    await page.waitForSelector(".nav");
  });
});

describe("overview", () => {
  test("without a node nothing is called well", async () => {
    await b.open("#/");
    await sees("the verdict", ".verdict h1", /No node is being watched/);
    assert.equal(await page.locator(".verdict.good").count(), 0);
  });

  test("a node that connects is watched, and what matters stands first", async () => {
    node = await central.node("node-a");
    await node.inventory([...plain(), ...hostile()], true);
    node.status(status());
    await sees("the verdict", ".verdict h1", /Watching 15 running containers on 1 node/);
    assert.equal(await page.locator(".verdict.good").count(), 1);
    await sees("the most exposed", ".exposed li", /edge-proxy-1/);
  });

  test("a blind hook and losses take the sentence", async () => {
    node.status(blind());
    await sees("the verdict", ".verdict h1", /node-a does not see io_uring_setup/);
    node.status(lossy());
    await sees("the verdict", ".verdict p", /lost 1,204 events/);
    node.status(status());
    await sees("the verdict", ".verdict h1", /Watching/);
  });
});

describe("containers", () => {
  test("every container has a row; names that attackers wrote are inert text", async () => {
    await b.open("#/containers");
    await sees("the count", ".tally-line", /^16 containers$/);
    assert.equal(await rows().count(), 16);
    const all = await page.locator(".grid-body").innerText();
    assert.ok(all.includes("<img src=x onerror="));
    assert.ok(all.includes("‹202E›gnp.exe"));
    assert.equal(await page.locator("main img, main script, main svg[onload]").count(), 0);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  });

  test("a hostile container's drawer shows every field and runs none", async () => {
    for (let i = 0; i < HOSTILE.length; i++) {
      await b.open(`#/containers?id=${id(0xbad0 + i)}`);
      await page.waitForSelector(".drawer .levers");
      await page.evaluate(() => document.querySelectorAll(".drawer details").forEach((d) => (d.open = true)));
      assert.equal(await page.evaluate(() => window.pwned), undefined);
      assert.equal(await page.locator(".drawer img, .drawer script").count(), 0);
    }
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  });

  test("the drawer tells every field that the API gives", async () => {
    await b.open(`#/containers?id=${id(4)}`);
    await sees("the container", ".drawer h2", /edge-proxy-1/);
    await page.waitForSelector(".drawer .levers");
    const shown = (await page.locator(".drawer").innerText()).toLowerCase();
    for (const label of ["container id", "image digest", "application", "workload", "runtime", "exit code", "restarts", "privileged", "added capabilities", "security options", "devices", "mounts", "labels", "environment names", "control groups", "lever on the host", "/var/run/docker.sock"])
      assert.ok(shown.includes(label), label);
  });

  test("facets and search narrow the list and stand in the address", async () => {
    await b.open("#/containers");
    await page.waitForSelector(".facet");
    await page.locator(".facet-value", { hasText: "payments" }).first().click();
    await sees("the count", ".tally-line", /^3 of 16$/);
    await page.locator(".facet", { hasText: "State" }).locator(".facet-value", { hasText: "exited" }).click();
    await sees("the count", ".tally-line", /^1 of 16$/);
    assert.match(page.url(), /app=payments/);
    const address = page.url();
    await b.open("#/");
    await page.goto(address);
    await sees("the same list again", ".tally-line", /^1 of 16$/);
    await b.open("#/containers");
    await page.fill(".listing .searchbox input", "label:tier=gold");
    await sees("the count", ".tally-line", /^1 of 16$/);
    await page.fill(".listing .searchbox input", "no such thing");
    await sees("the empty list", ".empty h2", /No container matches/);
    await page.click("text=Clear the filters");
    await sees("the count", ".tally-line", /^16 containers$/);
  });

  test("the list is walked and opened by keyboard alone", async () => {
    await b.open("#/containers?q=payments");
    await sees("the count", ".tally-line", /^3 of 16$/);
    await page.focus(".containers-grid");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    const active = await page.getAttribute(".containers-grid", "aria-activedescendant");
    assert.equal(active, "c-2");
    const name = await page.locator("#c-2 .c-name bdi").innerText();
    await page.keyboard.press("Enter");
    await sees("the drawer", ".drawer h2", new RegExp(name));
    await page.keyboard.press("Escape");
    await until("the drawer is closed", async () => (await page.locator(".drawer").count()) === 0);
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("role")), "grid");
    await page.keyboard.press("/");
    await page.keyboard.type("edge");
    await page.waitForSelector(".search-panel [aria-selected=true]");
    await page.keyboard.press("Enter");
    await sees("the drawer", ".drawer h2", /edge-proxy-1/);
  });

  test("what changes on a node changes on the page without a reload", async () => {
    await b.open(`#/containers?id=${id(2)}`);
    await sees("the state", ".drawer", /running/);
    await node.inventory([{ ...plain()[1], state: "exited", finished_ns: 1_790_000_300_000_000_000n }]);
    await until("the row says exited", async () => (await page.locator(".row.is-exited", { hasText: "payments-api-2" }).count()) === 1);
    await until("the drawer says exited", async () => /exited/.test(await page.locator(".drawer .facts").nth(1).innerText()));
    await node.inventory([plain()[1]]);
  });

  test("of thousands of rows only the seen ones exist, at any place", async () => {
    const n = Number(process.env.BH_UI_MANY ?? 3000);
    for (let i = 0, all = many(n); i < n; i += 500) await node.inventory(all.slice(i, i + 500));
    /* each of them comes as a change of its own, for the page was open */
    await b.open("#/containers?q=shop-web");
    await sees("all are counted", ".tally-line", new RegExp(`^${n.toLocaleString("en-US")} of`), Math.max(60_000, n));
    for (const at of [0, 0.37, 1]) {
      await page.evaluate((part) => { const g = document.querySelector(".containers-grid"); g.scrollTop = g.scrollHeight * part; }, at);
      await until("rows are there", async () => (await rows().count()) > 10);
      assert.ok((await rows().count()) < 80);
    }
    await page.focus(".containers-grid");
    await page.keyboard.press("End");
    assert.equal(await page.locator(".row.active").getAttribute("aria-rowindex"), String(n + 1));
    assert.equal(await page.getAttribute(".containers-grid", "aria-rowcount"), String(n + 1));
    await node.inventory([...plain(), ...hostile()], true);
  });
});

describe("live events", () => {
  test("what happened before and what happens now; hostile arguments are inert", async () => {
    node.events(events());
    await b.open("#/events?groups=process,file");
    await until("the past", async () => (await rows().count()) >= 5);
    await until("the node has a listener", () => node.listeners === 1);
    node.events([{ type: 1, pid: 4242, comm: "later", exe: "/bin/later", args: ["later", "two words"], container_id: id(1), container_name: "payments-api-1" }]);
    await sees("the newest on top", ".grid-body .row:first-child, .grid-body #e-0", /later/);
    await sees("quoted arguments", "#e-0 .e-what", /\/bin\/later 'two words'/);
    const all = await page.locator(".grid-body").innerText();
    assert.ok(all.includes("<img src=x onerror="));
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.equal(await page.locator(".events img, .events script").count(), 0);
  });

  test("dropped events are a row where they are missing, and counted", async () => {
    node.events([{ type: 1, pid: 1, comm: "after", exe: "/bin/after" }], 1204);
    await sees("the gap", ".row.gap", /1,204 events dropped/);
    await sees("the sum", ".strip-facts", /1,204 dropped/);
  });

  test("an event opens with every field and as it came", async () => {
    await page.locator(".grid-body .row:not(.gap)", { hasText: "<img src=x" }).first().click();
    await sees("the drawer", ".drawer h2", /exec/);
    await page.evaluate(() => document.querySelectorAll(".drawer details").forEach((d) => (d.open = true)));
    await sees("the raw event", ".drawer pre", /"proc\.args"/);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    await page.keyboard.press("Escape");
    await page.click("text=Resume");
  });

  test("a paused list stands still and counts what waits", async () => {
    await page.click("text=Pause");
    const top = await text("#e-0");
    node.events(Array.from({ length: 7 }, (_, i) => ({ type: 1, pid: 9000 + i, comm: "waits", exe: "/bin/waits" })));
    await sees("the number that waits", ".pill", /7 newer/);
    assert.equal(await text("#e-0"), top);
    await page.click(".pill");
    await sees("they are shown", "#e-0", /waits/);
  });

  test("kinds and a container are chosen in the address and asked of the node", async () => {
    await b.open(`#/events?groups=network&container=payments-api-1`);
    await until("the container", async () => (await page.inputValue(".events .searchbox input")) === "payments-api-1");
    await until("the stream is that of the new choice", () => node.asked.at(-1)?.container === "payments-api-1");
    assert.ok(node.asked.at(-1).types.includes("connect") && !node.asked.at(-1).types.includes("exec"));
    assert.equal(await page.getAttribute(".toggle.g-network", "aria-pressed"), "true");
    assert.equal(await page.getAttribute(".toggle.g-process", "aria-pressed"), "false");
    b.expected.push(/400/);
    await page.fill('[aria-label="Only what this condition is true for"]', "proc.nome = sh");
    await page.keyboard.press("Enter");
    await sees("what is wrong with it", "#e-wrong", /proc\.nome/);
    const asked = node.asked.length;
    await page.fill('[aria-label="Only what this condition is true for"]', "proc.name = sh");
    await page.keyboard.press("Enter");
    await until("it is asked of the node, live too", () => node.asked.slice(asked).some((a) => a.follow && a.filter === "proc.name = sh"));
    assert.match(decodeURIComponent(page.url()).replaceAll("+", " "), /filter=proc\.name = sh/);
    assert.equal(await page.locator("#e-wrong").count(), 0);
    await page.selectOption('[aria-label="From when"]', "1h");
    await until("it looks back", () => node.asked.some((a) => !a.follow && a.filter && Math.abs(Date.now() - 3_600_000 - a.since) < 120_000));
    await page.click(".toggle.g-network");
    await sees("nothing chosen", ".empty h2", /No kind of event is chosen/);
    await b.open("#/");
    /* the central notices a listener that went when it writes to it, at the latest with its heartbeat */
    await until("the stream is given back", () => node.listeners === 0, 25_000);
  });
});

describe("health and stale data", () => {
  test("hooks, backends, losses and rings are told", async () => {
    node.status(lossy());
    await node.lost("observation", 17);
    await b.open("#/health");
    await sees("the node", ".node h2", /node-a/);
    await sees("the loss", ".node", /1,204/);
    await sees("the fallback", ".node", /1 on the fallback/);
    await page.click("text=As a table");
    await sees("the table", ".hooks table", /preferred[\s\S]*fallback/);
    await sees("the container that lost", "section[aria-labelledby=h-losses]", /<img src=x[\s\S]*ring full 1,204/);
    await sees("what never arrived", "section[aria-labelledby=h-undelivered]", /observation[\s\S]*17/);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  });

  test("a node that goes is said at once, on every page", async () => {
    node.close();
    await sees("the banner", ".stale-banner", /node-a is not reporting/);
    await b.open("#/containers");
    await sees("the banner", ".stale-banner", /node-a is not reporting/);
    await b.open("#/");
    await sees("the verdict", ".verdict h1", /No node is reporting/);
    node = await central.node("node-a");
    await node.inventory([...plain(), ...hostile()], true);
    node.status(status());
    await until("the banner goes", async () => (await page.locator(".stale-banner").count()) === 0);
  });

  test("a central that goes is said, what is shown stays, and the page goes on by itself", async () => {
    b.expected.push(/Failed to load resource|ERR_|502|503/);
    await sees("live", ".connection", /Live/);
    const before = await text(".exposed li");
    await central.down("SIGKILL");
    await sees("the banner", ".stale-banner", /not being updated[\s\S]*as of/, 20_000);
    await sees("the verdict", ".verdict h1", /lost its connection/);
    assert.equal(await text(".exposed li"), before);
    await central.back();
    node.close();
    node = await central.node("node-a");
    await node.inventory([...plain(), ...hostile()], true);
    node.status(status());
    await sees("live again", ".connection", /Live/, 30_000);
    await sees("the verdict", ".verdict h1", /Watching/, 20_000);
    await until("the banner goes", async () => (await page.locator(".stale-banner").count()) === 0);
  });
});

describe("tabs", () => {
  const streams = async () => (await page.evaluate(async () => (await (await fetch("/api/v1/status")).json()).central.streams));

  test("three tabs share one stream", async () => {
    await until("one stream", async () => (await streams()) === 1);
    const more = [await b.context.newPage(), await b.context.newPage()];
    for (const p of more) {
      b.watch(p);
      await p.goto(`${central.url}/#/containers`);
      await p.waitForSelector(".connection.live");
    }
    assert.equal(await streams(), 1);
    await node.inventory([{ ...plain()[0], name: "renamed-by-node" }]);
    for (const p of more) await until("each tab is told", async () => (await p.locator(".row", { hasText: "renamed-by-node" }).count()) === 1);
    for (const p of more) await p.close();
    await node.inventory([plain()[0]]);
  });

  test("without SharedWorker a leading tab serves the others, and another takes over", async () => {
    const other = await Browser.start(central);
    try {
      await other.context.addInitScript(() => delete window.SharedWorker);
      await other.open();
      await other.login();
      await other.page.waitForSelector(".connection.live");
      const second = await other.context.newPage();
      other.watch(second);
      await second.goto(`${central.url}/#/containers`);
      await second.waitForSelector(".connection.live");
      await until("its stream beside the worker's", async () => (await streams()) === 2);
      await other.page.close();
      await node.inventory([{ ...plain()[0], name: "told-to-the-heir" }]);
      await until("the second tab goes on", async () => (await second.locator(".row", { hasText: "told-to-the-heir" }).count()) === 1, 20_000);
      assert.deepEqual(other.problems, []);
    } finally {
      await other.stop();
    }
  });
});

describe("administration", () => {
  let secret;

  test("a user is made with a password that is shown once, and sees what the role allows", async () => {
    await b.open("#/users");
    await page.click("text=Add a user");
    await page.fill("dialog input[type=text]", "dana");
    await page.click("dialog button[type=submit]");
    await page.waitForSelector(".secret");
    const first = (await text(".secret")).trim();
    await page.click("text=Done");
    await sees("the list", ".admin .table", /dana[\s\S]*viewer/);
    const other = await Browser.start(central);
    try {
      await other.open();
      await other.login("dana", first);
      await other.page.waitForSelector("#pw-title");
      const fields = other.page.locator("input[type=password]");
      await fields.nth(0).fill(first);
      await fields.nth(1).fill(`${PASSWORD} dana`);
      await fields.nth(2).fill(`${PASSWORD} dana`);
      await other.page.click("button[type=submit]");
      await other.page.waitForSelector(".nav");
      assert.doesNotMatch(await other.page.innerText(".nav"), /Users|Audit/);
      await other.open("#/users");
      await until("the refusal", async () => /Only administrators/.test(await other.page.innerText("main")));
      assert.deepEqual(other.problems, []);
    } finally {
      await other.stop();
    }
  });

  test("a token works until it is revoked", async () => {
    await b.open("#/tokens");
    await page.click("text=Make a token");
    await page.fill("dialog input[type=text]", HOSTILE[0].slice(0, 60));
    await page.click("dialog button[type=submit]");
    await page.waitForSelector(".secret");
    secret = (await text(".secret")).trim();
    await page.click("text=Done");
    const ask = () => page.request.get(`${central.url}/api/v1/status`, { headers: { authorization: `Bearer ${secret}` } });
    assert.equal((await ask()).status(), 200);
    await page.click(".table button:has-text('Revoke')");
    await page.click("dialog button:has-text('Revoke')");
    await sees("the list", ".table", /revoked/);
    assert.equal((await ask()).status(), 401);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  });

  test("the audit log tells all of it", async () => {
    await b.open("#/audit");
    await sees("the log", ".table", /token\.revoke[\s\S]*token\.create[\s\S]*user\.create/);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  });

  test("a session that ends elsewhere ends here, without a broken page", async () => {
    b.expected.push(/401/);
    await b.context.clearCookies();
    await page.waitForSelector("#login-title", { timeout: 15_000 });
    await b.login();
    await page.waitForSelector(".nav");
    assert.match(page.url(), /#\/audit$/);
  });
});
