// SPDX-License-Identifier: Apache-2.0
// A central of the test's own with the freshly built interface, and a Chromium that notes whatever it should not do.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before } from "node:test";
import { connect } from "node:tls";
import { REPO, require } from "./unit/load.mjs";
import { Node } from "./node.mjs";

const BUILD = process.env.BH_BUILD ?? join(REPO, "build");
const SCRATCH = process.env.BH_TEST_DIR ?? tmpdir();
const CENTRAL = join(BUILD, "src/central/bulkhead-central");
export const PASSWORD = "correct horse battery 7";

async function run(command, args) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.on("data", (d) => (said += d));
  child.stderr.on("data", (d) => (said += d));
  const code = await new Promise((r) => child.on("close", r));
  if (code) throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${said}`);
  return said;
}

export class Central {
  log = "";

  static async start() {
    const c = new Central();
    if (!existsSync(CENTRAL)) throw new Error(`${CENTRAL} is not built`);
    c.dir = mkdtempSync(join(SCRATCH, "bh-ui-"));
    chmodSync(c.dir, 0o711); /* the central goes on as another user, who must be able to pass */
    c.ui = join(c.dir, "ui");
    await run(process.execPath, [join(REPO, "ui/build.mjs"), c.ui]);
    await c.up("127.0.0.1:0");
    return c;
  }

  async up(listen) {
    this.child = spawn(CENTRAL, ["--run-dir", join(this.dir, "run"), "--data-dir", join(this.dir, "data"), "--listen", listen, "--ui", this.ui], { stdio: ["ignore", "pipe", "pipe"] });
    this.child.stderr.on("data", (d) => (this.log += d));
    const first = await new Promise((ok, no) => {
      let out = "";
      const timer = setTimeout(() => no(new Error(`the central was not ready within 30 s:\n${this.log}`)), 30_000);
      this.child.stdout.on("data", (d) => {
        out += d;
        if (!out.includes("\n")) return;
        clearTimeout(timer);
        ok(JSON.parse(out.slice(0, out.indexOf("\n"))));
      });
      this.child.on("close", (code) => no(new Error(`the central ended with ${code}:\n${this.log}`)));
    });
    this.url = first.url.replace(/\/$/, "");
    this.firstPassword ??= first.password;
  }

  get bus() {
    return join(this.dir, "run/central/bus.sock");
  }
  #nodes = [];
  async node(name) {
    const n = await new Node(name).connect(this.bus);
    this.#nodes.push(n);
    return n;
  }

  async down(signal = "SIGTERM") {
    if (this.child.exitCode !== null) return;
    const over = new Promise((r) => this.child.on("close", r));
    this.child.kill(signal);
    await over;
  }

  /* Away and back at the same address, as after an update. */
  async back() {
    await this.up(new URL(this.url).host);
  }

  async stop() {
    for (const n of this.#nodes) n.close();
    await this.down();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/* axe as text: put in by the debugger, for the page's own policy lets no foreign script in. */
export const axe = require("axe-core").source;

/*
 * The key of the central's own certificate, which the browser is told to trust. To overlook errors of certificates instead (what playwright does) fails each new connection once and asks anew, all requests
 * of a page taking turns: on a busy machine one of them had bad luck 32 times, which Chromium calls ERR_TOO_MANY_RETRIES; and it keeps nothing in its cache.
 */
const keyOf = (url) => new Promise((ok, no) => {
  const { hostname, port } = new URL(url);
  const s = connect({ host: hostname, port, rejectUnauthorized: false }, () => {
    ok(createHash("sha256").update(s.getPeerX509Certificate().publicKey.export({ type: "spki", format: "der" })).digest("base64"));
    s.destroy();
  }).on("error", no);
});

export class Browser {
  problems = [];
  #profile;

  static async start(central, { width = 1440, height = 900, theme = "dark", reduced = false } = {}) {
    const b = new Browser();
    const { chromium } = require("playwright-core");
    b.central = central;
    b.#profile = mkdtempSync(join(SCRATCH, "bh-chromium-"));
    b.context = await chromium.launchPersistentContext(b.#profile, {
      executablePath: process.env.BH_CHROMIUM ?? "/usr/bin/chromium", headless: true, ignoreHTTPSErrors: true, viewport: { width, height }, colorScheme: theme, reducedMotion: reduced ? "reduce" : "no-preference",
      args: [`--ignore-certificate-errors-spki-list=${await keyOf(central.url)}`, "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
    b.page = b.context.pages()[0] ?? (await b.context.newPage());
    b.watch(b.page);
    const host = new URL(central.url).host;
    b.context.on("request", (r) => {
      const u = new URL(r.url());
      if (u.host !== host) b.problems.push(`asked another host: ${r.url()}`);
    });
    return b;
  }

  /* `expected`: what a test provokes on purpose. */
  expected = [];
  watch(page) {
    const note = (text) => {
      if (!this.expected.some((e) => e.test(text))) this.problems.push(text);
    };
    page.on("console", (m) => ["error", "warning"].includes(m.type()) && note(`console ${m.type()}: ${m.text()}`));
    page.on("pageerror", (e) => note(`page error: ${e.stack ?? e}`));
    page.on("dialog", (d) => {
      note(`dialog: ${d.message()}`);
      void d.dismiss();
    });
  }

  async open(hash = "#/") {
    await this.page.goto(`${this.central.url}/${hash}`);
  }

  async login(user = "admin", password = PASSWORD) {
    await this.page.waitForSelector("#login-title");
    await this.page.fill("input[name=username]", user);
    await this.page.fill("input[name=password]", password);
    await this.page.click("button[type=submit]");
  }

  /* The admin's first login, with the change of the password that it demands. */
  async firstLogin() {
    await this.open();
    /* what an interface that came just now made the browser drop is loaded once more */
    for (let i = 0; i < 3 && !(await this.page.waitForSelector("#login-title", { timeout: 10_000 }).catch(() => null)); i++) await this.page.reload();
    await this.login("admin", this.central.firstPassword);
    await this.page.waitForSelector("#pw-title");
    const fields = this.page.locator("input[type=password]");
    await fields.nth(0).fill(this.central.firstPassword);
    await fields.nth(1).fill(PASSWORD);
    await fields.nth(2).fill(PASSWORD);
    await this.page.click("button[type=submit]");
    await this.page.waitForSelector(".nav");
  }

  /* Another browser, of a viewer that the administrator's `page` makes. */
  static async viewer(central, page, name = "eve") {
    const made = await page.evaluate(async (n) => {
      const csrf = (await (await fetch("/api/v1/me")).json()).csrf;
      return (await fetch("/api/v1/users", { method: "POST", headers: { "content-type": "application/json", "x-bulkhead-csrf": csrf }, body: JSON.stringify({ name: n, role: "viewer" }) })).json();
    }, name);
    const v = await Browser.start(central);
    await v.open();
    await v.login(name, made.password);
    await v.page.waitForSelector("#pw-title");
    const fields = v.page.locator("input[type=password]");
    await fields.nth(0).fill(made.password);
    for (const n of [1, 2]) await fields.nth(n).fill(`${PASSWORD} ${name}`);
    await v.page.click("button[type=submit]");
    await v.page.waitForSelector(".nav");
    return v;
  }

  /* All rules, or those named. */
  async violations(rules) {
    if (!(await this.page.evaluate(() => !!window.axe))) await this.page.evaluate(axe);
    const found = await this.page.evaluate((only) => window.axe.run(document, { resultTypes: ["violations"], ...(only ? { runOnly: { type: "rule", values: only } } : {}) }), rules);
    return found.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.any[0]?.message ?? ""}`).join(" | ")}`);
  }

  async stop() {
    await this.context.close();
    rmSync(this.#profile, { recursive: true, force: true });
  }
}

/* How much longer than on a machine that is a test's alone things may take: how many want each processor, 1 to 4. */
const patience = () => Math.min(4, Math.max(1, loadavg()[0] / cpus().length));

export async function until(what, f, ms = 10_000) {
  const begin = Date.now();
  let last;
  while (Date.now() < begin + ms * patience()) {
    try {
      last = await f();
      if (last) return last;
    } catch (e) {
      last = e;
    }
    await new Promise((r) => setTimeout(r, 50));
  }
  throw new Error(`${what}: not within ${ms / 1000} s; last seen: ${last}`);
}

/*
 * What the tests of one file share: a central and a browser, there before the first test and gone after the last; after each test the browser has done
 * nothing but what is in `expected`. begin({ central, b, page }) makes of them what the file needs.
 */
export function stage(begin) {
  const s = {};
  before(async () => {
    s.central = await Central.start();
    s.b = await Browser.start(s.central);
    s.page = s.b.page;
    await begin(s);
  });
  after(async () => {
    await s.b?.stop();
    await s.central?.stop();
  });
  afterEach(() => {
    const found = s.b.problems;
    s.b.problems = [];
    s.b.expected = [];
    assert.deepEqual(found, []);
  });
  const text = (selector) => s.page.locator(selector).first().innerText();
  return {
    text,
    sees: (what, selector, pattern, ms) => until(what, async () => pattern.test(await text(selector)) || Promise.reject(await text(selector)), ms),
    api: (path) => s.page.evaluate(async (p) => (await fetch(`/api/v1${p}`)).json(), path),
  };
}

export const files = (dir, at = "") => readdirSync(join(dir, at), { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? files(dir, join(at, e.name)) : [join(at, e.name)]));
