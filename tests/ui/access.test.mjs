// SPDX-License-Identifier: Apache-2.0
// Each page in both themes and both sizes: nothing serious for axe, nothing wider than the screen, no motion for who wants none. One browser and one page for all of it.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { attack, events, HOSTILE, hostile, id, lossy, plain, status } from "./data.mjs";
import { stage, until } from "./env.mjs";

const PAGES = [
  ["overview", "#/", ".tiles"], ["containers", "#/containers", ".grid-body .row"], ["container", `#/containers?id=${id(4)}`, ".drawer .levers"], ["nothing-found", "#/containers?q=nothing-such", ".empty"],
  ["events", "#/events?groups=process,file,network", ".grid-body .row"], ["health", "#/health", ".hooks"], ["incidents", "#/incidents", ".incidents-grid .row.is-open"], ["incident", "#/incidents/1", ".step .lineage"], ["models", "#/models", ".models-grid .row:not(.head)"], ["model", "#/models?app=payments&workload=api", ".items-grid .row:not(.head)"], ["responses", "#/responses", ".empty"], ["findings", "#/findings", ".findings-grid .row:not(.head)"], ["finding", "#/findings?id=node-a-1", ".drawer .lineage"], ["rules", "#/policies", ".rules-grid .row:not(.head)"], ["rule", "#/policies?rule=Server%20program%20started%20a%20shell", ".drawer .facts"], ["rule-files", "#/policies?tab=files", ".table"], ["rule-file", "#/policies?tab=files&file=site.yaml", ".editor textarea"], ["settings", "#/settings", ".settings-table"], ["outputs", "#/settings?tab=outputs", ".card .table"], ["no-incident", "#/incidents?q=nothing-such", ".empty"], ["users", "#/users", ".table"], ["tokens", "#/tokens", ".page-head"], ["audit", "#/audit", ".table"], ["no-such-page", "#/nowhere", ".empty"],
];
const SHOTS = process.env.BH_UI_SHOTS; /* a folder for people to look at */
let central, node, b, page;
const WIDE = { width: 1440, height: 900 }, PHONE = { width: 390, height: 844 };

stage(async (s) => {
  ({ central, b, page } = s);
  node = await central.node("node-a");
  await node.inventory([...plain(), ...hostile()], true);
  node.status(lossy());
  node.events(events());
  for (const f of attack({ ...plain()[0], node: "node-a" })) await node.finding(f);
  for (const h of HOSTILE) await node.observe({ container: plain()[0], subject: `/usr/bin/${h}`, parent: "/bin/sh", example: h });
  node.serve.rules = () => JSON.stringify(["Server program started a shell", HOSTILE[0], "Password hashes read"].map((name, n) => ({ name, priority: "Critical", source: "syscall", tags: ["T1059"], description: "What it means when this happens.", enabled: n !== 2, runs: n === 0, file: "/rules/default.yaml", line: 3, matches: 7 - n, ...(n === 1 ? { problem: "this kernel has no hook for it" } : {}) })));
  node.serve.rules_set = () => undefined;
});

