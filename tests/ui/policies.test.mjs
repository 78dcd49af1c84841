// SPDX-License-Identifier: Apache-2.0
// Rules, settings, findings and the search in the browser, as a new user would try them: a rule with an error, seen at its line and mended; what it would have matched; enabled; switched off; removed.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, describe, test } from "node:test";
import { attack, events, HOSTILE, hostile, plain, status } from "./data.mjs";
import { stage, until } from "./env.mjs";

const GOOD = `- rule: Shell in payments
  desc: A shell in a container of payments
  condition: >
    evt.type = execve
    and container.name startswith payments
    and proc.name = sh
  output: "shell (command=%proc.cmdline)"
  priority: WARNING
`;
const RULE = { priority: "Critical", source: "syscall", tags: ["T1059"], description: "d", enabled: true, runs: true, file: "/rules/default.yaml", line: 3, matches: 5 };
let node, b, page;
let sent = "";
const [web] = plain();
const { text, api, sees } = stage(async (s) => {
  ({ b, page } = s);
  node = await s.central.node("node-a");
  node.serve.rules = () => JSON.stringify([{ ...RULE, name: "Server program started a shell" }, { ...RULE, name: HOSTILE[0], matches: 0, problem: "this kernel has no hook for it" },
    ...(sent.includes("Shell in payments") ? [{ ...RULE, name: "Shell in payments", matches: 0, enabled: !/enabled: false/.test(sent), runs: !/enabled: false/.test(sent) }] : [])]);
  node.serve.rules_set = (body) => void (sent = String(body));
  await node.inventory([...plain(), ...hostile()], true);
  node.status(status());
  node.events(events());
  for (const f of attack(web)) await node.finding(f);
  await b.firstLogin();
});
const editor = ".editor textarea";

describe("a rule file", () => {
  test("an error is shown at its line, and mended there", async () => {
    await b.open("#/policies?tab=files");
    await sees("an empty list", ".empty", /No rule file is kept here/);
    await page.click("text=New file");
    await page.fill(".dialog input", "no good name");
    await page.click(".dialog button.primary");
    await sees("why not", ".field-error", /Letters, digits/);
    await page.fill(".dialog input", "site.yaml");
    await page.click(".dialog button.primary");
    await page.waitForSelector(editor);
    await page.fill(editor, GOOD.replace("proc.name =", "proc.nome ="));
    await page.click("text=Check");
    await sees("the error", ".editor-problems", /line 6, column 9[\s\S]*proc\.nome/);
    assert.equal((await text(".editor-gutter .mark.error")).trim(), "6");
    assert.equal(await page.getAttribute(editor, "aria-invalid"), "true");
    await page.click(".editor-problems button");
    const [from, value] = await page.evaluate((s) => [document.querySelector(s).selectionStart, document.querySelector(s).value], editor);
    assert.ok(value.slice(from).startsWith("proc.nome"), value.slice(from, from + 20));
    assert.deepEqual((await api("/rules/files")).files, []);
  });

  test("the fields that it can use are at hand", async () => {
    await page.click(".subject-acts >> text=Fields");
    await page.fill(".dialog input", "proc.cmdline");
    await sees("the field", ".fields", /proc\.cmdline\s*text/);
    assert.deepEqual(await b.violations(), []);
    await page.fill(".dialog input", "nothing-such");
    await sees("none", ".dialog [role=status]", /^0 of \d+/);
    await page.keyboard.press("Escape");
    await page.waitForSelector(".dialog", { state: "detached" });
  });

  test("what is not saved is still there after a look at another page", async () => {
    await page.click('.nav a[href="#/responses"]');
    await sees("the ledger", "h1", /Responses/);
    await b.open("#/policies?tab=files&file=site.yaml");
    await until("the draft", async () => /proc\.nome/.test(await page.inputValue(editor)));
    await sees("that it is not saved", ".subject-title", /not saved/);
    await page.fill(editor, GOOD);
  });

  test("what it would have matched is told before anybody is alarmed", async () => {
    await page.click("text=What would it have matched?");
    await sees("the sum", ".would-sum", /^1 of \d+ recorded events/);
    await sees("its rule", ".would-rules", /1\s*Shell in payments\s*line 1/);
    await sees("the event", ".would-events", /payments-api-1[\s\S]*curl http:\/\/10\.0\.0\.8/);
    assert.deepEqual((await api("/rules/files")).files, []);
  });

  test("it is saved, goes to the node, and runs", async () => {
    await page.click("text=Save and enable");
    await sees("that the node has it", ".nodes-state", /Node node-a has it/);
    assert.match(sent, /Shell in payments/);
    await page.click('.crumbs a[href="#/policies"]');
    await until("the rule in the list", async () => (await page.locator(".rules-grid .row", { hasText: "Shell in payments" }).count()) === 1, 20_000);
    assert.match(await page.locator(".rules-grid .row", { hasText: "onerror" }).innerText(), /cannot match/);
  });

  test("a rule is switched off, which is a file as any other, and on again", async () => {
    await page.locator(".rules-grid .row", { hasText: "Shell in payments" }).click();
    await page.click(".drawer >> text=Switch off");
    await sees("off", ".drawer .rule-state", /^off$/);
    const file = (await api("/rules/files/zz-switches.yaml")).text;
    assert.match(file, /- rule: "Shell in payments"\n {2}enabled: false/);
    await until("the node was told", async () => /enabled: false/.test(sent));
    await page.click(".drawer >> text=Switch on");
    await sees("on", ".drawer .rule-state", /^runs$/);
    assert.match((await api("/rules/files/zz-switches.yaml")).text, /enabled: true/);
  });

  test("what others build on is not removed, and the rest wants the name", async () => {
    b.expected = [/422/];
    await b.open("#/policies?tab=files&file=site.yaml");
    await page.click("text=Remove…");
    assert.ok(await page.locator(".dialog button.danger").isDisabled());
    await page.fill(".dialog input", "site.yaml");
    await page.click(".dialog button.danger");
    await sees("why not", ".dialog .notice", /without this file the rules have errors/i);
    await page.click(".dialog >> text=Cancel");
    for (const name of ["zz-switches.yaml", "site.yaml"]) {
      await b.open(`#/policies?tab=files&file=${name}`);
      await page.click("text=Remove…");
      await page.fill(".dialog input", name);
      await page.click(".dialog button.danger");
      await until(`${name} is gone`, async () => !(await api("/rules/files")).files.some((f) => f.name === name));
    }
  });
});

