// SPDX-License-Identifier: Apache-2.0
// The platform as `bulkhead up` starts it, real sensor and all: what the pages show is what the command line says.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Browser, until } from "./env.mjs";
import { REPO } from "./unit/load.mjs";

const BULKHEAD = join(process.env.BH_BUILD ?? join(REPO, "build"), "src/cli/bulkhead");
const IDS = ["c1", "c2", "c3"].map((x) => x.repeat(32));
const root = existsSync("/sys/fs/cgroup/pids") ? "/sys/fs/cgroup/pids" : existsSync("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
const cgroup = (id) => join(root, "docker", id);
let dir, up, url, password, b, log = "";
const sleepers = [];

const cli = (...args) => execFileSync(BULKHEAD, ["--run-dir", join(dir, "run"), "--data-dir", join(dir, "data"), ...args], { encoding: "utf8" });
const lines = (...args) => cli(...args).trim().split("\n").filter(Boolean).map((l) => JSON.parse(l));

before(async () => {
  dir = mkdtempSync(join(process.env.BH_TEST_DIR ?? tmpdir(), "bh-up-"));
  chmodSync(dir, 0o711); /* the central goes on as another user, who must be able to pass */
  // containers that no runtime knows: cgroups named like engines name theirs, with a process in each
  for (const id of IDS) {
    mkdirSync(cgroup(id), { recursive: true });
    const s = spawn("sleep", ["600"], { stdio: "ignore" });
    sleepers.push(s);
    writeFileSync(join(cgroup(id), "cgroup.procs"), `${s.pid}`);
  }
  up = spawn(BULKHEAD, ["--run-dir", join(dir, "run"), "--data-dir", join(dir, "data"), "up", "--no-docker", "--no-feed", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "pipe"] });
  for (const s of [up.stdout, up.stderr]) s.on("data", (d) => (log += d));
  up.on("close", (code) => (log += `\nended with ${code}`));
  await until("the address and the first password", () => {
    url = /https:\/\/127\.0\.0\.1:\d+/.exec(log)?.[0];
    password = /with the password (\S+),/.exec(log)?.[1];
    return url && password;
  }, 90_000).catch((e) => Promise.reject(new Error(`${e.message}\n${log}`)));
  b = await Browser.start({ url, firstPassword: password });
});
after(async () => {
  await b?.stop();
  if (up && up.exitCode === null) {
    const over = new Promise((r) => up.on("close", r));
    up.kill("SIGTERM");
    await over;
  }
  for (const s of sleepers) {
    const over = new Promise((r) => s.on("close", r));
    s.kill("SIGKILL");
    await over;
  }
  for (const id of IDS) await until("the cgroup is removed", () => { rmdirSync(cgroup(id)); return true; });
  if (dir) rmSync(dir, { recursive: true, force: true });
});

describe("the platform", () => {
  test("the page that up names asks for the password that it printed", async () => {
    await b.firstLogin();
    assert.equal(up.exitCode, null, log);
  });

  test("the containers of the page are those of the command line", async () => {
    await b.open("#/containers");
    // other tests' containers may come and go on this machine meanwhile: at some moment both say the same
    await until("page and command line say the same", async () => {
      const told = lines("containers", "--all", "--json").map((c) => c.id.slice(0, 12)).sort();
      const page = (await b.page.locator(".grid-body").innerText()).match(/\b[0-9a-f]{12}\b/g) ?? [];
      const shown = [...new Set(page)].sort();
      if (IDS.some((id) => !told.includes(id.slice(0, 12))) || shown.join() !== told.join()) throw new Error(`command line ${told}; page ${shown}`);
      return true;
    });
  });

  test("each hook has the backend on the page that the command line says", async () => {
    await b.open("#/health");
    await b.page.waitForSelector(".hooks");
    const nodes = JSON.parse(cli("status", "--json")).nodes;
    const hooks = nodes[0].status.hooks;
    const page = await b.page.locator(".hooks").first().innerText();
    assert.ok(hooks.length > 40, `${hooks.length} hooks`);
    for (const h of hooks) assert.ok(page.includes(h.type), `${h.type} is not on the page:\n${page}`);
  });

  test("nothing went wrong in the browser", () => assert.deepEqual(b.problems, []));
});
