// SPDX-License-Identifier: Apache-2.0
// The platform as `bulkhead up` starts it, real sensor, real containers and all: what the pages show is what the command line says; a hijack is played (hijack.py), its container isolated from the incident and from
// the map, and let go, and after it was killed the evidence is read.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { Browser, until } from "./env.mjs";
import { REPO } from "./unit/load.mjs";

const BUILD = process.env.BH_BUILD ?? join(REPO, "build");
const BULKHEAD = join(BUILD, "src/cli/bulkhead");
let dir, up, url, password, b, page, play, ask, web, db, number, log = "";

const cli = (...args) => execFileSync(BULKHEAD, ["--run-dir", join(dir, "run"), "--data-dir", join(dir, "data"), ...args], { encoding: "utf8" });
const lines = (...args) => cli(...args).trim().split("\n").filter(Boolean).map((l) => JSON.parse(l));
const text = (selector) => page.locator(selector).first().innerText();
const sees = (what, selector, pattern, ms) => until(what, async () => pattern.test(await text(selector)) || Promise.reject(await text(selector)), ms);
const api = (path) => page.evaluate(async (p) => (await fetch(`/api/v1${p}`)).json(), path);
const ended = async (child, signal) => {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((r) => child.on("close", r));
  if (signal) child.kill(signal);
  else child.stdin.end();
  const late = setTimeout(() => child.kill("SIGKILL"), 90_000); /* whoever does not end keeps nobody waiting */
  await over;
  clearTimeout(late);
};

before(async () => {
  dir = mkdtempSync(join(process.env.BH_TEST_DIR ?? tmpdir(), "bh-up-"));
  chmodSync(dir, 0o711); /* the central goes on as another user, who must be able to pass */
  play = spawn("/usr/bin/python3", [join(REPO, "tests/ui/hijack.py"), BUILD], { stdio: ["pipe", "pipe", "pipe"] });
  play.stderr.on("data", (d) => (log += d));
  const answers = createInterface({ input: play.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await answers.next();
    if (done) throw new Error(`hijack.py ended:\n${log}`);
    return JSON.parse(value);
  };
  ask = (line) => {
    play.stdin.write(`${line}\n`);
    return answer();
  };
  const { docker } = await answer();
  up = spawn(BULKHEAD, ["--run-dir", join(dir, "run"), "--data-dir", join(dir, "data"), "up", "--docker", docker, "--no-feed", "--no-web", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "pipe"] });
  for (const s of [up.stdout, up.stderr]) s.on("data", (d) => (log += d));
  up.on("close", (code) => (log += `\nended with ${code}`));
  await until("the address and the first password", () => {
    url = /https:\/\/127\.0\.0\.1:\d+/.exec(log)?.[0];
    password = /with the password (\S+),/.exec(log)?.[1];
    return url && password && /Ctrl-C stops/.test(log);
  }, 90_000).catch((e) => Promise.reject(new Error(`${e.message}\n${log}`)));
  ({ web, db } = await ask("containers"));
  b = await Browser.start({ url, firstPassword: password });
  page = b.page;
});
after(async () => {
  await b?.stop();
  await ended(up, "SIGTERM");
  await ended(play);
  if (dir) rmSync(dir, { recursive: true, force: true });
});

describe("the platform", () => {
  test("the page that up names asks for the password that it printed", async () => {
    await b.firstLogin();
    assert.equal(up.exitCode, null, log);
  });

  test("the containers of the page are those of the command line", async () => {
    await b.open("#/containers");
    const ours = web.name.split("-")[1];
    // other tests' containers may come and go on this machine meanwhile: at some moment both say the same
    await until("page and command line say the same", async () => {
      const told = lines("containers", "--all", "--json");
      const all = Number((await text(".tally-line")).match(/[\d,]+/)?.[0].replace(",", ""));
      return (all === told.length && told.filter((c) => c.name.includes(ours)).length === 2) || Promise.reject(`the command line has ${told.length}, the page ${all}`);
    }, 20_000);
    await b.open(`#/containers?q=${ours}`);
    await until("these two", async () => {
      const shown = await page.locator(".grid-body").innerText();
      const told = lines("containers", "--json").filter((c) => c.name.includes(ours));
      return (told.length === 2 && told.every((c) => [c.name, c.image, `${c.application}/${c.workload}`].every((t) => shown.includes(t))) && (await page.locator(".grid-body .row").count()) === 2) || Promise.reject(`${JSON.stringify(told)}; page ${shown}`);
    });
  });

  test("each hook has the backend on the page that the command line says", async () => {
    await b.open("#/health");
    await page.waitForSelector(".hooks");
    const hooks = JSON.parse(cli("status", "--json")).nodes[0].status.hooks;
    assert.ok(hooks.length > 40, `${hooks.length} hooks`);
    await page.locator(".hooks >> text=As a table").first().click();
    const shown = await page.locator(".hooks tbody tr").evaluateAll((rows) => rows.map((r) => [...r.children].slice(0, 3).map((c) => c.innerText.trim())));
    assert.deepEqual(shown, hooks.map((h) => [h.type, h.backend, !h.effective ? `no${h.why ? `: ${h.why}` : ""}` : h.tested === false ? "yes, not tested" : "yes"]));
  });

  test("events of the page are those of the command line, to their last field", async () => {
    await b.open(`#/events?groups=process&container=${db.name}`);
    await until("events of the container", async () => (await page.locator(".grid-body .row:not(.gap)").count()) >= 3, 20_000);
    await page.click("text=Pause");
    for (let i = 0; i < 3; i++) {
      await page.locator(".grid-body .row:not(.gap)").nth(i).click();
      await page.waitForSelector(".drawer pre", { state: "attached" });
      const shown = JSON.parse(await page.locator(".drawer pre").textContent());
      assert.equal(shown["container.id"], db.id);
      const told = lines("events", "-c", db.name, "--json", "-n", "5000").filter((e) => e.id === shown.id);
      assert.deepEqual(told, [shown]);
      await page.keyboard.press("Escape");
      await page.waitForSelector(".drawer", { state: "detached" });
    }
  });
});