/* The central's side is the contract of api/openapi.yaml, answered here: what the page makes of it is what is looked at. */
describe("a policy", () => {
  const kept = new Map();
  const asked = [];
  const view = (name, text) => ({ name, description: "", enabled: !/^enabled: false/m.test(text), dry_run: !/^dry_run: false/m.test(text), decided: "node", when: "rule Server program started a shell", scope: "everywhere", action: "isolate", ttl: 3600, rate: 5, rate_seconds: 3600, containers: 2, percent: 50, cool_down: 600, responses: { total: 3, open: 1, dry_run: 0, failed: 0 }, changed_by: "admin", changed: new Date().toISOString(), text });
  const answer = (method, name, body) => {
    asked.push([method, name, body]);
    if (name === "check") return [200, /^action:/m.test(body.text) ? { errors: 0, problems: [], name: "stop-shells", looked_at: 4, matched: 1, more: false, would: [{ time: new Date().toISOString(), finding: "node-a-1", incident: null, rule: "Server program started a shell", node: "node-a", container_id: web.id, container_name: HOSTILE[0], workload: "api", application: "payments", decision: "act", why: "it matches" }] }
      : { errors: 1, problems: [{ line: 2, column: 1, what: "a policy needs \"action\"" }], name: null, looked_at: 0, matched: 0, more: false, would: [] }];
    if (method === "GET") return [200, name ? view(name, kept.get(name)) : { policies: [...kept].map(([n, t]) => view(n, t)), nodes: [{ node: "node-a", state: "current", error: null, time: null }] }];
    if (method === "DELETE") return kept.delete(name), [204, null];
    const v = view(name, body.text);
    if (v.enabled && !v.dry_run && body.confirm !== name) return [400, { error: { code: "not_confirmed", message: "it acts: confirm it with its name" } }];
    kept.set(name, body.text);
    return [200, v];
  };

  test("is checked, tried out, kept as a dry run, armed with its name, and removed", async () => {
    await page.route(/\/api\/v1\/policies/, (r) => {
      const q = r.request();
      const [status, body] = answer(q.method(), new URL(q.url()).pathname.split("/")[4] ?? "", q.postDataJSON());
      return r.fulfill({ status, json: body ?? undefined });
    });
    b.expected = [/400/];
    await b.open("#/policies?tab=responses");
    await sees("none yet", ".empty", /Nothing is done by itself/);
    await page.click("text=New policy");
    await page.fill(".dialog input", "stop-shells");
    await page.click(".dialog button.primary");
    await until("an example", async () => /name: stop-shells[\s\S]*dry_run: true/.test(await page.inputValue(editor)));
    const text = await page.inputValue(editor);
    await page.fill(editor, text.replace("action:", "# action:"));
    await page.click("text=what would it have done");
    await sees("the error at its line", ".editor-problems", /line 2, column 1[\s\S]*needs "action"/);
    await page.fill(editor, text);
    await page.click("text=what would it have done");
    await sees("what it would have done", ".would", /1 of 4 findings or incidents[\s\S]*onerror[\s\S]*acts/);
    assert.equal(kept.size, 0);
    await page.click(".subject-acts >> text=Save");
    await sees("a dry run", ".subject-title", /dry run/);
    await page.click("text=Let it act…");
    await sees("the question", ".dialog", /acts by itself, within its limits/);
    assert.ok(await page.locator(".dialog button.primary").isDisabled());
    await page.fill(".dialog input", "stop-shells");
    await page.click(".dialog button.primary");
    await sees("that it acts", ".subject-title", /acts/);
    assert.match(kept.get("stop-shells"), /^dry_run: false$/m);
    await page.click('.crumbs a[href*="tab=responses"]');
    await sees("the list", ".table tbody", /stop-shells[\s\S]*acts[\s\S]*Server program started a shell[\s\S]*1 in force/);
    await page.click(".table .row-link");
    await page.click("text=Switch off");
    await sees("off", ".subject-title", /off/);
    await page.click("text=Remove…");
    await page.fill(".dialog input", "stop-shells");
    await page.click(".dialog button.danger");
    await sees("none again", ".empty", /Nothing is done by itself/);
    await page.unroute(/\/api\/v1\/policies/);
  });
});

