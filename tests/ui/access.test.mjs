// SPDX-License-Identifier: Apache-2.0
// Each page in both themes and both sizes: nothing serious for axe, nothing wider than the screen, no motion for who wants none.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { attack, events, HOSTILE, hostile, id, lossy, plain, status } from "./data.mjs";
import { Browser, Central, until } from "./env.mjs";

const PAGES = [
  ["overview", "#/", ".tiles"], ["containers", "#/containers", ".grid-body .row"], ["container", `#/containers?id=${id(4)}`, ".drawer .levers"], ["nothing-found", "#/containers?q=nothing-such", ".empty"],
  ["events", "#/events?groups=process,file,network", ".grid-body .row"], ["health", "#/health", ".hooks"], ["incidents", "#/incidents", ".incidents-grid .row.is-open"], ["incident", "#/incidents/1", ".step .lineage"], ["models", "#/models", ".models-grid .row:not(.head)"], ["model", "#/models?app=payments&workload=api", ".items-grid .row:not(.head)"], ["responses", "#/responses", ".empty"], ["findings", "#/findings", ".findings-grid .row:not(.head)"], ["finding", "#/findings?id=node-a-1", ".drawer .lineage"], ["rules", "#/policies", ".rules-grid .row:not(.head)"], ["rule", "#/policies?rule=Server%20program%20started%20a%20shell", ".drawer .facts"], ["rule-files", "#/policies?tab=files", ".table"], ["rule-file", "#/policies?tab=files&file=site.yaml", ".editor textarea"], ["settings", "#/settings", ".settings-table"], ["outputs", "#/settings?tab=outputs", ".card .table"], ["no-incident", "#/incidents?q=nothing-such", ".empty"], ["users", "#/users", ".table"], ["tokens", "#/tokens", ".page-head"], ["audit", "#/audit", ".table"], ["no-such-page", "#/nowhere", ".empty"],
];
const SHOTS = process.env.BH_UI_SHOTS; /* a folder for people to look at */
let central, node;

before(async () => {
  central = await Central.start();
  node = await central.node("node-a");
  await node.inventory([...plain(), ...hostile()], true);
  node.status(lossy());
  node.events(events());
  for (const f of attack({ ...plain()[0], node: "node-a" })) await node.finding(f);
  for (const h of HOSTILE) await node.observe({ container: plain()[0], subject: `/usr/bin/${h}`, parent: "/bin/sh", example: h });
  node.serve.rules = () => JSON.stringify(["Server program started a shell", HOSTILE[0], "Password hashes read"].map((name, n) => ({ name, priority: "Critical", source: "syscall", tags: ["T1059"], description: "What it means when this happens.", enabled: n !== 2, runs: n === 0, file: "/rules/default.yaml", line: 3, matches: 7 - n, ...(n === 1 ? { problem: "this kernel has no hook for it" } : {}) })));
  node.serve.rules_set = () => undefined;
  const b = await Browser.start(central);
  try {
    await b.firstLogin();
    await b.page.evaluate(async () => {
      const csrf = (await (await fetch("/api/v1/me")).json()).csrf;
      const put = (path, body) => fetch(`/api/v1${path}`, { method: "PUT", headers: { "content-type": "application/json", "x-bulkhead-csrf": csrf }, body: JSON.stringify(body) });
      const rule = "- rule: Shell in payments\n  desc: A shell in a container of payments\n  condition: evt.type = execve and container.name startswith payments and proc.name = sh\n  output: \"shell (command=%proc.cmdline)\"\n  priority: WARNING\n";
      if (!(await put("/rules/files/site.yaml", { text: rule })).ok || !(await put("/outputs/alerts", { type: "file", file: "alerts.json", minimum_priority: "warning" })).ok) throw new Error("not set");
    });
  } finally {
    await b.stop();
  }
});
after(async () => {
  await central?.stop();
});

for (const theme of ["dark", "light"])
  for (const [width, height] of [[1440, 900], [390, 844]])
    describe(`${theme} ${width}×${height}`, () => {
      let b;
      before(async () => {
        b = await Browser.start(central, { width, height, theme, reduced: theme === "light" });
      });
      after(() => b?.stop());
      const check = async (name) => {
        if (SHOTS) {
          mkdirSync(SHOTS, { recursive: true });
          await b.page.screenshot({ path: join(SHOTS, `${name}-${theme}-${width}.png`) });
        }
        assert.deepEqual(await b.violations(), []);
        assert.ok(await b.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "wider than the screen");
        assert.deepEqual(b.problems, []);
      };

      test("login", async () => {
        await b.open();
        await b.page.waitForSelector("#login-title");
        assert.equal(await b.page.evaluate(() => document.documentElement.dataset.theme), theme);
        await check("login");
        await b.login();
        await b.page.waitForSelector(".connection.live");
      });
      for (const [name, hash, ready] of PAGES)
        test(name, async () => {
          node.status(lossy()); /* a node that reports, as a real one does */
          await b.open(hash);
          await b.page.waitForSelector(ready);
          if (name === "overview") await until("the verdict", async () => !/known yet|Taking stock/.test(await b.page.innerText(".verdict h1")));
          await check(name);
        });
      test("menu and dialogs", async () => {
        await b.open("#/users");
        await b.page.click(".menu-button");
        await check("menu");
        await b.page.keyboard.press("Escape");
        await b.page.click("text=Add a user");
        await check("dialog");
        await b.page.keyboard.press("Escape");
        await until("closed", async () => (await b.page.locator("dialog").count()) === 0);
      });
      if (theme === "light")
        test("no motion for who wants none", async () => {
          await b.open("#/");
          assert.equal(await b.page.evaluate(() => document.getAnimations().length), 0);
          assert.equal(await b.page.evaluate(() => getComputedStyle(document.querySelector(".button, .tile")).transitionDuration), "0s");
        });
      else
        test("the whole page is reached by the tab key, and the focus is seen", async () => {
          await b.open("#/containers");
          await b.page.reload();
          await b.page.waitForSelector(".grid-body .row");
          const seen = new Set();
          for (let i = 0; i < 90; i++) {
            await b.page.keyboard.press("Tab");
            const at = await b.page.evaluate(() => {
              const e = document.activeElement;
              const s = getComputedStyle(e);
              return { what: e.getAttribute("role") ?? (e.className || e.tagName), ring: e === document.body || e.classList.contains("skip") || (s.outlineStyle !== "none" && s.outlineWidth !== "0px") };
            });
            assert.ok(at.ring, `no ring on ${at.what}`);
            seen.add(at.what);
            if (at.what === "grid") break;
          }
          for (const w of ["combobox", "menu-button", "grid"]) assert.ok(seen.has(w), `${w} not among ${[...seen]}`);
        });
    });

test("a verdict of all well is reached too", async () => {
  node.status(status());
  const b = await Browser.start(central);
  try {
    await b.open();
    await b.login();
    await b.page.waitForSelector(".verdict.incident"); /* the attack of the other pages */
    await b.page.evaluate(async () => {
      const csrf = (await (await fetch("/api/v1/me")).json()).csrf;
      await fetch("/api/v1/incidents/1/close", { method: "POST", headers: { "content-type": "application/json", "x-bulkhead-csrf": csrf }, body: JSON.stringify({ verdict: "benign" }) });
    });
    await until("all well", async () => /Watching/.test(await b.page.innerText(".verdict h1")));
    assert.deepEqual(await b.violations(), []);
  } finally {
    await b.stop();
  }
});