describe("a hijack", () => {
  /* How often each came, before and after the neighbour came five times more. */
  const meanwhile = async () => {
    const before = await ask("visits");
    let now;
    await until("the neighbour goes on", async () => (now = await ask("visits")).db >= before.db + 5);
    return now.web - before.web;
  };
  const isolate = async (reason) => {
    await page.selectOption(".dialog select >> nth=0", "isolate");
    await page.fill(".dialog textarea >> nth=1", reason);
    await page.click(".dialog button.primary");
  };
  const release = async () => {
    await page.click(`[aria-label="Release ${web.name}"]`);
    await page.click(".dialog button.primary");
  };
  const cut = () => until("its traffic stops, and the neighbour's goes on", async () => (await meanwhile()) === 0, 20_000);
  const free = () => until("its traffic goes on", async () => (await meanwhile()) > 0, 20_000);

  test("appears by itself", async () => {
    await free();
    await b.open("#/incidents");
    await ask("begin");
    await until("the incident", async () => (number = (await api(`/incidents?state=open&container=${web.id}`)).incidents[0]?.id), 30_000);
    await page.click(`.incidents-grid a[href$="/incidents/${number}"]`);
    await sees("its container", ".places", new RegExp(web.name), 20_000);
  });

  test("its container is isolated from the incident, has no traffic any more, and is released there", async () => {
    await page.click(`[aria-label="Act on ${web.name}"]`);
    await isolate("hijacked");
    await sees("that it is in force", ".places .held", /Isolate[\s\S]*in force[\s\S]*by admin/, 20_000);
    await cut();
    await release();
    await until("nothing is in force", async () => (await page.locator(".places .held").count()) === 0, 20_000);
    await free();
  });

  test("it is isolated and released from the map as well", async () => {
    const { node } = (await api(`/containers/${web.id}`));
    await b.open(`#/map?level=container&sel=${encodeURIComponent(`c:${node}/${web.id}`)}`);
    await page.click(".drawer >> text=Act…", { timeout: 60_000 }); /* once its connections are on the map */
    await isolate("still at it");
    await sees("that it is in force", ".drawer .held", /Isolate[\s\S]*in force/, 20_000);
    await cut();
    await release();
    await until("nothing is in force", async () => (await page.locator(".drawer .held").count()) === 0, 20_000);
    await free();
    assert.deepEqual((await api(`/responses?container=${web.id}`)).responses.map((r) => [r.action, r.state]), [["isolate", "released"], ["isolate", "released"]]);
  });

  test("after the container was killed, three clicks lead from the login to the evidence, to its last byte", async () => {
    const { controller } = JSON.parse(cli("status", "--json")).nodes[0].status.cgroup;
    await ask(`end ${controller ? `-t cgroup -o ${controller}` : "-t cgroup2"}`);
    await until("the whole story, evidence and end", async () => {
      const { tactics } = await api(`/incidents/${number}`), { state } = await api(`/containers/${web.id}`), { evidence } = await api(`/evidence?incident=${number}&limit=100`);
      const kept = evidence.filter((e) => e.data === "here" && e.size > 0);
      return (tactics.includes("persistence") && state !== "running" && kept.length > 0) || Promise.reject(`${tactics}; the container is ${state}; ${kept.length} kept`);
    }, 60_000);
    b.expected.push(/401/); /* what a page asked for just before */
    await page.click(".menu-button"); /* the person's */
    await page.click("text=Log out");
    await b.login();
    await page.click('.nav a[href="#/incidents"]');
    await page.click(`.incidents-grid a[href$="/incidents/${number}"]`);
    const item = page.locator(".evidence li", { has: page.locator("a") }).first();
    const [file] = await Promise.all([page.waitForEvent("download"), item.locator("a").click()]);
    assert.equal(createHash("sha256").update(readFileSync(await file.path())).digest("hex"), await item.locator("[title]").first().getAttribute("title"));
    await sees("the story", ".story", /persistence/i);
    await sees("that the container is gone", ".subject-facts", /1 of them gone/);
    b.expected = [];
  });

  test("nothing went wrong in the browser", () => assert.deepEqual(b.problems, []));
});