describe("findings", () => {
  test("are narrowed, and the filters stand in the address", async () => {
    await b.open("#/findings");
    await sees("all", ".tally-line", /^4 in all$/);
    await page.selectOption('[aria-label="Priority"]', "critical");
    await sees("the grave ones", ".tally-line", /^2 match$/);
    assert.match(page.url(), /priority=critical/);
    await page.fill('[aria-label="Search findings"]', "outside");
    await sees("one", ".tally-line", /^1 match$/);
    await page.click(".findings-grid .row:not(.head)");
    await sees("its details", ".drawer h2", /Process outside of the container entered/);
    await sees("the lineage", ".drawer .lineage", /nginx: worker[\s\S]*sh -c id[\s\S]*onerror/);
    await page.click('.drawer .tags button:has-text("T1611")');
    await sees("a chip", ".filter-chip", /T1611/);
    await page.reload();
    await sees("the same after a reload", ".tally-line", /^1 match$/);
  });

  test("are exported as they are filtered", async () => {
    await b.open("#/findings?priority=error");
    await sees("three", ".tally-line", /^3 match$/);
    for (const [kind, look] of [["CSV", (t) => assert.match(t, /^time,last,count,[\s\S]*Server program started a shell/)], ["JSON", (t) => assert.equal(JSON.parse(t).length, 3)]]) {
      await page.click(".toolbar .menu-button");
      const [file] = await Promise.all([page.waitForEvent("download"), page.click(`.menu-item:has-text("${kind}")`)]);
      assert.match(file.suggestedFilename(), /^bulkhead-findings-\d{8}T\d{6}Z\.(csv|json)$/);
      look(readFileSync(await file.path(), "utf8"));
    }
  });

  test("a new one comes by itself, also one that is told while the list is read", async () => {
    await b.open("#/findings");
    await sees("all", ".tally-line", /^4 in all$/);
    await node.finding({ ...attack(web)[0], rule: "Something new", lineage: [] });
    await sees("five", ".tally-line", /^5 in all$/);
    await until("on top or below", async () => (await page.locator(".findings-grid .row", { hasText: "Something new" }).count()) === 1);
    let held = 0;
    await page.route(/\/api\/v1\/findings\?/, async (r) => {
      if (held++) return r.continue();
      const old = await r.fetch();
      const told = page.waitForRequest(/\/api\/v1\/incidents\?.*limit=1\b/); /* what changed is told in its order: the finding, then its incident */
      await node.finding({ ...attack(web)[0], rule: "Something newer", lineage: [] });
      await told;
      await r.fulfill({ response: old });
    });
    await b.open("#/findings?kind=rule");
    await sees("six", ".tally-line", /^6 match$/);
    await page.unroute(/\/api\/v1\/findings\?/);
  });
});