const look = async (theme, size = WIDE) => {
  await page.emulateMedia({ colorScheme: theme, reducedMotion: theme === "light" ? "reduce" : "no-preference" });
  await page.setViewportSize(size);
  await until(`the theme ${theme}`, () => page.evaluate(([t, w]) => document.documentElement.dataset.theme === t && innerWidth === w && document.getAnimations().every((a) => a.playState !== "running"), [theme, size.width]));
};
const fits = async (name, theme, size, rules) => {
  if (SHOTS) {
    mkdirSync(SHOTS, { recursive: true });
    await page.screenshot({ path: join(SHOTS, `${name}-${theme}-${size.width}.png`) });
  }
  assert.deepEqual(await b.violations(rules), [], `${name}, ${theme}, ${size.width} wide`);
  const where = await page.evaluate(() => { const a = document.querySelector(".nav ul:first-child [aria-current]"), r = a?.getBoundingClientRect(); return document.querySelector(".nav") && !document.querySelector(".nav-admin [aria-current]") ? [!!r, r?.left >= 0, r?.right <= innerWidth] : []; });
  assert.ok(name === "no-such-page" || where.every(Boolean), `where one is, ${name}, is in sight in the navigation of ${size.width}`);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} is wider than the screen of ${size.width}`);
};
/* What a page holds is the same in both themes, but for its colours: those of both, all else once for each size. */
const check = async (name, ready) => {
  for (const [theme, size, rules] of [["dark", WIDE], ["light", WIDE, ["color-contrast"]], ["light", PHONE], ["dark", PHONE, ["color-contrast"]]]) {
    await look(theme, size);
    if (ready) await page.waitForSelector(ready);
    await fits(name, theme, size, rules);
  }
  await look("dark");
};

test("login", async () => {
  await b.open();
  await page.waitForSelector("#login-title");
  await check("login");
  await b.firstLogin();
  await page.waitForSelector(".connection.live");
  await page.evaluate(async () => {
    const csrf = (await (await fetch("/api/v1/me")).json()).csrf;
    const put = (path, body) => fetch(`/api/v1${path}`, { method: "PUT", headers: { "content-type": "application/json", "x-bulkhead-csrf": csrf }, body: JSON.stringify(body) });
    const rule = "- rule: Shell in payments\n  desc: A shell in a container of payments\n  condition: evt.type = execve and container.name startswith payments and proc.name = sh\n  output: \"shell (command=%proc.cmdline)\"\n  priority: WARNING\n";
    if (!(await put("/rules/files/site.yaml", { text: rule })).ok || !(await put("/outputs/alerts", { type: "file", file: "alerts.json", minimum_priority: "warning" })).ok) throw new Error("not set");
  });
});
describe("a page", () => {
  for (const [name, hash, ready] of PAGES)
    test(name, async () => {
      node.status(lossy()); /* a node that reports, as a real one does */
      await b.open(hash);
      await page.waitForSelector(ready);
      if (name === "overview") await until("the verdict", async () => !/known yet|Taking stock/.test(await page.innerText(".verdict h1")));
      await check(name, ready);
    });
});
test("dialogs and the menu", async () => {
  await b.open("#/users");
  await page.click("text=Add a user");
  await check("dialog", "dialog[open]");
  await page.keyboard.press("Escape");
  await until("closed", async () => (await page.locator("dialog").count()) === 0);
  await look("dark", PHONE);
  await page.click(".menu-button");
  await fits("menu", "dark", PHONE);
  await look("light", PHONE);
  await fits("menu", "light", PHONE, ["color-contrast"]);
  await page.keyboard.press("Escape");
  await look("dark");
});
test("no motion for who wants none", async () => {
  await look("light");
  await b.open("#/");
  await page.waitForSelector(".tiles");
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".button, .tile")).transitionDuration), "0s");
  await look("dark");
});
test("the whole page is reached by the tab key, and the focus is seen", async () => {
  await b.open("#/containers");
  await page.reload();
  await page.waitForSelector(".grid-body .row");
  const seen = new Set();
  for (let i = 0; i < 90; i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
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

test("a verdict of all well is reached too", async () => {
  node.status(status());
  await b.open("#/");
  await page.waitForSelector(".verdict.incident"); /* the attack of the other pages */
  await page.evaluate(async () => {
    const csrf = (await (await fetch("/api/v1/me")).json()).csrf;
    await fetch("/api/v1/incidents/1/close", { method: "POST", headers: { "content-type": "application/json", "x-bulkhead-csrf": csrf }, body: JSON.stringify({ verdict: "benign" }) });
  });
  await until("all well", async () => /Watching/.test(await page.innerText(".verdict h1")));
  assert.deepEqual(await b.violations(), []);
});