describe("search", () => {
  const look = async (q) => {
    await page.keyboard.press("Control+k");
    await page.keyboard.type(q);
  };
  test("finds pages, containers, workloads, incidents, findings and rules, by keyboard alone", async () => {
    await b.open("#/");
    await page.waitForSelector(".tiles");
    await look("shell");
    for (const group of ["Incidents", "Findings", "Rules"]) await until(group, async () => (await page.locator(`.search-panel [role=group][aria-label="${group}"] .hit`).count()) > 0);
    await page.keyboard.press("Escape");
    await look("payments");
    await until("containers", async () => (await page.locator('.search-panel [aria-label="Containers"] .hit').count()) > 0);
    await until("applications and workloads", async () => /payments[\s\S]*application[\s\S]*model/.test(await page.locator('.search-panel [aria-label="Applications and workloads"]').innerText()));
    await page.keyboard.press("Escape");
    await look("audit");
    await until("the page", async () => /Audit log/.test(await text(".search-panel [aria-selected=true]")));
    await page.keyboard.press("Enter");
    await sees("the audit log", "h1", /Audit log/);
  });

  test("an incident's evidence is three clicks from the login", async () => {
    await b.open("#/");
    await page.waitForSelector(".verdict.incident");
    await page.click('.nav a[href="#/incidents"]'); /* one */
    await page.locator(".incidents-grid .row.is-open").last().click(); /* two: what other tests added stands above it; the third is a step of the timeline */
    await page.click('.timeline li:has-text("Password hashes read") button');
    await sees("the step", ".step", /Password hashes read/);
    assert.ok(await page.locator("#s-evidence").isVisible());
  });

  test("help says what one sees, on every page", async () => {
    for (const [hash, says] of [["#/map", /Who talks with whom/], ["#/findings", /Every finding/], ["#/settings", /Retention says/]]) {
      await b.open(hash);
      await page.click(".help-button");
      await sees(hash, ".dialog[open] .help", says);
      await page.keyboard.press("Escape");
    }
  });
});

describe("rules from disk", () => {
  test("the nodes read theirs anew when an administrator says so", async () => {
    let asked = 0;
    node.serve.rules_reload = () => void asked++;
    await b.open("#/policies");
    await page.click(".toolbar >> text=Reload…");
    await sees("what it does", ".dialog", /keeps the rules that ran/);
    assert.equal(asked, 0);
    await page.click(".dialog button.primary");
    await sees("who has", ".dialog .notice.good", /node-a has read its rules/);
    assert.equal(asked, 1);
    await page.click(".dialog >> text=Done");
  });

  test("one that keeps what it had says why", async () => {
    delete node.serve.rules_reload; /* it answers with an error then */
    b.expected.push(/422/);
    await page.click(".toolbar >> text=Reload…");
    await page.click(".dialog button.primary");
    await sees("why", ".dialog .notice.bad", /1 node did not[\s\S]*node-a: .*not in this test/);
    await page.keyboard.press("Escape");
  });
});

describe("settings", () => {
  const took = [];
  const server = createServer((q, a) => {
    let body = "";
    q.on("data", (d) => (body += d));
    q.on("end", () => { took.push({ body, token: q.headers.authorization }); a.end(); });
  });
  after(() => server.close());

  test("retention is changed within its bounds, and the audit log says so", async () => {
    await b.open("#/settings");
    await sees("what is in force", ".now", /Database[\s\S]*of 4 GiB/);
    await page.click('[aria-label="Change: History"]');
    await page.fill(".dialog input", "0");
    await page.click(".dialog button.primary");
    await sees("the bound", ".field-error", /from 1 to 3,650/);
    await page.fill(".dialog input", "14");
    await sees("what that does", ".dialog .notice", /does not come back/);
    await page.click(".dialog button.primary");
    await sees("the value", ".settings-table", /14 days[\s\S]*default 30/);
    assert.equal((await api("/settings")).settings.find((s) => s.key === "retention.days").value, 14);
  });

  test("an output is added, tried, changed without its secret, and removed", async () => {
    await new Promise((r) => server.listen(0, "127.0.0.1", r));
    await b.open("#/settings?tab=outputs");
    await sees("none yet", ".empty", /Nothing is sent anywhere/);
    await page.click("text=Add an output");
    await page.fill('.dialog input >> nth=0', "hook");
    await page.getByLabel("Address", { exact: true }).fill(`http://127.0.0.1:${server.address().port}/in`);
    await page.getByLabel("Headers").fill("Authorization: Bearer s3cret");
    await page.click(".dialog button.primary");
    await sees("the output", ".table tbody", /hook[\s\S]*127\.0\.0\.1/);
    await page.click('[aria-label="Test hook"]');
    await sees("that it was taken", ".table tbody", /the test alert was taken/, 20_000);
    await page.click('[aria-label="Change hook"]');
    assert.equal(await page.getByLabel("Headers").inputValue(), "Authorization: (kept)");
    await page.getByLabel("From which priority on").selectOption("error");
    await page.click(".dialog button.primary");
    await until("it is changed", async () => (await api("/outputs/hook")).config.minimum_priority === "error");
    await page.click('[aria-label="Test hook"]');
    await until("the secret was kept", () => took.length >= 2 && took.every((t) => t.token === "Bearer s3cret"), 20_000);
    await page.click('[aria-label="Remove hook"]');
    await page.click(".dialog button.danger");
    await sees("none again", ".empty", /Nothing is sent anywhere/);
  });
});
